"""What the measurements of the authorities and the registry share: how much is measured, and worlds to do it in."""

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
    """How much is measured: entries of the one list; revocations of the nightly batch, and in how many partitions;
    residents; certificates issued, and certificates asked about; seconds of load."""

    entries: int = 1_000_000
    revocations: int = 10_000_000
    partitions: int = 1892
    residents: int = 1_000_000
    issued: int = 3000
    asked: int = 2000
    seconds: int = 6


def new_world(directory: Path, keys: SharedKeySource, storage: str = "") -> World:
    """A world for a measurement, whose clock stands at MORNING."""
    world = open_world(directory, settings=Settings("bench", storage), keys=keys)
    clock = world.clock
    assert isinstance(clock, WorldClock)
    clock.stand(MORNING)
    return world


def stand(world: World, **span: float) -> None:
    """Put a world's clock forward, without doing what is due on the way."""
    clock = world.clock
    assert isinstance(clock, WorldClock)
    clock.stand(clock.now() + timedelta(**span))


def run(directory: Path, *command: str) -> str:
    """What a program says on its stdout. Raises RuntimeError where it fails."""
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} exited with {done.returncode}: {done.stderr.strip()}")
    return done.stdout
