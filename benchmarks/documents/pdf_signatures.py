"""Signatures in PDF files, found without a parser of PDF."""

from __future__ import annotations

import re
from dataclasses import dataclass

TIMESTAMP = b"ETSI.RFC3161"
"""The SubFilter of a document timestamp."""


@dataclass(frozen=True, slots=True)
class PdfSignature:
    """A signature: its CMS, its SubFilter, and the two ranges of the file that it is over, as start and end."""

    cms: bytes
    kind: bytes
    before: tuple[int, int]
    after: tuple[int, int]

    def signed(self, data: bytes) -> bytes:
        """The bytes of the file that the signature is over."""
        return data[slice(*self.before)] + data[slice(*self.after)]


def pdf_signatures(data: bytes) -> list[PdfSignature]:
    """Find every /ByteRange (ISO 32000-1, 12.8.1) of a file, in the file's order."""
    found = []
    for match in re.finditer(rb"/ByteRange\s*\[\s*(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s*\]", data):
        first, length, second, rest = (int(number) for number in match.groups())
        begins, ends = data.rfind(b"obj", 0, match.start()), data.find(b"endobj", match.end())
        kind = re.search(rb"/SubFilter\s*/([A-Za-z0-9.]+)", data[begins:ends])
        try:
            cms = bytes.fromhex(data[first + length : second].strip(b"<>\0 \r\n").decode("ascii"))
        except ValueError:
            cms = b""
        found.append(
            PdfSignature(_trimmed(cms), kind[1] if kind else b"", (first, first + length), (second, second + rest))
        )
    return found


def _trimmed(der: bytes) -> bytes:
    """DER without the zeros that fill up the room for it."""
    if len(der) < 4 or der[0] != 0x30 or der[1] < 0x80:
        return der
    octets = der[1] - 0x80
    return der[: 2 + octets + int.from_bytes(der[2 : 2 + octets])] if octets else der
