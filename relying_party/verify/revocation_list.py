"""A revocation list, read once and then asked: of a municipality's thousands of entries or everybody's ten million.

A list is read in pieces, so that one of hundreds of megabytes is never in memory as it stands; what is kept is thirteen
bytes to an entry. Entries are taken apart by the thousand, as columns.
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

PIECE_BYTES = 1 << 19
SEGMENT_ENTRIES = 1 << 18
_LONGEST_ENTRY = 4096

Bytes = npt.NDArray[np.uint8]

_REASON_ONLY = bytes.fromhex("300C300A0603551D1504030A01")
"""What comes after serial number and date of an entry whose one extension is the reason, but for the reason itself."""


@dataclass(frozen=True, slots=True)
class RevokedEntry:
    """One revoked certificate."""

    at: datetime
    reason: Reason


@dataclass(frozen=True, slots=True)
class _Segment:
    """Columns of up to some millions of entries, sorted by serial number."""

    serials: npt.NDArray[np.uint64]
    at: npt.NDArray[np.uint32]
    reasons: Bytes


class RevocationList:
    """What a list says, and of whom; its signature has been found to hold.

    `partition` is the directory name of the municipality that it is about, None where it is about everybody.
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
        """How many entries there are."""
        return sum(len(segment.serials) for segment in self._segments)

    def find(self, serial: int) -> RevokedEntry | None:
        """The entry of a serial number."""
        wanted = np.uint64(serial)
        for segment in self._segments:
            place = int(segment.serials.searchsorted(wanted))
            if place < len(segment.serials) and segment.serials[place] == wanted:
                return RevokedEntry(
                    datetime.fromtimestamp(int(segment.at[place]), UTC), Reason(int(segment.reasons[place]))
                )
        return None


def read_revocation_list(
    data: bytes | BinaryIO, anchor: Anchor, *, piece: int = PIECE_BYTES, segment: int = SEGMENT_ENTRIES
) -> RevocationList:
    """Read a list as DER, from a file where it is large: so many bytes (`piece`) are read at once, and so many entries
    (`segment`) are sorted together. Raises VerificationFailed with UNTRUSTED_INFORMATION for what is no list, is not
    the
    authority's, or says what is not understood and must be."""
    file = BytesIO(data) if isinstance(data, bytes) else data
    try:
        return _read(_Stream(file, anchor.digest, piece), anchor, segment)
    except (ValueError, TypeError, KeyError, OverflowError, IndexError) as error:
        raise VerificationFailed(
            Finding.UNTRUSTED_INFORMATION, f"no revocation list that could be read: {error}"
        ) from error


class _Stream:
    """A file read in pieces, of which a part is kept and all of what is to be signed is digested."""

    def __init__(self, file: BinaryIO, algorithm: hashes.HashAlgorithm, piece: int) -> None:
        self._file = file
        self._piece = piece
        self._digest = hashes.Hash(algorithm)
        self._held = b""
        self._left = 0
        """Bytes of what is signed that have not come yet."""

    def header(self, tag: int) -> tuple[int, bytes]:
        """The length of the next value of that tag, and its header; its contents come next."""
        self._want(6)
        size, after = _length(self._held, 0, tag)
        header = self.take(after)
        return size, header

    def begin_signed(self, length: int) -> None:
        """From here on, `length` bytes are what is signed."""
        self._left = length

    def take(self, count: int) -> bytes:
        """The next bytes."""
        self._want(count)
        if len(self._held) < count:
            raise ValueError("it ends too early")
        taken, self._held = self._held[:count], self._held[count:]
        if self._left:
            self._digest.update(taken[: self._left])
            self._left -= min(len(taken), self._left)
        return taken

    def peek(self) -> int:
        """The next value's tag; 0 at the end."""
        self._want(1)
        return self._held[0] if self._held else 0

    def rest(self) -> bytes:
        """All that is held but not taken yet, at least a piece of it."""
        self._want(self._piece)
        return self._held

    def digest(self) -> bytes:
        return self._digest.finalize()

    def _want(self, count: int) -> None:
        if len(self._held) < count:
            self._held += self._file.read(max(count - len(self._held), self._piece))


