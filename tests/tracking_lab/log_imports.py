"""Small logs, and how tests import them: through the command, as users do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from kazashi.jpki.serial_number import serial_text
from kazashi.tracking_lab.laboratory import IMPORTED
from tests.cli.program import InProcessProgram

SPELLINGS: dict[str, Callable[[int], str]] = {
    "upper": serial_text,
    "lower": lambda serial: serial_text(serial).lower(),
    "colons": lambda serial: ":".join(serial_text(serial)[place : place + 2] for place in range(0, 8, 2)),
    "zeros": lambda serial: f"00{serial_text(serial)}",
    "prefix": lambda serial: f"0x{serial:x}",
    "decimal": str,
}
"""The six spellings of servers, of serial numbers of four octets."""


class LogImports:
    """A world into which a test imports logs. The name of the imported logs is `logs`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.program = InProcessProgram(directory / "w")

    def file(self, content: str | bytes, name: str = "log.csv") -> Path:
        """Write a file."""
        path = self.directory / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def mapping(self, **values: Any) -> Path:
        """Write a mapping, with the usual columns where it names none."""
        usual = {} if "log" in values else {"moment": "time", "handle": "serial"}
        usual |= {} if "constant" in values else {"service": "shop"}
        return self.file(json.dumps({**usual, **values}), "mapping.json")

    def run(self, *files: Path, options: tuple[str, ...] = (), **values: Any) -> dict[str, Any]:
        """Import files with a mapping, and return the command's JSON."""
        command = ("tracking", "import", *map(str, files), "--mapping", str(self.mapping(**values)), *options)
        result: dict[str, Any] = self.program.json(*command)
        return result

    def error(self, *files: Path, options: tuple[str, ...] = (), **values: Any) -> str:
        """Import files that are refused, and return the error without its code."""
        command = ("tracking", "import", *map(str, files), "--mapping", str(self.mapping(**values)), *options)
        return self.program.error("logs-unusable", 2, *command)

    @property
    def laboratory(self) -> Path:
        """The directory of the imported logs."""
        return next(path for path in self.program.world.rglob("logs") if path.is_dir())

    def table(self, name: str) -> list[dict[str, Any]]:
        """The rows of a table of the imported logs."""
        return pl.read_parquet(self.laboratory / name / "*.parquet").to_dicts()

    def seconds(self) -> list[int]:
        """The times of the uses in seconds since 1970, in the order of their handles' numbers."""
        begins = json.loads((self.laboratory / IMPORTED).read_text(encoding="utf-8"))["begins"]
        return [row["moment"] + begins for row in sorted(self.table("uses"), key=lambda row: row["shown"])]

    def handles(self) -> list[str]:
        """The handles, in the order of their numbers."""
        return [row["handle"] for row in self.table("handle")]
