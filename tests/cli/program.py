"""The program as users run it: in a process of its own or, to save a second for each command, in this process."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from kazashi.applets import jpki
from kazashi.card.request import select, tries_left, verify
from kazashi.tools.cli.command_line import main
from tests.polling import LIMIT

MORNING = "2026-11-24T10:00+09:00"
SELECT_JPKI = select(jpki.AID).hex().upper()
RIGHT, WRONG = (verify(jpki.AUTHENTICATION_PIN, pin).hex().upper() for pin in (b"1234", b"0000"))
TRIES = tries_left(jpki.AUTHENTICATION_PIN).hex().upper()


class Program:
    """The program with one world. Each command runs in a process of its own."""

    def __init__(self, world: Path) -> None:
        self.world = world

    def run(self, *arguments: str, expect: int | None = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "kazashi", "--world", str(self.world), *arguments],
            capture_output=True, text=True, check=False, timeout=LIMIT,
        )  # fmt: skip
        assert expect in (None, done.returncode), (
            f"{arguments} exited with {done.returncode}: {done.stderr}{done.stdout}"
        )
        return done

    def json(self, *arguments: str, expect: int = 0) -> Any:
        return json.loads(self.run(*arguments, "--json", expect=expect).stdout)

    def error(self, code: str, status: int, *arguments: str) -> str:
        output = self.run(*arguments, expect=status).stderr.strip()
        assert output.endswith(f"[{code}]"), output
        assert len(output.splitlines()) == 1, "one line"
        return output


class InProcessProgram(Program):
    """The program, run in this process. An exception that is not an expected error is raised unchanged."""

    def run(self, *arguments: str, expect: int | None = 0) -> subprocess.CompletedProcess[str]:
        stdout, stderr = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
        with (
            patch.object(sys, "argv", ["kazashi", "--world", str(self.world), *arguments]),
            redirect_stdout(stdout),
            redirect_stderr(stderr),
            pytest.raises(SystemExit) as exit_info,
        ):
            main()
        output = []
        for stream in (stdout, stderr):
            stream.flush()
            stream.seek(0)
            output.append(stream.read())
        status = int(exit_info.value.code or 0)
        assert expect in (None, status), f"{arguments} exited with {status}: {output}"
        return subprocess.CompletedProcess(arguments, status, *output)


def new_world(directory: Path, *settings: str) -> Program:
    """Create a world whose clock is stopped at a morning in November."""
    program = InProcessProgram(directory)
    program.run("world", "new", "--seed", "commands", *settings)
    program.run("clock", "stand", MORNING)
    return program


def serial_of(program: Program, who: str, kind: str) -> str:
    return str(next(row["serial"] for row in program.json("ca", "show", who) if row["kind"] == kind))


def fails_in_one_line(program: Program, *arguments: str) -> None:
    """Assert that a command fails with one line on stderr that ends with its error code. A defect would raise."""
    done = InProcessProgram(program.world).run(*arguments, expect=None)
    assert done.returncode in (1, 2, 3), done.stdout
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("kazashi: ")
    assert line.endswith("]")
