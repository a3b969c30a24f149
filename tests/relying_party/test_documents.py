"""Documents that other programs signed with a holder's key, and changed documents."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from asn1crypto import pem
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from kazashi.assembly.institutions import Institutions
from kazashi.card.certification_request import certification_request
from kazashi.jpki.profile import EMULATED, NEXT, CertificateType, Medium
from kazashi.jpki.state import Reason
from kazashi.pki.certificate import CertificateRequest
from kazashi.pki.signing_key import SoftwareKey
from kazashi.relying_party.conformance.authority import AuthorityKey, HolderKey, Key
from kazashi.relying_party.conformance.documents import TEXT, XML, signed_pdf, signed_xml
from kazashi.relying_party.verify.anchors import AnchorsInDirectory
from kazashi.relying_party.verify.authentication import new_challenge
from kazashi.relying_party.verify.documents import MAX_DOCUMENT, Documents
from kazashi.relying_party.verify.sources import lists_in
from kazashi.relying_party.verify.verdict import Finding, Outcome, Verdict
from kazashi.relying_party.verify.verification import Verifier
from kazashi.world.key_source import SharedKeySource, generate, new_p384_key
from tests.support import run
from tests.town import SIGNATURE, later, new_institutions

WHOLE_CONTENT, WHOLE_FILE = ("the whole content",), ("the whole file",)


@dataclass
class Signers:
    """Signing with OpenSSL, and verification: three holders' keys and certificates as files."""

    directory: Path
    documents: Documents
    holders: dict[str, HolderKey]
    before: datetime

    @property
    def text(self) -> Path:
        return self.directory / "text"

    def cms(self, *options: str, who: str = "hanako", form: str = "DER", command: str = "cms") -> bytes:
        """The text, signed with `openssl cms -sign`."""
        signed = self.directory / "signed"
        run("openssl", command, "-sign", "-binary", "-in", str(self.text), "-signer", f"{self.directory}/{who}.pem",
            "-inkey", f"{self.directory}/{who}.key", "-outform", form, "-out", str(signed), *options)  # fmt: skip
        return signed.read_bytes()

    def raw(self, digest: str, who: str = "hanako") -> bytes:
        """The signature of `openssl dgst -sign` over the text."""
        signed = self.directory / "signature"
        run(
            "openssl", "dgst", f"-{digest}", "-sign", f"{self.directory}/{who}.key", "-out", str(signed), str(self.text)
        )
        return signed.read_bytes()


def issue(town: Institutions, who: str, pkcs8: bytes, *, next_card: bool = False) -> HolderKey:
    """A holder with a signature certificate of the town's authority and the private key."""
    authority, now = town.authorities[SIGNATURE], town.world.clock.now()
    medium = Medium.CARD if next_card else Medium.PHONE
    request = CertificateRequest(
        town.resident(who), certification_request(pkcs8), now, now + timedelta(days=400), medium, who
    )
    profile = NEXT if next_card else EMULATED
    certificate = x509.load_der_x509_certificate(authority.issue(request, profile))
    issuer = authority.issuing(profile=profile)
    assert isinstance(issuer.key, SoftwareKey)
    root = x509.load_der_x509_certificate(issuer.certificate)
    return HolderKey(
        private(pkcs8),
        certificate,
        AuthorityKey(CertificateType.SIGNATURE, issuer.name, private(issuer.key.pkcs8), root),
    )


def private(pkcs8: bytes) -> Key:
    key = serialization.load_der_private_key(pkcs8, None)
    assert isinstance(key, Key)
    return key


