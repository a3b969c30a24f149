"""BER-TLV data objects as the card's files hold them (ISO 7816-4, annex D)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tlv:
    """One data object: its tag as written (`0xDF21`), its value, and how many bytes its length field takes.

    The card writes `82 hh ll` for some objects even where fewer bytes would do, so the width is part of the object:
    1, 2 (`81 ll`) or 3 (`82 hh ll`); 0 chooses the shortest of 1 and 3, as the card does for text.
    """

    tag: int
    value: bytes
    width: int = 0

    @classmethod
    def of(cls, tag: int, children: Iterable[Tlv], width: int = 0) -> Tlv:
        """A constructed object around its children."""
        return cls(tag, b"".join(child.encode() for child in children), width)

    @property
    def length_width(self) -> int:
        """The bytes that the length field takes."""
        return self.width or (1 if len(self.value) < 0x80 else 3)

    def header(self) -> bytes:
        """Tag and length. Raises ValueError where the length does not fit the width."""
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
        """The whole object."""
        return self.header() + self.value

    def children(self) -> list[Tlv]:
        """The objects inside a constructed one."""
        return parse_all(self.value)

    def child(self, tag: int) -> Tlv:
        """The first object of that tag inside this one; KeyError where there is none."""
        for child in self.children():
            if child.tag == tag:
                return child
        raise KeyError(f"no {tag:X} inside {self.tag:X}")


def encode_tag(tag: int) -> bytes:
    """The bytes of a tag. Raises ValueError for a number that is no BER tag of one to three bytes."""
    raw = tag.to_bytes(max(1, (tag.bit_length() + 7) // 8))
    if _tag_length(raw) != len(raw):
        raise ValueError(f"{tag:X} is not a BER tag")
    return raw


def parse(raw: bytes, start: int = 0) -> tuple[Tlv, int]:
    """Read the object at `start`; answers it and the offset behind it. Raises ValueError on malformed input."""
    tag_end = start + _tag_length(raw[start : start + 3])
    if tag_end >= len(raw):
        raise ValueError("the data ends inside a data object's header")
    first = raw[tag_end]
    width = 1 if first < 0x80 else first - 0x80 + 1
    if width not in (1, 2, 3) or tag_end + width > len(raw):
        raise ValueError(f"length byte {first:02X} at offset {tag_end} is not one that a card writes")
    size = first if width == 1 else int.from_bytes(raw[tag_end + 1 : tag_end + width])
    begin, end = tag_end + width, tag_end + width + size
    if end > len(raw):
        raise ValueError(f"a data object of {size} bytes at offset {start} runs past the end")
    return Tlv(int.from_bytes(raw[start:tag_end]), raw[begin:end], width), end


def parse_all(raw: bytes) -> list[Tlv]:
    """Read a run of objects that fills `raw`. Raises ValueError on malformed input."""
    found, offset = [], 0
    while offset < len(raw):
        item, offset = parse(raw, offset)
        found.append(item)
    return found


def _tag_length(raw: bytes) -> int:
    if not raw:
        raise ValueError("the data ends where a tag should begin")
    if raw[0] & 0x1F != 0x1F:
        return 1
    for index, byte in enumerate(raw[1:3], start=2):
        if byte & 0x80 == 0:
            # 00 to 1E would have fitted the first byte, but the card's own files use tags such as FF10 all the same.
            return index
    raise ValueError(f"{raw.hex().upper()} is not a tag of one to three bytes")
