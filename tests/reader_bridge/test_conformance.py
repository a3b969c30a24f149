"""One table of what clients are told: by pcscd with our driver, by pcscd with vpcd, and in process."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kazashi.assembly.control_path import control_path
from kazashi.world.home import open_world
from tests.cli.program import Program
from tests.polling import LIMIT
from tests.reader_bridge.conformance import ROWS

TABLE = Path(__file__).parents[2] / "docs" / "conformance-table.md"


def results(arguments: dict[str, str], environment: dict[str, str]) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.reader_bridge.conformance", json.dumps(arguments)],
        capture_output=True, text=True, check=False, timeout=LIMIT, env={**os.environ, **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows: list[str] = json.loads(done.stdout)
    return rows


def differing(column: str, got: list[str]) -> dict[str, tuple[str, str]]:
    """Return the rows with another result than the table's: the table's result, and the one that came."""
    assert len(got) == len(ROWS)
    return {
        row.does: (row.expected(column), result)
        for row, result in zip(ROWS, got, strict=True)
        if result != row.expected(column)
    }


@pytest.mark.reader
@pytest.mark.parametrize(("column", "options"), [("driver", ("--reader-profile", "contact")), ("vpcd", ("--vpcd",))])
def test_pcscd_tells_clients_what_the_table_says(tmp_path: Path, column: str, options: tuple[str, ...]) -> None:
    program = Program(tmp_path / "w")
    status: dict[str, Any] = program.json("up", "--detach", "--no-services", "--pcscd", "private", *options)
    try:
        pcscd = status["pcscd"]
        assert pcscd["driver"] == ("vpcd" if column == "vpcd" else "kazashi")
        arguments = {"socket": str(control_path(open_world(program.world))), "name": status["slots"][0]["reader"]}
        assert not differing(column, results(arguments, pcscd["environment"]))
    finally:
        program.run("down")


def test_in_process_clients_are_told_the_same(image: Path) -> None:
    assert not differing("in process", results({"image": str(image)}, {"PCSCLITE_CSOCK_NAME": os.devnull}))


def test_the_documented_table_has_these_rows_and_differences() -> None:
    lines = [
        tuple(cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1])
        for line in TABLE.read_text(encoding="utf-8").splitlines()
        if line.startswith("| ")
    ]
    documented = {line[0]: line[1:] for line in lines if line[0] not in ("a client does", "column")}
    rows = {
        row.does: (
            row.result,
            "; ".join(
                f"{column}: {different.result} ({different.reason})"
                for column, different in (("vpcd", row.vpcd), ("in process", row.in_process))
                if different is not None
            ),
        )
        for row in ROWS
    }
    assert documented == rows
