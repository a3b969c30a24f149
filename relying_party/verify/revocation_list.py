"""Revocation lists: those of a municipality with thousands of entries, and the full one with ten million.

A list is parsed once, in chunks, so that a file of hundreds of megabytes is never in memory as a whole. Only thirteen
bytes per entry are kept. Entries are parsed thousands at a time, as columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from asn1crypto import crl as asn1_crl
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from kazashi.jpki.state import Reason
from kazashi.relying_party.verify.anchors import Anchor
from kazashi.relying_party.verify.finding import Finding, VerificationFailed
from kazashi.relying_party.verify.malformed import trouble

PIECE_BYTES = 1 << 19
SEGMENT_ENTRIES = 1 << 18
_LONGEST_ENTRY = 4096

Bytes = npt.NDArray[np.uint8]

_REASON_ONLY = bytes.fromhex("300C300A0603551D1504030A01")
"""The bytes after the serial number and date of an entry whose only extension is the reason, without the reason."""

_TIME_DIGITS = {0x17: 12, 0x18: 14}
"""The digits of a UTCTime and of a GeneralizedTime, by tag."""

_SHAPES = {
    3 + digits + (len(_REASON_ONLY) + 1 if with_reason else 0): (tag, with_reason)
    for tag, digits in _TIME_DIGITS.items() for with_reason in (False, True)
}  # fmt: skip
"""By the bytes of an entry after its serial number: the tag of its time, and whether it has a reason."""

_LAST_INSTANT = int(np.iinfo(np.uint32).max)


@dataclass(frozen=True, slots=True)
class RevokedEntry:
    """The entry of a revoked certificate: when it was revoked, and the reason."""

    at: datetime
    reason: Reason


@dataclass(frozen=True, slots=True)
class _Segment:
    """Columns of up to a few million entries, sorted by serial number."""

    serials: npt.NDArray[np.uint64]
    at: npt.NDArray[np.uint32]
    reasons: Bytes


class RevocationList:
    """A revocation list whose signature has been verified.

    `partition` is the directory name of its municipality, or None for a full list.
    """

    def __init__(
        self, anchor: Anchor, number: int, updates: tuple[datetime, datetime], partition: x509.Name | None,
        segments: list[_Segment],
    ) -> None:  # fmt: skip
        self.anchor = anchor
        self.number = number
        self.this_update, self.next_update = updates
        self.partition = partition
        self._segments = segments

    def __len__(self) -> int:
        """Return the number of entries."""
        return sum(len(segment.serials) for segment in self._segments)

    def find(self, serial: int) -> RevokedEntry | None:
        """Return the entry of a serial number, or None if it is not listed."""
        number = np.uint64(serial)
        for segment in self._segments:
            index = int(segment.serials.searchsorted(number))
            if index < len(segment.serials) and segment.serials[index] == number:
                return RevokedEntry(
                    datetime.fromtimestamp(int(segment.at[index]), UTC), Reason(int(segment.reasons[index]))
                )
        return None


def read_revocation_list(
    data: bytes | BinaryIO, anchor: Anchor, *, piece: int = PIECE_BYTES, segment: int = SEGMENT_ENTRIES
) -> RevocationList:
    """Read a list as DER, from a file if it is large.

    `piece` bytes are read at a time, and `segment` entries are sorted together. Raises VerificationFailed with
    UNTRUSTED_INFORMATION if the data is not a list, is not from the authority, or has a critical extension that is not
    understood.
    """
    file = BytesIO(data) if isinstance(data, bytes) else data
    try:
        return _read(_Stream(file, anchor.digest, piece), anchor, segment)
    except (ValueError, TypeError, KeyError, OverflowError, IndexError) as error:
        raise VerificationFailed(
            Finding.UNTRUSTED_INFORMATION, f"the revocation list cannot be read: {trouble(error)}"
        ) from error


class _Stream:
    """A file that is read in chunks. Only a part is buffered; the signed part is hashed as it is read."""

    def __init__(self, file: BinaryIO, algorithm: hashes.HashAlgorithm, piece: int) -> None:
        self._file = file
        self._piece = piece
        self._digest = hashes.Hash(algorithm)
        self._buffer = b""
        self._unhashed = 0
        """Bytes of the signed part that have not been read yet."""

    def header(self, tag: int) -> tuple[int, bytes]:
        """Read the header of the next value, which must have that tag. Return the length of its contents and the
        header."""
        self._fill(6)
        size, after = _length(self._buffer, 0, tag)
        header = self.take(after)
        return size, header

    def begin_signed(self, length: int) -> None:
        """Start the signed part, which is the next `length` bytes."""
        self._unhashed = length

    def take(self, count: int) -> bytes:
        """Read and return the next `count` bytes. Raises ValueError at the end of the file."""
        self._fill(count)
        if len(self._buffer) < count:
            raise ValueError("the file is truncated")
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        if self._unhashed:
            self._digest.update(taken[: self._unhashed])
            self._unhashed -= min(len(taken), self._unhashed)
        return taken

    def peek(self) -> int:
        """Return the tag of the next value, or 0 at the end of the file."""
        self._fill(1)
        return self._buffer[0] if self._buffer else 0

    def rest(self) -> bytes:
        """Return the buffered bytes that have not been read yet: at least one chunk, unless the file ends."""
        self._fill(self._piece)
        return self._buffer

    def digest(self) -> bytes:
        return self._digest.finalize()

    def _fill(self, count: int) -> None:
        if len(self._buffer) < count:
            self._buffer += self._file.read(max(count - len(self._buffer), self._piece))


def _length(data: bytes, place: int, tag: int) -> tuple[int, int]:
    """Return the length of a value's contents, and the offset at which they begin."""
    if len(data) < place + 2 or data[place] != tag:
        raise ValueError(f"a value of tag {tag:02X} was expected")
    first = data[place + 1]
    if first < 0x80:
        return first, place + 2
    size = first & 0x7F
    if not 1 <= size <= 4:
        raise ValueError("a length has more than four bytes or an indefinite form")
    return int.from_bytes(data[place + 2 : place + 2 + size]), place + 2 + size


