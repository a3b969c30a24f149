"""A town for what is refused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kazashi.assembly.institutions import Institutions
from kazashi.world.key_source import KeySource
from tests.town import new_institutions


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory, keys: KeySource) -> Iterator[Institutions]:
    """A town in which nothing happens: for what is refused."""
    found = new_institutions(tmp_path_factory.mktemp("quiet") / "w", keys)
    yield found
    found.world.close()
