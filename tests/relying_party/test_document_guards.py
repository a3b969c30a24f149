"""Each guard of the documents' verdict by itself, with harmless content."""

from __future__ import annotations

import re
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from asn1crypto import cms, core, parser, pem
from lxml import etree
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.pdf_utils.writer import copy_into_new_writer
from signxml.algorithms import CanonicalizationMethod, SignatureConstructionMethod
from signxml.signer import XMLSigner

from kazashi.jpki.profile import CertificateType
from kazashi.relying_party.conformance.authority import HolderKey, TestAuthority
from kazashi.relying_party.conformance.documents import (
    TEXT,
    XML,
    bare_cms,
    changed_pdf,
    pdf,
    signed_cms,
    signed_pdf,
    signed_xml,
)
from kazashi.relying_party.verify import pdf_changes
from kazashi.relying_party.verify.documents import Documents
from kazashi.relying_party.verify.verdict import Finding, Outcome, Verdict
from kazashi.world.key_source import SharedKeySource, generate
from tests.relying_party.test_hostile_documents import documents_at

pytestmark = pytest.mark.unit

DS = "{http://www.w3.org/2000/09/xmldsig#}"
XADES = "{http://uri.etsi.org/01903/v1.3.2#}"


@pytest.fixture(scope="module")
def ca() -> TestAuthority:
    return TestAuthority(SharedKeySource([generate() for _ in range(7)]))


@pytest.fixture(scope="module")
def documents(ca: TestAuthority) -> Documents:
    return documents_at(ca, 0)


@pytest.fixture(scope="module")
def holder(ca: TestAuthority) -> HolderKey:
    return ca.holder(ca.generation(CertificateType.SIGNATURE))


def not_covered(verdict: Verdict, part: str) -> None:
    assert (verdict.outcome, verdict.finding) == (Outcome.INDETERMINATE, Finding.NOT_COVERED), verdict.detail
    assert part in verdict.detail
    assert verdict.certificate is not None, "the verdict says whose signature it is"


# XML


@pytest.fixture(scope="module")
def by_identifier(holder: HolderKey) -> bytes:
    """A document whose root is signed by its ID, so that nothing outside the root is covered."""
    root = etree.fromstring(XML.replace(b"<application>", b'<application Id="whole">'))
    exclusive = CanonicalizationMethod.EXCLUSIVE_XML_CANONICALIZATION_1_0
    signer = XMLSigner(method=SignatureConstructionMethod.enveloped, c14n_algorithm=exclusive)
    signed = signer.sign(root, key=holder.key, cert=[holder.certificate], reference_uri="#whole")
    return bytes(etree.tostring(signed))


@pytest.mark.parametrize("before", ["<?note paid?>", "<!-- paid -->", ""])
@pytest.mark.parametrize("after", ["<?note paid?>", "<!-- paid -->", ""])
def test_a_line_outside_the_root_is_not_covered(
    documents: Documents, by_identifier: bytes, before: str, after: str
) -> None:
    verdict = documents.any(before.encode() + by_identifier + b"\n" + after.encode())
    if before or after:
        not_covered(verdict, "outside the root element")
    else:
        assert verdict.outcome is Outcome.GOOD, verdict.detail


def test_a_comment_is_covered_by_no_ordinary_reference(documents: Documents, holder: HolderKey) -> None:
    signed = signed_xml(holder, advanced=False)
    for place in (b"</name>", b"</application>"):
        not_covered(documents.any(signed.replace(place, b"<!-- paid -->" + place)), "a comment")
    assert documents.any(signed.replace(b"<name>", b"<name><?note paid?>")).finding is Finding.TAMPERED


def _attribute(root: Any) -> None:
    next(root.iter(f"{DS}Signature")).set(f"{DS}paid", "yes")


def _text(root: Any) -> None:
    next(root.iter(f"{DS}SignatureValue")).tail = "paid"


def _property(root: Any) -> None:
    properties = next(root.iter(f"{XADES}QualifyingProperties"))
    unsigned = etree.SubElement(properties, f"{XADES}UnsignedProperties")
    etree.SubElement(etree.SubElement(unsigned, f"{XADES}UnsignedSignatureProperties"), "{urn:note}paid")


def _key_name(root: Any) -> None:
    etree.SubElement(next(root.iter(f"{DS}KeyInfo")), "{urn:note}paid")


