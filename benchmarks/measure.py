"""A measurement: our value and a peer's, measured in the same run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Measure:
    """The result of a measurement, printed under the headings HEADINGS.

    `ours` and `peer` have the unit `unit`. `goal` is the condition on `ratio`, such as ">= 200" or "<= 1.5".
    """

    name: str
    unit: str
    ours: float
    peer: float
    peer_name: str
    ratio: float
    goal: str
    met: bool

    HEADINGS: ClassVar = ("measure", "ours", "peer", "ratio")

    def cells(self) -> tuple[str, ...]:
        """The text under each heading."""
        peer = f"{self.peer:,.3f} {self.unit} ({self.peer_name})"
        return self.name, f"{self.ours:,.3f} {self.unit}", peer, f"{self.ratio:,.2f}"


def at_least(name: str, unit: str, ours: float, peer: float, peer_name: str, ratio: float, goal: float) -> Measure:
    """A measurement whose ratio must be at least `goal`."""
    return Measure(name, unit, ours, peer, peer_name, ratio, f">= {goal:g}", ratio >= goal)


def at_most(name: str, unit: str, ours: float, peer: float, peer_name: str, ratio: float, goal: float) -> Measure:
    """A measurement whose ratio must be at most `goal`."""
    return Measure(name, unit, ours, peer, peer_name, ratio, f"<= {goal:g}", ratio <= goal)


def median_ms(action: Callable[[], object], count: int) -> float:
    """Return the median time of `count` calls in milliseconds."""
    return median(timings_ms(action, count))


def timings_ms(action: Callable[[], object], count: int) -> list[float]:
    """Return the times of `count` calls in milliseconds."""
    taken = []
    for _ in range(count):
        begun = time.perf_counter()
        action()
        taken.append((time.perf_counter() - begun) * 1000)
    return taken


def peak_megabytes() -> float:
    """Return the peak resident size of this process in megabytes.

    `getrusage` is not used: it would return the parent's size if that was larger when the process started.
    """
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise OSError("/proc/self/status has no VmHWM line; the peak size of this process is unknown")
