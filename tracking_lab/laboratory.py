"""A population on disk: Parquet files that are made in chunks, each put in its place when it is whole.

A run that was cut off goes on with the chunks that are missing; the same plan gives the same files.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import polars as pl

from tracking_lab.lives import CHUNK, Chunk, live, numbered
from tracking_lab.plan import Habit, Kind, Plan
from tracking_lab.uses import use

_PLAN, _WHOLE = "plan.json", "whole"


class PopulationUnusable(Exception):
    """The directory holds another population, or none, or one that is not whole; the message says what to do."""


class Laboratory:
    """One population and its files."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @property
    def plan(self) -> Plan:
        """What it was made after. Raises PopulationUnusable."""
        try:
            told = json.loads((self.directory / _PLAN).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise PopulationUnusable(
                f"there is no population in {self.directory}; try: kazashi tracking populate"
            ) from error
        habits = {Kind[name.upper()]: Habit(**habit) for name, habit in told.pop("habits").items()}
        return Plan(**told, habits=habits)

    @property
    def whole(self) -> bool:
        """Whether every file is there."""
        return (self.directory / _WHOLE).exists()

    def file(self, name: str) -> str:
        """A table's files, as a pattern that engines understand."""
        return str(self.directory / name / "*.parquet")

    def populate(self, plan: Plan, progress: Callable[[int], object] = lambda _: None, processes: int = 1) -> None:
        """Make the population, or go on where it was cut off; `progress` is told how many steps of `steps(plan)` are
        done. Raises PopulationUnusable where another population lies there, and OSError for a disk that is full."""
        mark = self.directory / _PLAN
        if mark.exists() and self.plan != plan:
            raise PopulationUnusable(f"{self.directory} holds another population; name an empty directory")
        for name in ("person", "certificate", "service", "uses", "lives"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        _put(mark, lambda path: path.write_text(json.dumps(plan.as_dict(), ensure_ascii=False), encoding="utf-8"))
        if self.whole:
            progress(steps(plan))
            return
        done = 0
        with _workers(processes) as executor:
            for _ in executor(partial(_live, self.directory, plan), range(_chunks(plan))):
                done += 1
                progress(done)
            self._number(plan)
            for _ in executor(partial(_use, self.directory, plan), range(_chunks(plan))):
                done += 1
                progress(done)
        shutil.rmtree(self.directory / "lives")
        _put(self.directory / _WHOLE, lambda path: path.write_text("", encoding="ascii"))

    def _number(self, plan: Plan) -> None:
        """What needs everybody at once: serial numbers, and the services."""
        target = self.directory / "certificate" / "all.parquet"
        if not target.exists():
            parts = sorted((self.directory / "lives").glob("*.parquet"))
            found = numbered(pl.concat([pl.read_parquet(path) for path in parts])) if parts else None
            if found is not None:
                _put(target, found.write_parquet)
        rows = plan.services()
        services = pl.DataFrame(
            {"service": [row[0] for row in rows], "kind": [row[1].name.lower() for row in rows],
             "sector": [row[2] for row in rows]}, schema={"service": pl.UInt16, "kind": pl.String, "sector": pl.String},
        )  # fmt: skip
        _put(self.directory / "service" / "all.parquet", services.write_parquet)


def steps(plan: Plan) -> int:
    """Of how many steps making a population is."""
    return 2 * _chunks(plan)


def _chunks(plan: Plan) -> int:
    return -(-plan.residents // CHUNK)


@contextmanager
def _workers(processes: int) -> Iterator[Callable[..., Any]]:
    pool: Any = nullcontext() if processes <= 1 else ProcessPoolExecutor(processes, get_context("spawn"))
    with pool as executor:
        yield executor.map if isinstance(executor, Executor) else map


def _live(directory: Path, plan: Plan, chunk: int) -> None:
    people, lives = (directory / name / f"{chunk:06d}.parquet" for name in ("person", "lives"))
    if people.exists() and lives.exists():
        return
    found: Chunk = live(plan, chunk)
    _put(people, found.people.write_parquet)
    _put(lives, found.certificates.write_parquet)


def _use(directory: Path, plan: Plan, chunk: int) -> None:
    target = directory / "uses" / f"{chunk:06d}.parquet"
    if target.exists():
        return
    first = chunk * CHUNK
    mine = pl.scan_parquet(directory / "certificate" / "all.parquet").filter(
        pl.col("person").is_between(first, first + CHUNK - 1)
    )
    _put(target, use(plan, chunk, mine.collect()).write_parquet)


def _put(target: Path, write: Callable[[Path], object]) -> None:
    """Write a file, and put it in its place once it is whole."""
    unfinished = target.with_name(f".{target.name}.new")
    write(unfinished)
    unfinished.replace(target)