@pytest.fixture(scope="module")
def signers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Signers]:
    directory = tmp_path_factory.mktemp("documents")
    town = new_institutions(directory / "w", SharedKeySource([generate() for _ in range(2)]))
    keys = {"hanako": generate(), "leap-day": generate(), "taro": new_p384_key()}
    holders = {who: issue(town, who, key, next_card=who == "taro") for who, key in keys.items()}
    before = town.world.clock.now()
    later(town, hours=1)
    town.revocations[SIGNATURE].revoke(holders["leap-day"].certificate.serial_number, Reason.AFFILIATION_CHANGED)
    later(town, days=1)
    for who, holder in holders.items():
        (directory / f"{who}.pem").write_bytes(pem.armor("CERTIFICATE", holder.der))
        (directory / f"{who}.key").write_bytes(pem.armor("PRIVATE KEY", keys[who]))
    (directory / "text").write_bytes(TEXT)
    anchors = AnchorsInDirectory(town.world.publication / "ca")
    yield Signers(
        directory, Documents(Verifier(anchors, [lists_in(town.world.publication)], town.world.clock)), holders, before
    )
    town.world.close()


def good(verdict: Verdict, signed: tuple[str, ...], name: str = "番号\u3000花子") -> None:
    assert (verdict.outcome, verdict.finding) == (Outcome.GOOD, None), verdict.detail
    assert verdict.signed == signed
    assert verdict.evidence is not None
    assert verdict.certificate is not None
    assert verdict.certificate.attributes is not None
    assert verdict.certificate.attributes.name == name


# OpenSSL


@pytest.mark.parametrize("form", ["DER", "PEM"])
@pytest.mark.parametrize("command", ["cms", "smime"])
def test_detached_and_enveloping_cms_of_openssl_is_good(signers: Signers, form: str, command: str) -> None:
    detached = signers.cms("-md", "sha256", form=form, command=command)
    enveloping = signers.cms("-md", "sha256", "-nodetach", form=form, command=command)
    good(signers.documents.any(detached, TEXT), WHOLE_CONTENT)
    good(signers.documents.any(enveloping), WHOLE_CONTENT)
    good(signers.documents.any(enveloping, TEXT), WHOLE_CONTENT)
    assert signers.documents.any(detached).finding is Finding.UNSUPPORTED, "the signed file is needed"
    assert signers.documents.any(detached, TEXT + b"\n").finding is Finding.TAMPERED
    assert signers.documents.any(enveloping, TEXT + b"\n").finding is Finding.TAMPERED


@pytest.mark.parametrize(
    ("options", "finding"),
    [
        (("-md", "sha512"), None),
        (("-md", "sha1"), Finding.WRONG_ALGORITHM),
        (("-keyopt", "rsa_padding_mode:pss"), Finding.WRONG_ALGORITHM),
        (("-noattr",), None),
        (("-nocerts",), Finding.MALFORMED),
        (("-keyid",), None),
        (("-keyid", "-noattr", "-stream"), None),
        (("-cades",), None),
    ],
)
def test_cms_of_openssl_is_judged_by_its_form(
    signers: Signers, options: tuple[str, ...], finding: Finding | None
) -> None:
    assert signers.documents.any(signers.cms(*options), TEXT).finding is finding


def test_cms_with_two_signers_is_good_if_both_are(signers: Signers) -> None:
    second = ("-signer", f"{signers.directory}/leap-day.pem", "-inkey", f"{signers.directory}/leap-day.key")
    signed = signers.cms(*second)
    verdict = signers.documents.any(signed, TEXT)
    revoked = signers.holders["leap-day"].certificate.serial_number
    assert verdict.finding is Finding.REVOKED
    assert verdict.certificate is not None
    assert verdict.certificate.serial == revoked
    before = signers.documents.any(signed, TEXT, signers.before)
    assert before.outcome is Outcome.GOOD
    assert {signer.serial for signer in before.signers} == {
        revoked, signers.holders["hanako"].certificate.serial_number
    }  # fmt: skip


def test_cms_that_is_encrypted_is_not_signed(signers: Signers) -> None:
    sealed = signers.directory / "sealed"
    run("openssl", "cms", "-encrypt", "-binary", "-in", str(signers.text), "-outform", "DER", "-out", str(sealed),
        f"{signers.directory}/hanako.pem")  # fmt: skip
    assert signers.documents.any(sealed.read_bytes()).finding is Finding.NOT_SIGNED


