"""The world with which the tests of the studies begin."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from kazashi.assembly.institutions import Institutions
from kazashi.assembly.network import Network, addresses
from kazashi.world.home import open_world
from kazashi.world.key_source import SharedKeySource
from tests.town import new_institutions

Copied = Callable[[Path], Institutions]
"""A function that copies the world into a new directory, and returns its institutions."""


@pytest.fixture(scope="session")
def base(keys: SharedKeySource, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world with two people, their cards and the network, in which all reasons of the ruling hold. Tests copy it."""
    institutions = new_institutions(tmp_path_factory.mktemp("studies") / "w", keys)
    for who in ("hanako", "taro"):
        institutions.issue_card(who, who)
    institutions.settle()
    assert all(gate.ok for gate in Network(institutions).rehearse(addresses()))
    institutions.world.close()
    return institutions.world.directory


@pytest.fixture(scope="session")
def copied(base: Path, keys: SharedKeySource) -> Copied:
    def copy(directory: Path) -> Institutions:
        shutil.copytree(base, directory)
        return Institutions(open_world(directory, keys=keys))

    return copy
