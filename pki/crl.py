"""Revocation lists (RFC 5280, section 5) as DER, built whole from columns of numbers or out of yesterday's list."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from kazashi.jpki.profile import Kind
from kazashi.jpki.state import Reason
from kazashi.pki import asn1, der
from kazashi.pki.generation import Generation
from kazashi.pki.signing_key import SigningKey
from kazashi.world.clock import from_epoch

Numbers = npt.NDArray[np.int64]

_CHUNK = 1 << 16
_NO_REASON = int(Reason.UNSPECIFIED)
"""Absence of the extension says the same, and RFC 5280 wants it absent."""


@dataclass(frozen=True, slots=True)
class Entries:
    """Entries in columns, all of one length: serial numbers (64 bits, unsigned ones taken as they are in a signed
    column), instants in seconds since 1970 up to 2049, reasons."""

    serials: Numbers
    at: Numbers
    reasons: Numbers

    def __len__(self) -> int:
        return len(self.serials)


@dataclass(frozen=True, slots=True)
class Scope:
    """What a list is about: `extensions` is its issuing distribution point, or nothing for a list of everything."""

    issuing_distribution_point: bytes = b""


def partition_scope(where: Iterable[der.Relative]) -> Scope:
    """One municipality's people. The extension is critical, or a part could be passed off as the whole."""
    return _scope(where, asn1.implicit(1, b"\xff"))


def authority_scope(where: Iterable[der.Relative]) -> Scope:
    """The authority's own certificates."""
    return _scope(where, asn1.implicit(2, b"\xff"))


EVERYTHING = Scope()


def _scope(where: Iterable[der.Relative], only: bytes) -> Scope:
    point = asn1.sequence(der.full_name(where), only)
    return Scope(der.extension(der.ISSUING_DISTRIBUTION_POINT, point, critical=True))


def encode_entry(serial: int, at: int, reason: int) -> bytes:
    """One entry as DER, the same bytes as among many; `serial` as in a signed column."""
    code = asn1.sequence(der.extension(der.REASON_CODE, asn1.integer(reason, asn1.ENUMERATED)))
    return asn1.sequence(
        asn1.integer(serial % (1 << 64)), asn1.utc_time(from_epoch(at)), code if reason != _NO_REASON else b""
    )


def encode_entries(entries: Entries) -> Iterator[bytes]:
    """The entries as DER, one after the other, in pieces.

    Entries of one shape (the width of the serial number, with a reason or without) are written together as the rows of
    a matrix; a million of them take a tenth of a second.
    """
    for start in range(0, len(entries), _CHUNK):
        part = slice(start, start + _CHUNK)
        yield _encode(entries.serials[part].view(np.uint64), entries.at[part], entries.reasons[part])


def _encode(serials: npt.NDArray[np.uint64], at: Numbers, reasons: Numbers) -> bytes:
    octets = serials.astype(">u8").view(np.uint8).reshape(-1, 8)
    # The width of a positive INTEGER: a bit more than its highest bit, rounded up to bytes.
    width = np.ones(len(serials), np.int64)
    for size in range(1, 9):
        width[serials >> np.uint64(8 * size - 1) != 0] = size + 1
    shape = width * 2 + (reasons != _NO_REASON)
    shapes = np.unique(shape)
    if len(shapes) == 1:
        return _rows(octets, at, reasons, int(shapes[0])).tobytes()
    pieces = [b""] * len(serials)
    for found in shapes:
        chosen = np.flatnonzero(shape == found)
        rows = _rows(octets[chosen], at[chosen], reasons[chosen], int(found))
        for place, row in zip(chosen, rows, strict=True):
            pieces[place] = row.tobytes()
    return b"".join(pieces)


def _rows(octets: npt.NDArray[np.uint8], at: Numbers, reasons: Numbers, shape: int) -> npt.NDArray[np.uint8]:
    width, with_reason = divmod(shape, 2)
    template = np.frombuffer(_template(width, bool(with_reason)), np.uint8)
    rows = np.tile(template, (len(octets), 1))
    serial = 4
    if width == 9:
        rows[:, serial + 1 : serial + 9] = octets
    else:
        rows[:, serial : serial + width] = octets[:, 8 - width :]
    rows[:, serial + width + 2 : serial + width + 14] = _digits(at)
    if with_reason:
        rows[:, -1] = reasons
    return rows


def _template(width: int, with_reason: bool) -> bytes:
    reason = der.extension(der.REASON_CODE, asn1.integer(1, asn1.ENUMERATED)) if with_reason else b""
    return asn1.sequence(
        asn1.tlv(asn1.INTEGER, bytes(width)),
        asn1.tlv(asn1.UTC_TIME, b"000000000000Z"),
        asn1.sequence(reason) if reason else b"",
    )


