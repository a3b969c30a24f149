"""`kazashi bench interoperability`: what other people's verifiers make of the authorities' certificates."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

from benchmarks.interoperability import serials
from benchmarks.interoperability.command_line import Gnutls, Nss, Openssl
from benchmarks.interoperability.conversation import LIBRARIES, OLDEST_CARGO, RUST, has_rust
from benchmarks.interoperability.database import PostgreSql
from benchmarks.interoperability.in_process import Pyca, PythonSsl
from benchmarks.interoperability.issued import issued_files
from benchmarks.interoperability.page import (
    PAGE,
    Cells,
    read_tables,
    serial_cells,
    verifier_cells,
    with_tables,
)
from benchmarks.interoperability.servers import SERVERS
from benchmarks.interoperability.verifier import OutsideVerifier, VerifierRow, row
from kazashi.assembly.errors import NotInstalled

_GOAL = "as in docs/interoperability.md"


@dataclass(frozen=True, slots=True)
class Observation:
    """What one program said, printed under the headings HEADINGS. `met` is whether the documentation has it."""

    name: str
    detail: str
    says: tuple[str, ...]
    goal: str
    met: bool

    HEADINGS: ClassVar = ("program", "version, or where", "what it says")

    def cells(self) -> tuple[str, ...]:
        """The text under each heading."""
        return self.name, self.detail, " | ".join(self.says)


def verifiers(rust: bool) -> list[OutsideVerifier]:
    """All verifiers, in the order of the table."""
    return [
        Openssl(), Gnutls(), Nss(libpkix=False), Nss(libpkix=True), Pyca(), PythonSsl(), *LIBRARIES,
        *(RUST if rust else ()), *SERVERS, PostgreSql(),
    ]  # fmt: skip


def measure(progress: Callable[[str], object] = lambda _: None, *, write: bool = False) -> list[Observation]:
    """Try all verifiers, and compare with the tables of the page, which `write` makes anew.

    Without Rust, its rows are left out, and `write` raises NotInstalled.
    """
    rust = has_rust()
    if not rust:
        lacking = f"Cargo {'.'.join(map(str, OLDEST_CARGO))} or newer is missing; install it from Rust's own site"
        if write:
            raise NotInstalled(f"the table has rows about Rust, and {lacking}")
        print(f"kazashi: {', '.join(library.name for library in RUST)} are left out: {lacking}", file=sys.stderr)
    with TemporaryDirectory(prefix="kazashi-interoperability-") as directory, issued_files(Path(directory)) as issued:
        rows: list[VerifierRow] = []
        for verifier in verifiers(rust):
            progress(verifier.name)
            rows.append(row(verifier, issued))
        progress("serial numbers")
        numbers = list(serials.rows(issued, rust))
    text = PAGE.read_text(encoding="utf-8")
    if write:
        text = with_tables(text, rows, numbers)
        PAGE.write_text(text, encoding="utf-8")
    documented, documented_numbers = read_tables(text)
    versions = {row.name: row.version for row in rows}
    return [
        *_compared(verifier_cells(rows), documented, versions),
        *_compared(serial_cells(numbers), documented_numbers, {}),
    ]


def _compared(seen: Cells, documented: Cells, versions: dict[str, str]) -> list[Observation]:
    return [
        Observation(name, where or versions[name], cells, _GOAL, documented.get((name, where)) == cells)
        for (name, where), cells in seen.items()
    ]
