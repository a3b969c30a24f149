"""Worlds for the tests of commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.program import Program, new_world


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """A world with one card and two more residents. A test must not change them; it may add residents of its own."""
    program = new_world(tmp_path_factory.mktemp("town") / "w")
    program.run("card", "new", "hanako")
    for who in ("taro", "child"):
        program.run("registry", "add", who)
    return program


@pytest.fixture
def new(tmp_path: Path) -> Program:
    return new_world(tmp_path / "w")