def _length(data: bytes, place: int, tag: int) -> tuple[int, int]:
    """The length of a value's contents, and where they begin."""
    if len(data) < place + 2 or data[place] != tag:
        raise ValueError(f"a value of tag {tag:02X} was expected")
    first = data[place + 1]
    if first < 0x80:
        return first, place + 2
    size = first & 0x7F
    if not 1 <= size <= 4:
        raise ValueError("a length that is too long")
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
    behind = len(algorithm) + len(signature_header) + signature_size
    if outer_length != len(header) + body_length + behind or unused != b"\x00" or stream.rest():
        raise ValueError("it ends elsewhere than it says")
    # What is left without the entries is small: a library reads it, as a list of nobody.
    body = asn1_crl.TbsCertList.load(_sequence(head + extensions), strict=True)
    return _checked(body, algorithm, signature, digest, anchor, segments)


def _signed_header(stream: _Stream) -> tuple[int, bytes]:
    held = stream.rest()
    size, after = _length(held, 0, 0x30)
    return size, held[:after]


def _sequence(contents: bytes) -> bytes:
    size = len(contents).to_bytes(4)
    return b"\x30\x84" + size + contents


def _checked(
    body: Any, algorithm: bytes, signature: bytes, digest: bytes, anchor: Anchor, segments: list[_Segment]
) -> RevocationList:
    """The list, where it is the authority's and says nothing that is not understood."""
    if body["version"].native != "v2":
        raise ValueError("a version 2 list was expected")
    if body["issuer"].dump() != anchor.name:
        raise VerificationFailed(Finding.UNTRUSTED_INFORMATION, "the list is another authority's")
    if body["signature"].dump() != algorithm:
        raise VerificationFailed(
            Finding.UNTRUSTED_INFORMATION, "the list names one algorithm inside and another outside"
        )
    extensions = _extensions(body)
    number, key, point = (extensions.get(name) for name in _UNDERSTOOD)
    if key is None or key["extn_value"].parsed["key_identifier"].native != anchor.key_identifier:
        raise VerificationFailed(Finding.UNTRUSTED_INFORMATION, "the list is another generation's")
    if not anchor.signed_digest(signature, digest, x509.ObjectIdentifier(body["signature"]["algorithm"].dotted)):
        raise VerificationFailed(Finding.UNTRUSTED_INFORMATION, "the authority's signature over the list does not hold")
    this_update, next_update = body["this_update"].native, body["next_update"].native
    if next_update is None:
        raise VerificationFailed(Finding.UNTRUSTED_INFORMATION, "the list does not say until when it holds")
    return RevocationList(
        anchor, int(number["extn_value"].parsed.native) if number else 0, (this_update, next_update),
        _partition(point) if point else None, segments,
    )  # fmt: skip


_UNDERSTOOD = ("crl_number", "authority_key_identifier", "issuing_distribution_point")


def _extensions(body: Any) -> dict[str, Any]:
    """A list's extensions by name, none of which is critical and not understood."""
    extensions: dict[str, Any] = {}
    for extension in body["crl_extensions"]:
        name = extension["extn_id"].native
        if name in extensions:
            raise ValueError(f"the extension {name} is there twice")
        if extension["critical"].native and name not in _UNDERSTOOD:
            raise VerificationFailed(Finding.UNTRUSTED_INFORMATION, f"the list has a critical extension {name}")
        extensions[name] = extension
    return extensions


def _partition(extension: Any) -> x509.Name:
    """Whose list it is, by its issuing distribution point."""
    point = extension["extn_value"].parsed
    narrowed = [name for name in ("only_contains_ca_certs", "only_contains_attribute_certs", "indirect_crl")
                if point[name].native]  # fmt: skip
    if not extension["critical"].native or narrowed or point["only_some_reasons"].native is not None:
        raise VerificationFailed(
            Finding.UNTRUSTED_INFORMATION, "the list's distribution point is not of holders' certificates"
        )
    full = point["distribution_point"].native is not None and point["distribution_point"].name == "full_name"
    names = point["distribution_point"].chosen if full else []
    if len(names) != 1 or names[0].name != "directory_name":
        raise VerificationFailed(Finding.UNTRUSTED_INFORMATION, "the list's distribution point is no directory entry")
    name = names[0].chosen
    return x509.Name([
        x509.RelativeDistinguishedName([
            x509.NameAttribute(x509.ObjectIdentifier(part["type"].dotted), part["value"].native) for part in relative
        ])
        for relative in name.chosen
    ])  # fmt: skip


def _segments(stream: _Stream, size: int, most: int) -> Iterator[_Segment]:
    """The entries that `size` bytes hold, in sorted segments of `most` entries or some more."""
    columns: list[tuple[Any, ...]] = []
    count = 0
    while size:
        held = stream.rest()[:size]
        starts = _starts(held, last=len(held) == size)
        if not starts:
            raise ValueError(f"an entry of more than {_LONGEST_ENTRY} bytes, or none at all")
        end = starts.pop()
        columns.append(_columns(held[:end], np.array(starts, np.int64), end))
        stream.take(end)
        size -= end
        count += len(starts)
        if count >= most or not size:
            yield _sorted(columns)
            columns, count = [], 0


