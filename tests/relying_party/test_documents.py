"""Documents that other programs have signed with a holder's key, and what is left of them after any change."""

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
from cryptography.hazmat.primitives import serialization
from hypothesis import given, settings
from hypothesis import strategies as st

from kazashi.assembly.institutions import Institutions
from kazashi.card.certification_request import certification_request
from kazashi.jpki.profile import EMULATED, NEXT, CertificateType, Medium
from kazashi.jpki.state import Reason
from kazashi.pki.certificate import CertificateRequest
from kazashi.pki.signing_key import SoftwareKey, new_p384_key
from kazashi.relying_party.conformance.authority import AuthorityKey, HolderKey, Key
from kazashi.relying_party.conformance.documents import TEXT, XML, signed_pdf, signed_xml
from kazashi.relying_party.verify.anchors import AnchorsInDirectory
from kazashi.relying_party.verify.documents import MAX_DOCUMENT, Documents
from kazashi.relying_party.verify.sources import lists_in
from kazashi.relying_party.verify.verdict import Finding, Outcome, Verdict
from kazashi.relying_party.verify.verification import Verifier
from kazashi.world.key_source import SharedKeySource, generate
from tests.support import run
from tests.town import SIGNATURE, later, new_institutions

WHOLE_CONTENT, WHOLE_FILE = ("the whole content",), ("the whole file",)


@dataclass
class Desk:
    """Where documents are signed with OpenSSL and looked at: three holders' keys and certificates as files."""

    place: Path
    documents: Documents
    holders: dict[str, HolderKey]
    before: datetime

    @property
    def text(self) -> Path:
        return self.place / "text"

    def cms(self, *options: str, who: str = "hanako", form: str = "DER", command: str = "cms") -> bytes:
        """What `openssl cms -sign` makes of the text."""
        signed = self.place / "signed"
        run("openssl", command, "-sign", "-binary", "-in", str(self.text), "-signer", f"{self.place}/{who}.pem",
            "-inkey", f"{self.place}/{who}.key", "-outform", form, "-out", str(signed), *options)  # fmt: skip
        return signed.read_bytes()

    def raw(self, digest: str, who: str = "hanako") -> bytes:
        """What `openssl dgst -sign` makes of it."""
        signed = self.place / "signature"
        run("openssl", "dgst", f"-{digest}", "-sign", f"{self.place}/{who}.key", "-out", str(signed), str(self.text))
        return signed.read_bytes()