def test_a_bare_signature_of_openssl_is_good(signers: Signers) -> None:
    der = signers.holders["hanako"].der
    good(signers.documents.raw(TEXT, signers.raw("sha256"), der), WHOLE_FILE)
    key = signers.holders["hanako"].key
    assert isinstance(key, rsa.RSAPrivateKey)
    message = new_challenge("https://library.example", signers.before, SIGNATURE).message
    answer = key.sign(message, padding.PKCS1v15(), hashes.SHA256())
    assert signers.documents.raw(message, answer, der).finding is Finding.MALFORMED, "a login is not a document"
    for data, signature in ((TEXT[1:], signers.raw("sha256")), (TEXT, signers.raw("sha512")), (TEXT, b"")):
        assert signers.documents.raw(data, signature, der).finding is Finding.WRONG_SIGNATURE


def test_a_document_of_the_next_card_uses_p384(signers: Signers) -> None:
    holder = signers.holders["taro"]
    verdict = signers.documents.raw(TEXT, signers.raw("sha384", "taro"), holder.der)
    assert verdict.certificate is not None
    assert verdict.certificate.attributes is not None
    name = verdict.certificate.attributes.name
    good(verdict, WHOLE_FILE, name)
    good(signers.documents.any(signers.cms("-md", "sha384", who="taro"), TEXT), WHOLE_CONTENT, name)
    assert signers.documents.raw(TEXT, signers.raw("sha256", "taro"), holder.der).finding is Finding.WRONG_SIGNATURE
    assert signers.documents.any(signers.cms("-md", "sha256", who="taro"), TEXT).finding is Finding.WRONG_ALGORITHM


def test_a_document_is_bad_since_its_certificate_was_revoked(signers: Signers) -> None:
    for signed, content in ((signers.cms(who="leap-day"), TEXT), (signed_pdf(signers.holders["leap-day"]), None)):
        verdict = signers.documents.any(signed, content)
        assert (verdict.outcome, verdict.finding) == (Outcome.BAD, Finding.REVOKED)
        assert verdict.reason is Reason.AFFILIATION_CHANGED
        assert signers.documents.any(signed, content, signers.before).outcome is Outcome.GOOD


def test_a_document_is_verified_inside_a_running_event_loop(signers: Signers) -> None:
    async def verdict() -> Verdict:
        return signers.documents.any(signers.cms(), TEXT)

    good(asyncio.run(verdict()), WHOLE_CONTENT)


# Changed documents


@pytest.fixture(scope="module")
def pdf(signers: Signers) -> bytes:
    signed = signed_pdf(signers.holders["hanako"])
    good(signers.documents.any(signed), WHOLE_FILE)
    return signed


@pytest.fixture(scope="module", params=[True, False], ids=["XAdES", "plain"])
def xml(signers: Signers, request: pytest.FixtureRequest) -> bytes:
    signed = signed_xml(signers.holders["hanako"], advanced=request.param)
    verdict = signers.documents.any(signed)
    assert verdict.signed[0] == "the whole document"
    good(verdict, verdict.signed)
    return signed


@pytest.fixture(scope="module")
def enveloping(signers: Signers) -> bytes:
    return signers.cms("-nodetach")


def with_change(data: bytes, place: int, change: int) -> bytes:
    return data[:place] + bytes((data[place] ^ change,)) + data[place + 1 :]


PLACE, CHANGE = st.integers(0, 1 << 16), st.integers(1, 255)


@settings(max_examples=150)
@given(place=PLACE, change=CHANGE)
def test_a_pdf_with_a_changed_byte_is_not_good(signers: Signers, pdf: bytes, place: int, change: int) -> None:
    byte_range = re.search(rb"/ByteRange \[0 (\d+) (\d+) (\d+)", pdf)
    assert byte_range is not None
    length, second, rest = (int(number) for number in byte_range.groups())
    assert second + rest == len(pdf)
    place %= length + rest
    changed = with_change(pdf, place if place < length else place - length + second, change)
    assert signers.documents.pdf(changed).outcome is not Outcome.GOOD


