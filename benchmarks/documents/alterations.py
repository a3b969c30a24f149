"""Harmless changes to signed documents, after which they must not be good."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from io import BytesIO

from asn1crypto import cms
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter

from benchmarks.documents.document import Document, Right
from benchmarks.documents.holders import Holders
from benchmarks.documents.pdf_signatures import TIMESTAMP, pdf_signatures

Change = tuple[str, str, Right, Callable[[bytes], bytes]]
"""A name for the file, words for the table, what is right, and the change."""


def _substituted(pattern: bytes, new: bytes) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        result, count = re.subn(pattern, new, data, count=1)
        assert count == 1, pattern
        return result

    return change


def _other_byte(data: bytes, place: int) -> bytes:
    return data[:place] + bytes((data[place] ^ 1,)) + data[place + 1 :]


def _other_value(data: bytes) -> bytes:
    """Change a bit of an XML signature's value."""
    match = re.search(rb"SignatureValue[^>]*>([^<]+)<", data)
    assert match is not None
    value = b64encode(_other_byte(b64decode(re.sub(rb"&#13;|\s", b"", match[1])), 100))
    return data[: match.start(1)] + value + data[match.end(1) :]


def _inserted_in_signature(added: bytes) -> Callable[[bytes], bytes]:
    return _substituted(rb"(</(?:ds:)?Signature>)", added + rb"\1")


OBJECT = b'<Object xmlns="http://www.w3.org/2000/09/xmldsig#"><note xmlns="">paid</note></Object>'
TWIN = b'<Object xmlns="http://www.w3.org/2000/09/xmldsig#"><note xmlns="" %s="%s"/></Object>'

_XML: tuple[Change, ...] = (
    ("amount", "an amount in the content", Right.BAD, _substituted(rb">1000<", rb">9000<")),
    ("value", "a bit of the signature's value", Right.BAD, _other_value),
    ("comment-after", "a comment after the root", Right.NOT_GOOD, lambda data: data + b"\n<!-- paid -->\n"),
    ("line-after", "an instruction after the root", Right.NOT_GOOD, lambda data: data + b"\n<?note paid?>\n"),
    ("line-before", "an instruction before the root", Right.NOT_GOOD,
     lambda data: _substituted(rb"^(<\?xml [^>]*\?>\s*)?", rb"\1<?note paid?>\n")(data)),
    ("text-after", "text after the root", Right.BAD, lambda data: data + b"\npaid\n"),
    ("object", "an unsigned Object in the signature", Right.NOT_GOOD, _inserted_in_signature(OBJECT)),
)  # fmt: skip

_ENVELOPED: tuple[Change, ...] = (
    ("element", "an element beside the signature", Right.BAD, _substituted(rb"(</application>\s*)$", rb"<x/>\1")),
)

_IDENTIFIED: tuple[Change, ...] = (
    ("twin", "a second element with the Id, in an unsigned Object", Right.NOT_GOOD,
     _inserted_in_signature(TWIN % (b"Id", b"all"))),
    ("twin-id", "a second element with the identifier, as id", Right.NOT_GOOD,
     _inserted_in_signature(TWIN % (b"id", b"all"))),
    ("twin-xml-id", "a second element with the identifier, as xml:id", Right.NOT_GOOD,
     _inserted_in_signature(TWIN % (b"xml:id", b"all"))),
)  # fmt: skip


def _appended(added: bytes) -> Callable[[bytes], bytes]:
    return lambda data: data + added


def _signature_byte(data: bytes) -> bytes:
    """Change a bit of the first signer's signature in CMS."""
    value = cms.ContentInfo.load(data)["content"]["signer_infos"][0]["signature"].native
    return data.replace(value, _other_byte(value, 100))


_CMS: tuple[Change, ...] = (
    ("trailing", "a byte after the end", Right.NOT_GOOD, _appended(b"\n")),
    ("trailing-text", "text after the end", Right.NOT_GOOD, _appended(b"paid")),
    ("signature", "a bit of the signature", Right.BAD, _signature_byte),
)


def _updated(update: Callable[[IncrementalPdfFileWriter], None]) -> Callable[[bytes], bytes]:
    """Append an incremental update (ISO 32000-1, 7.5.6)."""

    def change(data: bytes) -> bytes:
        writer, out = IncrementalPdfFileWriter(BytesIO(data), strict=False), BytesIO()
        update(writer)
        writer.write(out)
        return out.getvalue()

    return change


def _page(writer: IncrementalPdfFileWriter) -> None:
    """The page has another text."""
    page = writer.root["/Pages"]["/Kids"][0]
    page["/Contents"] = writer.add_object(generic.StreamObject(stream_data=b"BT /F1 24 Tf 72 720 Td (Paid) Tj ET"))
    writer.update_container(page)


def _note(writer: IncrementalPdfFileWriter) -> None:
    """The page has a note."""
    page, name = writer.root["/Pages"]["/Kids"][0], generic.NameObject
    note = generic.DictionaryObject({
        name("/Type"): name("/Annot"), name("/Subtype"): name("/Text"), name("/Contents"): generic.pdf_string("paid"),
        name("/Rect"): generic.ArrayObject([generic.NumberObject(number) for number in (10, 10, 40, 40)]),
    })  # fmt: skip
    page["/Annots"] = generic.ArrayObject([*page.get("/Annots", []), writer.add_object(note)])
    writer.update_container(page)