def _digits(at: Numbers) -> npt.NDArray[np.uint8]:
    """yymmddHHMMSS as ASCII, a row for each instant."""
    days, seconds = np.divmod(at, 86400)
    dates = days.astype("datetime64[D]")
    months = dates.astype("datetime64[M]")
    year = dates.astype("datetime64[Y]").astype(np.int64) + 1970
    month = months.astype(np.int64) % 12 + 1
    day = (dates - months).astype(np.int64) + 1
    rows = np.empty((len(at), 12), np.uint8)
    parts = (year % 100, month, day, seconds // 3600, seconds // 60 % 60, seconds % 60)
    for place, value in enumerate(parts):
        rows[:, 2 * place] = value // 10 + 48
        rows[:, 2 * place + 1] = value % 10 + 48
    return rows


@dataclass(frozen=True, slots=True)
class RevocationList:
    """A signed list in pieces, which put together are its DER: a list of hundreds of megabytes is held once."""

    pieces: tuple[bytes | bytearray | memoryview, ...]

    def __bytes__(self) -> bytes:
        return b"".join(self.pieces)


def sign_list(
    generation: Generation,
    kind: Kind,
    scope: Scope,
    number: int,
    updates: tuple[datetime, datetime],
    entries: tuple[bytes | bytearray | memoryview, ...],
) -> RevocationList:
    """A version 2 list of a generation: thisUpdate and nextUpdate in `updates`, `entries` as DER. Raises
    TokenUnavailable."""
    algorithm = der.SIGNATURE_ALGORITHM[generation.profile.algorithm]
    before = b"".join(
        (
            asn1.integer(1), algorithm, der.authority_name(generation.profile, kind),
            asn1.utc_time(updates[0]), asn1.utc_time(updates[1]),
        )
    )  # fmt: skip
    after = asn1.explicit(
        0,
        asn1.sequence(
            generation.identifies(kind),
            der.extension(der.CRL_NUMBER, asn1.integer(number)),
            scope.issuing_distribution_point,
        ),
    )
    size = sum(len(piece) for piece in entries)
    listed = asn1.header(asn1.SEQUENCE, size) if size else b""
    length = len(before) + len(listed) + size + len(after)
    head = asn1.header(asn1.SEQUENCE, length) + before + listed
    signature = _signature(generation.key, algorithm, head, entries, after)
    outer = asn1.header(asn1.SEQUENCE, len(head) + size + len(after) + len(signature))
    return RevocationList((outer + head, *entries, after + signature))


def _signature(
    key: SigningKey, algorithm: bytes, head: bytes, entries: tuple[bytes | bytearray | memoryview, ...], after: bytes
) -> bytes:
    return algorithm + asn1.bits(key.sign(head, *entries, after))


@dataclass(frozen=True, slots=True)
class ReadList:
    """What is needed of a list to make the next one: its number, and where its entries begin and end."""

    number: int
    entries: tuple[int, int]


def read_list(data: bytes) -> ReadList:
    """Find a list's number and entries. Raises MalformedDer."""
    body = asn1.Reader(data).inside(asn1.SEQUENCE).inside(asn1.SEQUENCE)
    for _ in ("version", "algorithm", "issuer", "thisUpdate", "nextUpdate"):
        body.skip()
    entries = (0, 0)
    if body.tag == asn1.SEQUENCE:
        _, *span = body.span(asn1.SEQUENCE)
        entries = (span[0], span[1])
    extensions = body.inside(asn1.CONTEXT | asn1.CONSTRUCTED).inside(asn1.SEQUENCE)
    while extensions.more:
        extension = extensions.inside(asn1.SEQUENCE)
        if extension.whole(asn1.OBJECT) == _crl_number():
            if extension.tag == asn1.BOOLEAN:
                extension.skip()
            return ReadList(asn1.Reader(extension.contents(asn1.OCTET_STRING)).number(), entries)
    raise asn1.MalformedDer("the list has no number")


@lru_cache(maxsize=1)
def _crl_number() -> bytes:
    return asn1.oid(der.CRL_NUMBER)


def without(data: bytes, span: tuple[int, int], removed: Iterable[bytes]) -> tuple[memoryview, ...]:
    """The entries of a list less some of them, in pieces that share the list's bytes.

    `removed` are entries as DER, in the order in which they stand: one pass over the list finds them all. An entry of
    some 36 bytes is not met by chance across the border of two others. Raises KeyError where one is not there.
    """
    view, (place, end) = memoryview(data), span
    kept = []
    for entry in removed:
        found = data.find(entry, place, end)
        if found < 0:
            raise KeyError(entry.hex())
        kept.append(view[place:found])
        place = found + len(entry)
    kept.append(view[place:end])
    return tuple(piece for piece in kept if len(piece))