@settings(max_examples=100)
@given(place=PLACE, change=CHANGE)
def test_a_changed_byte_of_the_content_of_cms_is_tampering(
    signers: Signers, enveloping: bytes, place: int, change: int
) -> None:
    place %= len(TEXT)
    begins = enveloping.index(TEXT)
    assert signers.documents.any(with_change(enveloping, begins + place, change)).finding is Finding.TAMPERED
    assert signers.documents.any(enveloping, with_change(TEXT, place, change)).finding is Finding.TAMPERED


@settings(max_examples=150)
@given(place=PLACE, change=CHANGE)
def test_a_changed_byte_in_cms_never_changes_content_or_signer(
    signers: Signers, enveloping: bytes, place: int, change: int
) -> None:
    """Unsigned bytes may change, such as the case of letters in a name. The content and the signer may not."""
    verdict = signers.documents.cms(with_change(enveloping, place % len(enveloping), change), TEXT)
    if verdict.outcome is Outcome.GOOD:
        assert verdict.certificate is not None
        assert verdict.certificate.serial == signers.holders["hanako"].certificate.serial_number


@settings(max_examples=150)
@given(place=PLACE, change=CHANGE)
def test_an_xml_document_with_a_changed_byte_is_not_good(signers: Signers, xml: bytes, place: int, change: int) -> None:
    text = XML.removesuffix(b"</application>")
    begins = xml.index(text)
    assert signers.documents.any(with_change(xml, begins + place % len(text), change)).outcome is not Outcome.GOOD


# Arbitrary bytes

BEGINNINGS = (b"", b"%PDF-1.7\n", b"<", b"<?xml version='1.0'?>", b"\xef\xbb\xbf<a", b"\x30\x82",
              b"-----BEGIN CMS-----\n", bytes.fromhex("3080 0609 2A864886F70D010702 A080"))  # fmt: skip


@settings(max_examples=200)
@given(begins=st.sampled_from(BEGINNINGS), data=st.binary(max_size=200), content=st.none() | st.binary(max_size=20))
def test_any_bytes_get_a_verdict(signers: Signers, begins: bytes, data: bytes, content: bytes | None) -> None:
    for read in (signers.documents.any, signers.documents.cms):
        assert read(begins + data, content).outcome is not Outcome.GOOD
    for read_alone in (signers.documents.pdf, signers.documents.xml):
        assert read_alone(begins + data).outcome is not Outcome.GOOD
    assert signers.documents.raw(data, begins, data).outcome is Outcome.BAD


@settings(max_examples=60)
@given(which=st.sampled_from(["pdf", "cms"]), start=PLACE, length=st.integers(1, 64), put=st.binary(max_size=64))
def test_removing_or_replacing_bytes_never_raises(
    signers: Signers, pdf: bytes, enveloping: bytes, which: str, start: int, length: int, put: bytes
) -> None:
    data = pdf if which == "pdf" else enveloping
    start %= len(data)
    signers.documents.any(data[:start] + put + data[start + length :])


def test_a_document_that_is_too_long_is_rejected(signers: Signers) -> None:
    long = bytes(MAX_DOCUMENT + 1)
    signature, der = signers.raw("sha256"), signers.holders["hanako"].der
    documents = signers.documents
    for verdict in (documents.any(long), documents.pdf(long), documents.xml(long),
                    documents.any(signers.cms(), long[:-1]), documents.raw(long, signature, der)):  # fmt: skip
        assert (verdict.outcome, verdict.finding) == (Outcome.BAD, Finding.MALFORMED)
    assert documents.raw(long[:-1], signature, der).finding is Finding.WRONG_SIGNATURE
