"""Worlds for tests of commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.program import Program, begun


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """A world with one card and two people more, for tests that change nothing in it, or each its own person."""
    program = begun(tmp_path_factory.mktemp("town") / "w")
    program.run("card", "new", "hanako")
    for who in ("taro", "child"):
        program.run("registry", "add", who)
    return program


@pytest.fixture
def new(tmp_path: Path) -> Program:
    return begun(tmp_path / "w")
