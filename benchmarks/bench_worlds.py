"""Worlds and sizes that the benchmarks share."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from kazashi.world.clock import WorldClock, instant_of
from kazashi.world.home import World, open_world
from kazashi.world.key_source import SharedKeySource
from kazashi.world.settings import Settings

MORNING = instant_of("2026-11-24T10:00+09:00")
LIFE_DAYS = 1825

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class WorldSize:
    """The size of the benchmark.

    `entries` is the length of the single list. The nightly batch has `revocations` in `partitions` lists. `events` is
    the number of events to record among 1,000 residents, and again among `residents`. `issued` is the number of
    certificates to issue, `asked` the number of certificates in OCSP requests, `nonces` the number of requests with
    nonces, and `seconds` the duration of the load.
    """

    entries: int = 1_000_000
    revocations: int = 10_000_000
    partitions: int = 1892
    residents: int = 1_000_000
    events: int = 200
    issued: int = 3000
    asked: int = 2000
    nonces: int = 20_000
    seconds: int = 6


def new_world(directory: Path, keys: SharedKeySource, storage: str = "") -> World:
    """Create a world for a benchmark, with its clock stopped at MORNING."""
    world = open_world(directory, settings=Settings("bench", storage), keys=keys)
    clock = world.clock
    assert isinstance(clock, WorldClock)
    clock.stand(MORNING)
    return world


def stand(world: World, **span: float) -> None:
    """Advance a world's clock without running what becomes due."""
    clock = world.clock
    assert isinstance(clock, WorldClock)
    clock.stand(clock.now() + timedelta(**span))


def run(directory: Path, *command: str) -> str:
    """Run a program and return its stdout. Raises RuntimeError if it fails."""
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} exited with {done.returncode}: {done.stderr.strip()}")
    return done.stdout
