"""Worlds for tills and the centre."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kazashi.refund_points.centre import Centre
from kazashi.refund_points.till import Till
from kazashi.world.clock import FixedClock
from kazashi.world.home import World, open_world
from kazashi.world.settings import Settings
from tests.refund_points.tills import NOON, till_of


@pytest.fixture
def world(tmp_path: Path, storage: str) -> Iterator[World]:
    world = open_world(tmp_path / "w", settings=Settings("points", storage=storage), clock=FixedClock(NOON))
    yield world
    world.close()


@pytest.fixture
def local(tmp_path: Path) -> Iterator[World]:
    """A world on SQLite, for tests that do not depend on the storage."""
    world = open_world(tmp_path / "w", settings=Settings("points"), clock=FixedClock(NOON))
    yield world
    world.close()


@pytest.fixture
def shop(local: World) -> tuple[World, Centre, Till]:
    centre = Centre(local, "authentication-serial")
    return local, centre, till_of(local, centre)