def _starts(data: bytes, *, last: bool) -> list[int]:
    """Where the whole entries in `data` begin, and at the end where the last of them ends."""
    starts, place, length = [], 0, len(data)
    while place + 2 <= length:
        size = data[place + 1]
        if size >= 0x80:
            contents, begins = _length(data[place : place + 6], 0, 0x30)
            if contents > _LONGEST_ENTRY:
                raise ValueError(f"an entry of more than {_LONGEST_ENTRY} bytes")
            size = begins + contents - 2
        if place + 2 + size > length:
            break
        starts.append(place)
        place += 2 + size
    if last and place != length:
        raise ValueError("an entry reaches beyond the end of the entries")
    return [*starts, place] if starts else []


def _columns(data: bytes, starts: npt.NDArray[np.int64], end: int) -> tuple[Any, ...]:
    """Serial numbers, instants and reasons of the entries that begin at `starts`."""
    octets = np.frombuffer(data, np.uint8)
    lengths = np.diff(starts, append=end)
    # Shape: length of the entry, width of its serial number. Both are the same for nearly all entries of a list.
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
    """The columns of entries of one shape, each a serial number, a UTCTime and at most a reason; None where one of them
    is anything else."""
    rest = length - (4 + width) - 15
    if not 1 <= width <= 9 or rest not in (0, len(_REASON_ONLY) + 1) or length >= 0x80:
        return None
    time = 4 + width
    serial = rows[:, 4:time]
    fixed = (
        np.all(rows[:, :4] == (0x30, length - 2, 0x02, width)) and np.all(rows[:, time : time + 2] == (0x17, 13))
        and np.all(rows[:, time + 14] == ord("Z"))
        and np.all(serial[:, 0] < 0x80) and (width < 9 or not serial[:, 0].any())
    )  # fmt: skip
    digits = rows[:, time + 2 : time + 14]
    if not fixed or np.any(digits < 48) or np.any(digits > 57):
        return None
    if rest and not np.all(rows[:, time + 15 : -1] == np.frombuffer(_REASON_ONLY, np.uint8)):
        return None
    reasons = rows[:, -1] if rest else np.zeros(len(rows), np.uint8)
    if np.any(reasons > max(Reason)):
        return None
    padded = np.zeros((len(rows), 8), np.uint8)
    kept = serial[:, -8:]
    padded[:, 8 - kept.shape[1] :] = kept
    return padded.view(">u8")[:, 0].astype(np.uint64), _instants(digits), reasons


def _instants(digits: Bytes) -> npt.NDArray[np.uint32]:
    """Seconds since 1970 of yymmddHHMMSS, 1970 to 2049."""
    pairs = (digits[:, 0::2] - 48).astype(np.int64) * 10 + (digits[:, 1::2] - 48)
    year, month, day, hour, minute, second = pairs.T
    months = (np.where(year >= 50, 1900, 2000) + year - 1970) * 12 + month - 1
    dates = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64) + day - 1
    if np.any(
        (dates < 0) | (month < 1) | (month > 12) | (day < 1) | (day > 31) | (hour > 23) | (minute > 59) | (second > 59)
    ):
        raise ValueError("a date that there is not")
    seconds: npt.NDArray[np.uint32] = (dates * 86400 + hour * 3600 + minute * 60 + second).astype(np.uint32)
    return seconds


_REASONS = {
    "unspecified": Reason.UNSPECIFIED, "key_compromise": Reason.KEY_COMPROMISE, "ca_compromise": Reason.CA_COMPROMISE,
    "affiliation_changed": Reason.AFFILIATION_CHANGED, "superseded": Reason.SUPERSEDED,
    "cessation_of_operation": Reason.CESSATION_OF_OPERATION, "certificate_hold": Reason.CERTIFICATE_HOLD,
}  # fmt: skip


def _one(data: bytes) -> tuple[int, int, int]:
    """An entry of another shape, taken apart by a library."""
    entry = asn1_crl.RevokedCertificate.load(data, strict=True)
    serial, reason = int(entry["user_certificate"].native), Reason.UNSPECIFIED
    if not 0 < serial < 1 << 64:
        raise ValueError("a serial number that no authority gives out")
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