def issue(town: Institutions, who: str, pkcs8: bytes, *, next_card: bool = False) -> HolderKey:
    """Somebody with a signature certificate of the town's authority and a key that we keep."""
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
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    place = tmp_path_factory.mktemp("documents")
    town = new_institutions(place / "w", SharedKeySource([generate() for _ in range(2)]))
    keys = {"hanako": generate(), "leap-day": generate(), "taro": new_p384_key()}
    holders = {who: issue(town, who, key, next_card=who == "taro") for who, key in keys.items()}
    before = town.world.clock.now()
    later(town, hours=1)
    town.revocations[SIGNATURE].revoke(holders["leap-day"].certificate.serial_number, Reason.AFFILIATION_CHANGED)
    later(town, days=1)
    for who, holder in holders.items():
        (place / f"{who}.pem").write_bytes(pem.armor("CERTIFICATE", holder.der))
        (place / f"{who}.key").write_bytes(pem.armor("PRIVATE KEY", keys[who]))
    (place / "text").write_bytes(TEXT)
    anchors = AnchorsInDirectory(town.world.publication / "ca")
    yield Desk(
        place, Documents(Verifier(anchors, [lists_in(town.world.publication)], town.world.clock)), holders, before
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
def test_openssl_signs_beside_and_around_a_file(desk: Desk, form: str, command: str) -> None:
    beside = desk.cms("-md", "sha256", form=form, command=command)
    around = desk.cms("-md", "sha256", "-nodetach", form=form, command=command)
    good(desk.documents.any(beside, TEXT), WHOLE_CONTENT)
    good(desk.documents.any(around), WHOLE_CONTENT)
    good(desk.documents.any(around, TEXT), WHOLE_CONTENT)
    assert desk.documents.any(beside).finding is Finding.MALFORMED, "the file that it is over is needed"
    assert desk.documents.any(beside, TEXT + b"\n").finding is Finding.TAMPERED
    assert desk.documents.any(around, TEXT + b"\n").finding is Finding.TAMPERED


@pytest.mark.parametrize(
    ("options", "finding"),
    [
        (("-md", "sha512"), None),
        (("-md", "sha1"), Finding.WRONG_ALGORITHM),
        (("-keyopt", "rsa_padding_mode:pss"), Finding.WRONG_ALGORITHM),
        (("-noattr",), Finding.MALFORMED),
        (("-nocerts",), Finding.MALFORMED),
        (("-keyid",), Finding.MALFORMED),
    ],
)
def test_openssl_can_sign_in_ways_that_no_card_does(
    desk: Desk, options: tuple[str, ...], finding: Finding | None
) -> None:
    assert desk.documents.any(desk.cms(*options), TEXT).finding is finding


def test_a_document_of_two_signers_or_of_none_says_of_nobody_who_it_is(desk: Desk) -> None:
    second = ("-signer", f"{desk.place}/leap-day.pem", "-inkey", f"{desk.place}/leap-day.key")
    assert desk.documents.any(desk.cms(*second), TEXT).finding is Finding.NOT_SIGNED
    sealed = desk.place / "sealed"
    run("openssl", "cms", "-encrypt", "-binary", "-in", str(desk.text), "-outform", "DER", "-out", str(sealed),
        f"{desk.place}/hanako.pem")  # fmt: skip
    assert desk.documents.any(sealed.read_bytes()).finding is Finding.NOT_SIGNED


def test_openssl_signs_a_file_and_nothing_around_it(desk: Desk) -> None:
    der = desk.holders["hanako"].der
    good(desk.documents.raw(TEXT, desk.raw("sha256"), der), WHOLE_FILE)
    for data, signature in ((TEXT[1:], desk.raw("sha256")), (TEXT, desk.raw("sha512")), (TEXT, b"")):
        assert desk.documents.raw(data, signature, der).finding is Finding.WRONG_SIGNATURE


def test_the_next_card_signs_with_another_algorithm(desk: Desk) -> None:
    holder = desk.holders["taro"]
    verdict = desk.documents.raw(TEXT, desk.raw("sha384", "taro"), holder.der)
    assert verdict.certificate is not None
    assert verdict.certificate.attributes is not None
    name = verdict.certificate.attributes.name
    good(verdict, WHOLE_FILE, name)
    good(desk.documents.any(desk.cms("-md", "sha384", who="taro"), TEXT), WHOLE_CONTENT, name)
    assert desk.documents.raw(TEXT, desk.raw("sha256", "taro"), holder.der).finding is Finding.WRONG_SIGNATURE
    assert desk.documents.any(desk.cms("-md", "sha256", who="taro"), TEXT).finding is Finding.WRONG_ALGORITHM


def test_a_document_falls_with_its_signers_certificate_and_not_before(desk: Desk) -> None:
    for signed, content in ((desk.cms(who="leap-day"), TEXT), (signed_pdf(desk.holders["leap-day"]), None)):
        verdict = desk.documents.any(signed, content)
        assert (verdict.outcome, verdict.finding) == (Outcome.BAD, Finding.REVOKED)
        assert verdict.reason is Reason.AFFILIATION_CHANGED
        assert desk.documents.any(signed, content, desk.before).outcome is Outcome.GOOD


def test_a_document_is_judged_from_within_a_running_loop_too(desk: Desk) -> None:
    async def judged() -> Verdict:
        return desk.documents.any(desk.cms(), TEXT)

    good(asyncio.run(judged()), WHOLE_CONTENT)


# PDF and XML, changed


@pytest.fixture(scope="module")
def pdf(desk: Desk) -> bytes:
    signed = signed_pdf(desk.holders["hanako"])
    good(desk.documents.any(signed), WHOLE_FILE)
    return signed


@pytest.fixture(scope="module", params=[True, False], ids=["XAdES", "plain"])
def xml(desk: Desk, request: pytest.FixtureRequest) -> bytes:
    signed = signed_xml(desk.holders["hanako"], advanced=request.param)
    verdict = desk.documents.any(signed)
    assert verdict.signed[0] == "the whole document"
    good(verdict, verdict.signed)
    return signed


@pytest.fixture(scope="module")
def around(desk: Desk) -> bytes:
    return desk.cms("-nodetach")


def with_change(data: bytes, place: int, change: int) -> bytes:
    return data[:place] + bytes((data[place] ^ change,)) + data[place + 1 :]


PLACE, CHANGE = st.integers(0, 1 << 16), st.integers(1, 255)


@settings(max_examples=150, deadline=None)
@given(place=PLACE, change=CHANGE)
def test_a_pdf_with_a_changed_byte_is_not_good(desk: Desk, pdf: bytes, place: int, change: int) -> None:
    found = re.search(rb"/ByteRange \[0 (\d+) (\d+) (\d+)", pdf)
    assert found is not None
    length, again, rest = (int(number) for number in found.groups())
    assert again + rest == len(pdf)
    place %= length + rest
    changed = with_change(pdf, place if place < length else place - length + again, change)
    assert desk.documents.pdf(changed).outcome is Outcome.BAD


@settings(max_examples=100, deadline=None)
@given(place=PLACE, change=CHANGE)
def test_a_changed_byte_of_what_cms_is_over_is_found(desk: Desk, around: bytes, place: int, change: int) -> None:
    place %= len(TEXT)
    begins = around.index(TEXT)
    assert desk.documents.any(with_change(around, begins + place, change)).finding is Finding.TAMPERED
    assert desk.documents.any(around, with_change(TEXT, place, change)).finding is Finding.TAMPERED


@settings(max_examples=150, deadline=None)
@given(place=PLACE, change=CHANGE)
def test_a_changed_byte_anywhere_in_cms_changes_nothing_that_is_said(
    desk: Desk, around: bytes, place: int, change: int
) -> None:
    """What is not signed may change, as the case of the letters in a name. Content and signer may not."""
    verdict = desk.documents.cms(with_change(around, place % len(around), change), TEXT)
    if verdict.outcome is Outcome.GOOD:
        assert verdict.certificate is not None
        assert verdict.certificate.serial == desk.holders["hanako"].certificate.serial_number


@settings(max_examples=150, deadline=None)
@given(place=PLACE, change=CHANGE)
def test_an_xml_document_with_a_changed_byte_is_not_good(desk: Desk, xml: bytes, place: int, change: int) -> None:
    text = XML.removesuffix(b"</application>")
    begins = xml.index(text)
    assert desk.documents.any(with_change(xml, begins + place % len(text), change)).outcome is Outcome.BAD


# Anything at all

BEGINNINGS = (b"", b"%PDF-1.7\n", b"<", b"<?xml version='1.0'?>", b"\xef\xbb\xbf<a", b"\x30\x82",
              b"-----BEGIN CMS-----\n", bytes.fromhex("3080 0609 2A864886F70D010702 A080"))  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(begins=st.sampled_from(BEGINNINGS), data=st.binary(max_size=200), content=st.none() | st.binary(max_size=20))
def test_whatever_comes_there_is_a_verdict(desk: Desk, begins: bytes, data: bytes, content: bytes | None) -> None:
    for read in (desk.documents.any, desk.documents.cms):
        assert read(begins + data, content).outcome is Outcome.BAD
    for read_alone in (desk.documents.pdf, desk.documents.xml):
        assert read_alone(begins + data).outcome is Outcome.BAD
    assert desk.documents.raw(data, begins, data).outcome is Outcome.BAD


@settings(max_examples=60, deadline=None)
@given(which=st.sampled_from(["pdf", "cms"]), start=PLACE, length=st.integers(1, 64), put=st.binary(max_size=64))
def test_a_piece_that_is_taken_out_or_replaced_raises_nothing(
    desk: Desk, pdf: bytes, around: bytes, which: str, start: int, length: int, put: bytes
) -> None:
    data = pdf if which == "pdf" else around
    start %= len(data)
    desk.documents.any(data[:start] + put + data[start + length :])


def test_a_document_that_is_too_long_is_not_read(desk: Desk) -> None:
    long = bytes(MAX_DOCUMENT + 1)
    signature, der = desk.raw("sha256"), desk.holders["hanako"].der
    for verdict in (desk.documents.any(long), desk.documents.pdf(long), desk.documents.xml(long),
                    desk.documents.any(desk.cms(), long[:-1]), desk.documents.raw(long, signature, der)):  # fmt: skip
        assert (verdict.outcome, verdict.finding) == (Outcome.BAD, Finding.MALFORMED)
    assert desk.documents.raw(long[:-1], signature, der).finding is Finding.WRONG_SIGNATURE
