"""A town with insurers, which the tests begin with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kazashi.world.key_source import SharedKeySource
from tests.medical_insurance.insured_town import InsuredTown, copied, opened, prepare


@pytest.fixture(scope="package")
def prepared(tmp_path_factory: pytest.TempPathFactory, keys: SharedKeySource) -> Path:
    directory = tmp_path_factory.mktemp("insured") / "w"
    prepare(directory, keys)
    return directory


@pytest.fixture
def town(prepared: Path, tmp_path: Path, keys: SharedKeySource) -> Iterator[InsuredTown]:
    with opened(copied(prepared, tmp_path / "w"), keys) as town:
        yield town
