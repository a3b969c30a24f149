"""Encode and decode the subset of DER that certificates, revocation lists and OCSP need, as plain bytes.

With lists of a million entries and thousands of signed responses per second, an object per value would be too slow.
As DER requires, the reader accepts only definite lengths in their shortest form.
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
    """The bytes are not the expected DER; none of them were used."""


def header(tag: int, length: int) -> bytes:
    """The tag and length octets of a value."""
    if length < 0x80:
        return bytes((tag, length))
    size = length.to_bytes((length.bit_length() + 7) // 8)
    return bytes((tag, 0x80 | len(size))) + size


def tlv(tag: int, *contents: bytes) -> bytes:
    """A value (tag, length, contents) whose contents are the concatenated arguments."""
    body = b"".join(contents)
    return header(tag, len(body)) + body


def sequence(*contents: bytes) -> bytes:
    """A SEQUENCE of DER values."""
    return tlv(SEQUENCE, *contents)


def explicit(number: int, *contents: bytes) -> bytes:
    """A constructed value with a context-specific tag."""
    return tlv(CONTEXT | CONSTRUCTED | number, *contents)


def implicit(number: int, contents: bytes) -> bytes:
    """A primitive value with a context-specific tag."""
    return tlv(CONTEXT | number, contents)


def integer(value: int, tag: int = INTEGER) -> bytes:
    """A non-negative INTEGER, or another type of integer such as ENUMERATED if `tag` is given."""
    return tlv(tag, value.to_bytes(value.bit_length() // 8 + 1))


def octets(contents: bytes) -> bytes:
    """An OCTET STRING."""
    return tlv(OCTET_STRING, contents)


def bits(contents: bytes, unused: int = 0) -> bytes:
    """A BIT STRING with `unused` unused bits in its last byte."""
    return tlv(BIT_STRING, bytes((unused,)), contents)


def utf8(text: str) -> bytes:
    """A UTF8String."""
    return tlv(UTF8, text.encode())


@lru_cache(maxsize=256)
def oid(dotted: str) -> bytes:
    """An OBJECT IDENTIFIER from its dotted notation."""
    first, second, *rest = (int(arc) for arc in dotted.split("."))
    body = b""
    for arc in (first * 40 + second, *rest):
        septets = [arc & 0x7F]
        while arc := arc >> 7:
            septets.append(0x80 | arc & 0x7F)
        body += bytes(reversed(septets))
    return tlv(OBJECT, body)


GENERALIZED_FROM = datetime(2050, 1, 1, tzinfo=UTC)
"""The first instant that a Time encodes as GeneralizedTime. A UTCTime has two digits for the year."""


def time(instant: datetime) -> bytes:
    """A Time (RFC 5280, 4.1.2.5 and 5.1.2.4): UTCTime up to 2049, GeneralizedTime for later instants."""
    if instant >= GENERALIZED_FROM:
        return generalized_time(instant)
    return tlv(UTC_TIME, f"{instant.astimezone(UTC):%y%m%d%H%M%S}Z".encode("ascii"))


def generalized_time(instant: datetime) -> bytes:
    """A GeneralizedTime with whole seconds."""
    return tlv(GENERALIZED_TIME, f"{instant.astimezone(UTC):%Y%m%d%H%M%S}Z".encode("ascii"))


class Reader:
    """Reads consecutive DER values. Every method that reads raises MalformedDer."""

    __slots__ = ("_data", "_end", "_place")

    def __init__(self, data: bytes, start: int = 0, end: int | None = None) -> None:
        self._data = data
        self._place = start
        self._end = len(data) if end is None else end

    @property
    def tag(self) -> int:
        """The tag of the next value, or 0 at the end."""
        return self._data[self._place] if self._place < self._end else 0

    def span(self, tag: int) -> tuple[int, int, int]:
        """Read the next value; return the offsets of its start, its contents and its end."""
        data, begin = self._data, self._place
        if begin + 2 > self._end or data[begin] != tag:
            raise MalformedDer(f"expected a value of tag {tag:02X} at byte {begin}")
        length, place = data[begin + 1], begin + 2
        if length & 0x80:
            size = length & 0x7F
            if not 1 <= size <= 4 or place + size > self._end:
                raise MalformedDer(f"the length at byte {begin} has {size} bytes; 1 to 4 are supported")
            length = int.from_bytes(data[place : place + size])
            if length < 0x80 or length >> 8 * (size - 1) == 0:
                raise MalformedDer(f"the length at byte {begin} is not in its shortest form")
            place += size
        if place + length > self._end:
            raise MalformedDer(f"the value at byte {begin} is longer than the data")
        self._place = place + length
        return begin, place, self._place

    def contents(self, tag: int) -> bytes:
        """Read the next value; return its contents."""
        _, start, end = self.span(tag)
        return self._data[start:end]

    def whole(self, tag: int) -> bytes:
        """Read the next value; return it with tag and length."""
        begin, _, end = self.span(tag)
        return self._data[begin:end]

    def inside(self, tag: int) -> Reader:
        """Read the next value; return a reader of the values inside it."""
        _, start, end = self.span(tag)
        return Reader(self._data, start, end)

    def number(self) -> int:
        """Read an INTEGER, which must be in its shortest form."""
        body = self.contents(INTEGER)
        if not body or (len(body) > 1 and (body[0], body[1] >> 7) in ((0, 0), (0xFF, 1))):
            raise MalformedDer("the INTEGER is empty or not in its shortest form")
        return int.from_bytes(body, signed=True)

    def skip(self) -> None:
        """Skip the next value, whatever its tag."""
        self.span(self.tag)

    @property
    def more(self) -> bool:
        """Whether there are more values."""
        return self._place < self._end

    def finish(self) -> None:
        """Raise MalformedDer if there are more values."""
        if self.more:
            raise MalformedDer(f"{self._end - self._place} unexpected bytes follow the last value")
