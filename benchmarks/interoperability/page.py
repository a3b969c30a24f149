"""The two tables of docs/interoperability.md: how they are written, and read back."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from benchmarks.interoperability.serials import SERIALS, SerialRow
from benchmarks.interoperability.verifier import VerifierRow

PAGE = Path(__file__).resolve().parents[2] / "docs" / "interoperability.md"
MARKERS = ("<!-- {}: written by `kazashi bench interoperability --write` -->", "<!-- end of {} -->")

VERIFIERS = ("verifier", "version", "reads", "path", "critical policies", "municipality's list", "all lists",
             "full list", "compares names", "OCSP")  # fmt: skip
NUMBERS = ("program", "where", *(f"`{serial}`" for serial in SERIALS.values()))

Cells = dict[tuple[str, str], tuple[str, ...]]
"""The cells of a table by program and place, which is empty in the table of verifiers. Versions are not among them."""


def verifier_cells(rows: Iterable[VerifierRow]) -> Cells:
    """What the table of verifiers says."""
    return {(row.name, ""): row.cells() for row in rows}


def serial_cells(rows: Iterable[SerialRow]) -> Cells:
    """What the table of serial numbers says."""
    return {(row.program, row.where): row.written for row in rows}


def with_tables(text: str, rows: Iterable[VerifierRow], serials: Iterable[SerialRow]) -> str:
    """The page with both tables written anew."""
    verifiers = _table(VERIFIERS, ((row.name, row.version, *row.cells()) for row in rows))
    numbers = _table(NUMBERS, ((row.program, row.where, *map(_code, row.written)) for row in serials))
    return _with_table(_with_table(text, "verifiers", verifiers), "serial numbers", numbers)


def read_tables(text: str) -> tuple[Cells, Cells]:
    """The cells that the page has, as verifier_cells and serial_cells return them."""
    verifiers: Cells = {(cells[0], ""): tuple(cells[2:]) for cells in _rows(text, "verifiers")}
    numbers: Cells = {
        (cells[0], cells[1]): tuple(cell.strip("`") for cell in cells[2:]) for cells in _rows(text, "serial numbers")
    }
    return verifiers, numbers


def _with_table(text: str, name: str, table: str) -> str:
    match = _between(name).search(text)
    assert match is not None, f"the page has no markers for the table of {name}"
    return f"{text[: match.start()]}{match[1]}\n\n{table}\n\n{match[3]}{text[match.end() :]}"


def _between(name: str) -> re.Pattern[str]:
    begin, end = (re.escape(marker.format(name)) for marker in MARKERS)
    return re.compile(f"({begin})(.*)({end})", re.DOTALL)


def _rows(text: str, name: str) -> list[list[str]]:
    match = _between(name).search(text)
    assert match is not None, f"the page has no markers for the table of {name}"
    lines = [line for line in match[2].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def _table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(headings), *map(list, rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _code(written: str) -> str:
    return written if " " in written and "(" not in written else f"`{written}`"
