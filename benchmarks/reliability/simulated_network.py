"""The resend protocols over many seeds of a simulated network.

`python -m benchmarks.reliability.simulated_network --seed N` plays one seed of each protocol and prints its history.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

from benchmarks.reliability.durable import in_memory
from benchmarks.reliability.provision_network_scenario import NetworkScenario
from benchmarks.reliability.refund_points_scenario import PointsScenario
from benchmarks.reliability.repeat import repeating
from benchmarks.reliability.simulation import Played, Scenario, play
from benchmarks.reliability.trial import Show, Trial
from kazashi.tools.program import run

SCENARIOS: Sequence[Callable[[Path], Scenario]] = (PointsScenario, NetworkScenario)
SEEDS = 10_000
"""The number of seeds of each protocol in a full run."""

SHARE = 0.2
"""The share of a full run's time."""

_CHUNK = 50


@dataclass
class SeedSum:
    """What many seeds came to."""

    name: str = ""
    seeds: int = 0
    steps: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    failed: list[Played] = field(default_factory=list)

    def add(self, other: SeedSum) -> None:
        """Add the sum of further seeds of the same protocol."""
        self.name = other.name
        self.seeds += other.seeds
        self.steps += other.steps
        self.faults += other.faults
        self.failed += other.failed


def trials(minutes: float, seed: int, show: Show) -> Iterator[Trial]:
    """Play seeds from `seed` on, of each protocol in turn."""
    wanted = round(SEEDS * minutes / 60 / SHARE)
    for make in SCENARIOS:
        begun = time.monotonic()
        total = played(make, range(seed, seed + wanted), minutes * 60 / len(SCENARIOS), show)
        yield _trial(total, seed, wanted, time.monotonic() - begun)


def losses(seed: int, numbers: Sequence[int], names: Sequence[str]) -> Iterator[str]:
    """Play the seeds from `seed` on with these numbers, of the protocols with these names or of all. Yields a line for
    each in which a promise was broken."""
    for name, one in _play(seed, numbers, names):
        if one.trouble:
            yield f"{name}, seed {one.seed}: {one.trouble}"


def history(seed: int, numbers: Sequence[int], names: Sequence[str]) -> Iterator[str]:
    """Play seeds like `losses`, and yield what happens in them."""
    for name, one in _play(seed, numbers, names):
        yield f"{name}, seed {one.seed}, {one.steps} steps:"
        yield from (f"  {line}" for line in one.history)


def _play(seed: int, numbers: Sequence[int], names: Sequence[str]) -> Iterator[tuple[str, Played]]:
    for make in SCENARIOS:
        with in_memory() as directory:
            scenario = make(directory / "world")
            for number in numbers if not names or scenario.name in names else ():
                yield scenario.name, play(scenario, seed + number)
            scenario.close()


def _trial(total: SeedSum, seed: int, wanted: int, seconds: float) -> Trial:
    faults = ", ".join(f"{count:,} {fault}" for fault, count in sorted(total.faults.items()))
    detail = f"seeds from {seed}, {total.seeds / seconds:.0f}/s, {total.steps:,} steps: {faults}"
    if total.failed:
        first = min(total.failed, key=lambda played: played.seed)
        detail += f"; seed {first.seed}: {first.trouble}"
    lost = len(total.failed)
    return Trial(f"simulated network: {total.name}", "seeds", total.seeds, total.seeds - lost, lost, detail,
                 f">= {wanted:,}, 0 lost", total.seeds >= wanted and not lost)  # fmt: skip


def played(make: Callable[[Path], Scenario], seeds: range, seconds: float, show: Show) -> SeedSum:
    """Play seeds of one protocol on all processors, for at most `seconds`."""
    total = SeedSum()
    chunks = [seeds[begin : begin + _CHUNK] for begin in range(0, len(seeds), _CHUNK)]
    with in_memory() as directory:
        begin = (make, directory, seconds)
        with get_context("spawn").Pool(len(os.sched_getaffinity(0)), _Worker.begin, begin) as pool:
            for part in pool.imap(_Worker.play, chunks):
                total.add(part)
                show(f"simulated network: {total.name}: {total.seeds:,} seeds, {len(total.failed)} failed")
            pool.close()
            pool.join()
    return total


class _Worker:
    """A process that plays seeds. It makes its scenario once, and resets it for each seed."""

    scenario: Scenario
    until: float

    @classmethod
    def begin(cls, make: Callable[[Path], Scenario], directory: Path, seconds: float) -> None:
        cls.scenario = make(directory / str(os.getpid()))
        cls.until = time.monotonic() + seconds

    @classmethod
    def play(cls, seeds: range) -> SeedSum:
        total = SeedSum(cls.scenario.name)
        for seed in seeds:
            if time.monotonic() > cls.until:
                break
            played = play(cls.scenario, seed)
            total.seeds += 1
            total.steps += played.steps
            total.faults += Counter(played.faults)
            total.failed += [played] if played.trouble else []
        return total


if __name__ == "__main__":
    run(repeating(losses, history), "python -m benchmarks.reliability.simulated_network")