def _title(writer: IncrementalPdfFileWriter) -> None:
    """The document information, which is the same object as before, has a title."""
    information = writer.trailer.raw_get("/Info").reference
    writer.get_object(information)["/Title"] = generic.pdf_string("Paid")
    writer.mark_update(information)


def _unused(writer: IncrementalPdfFileWriter) -> None:
    """There is an object to which nothing refers."""
    writer.add_object(generic.pdf_string("paid"))


def _in_hexadecimal(timestamp: bool) -> Callable[[bytes], bytes]:
    """Change a bit of the value of the last signature, or document timestamp, which stands in hexadecimal."""

    def change(data: bytes) -> bytes:
        found = [one.cms for one in pdf_signatures(data) if (one.kind == TIMESTAMP) is timestamp]
        old, new = found[-1].hex().encode(), _signature_byte(found[-1]).hex().encode()
        return data.replace(old, new).replace(old.upper(), new.upper())

    return change


_PDF: tuple[Change, ...] = (
    ("signed-byte", "a byte of the page", Right.BAD, _substituted(rb"(/MediaBox[^\]]* 84)2", rb"\g<1>1")),
    ("signature", "a bit of the signature", Right.BAD, _in_hexadecimal(False)),
    ("one-byte", "one byte after the end", Right.NOT_GOOD, _appended(b"x")),
    ("text", "text after the end", Right.NOT_GOOD, _appended(b"\n% paid\n")),
    ("page", "an update that changes the page", Right.NOT_GOOD, _updated(_page)),
    ("note", "an update with a note on the page", Right.NOT_GOOD, _updated(_note)),
    ("title", "an update that changes the title", Right.NOT_GOOD, _updated(_title)),
    ("unused", "an update with an object that nothing uses", Right.NOT_GOOD, _updated(_unused)),
)  # fmt: skip

_STAMPED: tuple[Change, ...] = (
    ("timestamp", "a bit of the document timestamp", Right.NOT_GOOD, _in_hexadecimal(True)),
)

CHANGES: Mapping[str, tuple[Change, ...]] = {
    "xmlsec1-enveloped-no-bare-incl1.0.xml": _XML + _ENVELOPED,
    "xmlsec1-by-id.xml": (*_XML, *_ENVELOPED, *_IDENTIFIED),
    "xmlsec1-enveloping-bare.xml": _XML,
    "xmlsec1-xades.xml": _XML + _ENVELOPED,
    "java-no-bare-inclusive.xml": _XML + _ENVELOPED,
    "java-enveloping.xml": _XML,
    "openssl-detached.p7m": _CMS,
    "openssl-attached.p7m": _CMS,
    "openssl-keyid.p7m": _CMS,
    "openssl-noattr.p7m": _CMS,
    "dss-xades-enveloped-LTA.xml": _XML + _ENVELOPED,
    "dss-cades-enveloping-LTA.p7m": _CMS,
    "dss-pades-LTA.pdf": _PDF + _STAMPED,
    "bouncycastle-attached.p7m": _CMS,
    "gpgsm-attached.p7m": _CMS,
    "pyhanko-b.pdf": _PDF,
    "pyhanko-lta.pdf": _PDF + _STAMPED,
    "pyhanko-two.pdf": _PDF,
    "pdfbox-adbe.pkcs7.detached.pdf": _PDF,
}
"""The changes to each file that has some."""


def altered(documents: Mapping[str, Document], holders: Holders) -> Iterator[Document]:
    """Change the documents that are there."""
    swapped = _with_certificate(holders.parsed(), holders.parsed("leap-day"))
    for name, document in documents.items():
        if name not in CHANGES:
            continue
        stem, _, suffix = name.rpartition(".")
        for slug, words, right, change in CHANGES[name]:
            yield replace(
                document, name=f"{stem}--{slug}.{suffix}", data=change(document.data), change=words, right=right
            )
        if document.format != "pdf":
            yield replace(document, name=f"{stem}--certificate.{suffix}", data=swapped(document.data),
                          change="another holder's certificate instead", right=Right.NOT_GOOD)  # fmt: skip
        if document.format == "cms":
            inside = document.content is None
            yield replace(
                document, name=f"{stem}--content.{suffix}", change="the content", right=Right.BAD,
                data=_other_text(document.data) if inside else document.data,
                content=None if document.content is None else _other_text(document.content),
            )  # fmt: skip


def _with_certificate(old: x509.Certificate, new: x509.Certificate) -> Callable[[bytes], bytes]:
    """Put one certificate in the place of the other, in XML and in CMS."""
    before, after = (one.public_bytes(Encoding.DER) for one in (old, new))

    def change(data: bytes) -> bytes:
        if before not in data:
            return _substituted(rb"(X509Certificate>)[^<]+", rb"\g<1>" + b64encode(after))(data)
        info = cms.ContentInfo.load(data)
        info["content"]["certificates"] = [asn1_x509.Certificate.load(after)]
        return bytes(info.dump(force=True))

    return change


def _other_text(text: bytes) -> bytes:
    """The content of CMS with another word."""
    return _substituted("図書館".encode(), "美術館".encode())(text)
