"""Towns of many keys and of many cases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kazashi.assembly.institutions import Institutions
from kazashi.world.key_source import KeySource, SharedKeySource, generate
from tests.card_management.support import no_serial_is_missing_or_double
from tests.town import new_institutions


@pytest.fixture(scope="module")
def many_keys() -> SharedKeySource:
    """So many keys that none comes twice in a test."""
    return SharedKeySource([generate() for _ in range(18)])


@pytest.fixture
def various(tmp_path: Path, many_keys: KeySource) -> Iterator[Institutions]:
    """A town whose every key is another."""
    found = new_institutions(tmp_path / "w", many_keys)
    yield found
    found.world.close()


@pytest.fixture(scope="module")
def long_lived(tmp_path_factory: pytest.TempPathFactory, keys: KeySource) -> Iterator[Institutions]:
    found = new_institutions(tmp_path_factory.mktemp("faults") / "w", keys)
    yield found
    no_serial_is_missing_or_double(found)
    found.world.close()
