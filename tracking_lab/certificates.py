"""The certificates on people's cards and phones, computed in whole columns. Each kind and medium has a slot.

The authorities' own table (`pki/consequence.py`) says which events end a certificate.
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
"""Added to the signature authority's serial numbers, because each authority counts separately."""


class EndReason(IntEnum):
    """Why a certificate ended, by the number under which it is stored."""

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
    """The certificates of `count` people over a number of `days`. In the methods, `who` and `day` are arrays of the
    same length: the indices of people, and a day for each. A person has at most one good certificate of a kind and
    medium."""

    def __init__(self, count: int, days: int) -> None:
        self._days = days
        shape = (len(_SLOTS), count)
        self._begins, self._ends = np.full(shape, NEVER, np.int32), np.full(shape, -1, np.int32)
        self._good, self._generation = np.zeros(shape, bool), np.zeros(shape, np.uint8)
        self._chain = np.zeros((2, count), np.uint16)
        self._over: list[pl.DataFrame] = []

    # Status

    def ever(self, kind: CertificateType, medium: int, who: Any) -> Any:
        """Whether each person ever had a certificate of a kind and medium."""
        return self._begins[_slot(kind, medium)][who] != NEVER

    def last_day(self, kind: CertificateType, medium: int, who: Any) -> Any:
        """The last day of validity in each person's latest certificate; -1 if there was none."""
        return self._ends[_slot(kind, medium)][who]

    def good(self, kind: CertificateType, medium: int, who: Any) -> Any:
        """Whether each person's latest certificate was neither revoked nor replaced. It may have expired."""
        return self._good[_slot(kind, medium)][who]

    def valid(self, kind: CertificateType, medium: int, who: Any, day: Any) -> Any:
        """Whether each person has a certificate that is good and has not expired."""
        return self.good(kind, medium, who) & (self.last_day(kind, medium, who) >= day)

    # Changes

    def new_chain(self, who: Any) -> None:
        """Start a new chain: certificates issued from now on are not successors of the earlier ones."""
        self._chain[:, who] += 1

    def issue(self, kind: CertificateType, medium: int, who: Any, day: Any, end: Any) -> None:
        """Issue certificates that are valid until `end`; each supersedes the person's former one."""
        slot = _slot(kind, medium)
        self._close(slot, who, day, EndReason.SUPERSEDED)
        self._begins[slot][who], self._ends[slot][who], self._good[slot][who] = day, end, True

    def supersede(self, kind: CertificateType, medium: int, who: Any, day: Any) -> None:
        """End good certificates as superseded, without issuing successors yet."""
        self._close(_slot(kind, medium), who, day, EndReason.SUPERSEDED)

    def revoke(self, who: Any, day: Any, event: type[Event]) -> None:
        """End the certificates that an event of the registry revokes."""
        for slot, (kind, _) in enumerate(_SLOTS):
            if TABLE[event].of(kind) is not None:
                self._close(slot, who, day, _ENDS[event])

    def expire(self, who: Any, day: Any) -> None:
        """End all good certificates, because the card ends."""
        for slot in range(len(_SLOTS)):
            self._close(slot, who, day, EndReason.EXPIRED)

    def frame(self, first: int) -> pl.DataFrame:
        """All certificates, of people numbered from `first`. `begins` is a certificate's first day, `ends` the last day
        of its validity period, and `ended` the first day on which it is no longer good (NEVER if that is after the
        plan)."""
        rows = self._over.copy()
        for slot, good in enumerate(self._good):
            who = np.flatnonzero(good)
            rows.append(self._rows(slot, who, np.full(len(who), NEVER, np.int32), EndReason.NONE))
        certificates = pl.concat(rows).cast(_SCHEMA).with_columns(pl.col("person") + first)
        return certificates.sort("person", "kind", "medium", "generation")

    def _close(self, slot: int, who: Any, day: Any, reason: EndReason) -> None:
        """End the good certificates of a slot on a day, unless they expired before."""
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
    """The first day on which a certificate whose last day is `last` can be renewed:
    `kazashi.pki.validity.renewal_opens` for whole columns."""
    days = np.datetime64(BEGINS) + last.astype("timedelta64[D]")
    months = days.astype("datetime64[M]")
    opens = months - EMULATED.term.renewal_months
    most = ((opens + 1).astype("datetime64[D]") - opens.astype("datetime64[D]")).astype(np.int32) - 1
    of_month = np.minimum((days - months.astype("datetime64[D]")).astype(np.int32), most)
    return (opens.astype("datetime64[D]") + of_month.astype("timedelta64[D]") - np.datetime64(BEGINS)).astype(np.int32)


def numbered(certificates: pl.DataFrame, before: Any) -> pl.DataFrame:
    """A chunk's certificates with serial numbers: each authority counts without gaps, in the order of issue. `before`
    has, by kind and day, the number of certificates issued earlier. `shown` is unique over both authorities."""
    ordered = certificates.sort("begins", "person", "medium", "generation")
    place = pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over("kind", "begins")
    earlier = before[ordered["kind"].to_numpy().astype(np.int8), ordered["begins"].to_numpy()]
    ordered = ordered.with_columns(serial=(place + pl.Series(earlier, dtype=pl.Int64)))
    return ordered.with_columns(shown=pl.col("serial") + pl.col("kind").cast(pl.Int64) * SIGNATURES)
