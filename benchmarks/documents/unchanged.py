"""Whether a mutation left what was signed as it was, decided without the libraries that Kazashi uses."""

from __future__ import annotations

import re
import tempfile
import xml.etree.ElementTree as Tree
from functools import lru_cache
from pathlib import Path

from benchmarks.documents.document import run
from benchmarks.documents.pdf_signatures import pdf_signatures

OF_THE_SIGNATURE = [
    f"{{http://www.w3.org/2000/09/xmldsig#}}{name}" for name in ("SignedInfo", "SignatureValue", "KeyInfo")
]


OBJECT = re.compile(rb"\b(\d+) 0 obj\b(.*?)\bendobj\b", re.DOTALL)
UPDATE = re.compile(rb"\bxref\s[\d\sfn]*trailer\s*<<[^<>]*>>\s*startxref\s+\d+\s+%%EOF")
"""An incremental update without its objects (ISO 32000-1, 7.5.6)."""


def same_content(format_: str, original: bytes, mutated: bytes) -> bool:
    """Whether a mutated document shows what the original shows.

    XML: its canonical form without the signature's own elements and attributes, and without indentation, by Expat. CMS:
    the content, by OpenSSL. PDF: every byte but those of the signature, and nothing but white space after them.
    """
    return {"xml": _same_xml, "cms": _same_cms, "pdf": _same_pdf}[format_](original, mutated)


def _same_xml(original: bytes, mutated: bytes) -> bool:
    return _canonical(original) == _canonical(mutated)


def _canonical(data: bytes) -> str:
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
    text = Tree.canonicalize(data.decode(encoding), with_comments=True, strip_text=True, exclude_tags=OF_THE_SIGNATURE)
    bare = re.sub(r'<((?:[^\s<>:]+:)?Signature)(?=[\s>])(?:[^">]|"[^"]*")*>', r"<\1>", text)
    return re.sub(r"<([^<>]*Signature)></\1>", "", bare)


def _same_cms(original: bytes, mutated: bytes) -> bool:
    return _content(original) == _content(mutated)


@lru_cache(maxsize=8)  # the original is asked for again and again
def _content(data: bytes) -> bytes:
    """What `openssl cms` extracts or, where it rejects the rest of the structure, what is in the content's place."""
    with tempfile.TemporaryDirectory(prefix="kazashi-cms-") as name:
        signed, content = Path(name) / "signed", Path(name) / "content"
        signed.write_bytes(data)
        run("openssl", "cms", "-verify", "-binary", "-noverify", "-nosigs", "-inform", "DER", "-in", signed, "-out",
            content, expect=None)  # fmt: skip
        if content.exists() and content.stat().st_size:
            return content.read_bytes()
    value = _values(data)[0]
    for place in (1, 0, 2, 1, 0):  # ContentInfo, content, SignedData, encapContentInfo, eContent (RFC 5652, 5.1)
        value = _values(value)[place]
    return value


def _values(data: bytes) -> list[bytes]:
    """The contents of DER values, one after the other. Raises IndexError for an indefinite length."""
    values, place = [], 0
    while place < len(data):
        length, place = data[place + 1], place + 2
        if length >= 0x80:
            octets = length - 0x80
            length, place = int.from_bytes(data[place : place + octets]), place + octets
        values.append(data[place : place + length])
        place += length
    return values


def _same_pdf(original: bytes, mutated: bytes) -> bool:
    """The last signature of the original is over its last byte. An update that repeats objects changes nothing."""
    last = pdf_signatures(original)[-1]
    known, rest = set(OBJECT.findall(original)), mutated[last.after[1] :]
    if last.signed(original) != last.signed(mutated) or not set(OBJECT.findall(rest)) <= known:
        return False
    return not UPDATE.sub(b"", OBJECT.sub(b"", rest)).strip(b"\0\t\n\f\r ")