def _named_key(root: Any) -> None:
    etree.SubElement(next(root.iter(f"{DS}KeyInfo")), f"{DS}KeyName").text = "paid"


def _own_attribute(root: Any) -> None:
    next(root.iter(f"{DS}SignatureValue")).set("paid", "yes")


def _certificate_value(root: Any) -> None:
    _property(root)
    unsigned = next(root.iter(f"{XADES}UnsignedSignatureProperties"))
    del unsigned[:]
    values = etree.SubElement(unsigned, f"{XADES}CertificateValues")
    etree.SubElement(values, f"{XADES}EncapsulatedX509Certificate").text = "paid"


def _comment_in_signed_info(root: Any) -> None:
    next(root.iter(f"{DS}SignedInfo")).append(etree.Comment("paid"))


@pytest.mark.parametrize(
    "change",
    [_attribute, _own_attribute, _text, _property, _key_name, _named_key, _certificate_value, _comment_in_signed_info],
)
def test_what_is_put_into_the_signature_is_not_covered(
    documents: Documents, holder: HolderKey, change: Callable[[Any], None]
) -> None:
    root = etree.fromstring(signed_xml(holder, advanced=change not in (_key_name, _named_key)))
    change(root)
    not_covered(documents.any(etree.tostring(root)), "inside the signature")


@pytest.mark.parametrize("name", ["Id", "ID", "id", "{urn:note}Id", "{http://www.w3.org/XML/1998/namespace}id"])
def test_two_elements_of_one_identifier_are_refused(documents: Documents, by_identifier: bytes, name: str) -> None:
    root = etree.fromstring(by_identifier)
    root[0].set(name, "whole")
    verdict = documents.any(etree.tostring(root))
    assert (verdict.outcome, verdict.finding) == (Outcome.BAD, Finding.MALFORMED)
    assert "2 elements have the identifier whole" in verdict.detail


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32-le"])
@pytest.mark.parametrize(
    "doctype", ["<!DOCTYPE application>", '<!DOCTYPE application [<!ATTLIST application paid CDATA "yes">]>']
)
def test_a_document_type_is_not_judged_in_any_encoding(
    documents: Documents, holder: HolderKey, doctype: str, encoding: str
) -> None:
    text = signed_xml(holder).decode().partition("?>")[2].strip()
    verdict = documents.xml(f"<!DOCTYPE application{doctype}>{text}".encode(encoding))
    assert verdict.finding in (Finding.UNSUPPORTED, Finding.MALFORMED), "libxml2 does not read all of them"
    assert verdict.outcome is not Outcome.GOOD


# CMS


def test_a_byte_after_cms_is_not_covered(documents: Documents, holder: HolderKey) -> None:
    not_covered(documents.cms(bare_cms(holder) + b"x", TEXT), "the last 1 bytes")


def armoured(der: bytes) -> bytes:
    return bytes(pem.armor("CMS", der))


def test_text_beside_the_armour_is_not_covered(documents: Documents, holder: HolderKey) -> None:
    signed = armoured(signed_cms(holder, detached=False))
    assert documents.any(b"\n" + signed + b"\r\n").outcome is Outcome.GOOD
    for beside in (signed + b"paid\n", b"paid\n" + signed, signed + signed):
        not_covered(documents.any(beside), "before or after the armour")


def test_a_signature_inside_signed_content_is_not_the_documents(documents: Documents, holder: HolderKey) -> None:
    """A signed file may be a signature in PEM, or a PDF."""
    inner = armoured(signed_cms(holder, detached=False))
    changed = signed_cms(holder, inner, detached=False).replace(b"-----END CMS", b"-----END XMS")
    assert documents.any(signed_cms(holder, inner, detached=False)).outcome is Outcome.GOOD
    assert documents.any(signed_cms(holder, b"%PDF-1.7\n", detached=False)).outcome is Outcome.GOOD
    assert documents.any(changed).finding is Finding.TAMPERED
    assert documents.any(b"\x30\x82\x10\x00paid" + inner).outcome is Outcome.BAD


def test_an_unsigned_attribute_that_is_not_evidence_is_not_covered(documents: Documents, holder: HolderKey) -> None:
    info = cms.ContentInfo.load(bare_cms(holder))
    info["content"]["signer_infos"][0]["unsigned_attrs"] = [
        {"type": "1.3.6.1.4.1.99999.1", "values": [core.UTF8String("paid")]}
    ]
    not_covered(documents.any(info.dump(force=True), TEXT), "the unsigned attribute")


