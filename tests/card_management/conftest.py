"""Towns whose keys are all different, and a town that is shared by many cases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kazashi.assembly.institutions import Institutions
from kazashi.world.key_source import KeySource, SharedKeySource, generate
from tests.card_management.support import assert_serials_gapless
from tests.town import new_institutions


@pytest.fixture(scope="module")
def many_keys() -> SharedKeySource:
    """A source with so many keys that no key is repeated in a test."""
    return SharedKeySource([generate() for _ in range(18)])


@pytest.fixture
def distinct_keys_town(tmp_path: Path, many_keys: KeySource) -> Iterator[Institutions]:
    """A town in which all keys are different."""
    town = new_institutions(tmp_path / "w", many_keys)
    yield town
    town.world.close()


@pytest.fixture(scope="module")
def shared_town(tmp_path_factory: pytest.TempPathFactory, keys: KeySource) -> Iterator[Institutions]:
    """A town that a module's tests share; its serial numbers are checked at the end."""
    town = new_institutions(tmp_path_factory.mktemp("faults") / "w", keys)
    yield town
    assert_serials_gapless(town)
    town.world.close()
