"""A town with a provision network, which some modules' tests begin with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kazashi.world.key_source import SharedKeySource
from tests.provision_network.connected_town import ConnectedTown, copied, opened, prepare


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, keys: SharedKeySource) -> Path:
    directory = tmp_path_factory.mktemp("prepared") / "w"
    prepare(directory, keys)
    return directory


@pytest.fixture
def town(prepared: Path, tmp_path: Path, keys: SharedKeySource) -> Iterator[ConnectedTown]:
    with opened(copied(prepared, tmp_path / "w"), keys) as town:
        yield town
