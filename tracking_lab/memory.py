"""The memory that a command may use, and how it is divided between Python and DuckDB."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from kazashi.world.reasoned import ReasonedError

_UNITS = {"MB": 1000**2, "GB": 1000**3, "MIB": 1024**2, "GIB": 1024**3}
_TEXT = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([MG]I?B)\s*", re.IGNORECASE)

_INTERPRETER = 260 * 1000**2
"""Resident bytes of Python with Polars, DuckDB and Splink loaded and their allocators' reserves (measured)."""

_ENGINE_SHARE = 0.55
"""DuckDB's share of the rest. It uses more than its own limit while it reads and writes Parquet files, and the results
of queries are data frames beside it."""

_PER_THREAD = 128 * 1000**2
"""Bytes that DuckDB recommends for each thread that aggregates or joins."""

LEAST = 500 * 1000**2
"""The least limit that the examination keeps, in bytes."""


class MemoryUnusableReason(Enum):
    """Why a memory limit cannot be used."""

    NOT_A_SIZE = "not-a-size"
    TOO_SMALL = "too-small"


class MemoryUnusable(ReasonedError[MemoryUnusableReason]):
    """The memory limit cannot be used for `reason`; the message says what to write."""


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """The most bytes that a process may have resident."""

    bytes: int = 2 * 1000**3

    @classmethod
    def parse(cls, text: str) -> MemoryLimit:
        """Read a limit such as 512MB, 2GB or 1.5GiB. Raises MemoryUnusable if it is not a size, or below LEAST."""
        match = _TEXT.fullmatch(text)
        if match is None or match[2].upper() not in _UNITS:
            raise MemoryUnusable(
                MemoryUnusableReason.NOT_A_SIZE, f"{text!r} is not an amount of memory; write it as 512MB or 2GB"
            )
        limit = cls(int(float(match[1]) * _UNITS[match[2].upper()]))
        if limit.bytes < LEAST:
            raise MemoryUnusable(
                MemoryUnusableReason.TOO_SMALL, f"{text} is too little memory; the least is {LEAST // 1000**2}MB"
            )
        return limit

    @property
    def engine(self) -> int:
        """DuckDB's own limit (`memory_limit`), in bytes."""
        return int((self.bytes - _INTERPRETER) * _ENGINE_SHARE)

    @property
    def threads(self) -> int:
        """The number of DuckDB's threads: as many as there are processors, if each has enough memory."""
        return max(1, min(os.cpu_count() or 1, self.engine // _PER_THREAD))

    def duckdb(self, spill: Path | None) -> dict[str, str | bool | int | float | list[str]]:
        """DuckDB's settings that keep the limit. What does not fit in its share goes to the directory `spill`."""
        settings: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": f"{self.engine}B", "threads": self.threads, "allocator_flush_threshold": "16MB",
        }  # fmt: skip
        if spill is not None:
            settings["temp_directory"] = str(spill)
        return settings

    def shared_by(self, processes: int) -> MemoryLimit:
        """The limit of each of several processes that run at once."""
        return MemoryLimit(self.bytes // processes)


DEFAULT = MemoryLimit()
"""The limit of a command that is given none: 2 GB."""
