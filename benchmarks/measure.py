"""A measurement: ours beside a peer's, measured in the same run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median


@dataclass(frozen=True, slots=True)
class Measure:
    """What was measured. `ratio` is written so that `goal` reads as it stands (">= 200", "<= 1.5")."""

    name: str
    unit: str
    ours: float
    peer: float
    peer_name: str
    ratio: float
    goal: str
    met: bool


def at_least(name: str, unit: str, ours: float, peer: float, peer_name: str, ratio: float, goal: float) -> Measure:
    """A measure whose ratio should be large."""
    return Measure(name, unit, ours, peer, peer_name, ratio, f">= {goal:g}", ratio >= goal)


def at_most(name: str, unit: str, ours: float, peer: float, peer_name: str, ratio: float, goal: float) -> Measure:
    """A measure whose ratio should be small."""
    return Measure(name, unit, ours, peer, peer_name, ratio, f"<= {goal:g}", ratio <= goal)


def median_ms(action: Callable[[], object], count: int) -> float:
    """The median time of `count` calls, in milliseconds."""
    return median(timings_ms(action, count))


def timings_ms(action: Callable[[], object], count: int) -> list[float]:
    """The times of `count` calls, in milliseconds."""
    taken = []
    for _ in range(count):
        begun = time.perf_counter()
        action()
        taken.append((time.perf_counter() - begun) * 1000)
    return taken


def peak_megabytes() -> float:
    """The greatest size that this process has had. `getrusage` would tell of the parent's too, where that was larger
    when the process was begun."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise OSError("the kernel does not say how large this process has been")
