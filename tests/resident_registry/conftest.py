"""A shared town for tests of refused events."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kazashi.assembly.institutions import Institutions
from kazashi.world.key_source import KeySource
from tests.town import new_institutions


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory, keys: KeySource) -> Iterator[Institutions]:
    """A town that a module's tests share. It is for refused events and imports, which change nothing."""
    town = new_institutions(tmp_path_factory.mktemp("quiet") / "w", keys)
    yield town
    town.world.close()
