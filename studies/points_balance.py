"""Each point that a till has granted is found once in the ledger, or is named with the reason why not.

Nobody in the real world could draw this up: it reads every till's disk, and the centre's ledger.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from kazashi.refund_points.centre import Centre
from kazashi.refund_points.till import RecordState, Till


@dataclass(frozen=True, slots=True)
class Open:
    """A record that is not in the ledger, or not as its till has it: which, how many points, and why."""

    till: str
    number: int
    points: int
    why: str


@dataclass
class Balance:
    """What the tills have granted, what of that is in the ledger, what is still on its way, refused with a reason, or
    wrong; `elsewhere` is in the ledger and on no disk that is here. All in points, returns taken away."""

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
        """Whether nothing is wrong, and the sums agree."""
        sides = self.found + sum(one.points for one in (*self.waiting, *self.refused, *self.wrong))
        agrees = -self.ledger["granted"] == self.found + self.elsewhere
        return not self.wrong and sides == self.granted and agrees and sum(self.ledger.values()) == 0

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        lists = {name: [[one.till, one.number, one.points, one.why] for one in getattr(self, name)]
                 for name in ("waiting", "refused", "wrong")}  # fmt: skip
        return {"good": self.good, "granted": self.granted, "records": self.records, "found": self.found,
                "elsewhere": self.elsewhere, "ledger": self.ledger, **lists}  # fmt: skip

    def in_words(self) -> str:
        """For people."""
        lines = [
            f"{self.granted:>14,} points granted by the tills, in {self.records:,} records",
            f"{self.found:>14,} of them found once in the ledger",
            f"{sum(one.points for one in self.waiting):>14,} still on their way, in {len(self.waiting):,} records",
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
    """Hold the tills' disks against the ledger."""
    found = Balance()
    seen = set()
    for till in tills:
        seen.add(till.name)
        _compare(found, till, centre.taken(till.name))
    found.elsewhere += sum(sum(centre.taken(entry.name).values()) for entry in centre.tills() if entry.name not in seen)
    with centre.store.reading() as connection:
        found.ledger = centre.ledger.totals(connection)
    return found


def _compare(found: Balance, till: Till, taken: dict[int, int]) -> None:
    """Count each record of a till where it belongs; `taken` has the points of those in the ledger, by number."""
    for state, reason, record in till.records():
        found.granted += record.points
        found.records += 1
        there = taken.get(record.number)
        if there == record.points:
            found.found += taken.pop(record.number)
            continue
        listed, why = _difference(found, state, reason, there)
        listed.append(Open(till.name, record.number, record.points, why))
    for number, state, reason in till.unreadable():
        found.records += 1
        found.refused.append(Open(till.name, number, 0, f"cannot be read any more ({state.value}) {reason}".strip()))
    found.elsewhere += sum(taken.values())


def _difference(found: Balance, state: RecordState, reason: str, there: int | None) -> tuple[list[Open], str]:
    """The list for a record that the ledger does not have as its till has it, and why."""
    if there is not None:
        return found.wrong, f"the ledger has {there}"
    if state is RecordState.ACKNOWLEDGED:
        return found.wrong, "acknowledged, and not in the ledger"
    return found.waiting if state is RecordState.WAITING else found.refused, reason or state.value
