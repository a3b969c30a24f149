"""The sizes of an authority's next revocation lists after certificates are revoked, computed without making the lists.

The sizes are those of the encoder (`kazashi.pki.crl`), byte for byte, from counts of entries of the same shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from kazashi.jpki.profile import Algorithm
from kazashi.jpki.state import Reason
from kazashi.pki import asn1
from kazashi.pki.certificate_database import FULL_LIST
from kazashi.pki.crl import entry_size, list_size
from kazashi.pki.generation import Generation
from kazashi.pki.publication import VALID_FOR, Publication
from kazashi.world.clock import epoch, from_epoch

_GENERALIZED_FROM = epoch(asn1.GENERALIZED_FROM)


class NoSuchList(Exception):
    """The authority has no list of that name in that generation."""


@dataclass(frozen=True, slots=True)
class ListForecast:
    """One list: what is published now, and the next one. Sizes are in bytes of the DER file."""

    name: str
    bytes_now: int
    entries_then: int
    added: int
    bytes_then: int
    made_at: datetime
    exact: bool
    """Whether `bytes_then` is exact. An ECDSA signature varies by some bytes, and so do random serial numbers."""


@dataclass(frozen=True, slots=True)
class _Weight:
    """A number of entries, and their bytes."""

    entries: int = 0
    size: int = 0

    def __add__(self, other: _Weight) -> _Weight:
        return _Weight(self.entries + other.entries, self.size + other.size)


class Forecast:
    """The next lists of one generation of an authority, if certificates are revoked now for one reason."""

    def __init__(self, publication: Publication, generation: Generation, reason: Reason) -> None:
        self._publication = publication
        self._generation = generation
        self._reason = reason
        self._world = publication.authority.world
        self._ledger = publication.authority.ledger

    def of_municipalities(self, codes: Sequence[str]) -> list[ListForecast]:
        """Forecast the lists of municipalities, and the full list, if every certificate of their residents is revoked
        that can be. Raises NoSuchList."""
        weights = {code: self._revocable(code) for code in codes}
        total = sum(weights.values(), _Weight())
        return [self._list(name, weight, exact=True) for name, weight in [*weights.items(), (FULL_LIST, total)]]

    def of_entries(self, count: int, code: str | None) -> list[ListForecast]:
        """Forecast a municipality's list, if one is given, and the full list, with `count` more entries. Counted serial
        numbers have four octets, and random ones eight or, half of them, nine. Raises NoSuchList."""
        now, with_reason = epoch(self._world.clock.now()) >= _GENERALIZED_FROM, self._reason is not Reason.UNSPECIFIED
        counted = self._world.settings.serials != "random"
        widths = {4: count} if counted else {8: count - count // 2, 9: count // 2}
        size = sum(number * entry_size(width, now, with_reason) for width, number in widths.items())
        names = [FULL_LIST] if code is None else [code, FULL_LIST]
        return [self._list(name, _Weight(count, size), exact=counted) for name in names]

    def _list(self, name: str, added: _Weight, *, exact: bool) -> ListForecast:
        table, publication = self._ledger.revocation_list, self._publication
        condition = (table.c.generation == self._generation.name) & (table.c.name == name)
        with self._ledger.store.reading() as connection:
            row = connection.execute(sa.select(table).where(condition)).one_or_none()
        if row is None or not row.written:
            raise NoSuchList(name)
        made_at = publication.batch_after(from_epoch(row.this_update))
        whole = self._pending(row) + added
        size = list_size(
            self._generation, publication.authority.kind, publication.scope(self._generation, name), row.number + 1,
            (made_at, made_at + VALID_FOR), whole.size,
        )  # fmt: skip
        now = publication.path(self._generation.name, name).stat().st_size
        fixed = self._generation.profile.algorithm is Algorithm.RSA_2048
        return ListForecast(name, now, whole.entries, added.entries, size, made_at, exact and fixed)

    def _pending(self, row: Any) -> _Weight:
        """The entries that the next list has by what is recorded already."""
        table = self._ledger.revocation.c
        condition = (
            (table.generation == row.generation) & (table.expires >= row.this_update) & table.ended_position.is_(None)
        )
        if row.name != FULL_LIST:
            condition &= table.partition == row.name
        shape = (_width_of(table.serial), table.at >= _GENERALIZED_FROM, table.reason != int(Reason.UNSPECIFIED))
        query = sa.select(*shape, sa.func.count()).where(condition).group_by(*shape)
        with self._ledger.store.reading() as connection:
            groups = connection.execute(query).all()
        return sum(
            (_Weight(count, count * entry_size(width, bool(late), bool(with_reason)))
             for width, late, with_reason, count in groups), _Weight(),
        )  # fmt: skip

    def _revocable(self, code: str) -> _Weight:
        """What the entries weigh that come for the unexpired certificates in a municipality's list. A certificate on
        hold has an entry already, which is replaced."""
        certificate, revocation = self._ledger.certificate.c, self._ledger.revocation
        now = epoch(self._world.clock.now())
        current = (revocation.c.serial == certificate.serial) & revocation.c.ended_position.is_(None)
        on_hold = revocation.c.reason == int(Reason.CERTIFICATE_HOLD)
        allowed: sa.ColumnElement[bool] = revocation.c.serial.is_(None)
        if self._reason is not Reason.CERTIFICATE_HOLD:
            allowed |= on_hold
        shape = (_width_of(certificate.serial), sa.func.coalesce(revocation.c.at, now) >= _GENERALIZED_FROM,
                 revocation.c.serial.is_not(None))  # fmt: skip
        query = (
            sa.select(*shape, sa.func.count())
            .select_from(self._ledger.certificate.outerjoin(revocation, current))
            .where((certificate.generation == self._generation.name) & (certificate.partition == code)
                   & (certificate.not_after >= now) & allowed)
            .group_by(*shape)
        )  # fmt: skip
        with self._ledger.store.reading() as connection:
            groups = connection.execute(query).all()
        total = _Weight()
        for width, late, held, count in groups:
            size = entry_size(width, bool(late), self._reason is not Reason.UNSPECIFIED)
            former = entry_size(width, bool(late), True) if held else 0
            total += _Weight(0 if held else count, count * (size - former))
        return total


def _width_of(column: Any) -> Any:
    """The octets of serial numbers as positive INTEGERs, of a column of unsigned 64-bit values stored as signed."""
    value = sa.type_coerce(column, sa.BigInteger)
    return sa.case((value < 0, 9), *((value < 1 << (8 * size - 1), size) for size in range(1, 8)), else_=8)
