"""The program's help: it always calls the program `kazashi`, and no line in a list of commands is cut."""

from __future__ import annotations

import os
import subprocess
import sys

import click
import pytest

from tests.cli import commands
from tests.polling import LIMIT


def started(*arguments: str, expect: int = 0, environment: dict[str, str] | None = None) -> str:
    """Run the program as a module and return its output on both streams."""
    done = subprocess.run(
        [sys.executable, "-m", "kazashi", *arguments],
        capture_output=True, text=True, check=False, timeout=LIMIT,
        env={**os.environ, "COLUMNS": "80", **(environment or {})},
    )  # fmt: skip
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_no_line_of_help_is_cut_at_80_columns() -> None:
    every = list(commands())
    assert len(every) > 120
    for context, command in every:
        assert command.help, context.command_path
        listed = command.get_help(context).partition("Commands:")[2]
        assert not [line for line in listed.splitlines() if "..." in line], context.command_path
        assert bool(listed) == isinstance(command, click.Group)


def test_every_option_has_a_help_text() -> None:
    for context, command in commands():
        options = [option for option in command.params if isinstance(option, click.Option) and not option.hidden]
        assert not [option.name for option in options if not option.help], context.command_path


def test_first_paragraph_of_every_help_ends_with_a_full_stop() -> None:
    for context, command in commands():
        assert command.help is not None
        assert command.help.strip().partition("\n\n")[0].rstrip().endswith((".", ".)")), context.command_path


@pytest.mark.parametrize("arguments", [["--help"], ["up", "--help"], ["ca", "caller", "-h"]])
def test_help_calls_the_program_by_its_name(arguments: list[str]) -> None:
    path = " ".join(["kazashi", *(word for word in arguments if not word.startswith("-"))])
    assert started(*arguments).startswith(f"Usage: {path} [OPTIONS]")


@pytest.mark.parametrize("arguments", [["frobnicate"], ["card", "show"], ["up", "--frobnicate"]])
def test_usage_errors_call_the_program_by_its_name(arguments: list[str]) -> None:
    output = started(*arguments, expect=2)
    assert output.startswith("Usage: kazashi")
    assert "Try 'kazashi" in output
    assert "python" not in output


def test_version_is_shown_with_the_name() -> None:
    assert started("--version").startswith("kazashi, version ")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_the_name(shell: str) -> None:
    script = started(environment={"_KAZASHI_COMPLETE": f"{shell}_source"})
    assert f"_KAZASHI_COMPLETE={shell}_complete" in script
    assert any(f"{word} kazashi" in script for word in ("nosort -F _kazashi_completion", "compdef _kazashi_completion",
                                                        "--command", "-c"))  # fmt: skip
    assert "python" not in script
    typed = {"COMP_WORDS": "kazashi poi", "COMP_CWORD": "poi" if shell == "fish" else "1"}
    assert "points" in started(environment={"_KAZASHI_COMPLETE": f"{shell}_complete", **typed})
