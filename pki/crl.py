"""Revocation lists (RFC 5280, section 5) as DER, built from their entries or from the previous list."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from kazashi.jpki.profile import Algorithm, CertificateType
from kazashi.jpki.state import Reason
from kazashi.pki import asn1, der
from kazashi.pki.generation import Generation
from kazashi.world.clock import epoch, from_epoch

NO_REASON = int(Reason.UNSPECIFIED)
"""The reason that is encoded by leaving the extension out, as RFC 5280 requires."""


@dataclass(frozen=True, slots=True)
class Scope:
    """The scope of a list: its issuing distribution point extension (DER), or no bytes for the full list."""

    issuing_distribution_point: bytes = b""


def partition_scope(where: Iterable[der.Relative]) -> Scope:
    """The scope of a municipality's list. The extension is critical; otherwise a partition could be passed off as the
    full list."""
    return _scope(where, asn1.implicit(1, b"\xff"))


def authority_scope(where: Iterable[der.Relative]) -> Scope:
    """The scope of the list of the authority's own certificates."""
    return _scope(where, asn1.implicit(2, b"\xff"))


EVERYTHING = Scope()


def _scope(where: Iterable[der.Relative], only: bytes) -> Scope:
    point = asn1.sequence(der.full_name(where), only)
    return Scope(der.extension(der.ISSUING_DISTRIBUTION_POINT, point, critical=True))


def encode_entry(serial: int, at: int, reason: int) -> bytes:
    """One entry as DER, with the same bytes as from `encode_entries`. `serial` may be a signed 64-bit value."""
    code = asn1.sequence(der.extension(der.REASON_CODE, asn1.integer(reason, asn1.ENUMERATED)))
    return asn1.sequence(
        asn1.integer(serial % (1 << 64)), asn1.time(from_epoch(at)), code if reason != NO_REASON else b""
    )


@dataclass(frozen=True, slots=True)
class SignedCrl:
    """A signed list as pieces of DER, so that a list of hundreds of megabytes is in memory only once."""

    pieces: tuple[bytes | bytearray | memoryview, ...]

    def __bytes__(self) -> bytes:
        return b"".join(self.pieces)


def sign_list(
    generation: Generation,
    kind: CertificateType,
    scope: Scope,
    number: int,
    updates: tuple[datetime, datetime],
    entries: tuple[bytes | bytearray | memoryview, ...],
) -> SignedCrl:
    """Sign a version 2 list with a generation's key; `updates` is (thisUpdate, nextUpdate), `entries` are DER. Raises
    TokenUnavailable."""
    size = sum(len(piece) for piece in entries)
    head, after = _around(generation, kind, scope, number, updates, size)
    algorithm = der.SIGNATURE_ALGORITHM[generation.profile.algorithm]
    signature = algorithm + asn1.bits(generation.key.sign(head, *entries, after))
    outer = asn1.header(asn1.SEQUENCE, len(head) + size + len(after) + len(signature))
    return SignedCrl((outer + head, *entries, after + signature))


def _around(
    generation: Generation, kind: CertificateType, scope: Scope, number: int, updates: tuple[datetime, datetime],
    size: int,
) -> tuple[bytes, bytes]:  # fmt: skip
    """The signed part of a list before and after its entries, which have `size` bytes."""
    before = b"".join(
        (
            asn1.integer(1), der.SIGNATURE_ALGORITHM[generation.profile.algorithm],
            der.authority_name(generation.profile, kind), asn1.time(updates[0]), asn1.time(updates[1]),
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
    listed = asn1.header(asn1.SEQUENCE, size) if size else b""
    return asn1.header(asn1.SEQUENCE, len(before) + len(listed) + size + len(after)) + before + listed, after


_SIGNATURE_BYTES = {Algorithm.RSA_2048: 256, Algorithm.P_384: 104}
"""The size of a signature; for P-384 the largest, of which most have one or two bytes less."""


def list_size(
    generation: Generation, kind: CertificateType, scope: Scope, number: int, updates: tuple[datetime, datetime],
    size: int,
) -> int:  # fmt: skip
    """The bytes of the list that `sign_list` makes of entries with `size` bytes; for P-384 at most one or two less."""
    head, after = _around(generation, kind, scope, number, updates, size)
    algorithm = generation.profile.algorithm
    signature = der.SIGNATURE_ALGORITHM[algorithm] + asn1.bits(bytes(_SIGNATURE_BYTES[algorithm]))
    length = len(head) + size + len(after) + len(signature)
    return len(asn1.header(asn1.SEQUENCE, length)) + length


def entry_size(width: int, generalized: bool, with_reason: bool) -> int:
    """The bytes of an entry whose serial number has `width` octets as an INTEGER."""
    at = epoch(asn1.GENERALIZED_FROM) if generalized else 0
    reason = int(Reason.SUPERSEDED) if with_reason else NO_REASON
    return len(encode_entry((1 << (8 * width - 1)) - 1 if width < 9 else (1 << 64) - 1, at, reason))


@dataclass(frozen=True, slots=True)
class ReadList:
    """The parts of a list that are needed to make the next one: its number, and the offsets where its entries begin and
    end."""

    number: int
    entries: tuple[int, int]


def read_list(data: bytes) -> ReadList:
    """Return a list's number and the offsets of its entries. Raises MalformedDer."""
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
    raise asn1.MalformedDer("the revocation list has no cRLNumber extension")


@lru_cache(maxsize=1)
def _crl_number() -> bytes:
    return asn1.oid(der.CRL_NUMBER)


def without(data: bytes, span: tuple[int, int], removed: Iterable[bytes]) -> tuple[memoryview, ...]:
    """The entries of a list without some of them, in pieces that share the list's bytes.

    `removed` are entries as DER in the order of the list, so that one pass finds them all. An entry of about 36 bytes
    does not occur by chance across the border of two others. Raises KeyError if an entry is not in the list.
    """
    view, (place, end) = memoryview(data), span
    kept = []
    for entry in removed:
        position = data.find(entry, place, end)
        if position < 0:
            raise KeyError(entry.hex())
        kept.append(view[place:position])
        place = position + len(entry)
    kept.append(view[place:end])
    return tuple(piece for piece in kept if len(piece))