def _read(stream: _Stream, anchor: Anchor, segment: int) -> RevocationList:
    outer_length, _ = stream.header(0x30)
    body_length, header = _signed_header(stream)
    stream.begin_signed(body_length + len(header))
    stream.take(len(header))
    end = body_length
    head = b""
    for tags in ((0x02,), (0x30,), (0x30,), (0x17, 0x18), (0x17, 0x18)):
        if stream.peek() not in tags:
            raise ValueError("a version 2 list was expected")
        size, value_header = stream.header(stream.peek())
        value = value_header + stream.take(size)
        end -= len(value)
        head += value
    segments: list[_Segment] = []
    if stream.peek() == 0x30:
        size, value_header = stream.header(0x30)
        end -= len(value_header) + size
        segments = list(_segments(stream, size, segment))
    extensions = stream.take(end)
    digest = stream.digest()
    algorithm_size, algorithm_header = stream.header(0x30)
    algorithm = algorithm_header + stream.take(algorithm_size)
    signature_size, signature_header = stream.header(0x03)
    unused, signature = stream.take(1), stream.take(signature_size - 1)
    trailer = len(algorithm) + len(signature_header) + signature_size
    if outer_length != len(header) + body_length + trailer or unused != b"\x00" or stream.rest():
        raise ValueError("the lengths in the list do not agree with its size")
    # Without the entries the rest is small: asn1crypto parses it, as an empty list.
    body = asn1_crl.TbsCertList.load(_sequence(head + extensions), strict=True)
    return _checked(body, algorithm, signature, digest, anchor, segments)


def _signed_header(stream: _Stream) -> tuple[int, bytes]:
    buffered = stream.rest()
    size, after = _length(buffered, 0, 0x30)
    return size, buffered[:after]


def _sequence(contents: bytes) -> bytes:
    size = len(contents).to_bytes(4)
    return b"\x30\x84" + size + contents


def _checked(
    body: Any, algorithm: bytes, signature: bytes, digest: bytes, anchor: Anchor, segments: list[_Segment]
) -> RevocationList:
    """Return the list after checking that the authority signed it and that its critical extensions are understood.
    Raises VerificationFailed."""
    if body["version"].native != "v2":
        raise ValueError("a version 2 list was expected")
    if body["issuer"].dump() != anchor.name:
        raise VerificationFailed(Finding.UNTRUSTED_INFORMATION, "the list is from another authority")
    if body["signature"].dump() != algorithm:
        raise VerificationFailed(Finding.UNTRUSTED_INFORMATION, "the list names two different signature algorithms")
    extensions = _extensions(body)
    number, key, point = (extensions.get(name) for name in _UNDERSTOOD)
    if number is None or number["critical"].native:
        raise VerificationFailed(
            Finding.UNTRUSTED_INFORMATION, "the list has no number, or a critical one (RFC 5280, 5.2.3)"
        )
    if key is None or key["extn_value"].parsed["key_identifier"].native != anchor.key_identifier:
        raise VerificationFailed(Finding.UNTRUSTED_INFORMATION, "the list is from another generation of the authority")
    if not anchor.signed_digest(signature, digest, x509.ObjectIdentifier(body["signature"]["algorithm"].dotted)):
        raise VerificationFailed(Finding.UNTRUSTED_INFORMATION, "the authority's signature over the list is not valid")
    this_update, next_update = body["this_update"].native, body["next_update"].native
    if next_update is None:
        raise VerificationFailed(Finding.UNTRUSTED_INFORMATION, "the list has no nextUpdate")
    return RevocationList(
        anchor, int(number["extn_value"].parsed.native), (this_update, next_update),
        _partition(point) if point else None, segments,
    )  # fmt: skip


