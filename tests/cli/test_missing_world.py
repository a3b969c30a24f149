"""A command that only reads fails if there is no world, and creates nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from kazashi.tools.cli.command_line import kazashi
from kazashi.tools.cli.commands.inputs import Input
from kazashi.world.home import WorldMissing
from tests.cli import commands
from tests.polling import LIMIT

BEGIN = {
    "world new", "up", "card new", "card juki", "card order",
    "card ordinance add", "card relay set", "registry add", "registry draft", "registry import", "network setup",
    "points enrol",
    "tracking populate", "tracking import", "tracking report", "ca caller add", "tenant", "provider-client",
}  # fmt: skip
"""Commands that set something up, and create a world for it."""

WITHOUT = {
    "agent", "bench", "ca lint", "card application show", "card relay load", "clinic serve",
    "demo", "docs", "doctor", "imports", "network decide", "network history", "network inside offices",
    "network insights", "network openapi", "network rules",
    "points policies", "points simulate", "reader check", "reader compare", "reader install",
    "reader profiles", "reader script", "reader show", "reader uninstall",
    "lock", "mdoc compare", "registry municipalities",
    "self completion", "self install", "self man", "self remove", "self update", "test", "tracking exposure",
    "tracking open-log", "tracking schema",
    "verify conformance",
}  # fmt: skip
"""Commands that work without a world, or with one of their own."""


MORE = {"network use": ("--form", "x")}
"""What a command needs besides its required arguments."""


def name_of(context: click.Context) -> str:
    return context.command_path.removeprefix("kazashi").strip()


def reading() -> list[tuple[str, click.Command]]:
    """Return the name and the command of every other command."""
    return [(name, command) for context, command in commands() if not isinstance(command, click.Group)
            for name in [name_of(context)] if name not in BEGIN | WITHOUT]  # fmt: skip


def arguments_for(command: click.Command, file: Path) -> Iterator[str]:
    """Yield well-formed arguments for the command."""
    for parameter in command.params:
        if not parameter.required:
            continue
        value = {"serial": "70000001", "span": "1d"}.get(parameter.name or "", "x")
        if isinstance(parameter.type, click.Choice):
            value = str(parameter.type.choices[0])
        elif isinstance(parameter.type, click.Path) and not parameter.type.file_okay:
            value = str(file.parent)
        elif isinstance(parameter.type, click.Path | Input):
            value = str(file)
        elif parameter.type is click.INT:
            value = "1"
        if isinstance(parameter, click.Option):
            if parameter.is_flag:
                yield parameter.opts[0]
                continue
            yield parameter.opts[0]
        yield value


def test_lists_name_existing_commands() -> None:
    names = {name_of(context) for context, _ in commands()}
    assert names >= BEGIN | WITHOUT
    assert len(reading()) > 80


@pytest.mark.parametrize(("name", "command"), reading(), ids=lambda found: found if isinstance(found, str) else "")
def test_reading_command_creates_no_world(name: str, command: click.Command, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("{}")
    missing = tmp_path / "typo"
    arguments = ["--world", str(missing), *name.split(), *arguments_for(command, file), *MORE.get(name, ())]
    done = CliRunner().invoke(kazashi, arguments)
    if name == "points till":  # it needs a terminal first
        assert "needs a terminal" in str(done.exception)
    else:
        assert isinstance(done.exception, WorldMissing), (arguments, done.output, done.exception)
    assert not missing.exists()


def test_missing_world_error_says_what_to_do(tmp_path: Path) -> None:
    missing = tmp_path / "typo"
    done = subprocess.run(
        [sys.executable, "-m", "kazashi", "card", "show", "hanako"], capture_output=True, text=True, check=False,
        timeout=LIMIT, env={**os.environ, "KAZASHI_WORLD": str(missing)},
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == (
        f"kazashi: there is no world in {missing}; create one with: kazashi world new,"
        " or name another with --world [world-missing]\n"
    )
    assert not missing.exists()


def test_empty_directory_stays_empty(tmp_path: Path) -> None:
    done = CliRunner().invoke(kazashi, ["--world", str(tmp_path), "card", "list"])
    assert isinstance(done.exception, WorldMissing)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", ["world new", "ca caller add library", "tenant library",
                                   "provider-client app https://app.example/callback"])  # fmt: skip
def test_setup_command_creates_a_world(words: str, tmp_path: Path) -> None:
    world = tmp_path / "w"
    done = CliRunner().invoke(kazashi, ["--world", str(world), *words.split()])
    assert done.exception is None, done.exception
    assert (world / "world.json").exists()
    assert CliRunner().invoke(kazashi, ["--world", str(world), "world", "show"]).exception is None


@pytest.mark.parametrize("words", ["doctor", "verify certificate FILE --roots ROOTS --lists LISTS"])
def test_command_without_a_world_creates_none(words: str, tmp_path: Path) -> None:
    for name in ("roots", "lists"):
        (tmp_path / name).mkdir()
    (tmp_path / "file").write_text("x")
    words = words.replace("FILE", f"{tmp_path}/file").replace("ROOTS", f"{tmp_path}/roots")
    words = words.replace("LISTS", f"{tmp_path}/lists")
    done = CliRunner().invoke(kazashi, ["--world", str(tmp_path / "typo"), *words.split()])
    assert not isinstance(done.exception, WorldMissing)
    assert not (tmp_path / "typo").exists()