def test_cms_has_no_parts_but_the_standards(documents: Documents, holder: HolderKey) -> None:
    """A second content beside the one that is signed, and a third part of the outermost structure."""
    part, contents = core.OctetString(b"paid").dump(), parser.parse(bare_cms(holder))[4]
    identifier, explicit = contents[:11], contents[11:]
    twice = parser.emit(2, 1, 0, parser.parse(explicit)[4] + part)
    for changed in (contents + part, identifier + twice):
        verdict = documents.any(parser.emit(0, 1, 16, changed), TEXT)
        assert (verdict.outcome, verdict.finding) == (Outcome.BAD, Finding.MALFORMED), verdict.detail


def test_digest_and_signature_algorithm_must_agree(documents: Documents, holder: HolderKey) -> None:
    info = cms.ContentInfo.load(bare_cms(holder))
    signer = info["content"]["signer_infos"][0]
    signer["signature_algorithm"] = {"algorithm": "sha512_rsa", "parameters": core.Null()}
    verdict = documents.cms(info.dump(force=True), TEXT)
    assert (verdict.outcome, verdict.finding) == (Outcome.BAD, Finding.WRONG_ALGORITHM)
    assert "RFC 8933" in verdict.detail


def test_signed_attributes_are_no_file(documents: Documents, holder: HolderKey) -> None:
    attributes = cms.CMSAttributes([cms.CMSAttribute({"type": "message_digest", "values": [bytes(32)]})]).dump()
    for content in (attributes, b'<ds:SignedInfo xmlns:ds="http://www.w3.org/2000/09/xmldsig#"/>'):
        verdict = documents.cms(bare_cms(holder, content, attributes=False), content)
        assert (verdict.outcome, verdict.finding) == (Outcome.BAD, Finding.MALFORMED)
        assert "not a file" in verdict.detail
        assert documents.cms(bare_cms(holder, content), content).outcome is Outcome.GOOD, "with attributes it is one"
    assert documents.cms(bare_cms(holder, TEXT, attributes=False), TEXT).outcome is Outcome.GOOD


# PDF


def _updated(data: bytes, change: Callable[[IncrementalPdfFileWriter], None]) -> bytes:
    writer = IncrementalPdfFileWriter(BytesIO(data))
    change(writer)
    out = BytesIO()
    writer.write(out)
    return out.getvalue()


def _unused(writer: IncrementalPdfFileWriter) -> None:
    writer.add_object(generic.pdf_string("paid"))


def _title(writer: IncrementalPdfFileWriter) -> None:
    title = generic.DictionaryObject({generic.pdf_name("/Title"): generic.pdf_string("paid")})
    writer.set_info(writer.add_object(title))


def _title_in_place(writer: IncrementalPdfFileWriter) -> None:
    reference = writer.trailer_view.get_value_as_reference("/Info")
    entries = reference.get_object()
    assert isinstance(entries, generic.DictionaryObject)
    entries["/Title"] = generic.pdf_string("paid")
    writer.mark_update(reference)


def _nothing(writer: IncrementalPdfFileWriter) -> None:
    writer.update_root()


@pytest.mark.parametrize(("added", "offset"), [(b"x", 0), (b"\n\n% paid\n", 2), (b"\r\n \x00 paid", 5)])
def test_bytes_after_a_pdf_are_not_covered(documents: Documents, holder: HolderKey, added: bytes, offset: int) -> None:
    signed = signed_pdf(holder)
    not_covered(documents.any(signed + added), f"offset {len(signed) + offset} on")
    for white_space in (b"\n", b"\r\n", b"\0 \t\f"):
        assert documents.any(signed + white_space).outcome is Outcome.GOOD


def _drawn_again(writer: IncrementalPdfFileWriter) -> None:
    form = writer.root["/AcroForm"]
    assert isinstance(form, generic.DictionaryObject)
    form["/NeedAppearances"] = generic.BooleanObject(True)
    reference = writer.root.raw_get("/AcroForm")
    writer.update_root()
    if isinstance(reference, generic.IndirectObject):
        writer.mark_update(reference)


def _foreign_entry(writer: IncrementalPdfFileWriter) -> None:
    stream = writer.add_object(generic.StreamObject(stream_data=b"paid"))
    name = generic.pdf_name
    writer.root["/DSS"] = generic.DictionaryObject({name("/Certs"): generic.ArrayObject([stream])})
    writer.update_root()