_UNDERSTOOD = ("crl_number", "authority_key_identifier", "issuing_distribution_point")


def _extensions(body: Any) -> dict[str, Any]:
    """Return the list's extensions by name. Raises VerificationFailed for a critical one that is not understood."""
    extensions: dict[str, Any] = {}
    for extension in body["crl_extensions"]:
        name = extension["extn_id"].native
        if name in extensions:
            raise ValueError(f"the list has the extension {name} twice")
        if name == "delta_crl_indicator":
            raise VerificationFailed(
                Finding.UNTRUSTED_INFORMATION, "it is a delta list, with changes only; the complete list is needed"
            )
        if extension["critical"].native and name not in _UNDERSTOOD:
            raise VerificationFailed(
                Finding.UNTRUSTED_INFORMATION, f"the list has the unknown critical extension {name}"
            )
        extensions[name] = extension
    return extensions


def _partition(extension: Any) -> x509.Name:
    """Return the name of the issuing distribution point, which is the municipality's."""
    point = extension["extn_value"].parsed
    restrictions = [name for name in ("only_contains_ca_certs", "only_contains_attribute_certs", "indirect_crl")
                if point[name].native]  # fmt: skip
    if not extension["critical"].native or restrictions or point["only_some_reasons"].native is not None:
        raise VerificationFailed(
            Finding.UNTRUSTED_INFORMATION, "the list's issuing distribution point is not for holders' certificates"
        )
    full = point["distribution_point"].native is not None and point["distribution_point"].name == "full_name"
    names = point["distribution_point"].chosen if full else []
    if len(names) != 1 or names[0].name != "directory_name":
        raise VerificationFailed(
            Finding.UNTRUSTED_INFORMATION, "the list's distribution point is not a directory entry"
        )
    name = names[0].chosen
    return x509.Name([
        x509.RelativeDistinguishedName([
            x509.NameAttribute(x509.ObjectIdentifier(part["type"].dotted), part["value"].native) for part in relative
        ])
        for relative in name.chosen
    ])  # fmt: skip


def _segments(stream: _Stream, size: int, most: int) -> Iterator[_Segment]:
    """Yield the entries in the next `size` bytes as sorted segments of at least `most` entries."""
    columns: list[tuple[Any, ...]] = []
    count = 0
    while size:
        buffered = stream.rest()[:size]
        starts = _starts(buffered, last=len(buffered) == size)
        if not starts:
            raise ValueError(f"an entry is incomplete or longer than {_LONGEST_ENTRY} bytes")
        end = starts.pop()
        columns.append(_columns(buffered[:end], np.array(starts, np.int64), end))
        stream.take(end)
        size -= end
        count += len(starts)
        if count >= most or not size:
            yield _sorted(columns)
            columns, count = [], 0


def _starts(data: bytes, *, last: bool) -> list[int]:
    """Return the offsets of the complete entries in `data`, followed by the end of the last one."""
    starts, place, length = [], 0, len(data)
    while place + 2 <= length:
        size = data[place + 1]
        if size >= 0x80:
            contents, begins = _length(data[place : place + 6], 0, 0x30)
            if contents > _LONGEST_ENTRY:
                raise ValueError(f"an entry is longer than {_LONGEST_ENTRY} bytes")
            size = begins + contents - 2
        if place + 2 + size > length:
            break
        starts.append(place)
        place += 2 + size
    if last and place != length:
        raise ValueError("the last entry extends beyond the end of the entries")
    return [*starts, place] if starts else []


def _columns(data: bytes, starts: npt.NDArray[np.int64], end: int) -> tuple[Any, ...]:
    """Return the serial numbers, revocation times and reasons of the entries that begin at `starts`."""
    octets = np.frombuffer(data, np.uint8)
    lengths = np.diff(starts, append=end)
    # Shape: the length of an entry and the width of its serial number. Nearly all entries of a list have the same one.
    widths = octets[starts + 3].astype(np.int64)
    shapes = lengths * 256 + widths
    serials = np.empty(len(starts), np.uint64)
    at = np.empty(len(starts), np.uint32)
    reasons = np.empty(len(starts), np.uint8)
    for shape in np.unique(shapes):
        chosen = np.flatnonzero(shapes == shape)
        length, width = divmod(int(shape), 256)
        rows = octets[starts[chosen, None] + np.arange(length)]
        plain = _plain(rows, length, width)
        if plain is not None:
            serials[chosen], at[chosen], reasons[chosen] = plain
            continue
        for place, row in zip(chosen, rows, strict=True):
            serials[place], at[place], reasons[place] = _one(row.tobytes())
    return serials, at, reasons


