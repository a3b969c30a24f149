"""An entitlement to medical insurance (資格), and the text in which an insurer provides it over the network."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

ITEM = "医療保険資格関係情報"
"""The item of the table of affairs that has entitlements."""

_NUMBER = r"[0-9A-Za-z]{1,8}(?:-[0-9A-Za-z]{1,8}){0,3}"
INSURED_NUMBER = re.compile(_NUMBER)
"""An insured number: one to four groups of letters and digits (記号・番号・枝番), joined by hyphens."""

_DAY = r"\d{4}-\d{2}-\d{2}"
_WRITTEN = re.compile(rf"記号番号 ({_NUMBER}) 有効期間 ({_DAY})から(?:({_DAY})まで)?")


@dataclass(frozen=True, slots=True)
class Entitlement:
    """An entitlement: the insurer, the insurer's number of the insured person, the first day, and the last day (None:
    no end)."""

    insurer: str
    insured_number: str
    begins: date
    ends: date | None

    def holds(self, day: date) -> bool:
        """Return whether it is valid on a day. The first and the last day count."""
        return self.begins <= day and (self.ends is None or day <= self.ends)

    def written(self) -> str:
        """Return it as the line of a copy."""
        until = f"{self.ends}まで" if self.ends else ""
        return f"記号番号 {self.insured_number} 有効期間 {self.begins}から{until}"


def entitlements_in(insurer: str, content: str) -> list[Entitlement]:
    """Return the entitlements in an insurer's copy, one a line. Raises ValueError."""
    found = []
    for line in content.splitlines():
        match = _WRITTEN.fullmatch(line)
        if match is None:
            raise ValueError(f"{line[:60]!r} is not an entitlement")
        number, begins, ends = match.groups()
        found.append(
            Entitlement(insurer, number, date.fromisoformat(begins), date.fromisoformat(ends) if ends else None)
        )
    return found


def decisive(entitlements: Iterable[Entitlement], day: date) -> Entitlement | None:
    """Return the entitlement that decides on a day: the valid one that began last, or else the one that ended last, or
    else the one that begins first. None if there are none."""
    known = list(entitlements)
    if valid := [one for one in known if one.holds(day)]:
        return max(valid, key=lambda one: one.begins)
    if ended := [one for one in known if one.ends is not None and one.ends < day]:
        return max(ended, key=lambda one: one.ends or day)
    return min(known, key=lambda one: one.begins, default=None)
