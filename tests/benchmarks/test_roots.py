"""Roots of Debian's releases that cannot be made: the message says what to do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.roots import Failed, Machine
from tests.clients.client_systems import debian_13

pytestmark = pytest.mark.unit


def test_without_debootstrap_the_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Failed, match="install the Debian package debootstrap"):
        Machine(tmp_path, "http://mirror.example", keep=False).plain("trixie")
    assert list(tmp_path.iterdir()) == []


def test_an_ordinary_user_is_told_to_be_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(Failed, match="run this test as root"):
        debian_13()
