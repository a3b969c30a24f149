"""The result of a trial: how often something was tried, and how often it was survived."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

Show = Callable[[str], object]
"""Shows what is being done, for a person who waits."""

Trials = Callable[[float, int, Show], Iterator["Trial"]]
"""The function `trials(minutes, seed, show)` of a module in this package. It yields each result as soon as it stands.

`minutes` is the time that it may take, in all. Equal seeds draw the same cases, in the same order.
"""

FOREVER = range(1 << 62)
"""The numbers of cases that are tried until the time is over."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What was tried, and what became of it; printed under the headings HEADINGS.

    `tried`, `survived` and `lost` have the unit `unit`, such as "kills". `detail` is one line: the spread or coverage
    of what was tried, the seeds, and the reference of the same run. `goal` is the condition that `met` is about.
    """

    name: str
    unit: str
    tried: int
    survived: int
    lost: int
    detail: str
    goal: str
    met: bool

    HEADINGS: ClassVar = ("trial", "tried", "survived", "lost", "of which")

    def cells(self) -> tuple[str, ...]:
        """The text under each heading."""
        return self.name, f"{self.tried:,} {self.unit}", f"{self.survived:,}", f"{self.lost:,}", self.detail
