"""The balance of refund points: each point that a till granted is in the ledger exactly once, or is listed with the
reason why it is not.

Nobody in the real world could draw up this balance: it reads every till's disk and the centre's ledger.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from kazashi.refund_points.centre import Centre
from kazashi.refund_points.till import RecordState, Till


@dataclass(frozen=True, slots=True)
class Open:
    """A record that is missing from the ledger, or differs there from the till's: its till, number and points, and the
    reason."""

    till: str
    number: int
    points: int
    why: str


@dataclass
class Balance:
    """The points that the tills granted, and where they are, with returned goods deducted.

    `found` points are in the ledger; the lists have the records that are `waiting` to be sent, `refused` with a reason,
    or `wrong`. `elsewhere` are points in the ledger from tills whose disks are not here. `records` counts records, all
    other numbers are points.
    """

    granted: int = 0
    records: int = 0
    found: int = 0
    elsewhere: int = 0
    waiting: list[Open] = field(default_factory=list)
    refused: list[Open] = field(default_factory=list)
    wrong: list[Open] = field(default_factory=list)
    ledger: dict[str, int] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        """Whether no record is wrong and the sums agree."""
        sides = self.found + sum(one.points for one in (*self.waiting, *self.refused, *self.wrong))
        agrees = -self.ledger["granted"] == self.found + self.elsewhere
        return not self.wrong and sides == self.granted and agrees and sum(self.ledger.values()) == 0

    def as_dict(self) -> dict[str, Any]:
        """The balance for JSON; each listed record is till, number, points and reason."""
        lists = {name: [[one.till, one.number, one.points, one.why] for one in getattr(self, name)]
                 for name in ("waiting", "refused", "wrong")}  # fmt: skip
        return {"good": self.good, "granted": self.granted, "records": self.records, "found": self.found,
                "elsewhere": self.elsewhere, "ledger": self.ledger, **lists}  # fmt: skip

    def in_words(self) -> str:
        """The balance as text, with the first 20 listed records."""
        lines = [
            f"{self.granted:>14,} points granted by the tills, in {self.records:,} records",
            f"{self.found:>14,} in the ledger exactly once",
            f"{sum(one.points for one in self.waiting):>14,} waiting to be sent, in {len(self.waiting):,} records",
            f"{sum(one.points for one in self.refused):>14,} refused by the centre or damaged, "
            f"in {len(self.refused):,} records",
            f"{sum(one.points for one in self.wrong):>14,} lost or wrong, in {len(self.wrong):,} records",
        ]
        if self.elsewhere:
            lines.append(f"{self.elsewhere:>14,} in the ledger from tills whose disks are not here")
        lines.append("ledger: " + ", ".join(f"{name} {points:,}" for name, points in self.ledger.items()))
        named = [*self.wrong, *self.refused, *self.waiting]
        lines += [f"  {one.till} no. {one.number}: {one.points} points, {one.why}" for one in named[:20]]
        if len(named) > 20:
            lines.append(f"  and {len(named) - 20:,} more (--json lists them all)")
        return "\n".join([*lines, "balanced" if self.good else "NOT BALANCED"])


def balance(centre: Centre, tills: Iterable[Till]) -> Balance:
    """Compare the tills' disks with the ledger."""
    result = Balance()
    seen = set()
    for till in tills:
        seen.add(till.name)
        _compare(result, till, centre.taken(till.name))
    others = (entry.name for entry in centre.tills() if entry.name not in seen)
    result.elsewhere += sum(sum(centre.taken(name).values()) for name in others)
    with centre.store.reading() as connection:
        result.ledger = centre.ledger.totals(connection)
    return result


def _compare(result: Balance, till: Till, taken: dict[int, int]) -> None:
    """Add a till's records to the balance; `taken` has the points of its records in the ledger, by number."""
    for state, reason, record in till.records():
        result.granted += record.points
        result.records += 1
        points = taken.get(record.number)
        if points == record.points:
            result.found += taken.pop(record.number)
            continue
        listed, why = _difference(result, state, reason, points)
        listed.append(Open(till.name, record.number, record.points, why))
    for number, state, reason in till.unreadable():
        result.records += 1
        result.refused.append(Open(till.name, number, 0, f"can no longer be read ({state.value}) {reason}".strip()))
    result.elsewhere += sum(taken.values())


def _difference(result: Balance, state: RecordState, reason: str, points: int | None) -> tuple[list[Open], str]:
    """The list for a record that differs from the ledger, and the reason. `points` is what the ledger has, or None."""
    if points is not None:
        return result.wrong, f"the ledger has {points}"
    if state is RecordState.ACKNOWLEDGED:
        return result.wrong, "acknowledged, but not in the ledger"
    return result.waiting if state is RecordState.WAITING else result.refused, reason or state.value
