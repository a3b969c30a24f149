"""DER, the little of it that certificates, revocation lists and OCSP need: written and read as plain bytes.

Lists of a million entries and thousands of signed answers a second leave no time for an object to each value. Readers
take definite lengths in their shortest form only, as DER has it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

BOOLEAN, INTEGER, BIT_STRING, OCTET_STRING, NULL, OBJECT = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06
ENUMERATED, UTF8, PRINTABLE, IA5, UTC_TIME, GENERALIZED_TIME = 0x0A, 0x0C, 0x13, 0x16, 0x17, 0x18
SEQUENCE, SET = 0x30, 0x31
CONTEXT, CONSTRUCTED = 0x80, 0x20

TRUE = b"\x01\x01\xff"
ABSENT_PARAMETERS = b"\x05\x00"


class MalformedDer(ValueError):
    """The bytes are not the DER that was expected; nothing of them was used."""


def header(tag: int, length: int) -> bytes:
    """Tag and length."""
    if length < 0x80:
        return bytes((tag, length))
    size = length.to_bytes((length.bit_length() + 7) // 8)
    return bytes((tag, 0x80 | len(size))) + size


def tlv(tag: int, *contents: bytes) -> bytes:
    """One value around the contents, put together."""
    body = b"".join(contents)
    return header(tag, len(body)) + body


def sequence(*contents: bytes) -> bytes:
    """A SEQUENCE."""
    return tlv(SEQUENCE, *contents)


def explicit(number: int, *contents: bytes) -> bytes:
    """A constructed value under a context tag."""
    return tlv(CONTEXT | CONSTRUCTED | number, *contents)


def implicit(number: int, contents: bytes) -> bytes:
    """A primitive value under a context tag."""
    return tlv(CONTEXT | number, contents)


def integer(value: int, tag: int = INTEGER) -> bytes:
    """An INTEGER, or under another tag an ENUMERATED; not negative."""
    return tlv(tag, value.to_bytes(value.bit_length() // 8 + 1))


def octets(contents: bytes) -> bytes:
    """An OCTET STRING."""
    return tlv(OCTET_STRING, contents)


def bits(contents: bytes, unused: int = 0) -> bytes:
    """A BIT STRING."""
    return tlv(BIT_STRING, bytes((unused,)), contents)


def utf8(text: str) -> bytes:
    """A UTF8String."""
    return tlv(UTF8, text.encode())


@lru_cache(maxsize=256)
def oid(dotted: str) -> bytes:
    """An OBJECT IDENTIFIER."""
    first, second, *rest = (int(arc) for arc in dotted.split("."))
    body = b""
    for arc in (first * 40 + second, *rest):
        septets = [arc & 0x7F]
        while arc := arc >> 7:
            septets.append(0x80 | arc & 0x7F)
        body += bytes(reversed(septets))
    return tlv(OBJECT, body)


def utc_time(instant: datetime) -> bytes:
    """A UTCTime, up to 2049; later instants as GeneralizedTime, as RFC 5280 has it."""
    at = instant.astimezone(UTC)
    if at.year >= 2050:
        return generalized_time(at)
    return tlv(UTC_TIME, f"{at:%y%m%d%H%M%S}Z".encode("ascii"))


def generalized_time(instant: datetime) -> bytes:
    """A GeneralizedTime with whole seconds."""
    return tlv(GENERALIZED_TIME, f"{instant.astimezone(UTC):%Y%m%d%H%M%S}Z".encode("ascii"))


class Reader:
    """Values one after the other."""

    __slots__ = ("_data", "_end", "_place")

    def __init__(self, data: bytes, start: int = 0, end: int | None = None) -> None:
        self._data = data
        self._place = start
        self._end = len(data) if end is None else end

    @property
    def tag(self) -> int:
        """The next value's tag; 0 at the end."""
        return self._data[self._place] if self._place < self._end else 0

    def span(self, tag: int) -> tuple[int, int, int]:
        """Where the next value begins, where its contents begin, and where it ends. Raises MalformedDer."""
        data, begin = self._data, self._place
        if begin + 2 > self._end or data[begin] != tag:
            raise MalformedDer(f"expected a value of tag {tag:02X} at byte {begin}")
        length, place = data[begin + 1], begin + 2
        if length & 0x80:
            size = length & 0x7F
            if not 1 <= size <= 4 or place + size > self._end:
                raise MalformedDer(f"a length of {size} bytes at byte {begin}")
            length = int.from_bytes(data[place : place + size])
            if length < 0x80 or length >> 8 * (size - 1) == 0:
                raise MalformedDer(f"a length in more bytes than it needs at byte {begin}")
            place += size
        if place + length > self._end:
            raise MalformedDer(f"the value at byte {begin} reaches beyond its end")
        self._place = place + length
        return begin, place, self._place

    def contents(self, tag: int) -> bytes:
        """The contents of the next value."""
        _, start, end = self.span(tag)
        return self._data[start:end]

    def whole(self, tag: int) -> bytes:
        """The next value as it stands."""
        begin, _, end = self.span(tag)
        return self._data[begin:end]

    def inside(self, tag: int) -> Reader:
        """A reader of the values inside the next value."""
        _, start, end = self.span(tag)
        return Reader(self._data, start, end)

    def number(self) -> int:
        """The next value, an INTEGER in its shortest form."""
        body = self.contents(INTEGER)
        if not body or (len(body) > 1 and (body[0], body[1] >> 7) in ((0, 0), (0xFF, 1))):
            raise MalformedDer("a number in more bytes than it needs, or in none")
        return int.from_bytes(body, signed=True)

    def skip(self) -> None:
        """Pass the next value over, whatever it is."""
        self.span(self.tag)

    @property
    def more(self) -> bool:
        """Whether values are left."""
        return self._place < self._end

    def finish(self) -> None:
        """Raises MalformedDer where values are left."""
        if self.more:
            raise MalformedDer(f"{self._end - self._place} bytes are left over")
