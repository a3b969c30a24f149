"""Hostile documents: forged signers, unsigned additions, and denial of service."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from io import BytesIO
from typing import Any

import pytest
from asn1crypto import cms, keys
from asn1crypto import x509 as asn1_x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from lxml import etree
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign import signers
from pyhanko.sign.fields import SigSeedSubFilter
from pyhanko_certvalidator.registry import SimpleCertificateStore

from kazashi.jpki.profile import CertificateType
from kazashi.relying_party.conformance.authority import (
    ATTRIBUTES,
    NOW,
    AuthorityKey,
    CertificateTemplate,
    Extension,
    HolderKey,
    ListTemplate,
    TestAuthority,
    attributes,
)
from kazashi.relying_party.conformance.documents import TEXT, bare_cms, pdf, signed_xml
from kazashi.relying_party.verify.anchors import Anchors, read_anchor
from kazashi.relying_party.verify.attributes import NAME, NAME_FLAGS
from kazashi.relying_party.verify.documents import Documents
from kazashi.relying_party.verify.sources import Lists
from kazashi.relying_party.verify.verdict import Finding, Outcome
from kazashi.relying_party.verify.verification import Verifier
from kazashi.world.clock import FixedClock
from kazashi.world.key_source import SharedKeySource, generate

pytestmark = pytest.mark.unit

DS = "{http://www.w3.org/2000/09/xmldsig#}"


@pytest.fixture(scope="module")
def ca() -> TestAuthority:
    return TestAuthority(SharedKeySource([generate() for _ in range(7)]))


def documents_at(ca: TestAuthority, days: int) -> Documents:
    """Verification of documents `days` days after NOW, with a list of that day."""
    now, issuer = NOW + timedelta(days=days), ca.generation(CertificateType.SIGNATURE)
    listed = ca.list(issuer, (), ListTemplate(this_update=now))
    anchors = Anchors([read_anchor(issuer.certificate.public_bytes(Encoding.DER))])
    return Documents(Verifier(anchors, [Lists("given", lambda *_: listed)], FixedClock(now)))


@pytest.fixture(scope="module")
def documents(ca: TestAuthority) -> Documents:
    return documents_at(ca, 0)


@pytest.fixture(scope="module")
def holder(ca: TestAuthority) -> HolderKey:
    return ca.holder(ca.generation(CertificateType.SIGNATURE))


# Forged signers


def longer(extensions: dict[str, Extension]) -> None:
    """Make the name longer, so that the certificate is sorted after the genuine one."""
    added = {NAME: "x" * 40, NAME_FLAGS: "0" * 40}
    extensions["attributes"] = (attributes([(kind, value + added.get(kind, "")) for kind, value in ATTRIBUTES]), False)


def unchanged(_: dict[str, Extension]) -> None:
    """Change nothing."""


@pytest.fixture(scope="module", params=[unchanged, longer], ids=["same length", "longer"])
def forged(ca: TestAuthority, holder: HolderKey, request: pytest.FixtureRequest) -> HolderKey:
    """A forger's key in a forged certificate, with the issuer and serial number of the holder's."""
    genuine = holder.issuer
    forger = AuthorityKey(genuine.kind, genuine.name, ca.other_key, genuine.certificate)
    return ca.holder(
        genuine,
        CertificateTemplate(
            change=request.param, key=ca.other_key, serial=holder.certificate.serial_number, signed_by=forger
        ),
    )


def with_certificates(signed: bytes, *holders: HolderKey) -> bytes:
    """Replace the certificates in CMS with those of the holders."""
    info = cms.ContentInfo.load(signed)
    info["content"]["certificates"] = [asn1_x509.Certificate.load(holder.der) for holder in holders]
    return bytes(info.dump(force=True))


def signer(key: HolderKey, *others: HolderKey) -> signers.SimpleSigner:
    store = SimpleCertificateStore()  # type: ignore[no-untyped-call]
    for other in others:
        store.register(asn1_x509.Certificate.load(other.der))
    private = key.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return signers.SimpleSigner(
        signing_cert=asn1_x509.Certificate.load(key.der), signing_key=keys.PrivateKeyInfo.load(private),
        cert_registry=store,
    )  # fmt: skip


def test_a_forged_cms_with_the_genuine_certificate_added_is_bad(
    documents: Documents, holder: HolderKey, forged: HolderKey
) -> None:
    assert documents.cms(with_certificates(bare_cms(holder), holder), TEXT).outcome is Outcome.GOOD
    assert documents.cms(bare_cms(forged), TEXT).outcome is Outcome.BAD
    for both in ((holder, forged), (forged, holder)):
        assert documents.cms(with_certificates(bare_cms(forged), *both), TEXT).outcome is Outcome.BAD


def test_a_forged_pdf_with_the_genuine_certificate_added_is_bad(
    documents: Documents, holder: HolderKey, forged: HolderKey
) -> None:
    settings = signers.PdfSignatureMetadata(field_name="Signature1", subfilter=SigSeedSubFilter.PADES)
    signing = signers.PdfSigner(settings, signer=signer(forged, holder))
    signed = asyncio.run(signing.async_sign_pdf(IncrementalPdfFileWriter(BytesIO(pdf())))).getvalue()
    assert documents.pdf(signed).outcome is Outcome.BAD


# Unsigned additions


def with_object(root: Any) -> None:
    """Add an unsigned Object to the signature, which does not cover itself."""
    signature = next(root.iter(f"{DS}Signature"))
    etree.SubElement(etree.SubElement(signature, f"{DS}Object"), "amount").text = "9000"


def with_object_in_front(root: Any) -> None:
    """Add an unsigned Object, and move the signature to the front, so that a reader finds it first."""
    with_object(root)
    signature = next(root.iter(f"{DS}Signature"))
    if signature is not root:
        root.insert(0, signature)


def with_comment(root: Any) -> None:
    """Put a comment into the amount. A comment is not signed, and many parsers see only the text before it."""
    amount = next(root.iter("amount"))
    comment = etree.Comment("")
    amount.text, comment.tail = "1", "000"
    amount.insert(0, comment)


@pytest.mark.parametrize("change", [with_object, with_object_in_front, with_comment])
@pytest.mark.parametrize("form", ["plain", "XAdES", "around"])
def test_xml_with_unsigned_additions_is_bad(
    documents: Documents, holder: HolderKey, change: Callable[[Any], None], form: str
) -> None:
    signed = signed_xml(holder, advanced=form == "XAdES", enveloping=form == "around")
    assert documents.xml(signed).outcome is Outcome.GOOD
    root = etree.fromstring(signed)
    change(root)
    assert documents.xml(etree.tostring(root)).outcome is not Outcome.GOOD


def test_xml_with_nested_signatures_is_bad(documents: Documents, holder: HolderKey) -> None:
    inner = etree.fromstring(signed_xml(holder, advanced=False, enveloping=True))
    outer = etree.Element(f"{DS}Signature")
    etree.SubElement(outer, f"{DS}Object").append(inner)
    for root in (outer, etree.fromstring(etree.tostring(inner))):
        if root is not outer:
            etree.SubElement(root, f"{DS}Object").append(etree.fromstring(signed_xml(holder, advanced=False)))
        assert documents.xml(etree.tostring(root)).outcome is not Outcome.GOOD


# Time


@pytest.mark.parametrize("days", [-900, 1400])
@pytest.mark.parametrize("advanced", [True, False], ids=["XAdES", "plain"])
def test_xml_is_verified_by_the_verifiers_clock(ca: TestAuthority, days: int, advanced: bool) -> None:
    offset = timedelta(days=days)
    holder = ca.holder(
        ca.generation(CertificateType.SIGNATURE),
        CertificateTemplate(begins=NOW + offset, ends=NOW + offset + timedelta(days=9)),
    )
    signed = signed_xml(holder, advanced=advanced)
    verdict = documents_at(ca, days + 5).xml(signed)
    assert verdict.outcome is Outcome.GOOD, verdict.detail
    assert documents_at(ca, days + 10).xml(signed).finding is Finding.EXPIRED


@pytest.mark.parametrize("form", ["cms", "xml"])
def test_a_document_of_an_expired_certificate_is_expired(ca: TestAuthority, documents: Documents, form: str) -> None:
    holder = ca.holder(ca.generation(CertificateType.SIGNATURE), CertificateTemplate(ends=NOW - timedelta(days=1)))
    verdict = documents.any(bare_cms(holder) if form == "cms" else signed_xml(holder), TEXT if form == "cms" else None)
    assert (verdict.outcome, verdict.finding) == (Outcome.BAD, Finding.EXPIRED), verdict.detail


# Denial of service

LAUGHS = b"".join(b'<!ENTITY l%d "%s">' % (depth, b"&l%d;" % (depth - 1) * 10) for depth in range(1, 12))
HOSTILE = {
    "deep": b"<a>" * 500_000 + b"</a>" * 500_000,
    "a billion laughs": b'<!DOCTYPE x [<!ENTITY l0 "ha">' + LAUGHS + b"]><x>&l11;</x>",
    "quadratic": b'<!DOCTYPE x [<!ENTITY a "' + b"a" * 100_000 + b'">]><x>' + b"&a;" * 100_000 + b"</x>",
    "somebody's file": b'<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]><x>&f;</x>',
    "something on the web": b'<!DOCTYPE x SYSTEM "http://127.0.0.1:1/x.dtd"><x/>',
    "a parameter": b'<!DOCTYPE x [<!ENTITY % p SYSTEM "file:///etc/passwd"> %p;]><x/>',
    "elements": b"<a>" + b"<b/>" * 700_000 + b"</a>",
    "namespaces": b"<a " + b" ".join(b"xmlns:n%d='urn:%d'" % (number, number) for number in range(101)) + b"/>",
    "attributes with prefixes": (
        b"<a "
        + b" ".join(b"xmlns:n%d='urn:%d'" % (number, number) for number in range(90))
        + b">"
        + (b"<b " + b" ".join(b"n%d:x='1'" % number for number in range(90)) + b"/>") * 4_000
        + b"</a>"
    ),
    "namespaces in many scopes": (
        b"<a "
        + b" ".join(b"xmlns:n%d='urn:%d'" % (number, number) for number in range(90))
        + b">"
        + b"<b/>" * 35_000
        + b"</a>"
    ),
    "many attributes": b"<a " + b" ".join(b"a%d='1'" % number for number in range(50_000)) + b"/>",
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("which", HOSTILE)
def test_hostile_xml_is_rejected_within_a_second(
    documents: Documents, holder: HolderKey, which: str, encoding: str
) -> None:
    """Each has somebody's signature inside, so that it would be canonicalised."""
    signature = etree.fromstring(signed_xml(holder, advanced=False)).find(f"{DS}Signature")
    begins, ending, ends = HOSTILE[which].rpartition(b"</a>")
    signed = begins + etree.tostring(signature) + ending + ends if ending else HOSTILE[which]
    data = signed.decode().encode(encoding)
    begun = time.process_time()  # of this process alone, because a busy machine is not an error
    verdict = documents.any(data)
    assert time.process_time() - begun < 1
    assert verdict.finding in (Finding.MALFORMED, Finding.UNSUPPORTED)
    assert "root:" not in verdict.detail


def test_an_honest_form_of_16_megabytes_is_within_the_bounds(documents: Documents, holder: HolderKey) -> None:
    """A hundred thousand rows with five namespaces, as large tax returns have them."""
    declared = " ".join(f'xmlns:n{number}="urn:kazashi:{number}"' for number in range(4))
    row = f"<n1:row><n2:name>{'花' * 12}</n2:name><n2:amount unit='JPY'>{'1' * 60}</n2:amount></n1:row>"
    form = f'<form xmlns="urn:kazashi" {declared}>{row * 90_000}</form>'.encode()
    assert len(form) > 14 << 20
    verdict = documents.xml(signed_xml(holder, data=form, advanced=False))
    assert verdict.outcome is Outcome.GOOD, verdict.detail


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("doctype", ["<!DOCTYPE application>", '<!DOCTYPE application [<!ENTITY a "1000">]>'])
def test_a_document_type_is_rejected(documents: Documents, holder: HolderKey, doctype: str, encoding: str) -> None:
    changed = doctype + signed_xml(holder).decode().partition("?>")[2]
    verdict = documents.xml(changed.encode(encoding))
    assert (verdict.outcome, verdict.finding) == (Outcome.INDETERMINATE, Finding.UNSUPPORTED)
