"""The certificates on people's cards and phones: whole columns at a time, a slot to a kind and a medium.

What ends a certificate is the authorities' own table (`pki/consequence.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any

import numpy as np
import polars as pl

from kazashi.jpki.profile import EMULATED, CertificateType
from kazashi.pki.consequence import TABLE
from kazashi.resident_registry.event import CardReturn, Death, Event, MoveIn, MoveWithin, NameChange, Theft
from kazashi.tracking_lab.people import NEVER
from kazashi.tracking_lab.plan import BEGINS

SIGNATURES = 1 << 40
"""What is added to the serial numbers of the signature authority's, which counts for itself."""


class EndReason(IntEnum):
    """What ends a certificate, by the number under which it is stored."""

    NONE = 0
    """It has not ended within the plan."""
    SUPERSEDED = 1
    EXPIRED = 2
    MOVE_WITHIN = 3
    MOVE_IN = 4
    NAME_CHANGE = 5
    THEFT = 6
    DEATH = 7
    RETURN = 8


_ENDS: Mapping[type[Event], EndReason] = {
    MoveWithin: EndReason.MOVE_WITHIN,
    MoveIn: EndReason.MOVE_IN,
    NameChange: EndReason.NAME_CHANGE,
    Theft: EndReason.THEFT,
    Death: EndReason.DEATH,
    CardReturn: EndReason.RETURN,
}

CARD, PHONE = 0, 1
_SLOTS = tuple((kind, medium) for kind in CertificateType for medium in (CARD, PHONE))
_SCHEMA: dict[Any, Any] = {
    "person": pl.UInt32, "kind": pl.Boolean, "medium": pl.UInt8, "chain": pl.UInt16, "generation": pl.UInt8,
    "begins": pl.Int32, "ends": pl.Int32, "ended": pl.Int32, "reason": pl.UInt8,
}  # fmt: skip