@pytest.mark.parametrize("change", [_drawn_again, _foreign_entry])
def test_an_update_that_pyhanko_lets_pass_is_not_covered(
    documents: Documents, holder: HolderKey, change: Callable[[IncrementalPdfFileWriter], None]
) -> None:
    assert documents.any(_updated(signed_pdf(holder), change)).finding is Finding.NOT_COVERED


@pytest.mark.parametrize("change", [_unused, _title, _title_in_place])
def test_an_update_with_more_than_validation_material_is_not_covered(
    documents: Documents, holder: HolderKey, change: Callable[[IncrementalPdfFileWriter], None]
) -> None:
    not_covered(documents.any(_updated(signed_pdf(holder), change)), "after it")
    not_covered(documents.any(changed_pdf(signed_pdf(holder))), "after it")


XMP = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:ModifyDate="2026-11-24" rdf:about=""/>
</rdf:RDF></x:xmpmeta>"""


def _object(data: bytes, number: int, body: bytes) -> bytes:
    """Append an update that gives an object another value, as the standard describes it (ISO 32000-2, 7.5.6)."""
    previous = data[data.rindex(b"startxref") :].split()[1]
    reader = PdfFileReader(BytesIO(data))
    size, root = int(reader.trailer["/Size"]), b"%d 0 R" % reader.root_ref.idnum
    before = data + b"%d 0 obj\n%s\nendobj\n" % (number, body)
    update = b"xref\n%d 1\n%010d 00000 n \ntrailer\n<< /Size %d /Root %s /Prev %s >>\nstartxref\n%d\n%%%%EOF\n"
    return before + update % (number, len(data), size, root, previous, len(before))


def _stream(text: bytes) -> bytes:
    return b"<< /Type /Metadata /Subtype /XML /Length %d >>\nstream\n%s\nendstream" % (len(text), text)


def _with_metadata(writer: IncrementalPdfFileWriter) -> None:
    writer.root["/Metadata"] = writer.add_object(generic.StreamObject(stream_data=XMP))
    writer.update_root()


def test_metadata_may_change_in_what_programs_write_of_themselves(documents: Documents, holder: HolderKey) -> None:
    signed = signed_pdf(holder, _updated(pdf(), _with_metadata))
    assert documents.any(signed).outcome is Outcome.GOOD
    root = PdfFileReader(BytesIO(signed)).root
    number, text = root.raw_get("/Metadata").idnum, root["/Metadata"].data
    dated = re.sub(rb"(ModifyDate[^0-9]{1,30})[0-9]{4}", rb"\g<1>2031", text)
    assert dated != text
    later = documents.any(_object(signed, number, _stream(dated)))
    assert later.outcome is Outcome.GOOD, later.detail
    titled = text.replace(b'rdf:about=""', b'rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" dc:title="paid"')
    assert titled != text
    not_covered(documents.any(_object(signed, number, _stream(titled))), "after it")


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        (b"/Size %d", b"/Size 9%d", "number of objects"),
        (b"00000 n ", b"00000 n\t", "malformed"),
        (b"endobj\nxref\n", b"endobj\nxref ", "malformed"),
        (b" 0 obj", b" 0  obj", "malformed"),
    ],
)
def test_an_update_must_be_spelled_to_the_letter(
    documents: Documents, holder: HolderKey, old: bytes, new: bytes, part: str
) -> None:
    """A reader that repairs a file would look for objects everywhere in it."""
    signed = signed_pdf(holder, _updated(pdf(), _with_metadata))
    root = PdfFileReader(BytesIO(signed)).root
    update = _object(signed, root.raw_get("/Metadata").idnum, _stream(root["/Metadata"].data))[len(signed) :]
    assert documents.any(signed + update).outcome is Outcome.GOOD
    size = int(PdfFileReader(BytesIO(signed)).trailer["/Size"])
    old, new = (text % size if b"%d" in text else text for text in (old, new))
    place = update.rindex(old)
    verdict = documents.any(signed + update[:place] + new + update[place + len(old) :])
    assert verdict.outcome is not Outcome.GOOD
    assert part in verdict.detail or verdict.finding in (Finding.MALFORMED, Finding.UNSUPPORTED)


def test_bytes_that_look_like_an_object_are_not_covered(documents: Documents, holder: HolderKey) -> None:
    signed = signed_pdf(holder, _updated(pdf(), _with_metadata))
    number = PdfFileReader(BytesIO(signed)).root.raw_get("/Metadata").idnum
    hidden = b"<< /Length 30 /Note (3 0 obj) >>\nstream\n" + XMP + b"\nendstream"
    assert documents.any(_object(signed, number, hidden)).outcome is not Outcome.GOOD


def test_bytes_between_a_signature_and_an_update_are_not_covered(documents: Documents, holder: HolderKey) -> None:
    """The update changes nothing, so that only the bytes before it are in question."""
    signed = signed_pdf(holder)
    assert documents.any(_updated(signed, _nothing)).outcome is Outcome.GOOD
    updated = _updated(signed + b"\n% paid\n", _nothing)
    not_covered(documents.any(updated), f"offset {len(signed) + 1} on")


def _many_ways(writer: IncrementalPdfFileWriter) -> None:
    """Add seven objects, each of which refers to the one below twice."""
    below = writer.add_object(generic.DictionaryObject())
    for _ in range(7):
        both = generic.DictionaryObject({generic.pdf_name("/A"): below, generic.pdf_name("/B"): below})
        below = writer.add_object(both)
    writer.root["/Ways"] = below
    writer.update_root()


def test_objects_that_refer_to_each_other_in_too_many_ways_are_not_followed(
    documents: Documents, holder: HolderKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed = signed_pdf(holder, signed_pdf(holder, _updated(pdf(), _many_ways)), "Signature2")
    assert documents.any(signed).outcome is Outcome.GOOD
    monkeypatch.setattr(pdf_changes, "MAX_STEPS", 100)
    assert documents.any(signed).finding is Finding.UNSUPPORTED
    assert documents.any(signed_pdf(holder, signed_pdf(holder), "Signature2")).outcome is Outcome.GOOD


def test_a_pdf_has_a_bounded_number_of_objects(
    documents: Documents, holder: HolderKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed = signed_pdf(holder)
    assert b"/Type /XRef" in signed
    monkeypatch.setattr(pdf_changes, "MAX_OBJECTS", 5)
    assert documents.any(signed).finding is Finding.UNSUPPORTED


def test_an_encrypted_pdf_is_unsupported(documents: Documents) -> None:
    writer = copy_into_new_writer(PdfFileReader(BytesIO(pdf())))
    writer.encrypt("owner", "user")
    out = BytesIO()
    writer.write(out)
    assert documents.any(out.getvalue()).finding is Finding.UNSUPPORTED


# Formats


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (TEXT, "not known"),
        (b"MIME-Version: 1.0\r\nContent-Type: multipart/signed;\r\n boundary=x\r\n\r\n--x\r\n", "mail"),
        (b"PK\x03\x04" + bytes(60), "ZIP"),
        (b"eyJhbGciOiJSUzI1NiJ9.eyJhIjoxfQ.c2lnbmF0dXJl", "JSON"),
        (b'{"payload": "e30", "signatures": []}', "JSON"),
    ],
)
def test_a_format_that_is_not_judged_is_unsupported(documents: Documents, data: bytes, word: str) -> None:
    verdict = documents.any(data)
    assert (verdict.outcome, verdict.finding) == (Outcome.INDETERMINATE, Finding.UNSUPPORTED)
    assert word in verdict.detail
    assert documents.any(b" \n").finding is Finding.NOT_SIGNED


@pytest.mark.parametrize("label", [b"PGP SIGNED MESSAGE", b"CERTIFICATE"])
def test_armour_of_another_kind_is_unsupported(documents: Documents, label: bytes) -> None:
    verdict = documents.any(b"-----BEGIN %s-----\nAAAA\n-----END %s-----\n" % (label, label))
    assert verdict.finding is Finding.UNSUPPORTED
    assert "asn1crypto" not in verdict.detail


def test_a_certificate_is_not_a_document(documents: Documents, holder: HolderKey) -> None:
    assert documents.any(holder.der).finding is Finding.UNSUPPORTED
    for short in (b"0", b"<", b"-", b"%", b"\xff"):
        assert documents.any(short).outcome is not Outcome.GOOD


def test_a_time_stamp_token_is_not_a_signed_document(documents: Documents, holder: HolderKey) -> None:
    info = cms.ContentInfo.load(bare_cms(holder))
    info["content"]["encap_content_info"]["content_type"] = "tst_info"
    assert documents.any(info.dump(force=True), TEXT).finding is Finding.UNSUPPORTED
