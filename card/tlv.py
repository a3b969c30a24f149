"""BER-TLV data objects as in the card's files (ISO 7816-4, annex D)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tlv:
    """One data object: its tag as encoded (`0xDF21`), its value, and the width of its length field in bytes.

    The card writes `82 hh ll` for some objects even if fewer bytes would do, so the width is part of the object:
    1, 2 (`81 ll`) or 3 (`82 hh ll`); 0 chooses the shorter possible of 1 and 3, as the card does for text.
    """

    tag: int
    value: bytes
    width: int = 0

    @classmethod
    def of(cls, tag: int, children: Iterable[Tlv], width: int = 0) -> Tlv:
        """Make a constructed object from its children."""
        return cls(tag, b"".join(child.encode() for child in children), width)

    @property
    def length_width(self) -> int:
        """The width of the length field in bytes; `width`, or the automatic choice if that is 0."""
        return self.width or (1 if len(self.value) < 0x80 else 3)

    def header(self) -> bytes:
        """Return the encoded tag and length. Raises ValueError if the length does not fit the width."""
        size = len(self.value)
        match self.length_width:
            case 1 if size < 0x80:
                length = bytes((size,))
            case 2 if size <= 0xFF:
                length = bytes((0x81, size))
            case 3 if size <= 0xFFFF:
                length = b"\x82" + size.to_bytes(2)
            case width:
                raise ValueError(f"a length of {size} does not fit a length field of {width} bytes")
        return encode_tag(self.tag) + length

    def encode(self) -> bytes:
        """Return the encoded object."""
        return self.header() + self.value

    def children(self) -> list[Tlv]:
        """Return the objects in a constructed object. Raises ValueError on malformed input."""
        return parse_all(self.value)

    def child(self, tag: int) -> Tlv:
        """Return the first child with a tag. Raises KeyError if there is none."""
        for child in self.children():
            if child.tag == tag:
                return child
        raise KeyError(f"object {self.tag:X} has no child {tag:X}")


def encode_tag(tag: int) -> bytes:
    """Return the bytes of a tag. Raises ValueError for a number that is not a BER tag of one to three bytes."""
    raw = tag.to_bytes(max(1, (tag.bit_length() + 7) // 8))
    if _tag_length(raw) != len(raw):
        raise ValueError(f"{tag:X} is not a BER tag")
    return raw


def parse(raw: bytes, start: int = 0) -> tuple[Tlv, int]:
    """Parse the object at `start`. Return it and the offset after it. Raises ValueError on malformed input."""
    tag_end = start + _tag_length(raw[start : start + 3])
    if tag_end >= len(raw):
        raise ValueError("the data ends in the header of a data object")
    first = raw[tag_end]
    width = 1 if first < 0x80 else first - 0x80 + 1
    if width not in (1, 2, 3) or tag_end + width > len(raw):
        raise ValueError(f"the length field at offset {tag_end} is not valid (first byte {first:02X})")
    size = first if width == 1 else int.from_bytes(raw[tag_end + 1 : tag_end + width])
    begin, end = tag_end + width, tag_end + width + size
    if end > len(raw):
        raise ValueError(f"the data object of {size} bytes at offset {start} runs past the end of the data")
    return Tlv(int.from_bytes(raw[start:tag_end]), raw[begin:end], width), end


def parse_all(raw: bytes) -> list[Tlv]:
    """Parse a sequence of objects that fills `raw`. Raises ValueError on malformed input."""
    objects, offset = [], 0
    while offset < len(raw):
        item, offset = parse(raw, offset)
        objects.append(item)
    return objects


def _tag_length(raw: bytes) -> int:
    if not raw:
        raise ValueError("the data ends where a tag should begin")
    if raw[0] & 0x1F != 0x1F:
        return 1
    for index, byte in enumerate(raw[1:3], start=2):
        if byte & 0x80 == 0:
            # Tag numbers 00 to 1E would fit the first byte, but the card's files use tags such as FF10 nevertheless.
            return index
    raise ValueError(f"{raw.hex().upper()} is not a tag of one to three bytes")
