"""Shared fixtures: a few keys, a world with a card for every sample resident, a private pcscd, new worlds."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings

from kazashi.applets.install import load_card
from kazashi.assembly.institutions import Institutions
from kazashi.assembly.phones import new_phone
from kazashi.assembly.postgresql import server
from kazashi.card.chip import Chip
from kazashi.card_management.order import image_path
from kazashi.reader_bridge.host import ReaderHost
from kazashi.reader_bridge.pcscd import RunningPcscd, start_pcscd
from kazashi.resident_registry.sample_residents import SAMPLE_RESIDENTS
from kazashi.world.home import World, open_world
from kazashi.world.key_source import SharedKeySource, generate
from tests.town import fresh_database, new_institutions

LANES = ("crash", "load", "reader", "browser")
"""The marks of tests that need more than this process, and take the longest."""

MEMORY, ROOM = Path("/dev/shm"), 4 << 30
"""A file system in memory, and the number of bytes that must be free on it."""

settings.register_profile("ordinary", derandomize=True, deadline=None)  # a busy machine is not an error
settings.register_profile("long", derandomize=False, deadline=None)


def pytest_configure(config: pytest.Config) -> None:
    """Let every run use the same Hypothesis examples, except the long one, which uses new ones each time."""
    settings.load_profile("long" if config.option.markexpr == "long" else "ordinary")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the files of the lanes first, in turn, so that tests that wait for a reader run beside those that compute."""
    lanes: dict[str, list[str]] = {lane: [] for lane in LANES}
    files = dict.fromkeys(item.nodeid.partition("::")[0] for item in items)
    marks = {file: set[str]() for file in files}
    for item in items:
        marks[item.nodeid.partition("::")[0]] |= {mark.name for mark in item.iter_markers()}
    for file in files:
        for lane in LANES:
            if lane in marks[file]:
                lanes[lane].append(file)
                break
    turns = [file for turn in zip_longest(*lanes.values()) for file in turn if file is not None]
    place = {file: number for number, file in enumerate(dict.fromkeys([*turns, *files]))}
    items.sort(key=lambda item: place[item.nodeid.partition("::")[0]])


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory for a test, in memory if there is enough space, because a world syncs every step to the disk.

    Tests with readers and browsers have theirs on the disk, because other programs read it.
    """
    marks = {mark.name for mark in request.node.iter_markers()}
    name = re.sub(r"\W", "_", request.node.name)[:30]
    if marks & {"reader", "browser"}:
        yield tmp_path_factory.mktemp(name)
    else:
        with in_memory(tmp_path_factory, name) as directory:
            yield directory


@pytest.fixture(scope="module")
def module_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory for all tests of a module, in memory if there is enough space."""
    with in_memory(tmp_path_factory, "module") as directory:
        yield directory


@pytest.fixture
def temporary_in_memory(module_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what this process makes with `tempfile` be in memory, for samples of benchmarks: only the full ones measure a
    disk."""
    module_path.chmod(0o755)  # PostgreSQL runs as another user
    monkeypatch.setattr(tempfile, "tempdir", str(module_path))


@contextmanager
def in_memory(factory: pytest.TempPathFactory, name: str) -> Iterator[Path]:
    """A directory in memory, or on the disk if there is not enough space."""
    if not MEMORY.is_dir() or shutil.disk_usage(MEMORY).free < ROOM:
        yield factory.mktemp(name)
        return
    with TemporaryDirectory(prefix="kazashi-", dir=MEMORY, ignore_cleanup_errors=True) as directory:
        yield Path(directory)


@pytest.fixture(scope="session")
def keys() -> SharedKeySource:
    source = SharedKeySource([generate() for _ in range(13)])
    # A process that is killed must not have taken the keys that its successor takes: the loss of one would not be seen.
    os.register_at_fork(after_in_child=source.take)
    return source


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory, keys: SharedKeySource) -> World:
    """A world with the cards of all sample residents, and a phone. Tests use copies of its images."""
    world = open_world(tmp_path_factory.mktemp("world") / "w", seed="tests", keys=keys)
    institutions = Institutions(world)
    for alias in SAMPLE_RESIDENTS:
        institutions.issue_card(alias, alias)
    new_phone(institutions, "hanako-phone", "hanako", "hanako")
    return world


@pytest.fixture
def image(world: World, tmp_path: Path) -> Path:
    """A copy of the default card's image."""
    return Path(shutil.copy(image_path(world, "hanako"), tmp_path / "hanako.card"))


@pytest.fixture
def chip(image: Path) -> Chip:
    """The default card, powered on, with its durable store."""
    chip = Chip(load_card(image))
    chip.power_on()
    return chip


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The URL of a real PostgreSQL server, started for the tests.

    It leaves writing to the disk to the operating system: tests kill its clients, never the machine.
    """
    with server("fsync=off", "full_page_writes=off") as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def storage(request: pytest.FixtureRequest) -> Iterator[str]:
    """The storage of the actors' stores: an empty string for SQLite, then the URL of a new PostgreSQL database."""
    if request.param == "sqlite":
        yield ""
        return
    with fresh_database(request.getfixturevalue("postgresql")) as url:
        yield url


@pytest.fixture
def institutions(tmp_path: Path, storage: str, keys: SharedKeySource) -> Iterator[Institutions]:
    """The institutions of a new world, once on each kind of storage. Its clock is stopped at a morning in November."""
    town = new_institutions(tmp_path / "w", keys, storage)
    yield town
    town.world.close()


@pytest.fixture
def town(tmp_path: Path, keys: SharedKeySource) -> Iterator[Institutions]:
    """The institutions of a new world on SQLite, for tests that do not depend on the storage."""
    town = new_institutions(tmp_path / "w", keys)
    yield town
    town.world.close()


@pytest.fixture(scope="session")
def pcscd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPcscd]:
    """A real private pcscd with four slots. Every client that a test starts uses it."""
    running = start_pcscd(
        tmp_path_factory.mktemp("pcscd"),
        ["Kazashi A", "Kazashi B"],
        private=True,
        slots=2,
    )
    assert running.driver == "kazashi", f"our driver cannot be used: {running.stand_in}"
    os.environ.update(running.client_environment())
    yield running
    running.stop()


@pytest.fixture
def host(pcscd: RunningPcscd) -> Iterator[ReaderHost]:
    """The reader host of the four slots, which are empty."""
    host = ReaderHost(pcscd.endpoints)
    yield host
    host.close()