class PopulationCertificates:
    """The certificates of `count` people over so many `days`. `who` and `day` are arrays of one length: places of
    people, and a day for each. A person has at most one good certificate of a kind and medium."""

    def __init__(self, count: int, days: int) -> None:
        self._days = days
        shape = (len(_SLOTS), count)
        self._begins, self._ends = np.full(shape, NEVER, np.int32), np.full(shape, -1, np.int32)
        self._good, self._generation = np.zeros(shape, bool), np.zeros(shape, np.uint8)
        self._chain = np.zeros((2, count), np.uint16)
        self._over: list[pl.DataFrame] = []

    # How they stand

    def ever(self, kind: CertificateType, medium: int, who: Any) -> Any:
        """Whether people have had one."""
        return self._begins[_slot(kind, medium)][who] != NEVER

    def last_day(self, kind: CertificateType, medium: int, who: Any) -> Any:
        """The last day of the latest by what stands in it; -1 where there was none."""
        return self._ends[_slot(kind, medium)][who]

    def good(self, kind: CertificateType, medium: int, who: Any) -> Any:
        """Whether the latest was neither revoked nor replaced; it may have expired."""
        return self._good[_slot(kind, medium)][who]

    def valid(self, kind: CertificateType, medium: int, who: Any, day: Any) -> Any:
        """Whether there is one that is good and has not expired."""
        return self.good(kind, medium, who) & (self.last_day(kind, medium, who) >= day)

    # What becomes of them

    def new_chain(self, who: Any) -> None:
        """What is issued from now on is not told to follow what was."""
        self._chain[:, who] += 1

    def issue(self, kind: CertificateType, medium: int, who: Any, day: Any, end: Any) -> None:
        """One that is good up to `end`; it supersedes a former one."""
        slot = _slot(kind, medium)
        self._close(slot, who, day, EndReason.SUPERSEDED)
        self._begins[slot][who], self._ends[slot][who], self._good[slot][who] = day, end, True

    def supersede(self, kind: CertificateType, medium: int, who: Any, day: Any) -> None:
        """What is good is replaced, and nothing follows it yet."""
        self._close(_slot(kind, medium), who, day, EndReason.SUPERSEDED)

    def revoke(self, who: Any, day: Any, event: type[Event]) -> None:
        """Those that an event of the registry's ends."""
        for slot, (kind, _) in enumerate(_SLOTS):
            if TABLE[event].of(kind) is not None:
                self._close(slot, who, day, _ENDS[event])

    def expire(self, who: Any, day: Any) -> None:
        """What is left ends with the card."""
        for slot in range(len(_SLOTS)):
            self._close(slot, who, day, EndReason.EXPIRED)

    def frame(self, first: int) -> pl.DataFrame:
        """All certificates of people who are numbered from `first` on: `begins` is a certificate's first day, `ends`
        its last by what stands in it, `ended` the first day on which it is not good any more (NEVER where that is not
        seen yet)."""
        rows = self._over.copy()
        for slot, good in enumerate(self._good):
            who = np.flatnonzero(good)
            rows.append(self._rows(slot, who, np.full(len(who), NEVER, np.int32), EndReason.NONE))
        found = pl.concat(rows).cast(_SCHEMA).with_columns(pl.col("person") + first)
        return found.sort("person", "kind", "medium", "generation")

    def _close(self, slot: int, who: Any, day: Any, reason: EndReason) -> None:
        """What is good on a slot ends on a day, unless its own end came first."""
        good = self._good[slot][who]
        who, day = who[good], day[good]
        if len(who):
            self._over.append(self._rows(slot, who, day, reason))
            self._good[slot][who] = False
            self._generation[slot][who] += 1

    def _rows(self, slot: int, who: Any, day: Any, reason: EndReason) -> pl.DataFrame:
        kind, medium = _SLOTS[slot]
        end = self._ends[slot][who]
        expired = end < np.minimum(day, self._days)
        return pl.DataFrame({
            "person": who.astype(np.uint32), "kind": np.full(len(who), kind is CertificateType.SIGNATURE),
            "medium": np.full(len(who), medium, np.uint8), "chain": self._chain[medium][who],
            "generation": self._generation[slot][who], "begins": self._begins[slot][who], "ends": end,
            "ended": np.where(expired, end + 1, day).astype(np.int32),
            "reason": np.where(expired, EndReason.EXPIRED, reason).astype(np.uint8),
        })  # fmt: skip


def _slot(kind: CertificateType, medium: int) -> int:
    return _SLOTS.index((kind, medium))


def renewal_opens(last: Any) -> Any:
    """The first day on which what ends on a day can be renewed, as `kazashi.pki.validity.renewal_opens` says it."""
    days = np.datetime64(BEGINS) + last.astype("timedelta64[D]")
    months = days.astype("datetime64[M]")
    opens = months - EMULATED.term.renewal_months
    most = ((opens + 1).astype("datetime64[D]") - opens.astype("datetime64[D]")).astype(np.int32) - 1
    of_month = np.minimum((days - months.astype("datetime64[D]")).astype(np.int32), most)
    return (opens.astype("datetime64[D]") + of_month.astype("timedelta64[D]") - np.datetime64(BEGINS)).astype(np.int32)


def numbered(certificates: pl.DataFrame, before: Any) -> pl.DataFrame:
    """A chunk's certificates with their serial numbers: each authority counts without a gap, in the order of issue.
    `before` says by kind and day how many others were issued earlier. `shown` is what tells a certificate from all
    others, of either authority."""
    found = certificates.sort("begins", "person", "medium", "generation")
    place = pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over("kind", "begins")
    earlier = before[found["kind"].to_numpy().astype(np.int8), found["begins"].to_numpy()]
    found = found.with_columns(serial=(place + pl.Series(earlier, dtype=pl.Int64)))
    return found.with_columns(shown=pl.col("serial") + pl.col("kind").cast(pl.Int64) * SIGNATURES)
