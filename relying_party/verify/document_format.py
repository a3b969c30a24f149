"""The format of a document, told from its first bytes."""

from __future__ import annotations

import re
from enum import StrEnum

_BEGINNING = 1024
_JWS = re.compile(rb"[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]+\s*\Z")
ARMOUR = rb"-----BEGIN (CMS|PKCS7|PKCS #7 SIGNED DATA|SIGNED MESSAGE)-----"
"""How SignedData in PEM begins, by OpenSSL, others, and gpgsm."""
_HEADERS = re.compile(rb"(?i)\A(?:[!-9;-~]+:[^\r\n]*\r?\n(?:[ \t][^\r\n]*\r?\n)*)+")
_MAIL = re.compile(rb"(?im)^(?:mime-version|content-type)[ \t]*:")


class DocumentFormat(StrEnum):
    """The formats that are judged, and others that can be told apart."""

    CMS = "CMS"
    PDF = "PDF"
    XML = "XML"
    EMPTY = "an empty file"
    ZIP = "a ZIP archive, such as ASiC or a word processor's file"
    MAIL = "a mail, such as S/MIME"
    JSON = "JSON, such as a JSON Web Signature"
    UNKNOWN = "unknown"


JUDGED = (DocumentFormat.CMS, DocumentFormat.PDF, DocumentFormat.XML)


def document_format(data: bytes) -> DocumentFormat:
    """Return the format of a document. The name of its file plays no part."""
    begins = data[:_BEGINNING].removeprefix(b"\xef\xbb\xbf").lstrip()
    if not data.strip():
        return DocumentFormat.EMPTY
    if data[:1] == b"\x30" and b"\x80" <= data[1:2] <= b"\x84":
        return DocumentFormat.CMS  # DER, or BER of indefinite length, whatever it contains
    if begins.startswith(b"<") or data[:4] in (b"\xff\xfe<\0", b"\xfe\xff\0<") or data[:4] in (b"<\0?\0", b"\0<\0?"):
        return DocumentFormat.XML
    if b"%PDF-" in data[:_BEGINNING]:
        return DocumentFormat.PDF
    if data[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return DocumentFormat.ZIP
    if re.search(ARMOUR, data[:_BEGINNING]):
        return DocumentFormat.CMS
    if begins[:1] in (b"{", b"[") or (len(data) < 1 << 20 and _JWS.match(data)):
        return DocumentFormat.JSON
    headers = _HEADERS.match(begins)
    if headers and _MAIL.search(headers[0]):
        return DocumentFormat.MAIL
    return DocumentFormat.UNKNOWN