def _plain(rows: Bytes, length: int, width: int) -> tuple[Any, ...] | None:
    """Return the columns of entries of one shape if each is a serial number, a time and at most a reason; otherwise
    return None."""
    after_serial = length - (4 + width)
    if not 1 <= width <= 9 or after_serial not in _SHAPES or length >= 0x80:
        return None
    tag, with_reason = _SHAPES[after_serial]
    time, size = 4 + width, _TIME_DIGITS[tag]
    end = time + 2 + size
    serial = rows[:, 4:time]
    fixed = (
        np.all(rows[:, :4] == (0x30, length - 2, 0x02, width)) and np.all(rows[:, time : time + 2] == (tag, size + 1))
        and np.all(rows[:, end] == ord("Z"))
        and np.all(serial[:, 0] < 0x80) and (width < 9 or not serial[:, 0].any())
    )  # fmt: skip
    digits = rows[:, time + 2 : end]
    if not fixed or np.any(digits < 48) or np.any(digits > 57):
        return None
    if with_reason and not np.all(rows[:, end + 1 : -1] == np.frombuffer(_REASON_ONLY, np.uint8)):
        return None
    reasons = rows[:, -1] if with_reason else np.zeros(len(rows), np.uint8)
    if np.any(reasons > max(Reason)):
        return None
    padded = np.zeros((len(rows), 8), np.uint8)
    kept = serial[:, -8:]
    padded[:, 8 - kept.shape[1] :] = kept
    return padded.view(">u8")[:, 0].astype(np.uint64), _instants(digits), reasons


def _instants(digits: Bytes) -> npt.NDArray[np.uint32]:
    """Convert the digits yymmddHHMMSS (1970 to 2049) or yyyymmddHHMMSS (1970 to 2106) to seconds since 1970."""
    pairs = (digits[:, 0::2] - 48).astype(np.int64) * 10 + (digits[:, 1::2] - 48)
    *century, year, month, day, hour, minute, second = pairs.T
    year = year + (century[0] * 100 if century else np.where(year >= 50, 1900, 2000))
    months = (year - 1970) * 12 + month - 1
    dates = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64) + day - 1
    if np.any(
        (dates < 0) | (month < 1) | (month > 12) | (day < 1) | (day > 31) | (hour > 23) | (minute > 59) | (second > 59)
    ):
        raise ValueError("a revocation date does not exist or is before 1970")
    seconds: npt.NDArray[np.int64] = dates * 86400 + hour * 3600 + minute * 60 + second
    if np.any(seconds > _LAST_INSTANT):
        raise ValueError("a revocation date is after 2106")
    return seconds.astype(np.uint32)


_REASONS = {
    "unspecified": Reason.UNSPECIFIED, "key_compromise": Reason.KEY_COMPROMISE, "ca_compromise": Reason.CA_COMPROMISE,
    "affiliation_changed": Reason.AFFILIATION_CHANGED, "superseded": Reason.SUPERSEDED,
    "cessation_of_operation": Reason.CESSATION_OF_OPERATION, "certificate_hold": Reason.CERTIFICATE_HOLD,
}  # fmt: skip


def _one(data: bytes) -> tuple[int, int, int]:
    """Return the serial number, revocation time and reason of an entry of any other shape; asn1crypto parses it."""
    entry = asn1_crl.RevokedCertificate.load(data, strict=True)
    serial, reason = int(entry["user_certificate"].native), Reason.UNSPECIFIED
    if not 0 < serial < 1 << 64:
        raise ValueError("a serial number is not one that an authority assigns")
    for extension in entry["crl_entry_extensions"] if entry["crl_entry_extensions"].native is not None else ():
        if extension["extn_id"].native == "crl_reason":
            reason = _REASONS[extension["extn_value"].parsed.native]
        elif extension["critical"].native:
            raise VerificationFailed(Finding.UNTRUSTED_INFORMATION, "an entry of the list has a critical extension")
    return serial, int(entry["revocation_date"].native.timestamp()), int(reason)


def _sorted(columns: list[tuple[Any, ...]]) -> _Segment:
    serials, at, reasons = (np.concatenate(column) for column in zip(*columns, strict=True))
    order = np.argsort(serials, kind="stable").astype(np.uint32)
    return _Segment(serials[order], at[order], reasons[order])
