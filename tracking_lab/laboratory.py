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

import numpy as np
import polars as pl

from kazashi.tracking_lab.accounts import accounts
from kazashi.tracking_lab.certificates import numbered
from kazashi.tracking_lab.lifetimes import live
from kazashi.tracking_lab.people import CHUNK
from kazashi.tracking_lab.plan import NOWHERE, Plan
from kazashi.tracking_lab.uses import use
from kazashi.world.atomic_file import clear_unfinished, replace_whole, write_whole

_PLAN, _WHOLE, IMPORTED = "plan.json", "whole", "import.json"
TABLES = ("person", "event", "certificate", "service", "uses", "account")


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
            return Plan.from_dict(json.loads((self.directory / _PLAN).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise PopulationUnusable(
                f"there is no population in {self.directory}; try: kazashi tracking populate"
            ) from error

    @property
    def begun(self) -> bool:
        """Whether a population was ever begun here."""
        return (self.directory / _PLAN).exists()

    @property
    def imported(self) -> bool:
        """Whether what lies here are somebody's own logs."""
        return (self.directory / IMPORTED).exists()

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
        for name in (*TABLES, "lives"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
            clear_unfinished(self.directory / name)
        write_whole(mark, json.dumps(plan.as_dict(), ensure_ascii=False))
        if self.whole:
            progress(steps(plan))
            return
        _put(self.directory / "service" / "all.parquet", _services(plan).write_parquet)
        done = 0
        with _workers(processes) as executor:
            for _ in executor(partial(_live, self.directory, plan), range(_chunks(plan))):
                done += 1
                progress(done)
            before = self._issued_before(plan)
            for _ in executor(partial(_use, self.directory, plan), range(_chunks(plan)), before):
                done += 1
                progress(done)
        shutil.rmtree(self.directory / "lives")
        write_whole(self.directory / _WHOLE, "")

    def _issued_before(self, plan: Plan) -> list[Any]:
        """What serial numbers need to know of everybody: for each chunk, by kind and day, how many certificates were
        issued on earlier days, or on that day to people of earlier chunks."""
        issued = np.zeros((2, plan.days, _chunks(plan)), np.int64)
        for chunk in range(_chunks(plan)):
            lives = pl.read_parquet(self.directory / "lives" / f"{chunk:06d}.parquet")
            counted = lives.group_by("kind", "begins").len()
            kind, day, count = (counted[name].to_numpy() for name in ("kind", "begins", "len"))
            issued[kind.astype(np.int8), day, chunk] = count
        flat = issued.reshape(2, -1)
        before = (np.cumsum(flat, axis=1) - flat).reshape(issued.shape)
        return [before[:, :, chunk] for chunk in range(_chunks(plan))]


def _services(plan: Plan) -> pl.DataFrame:
    return pl.DataFrame(
        [(one.number, one.kind.name.lower(), one.sector, None if one.town == NOWHERE else one.town, one.asks)
         for one in plan.services()],
        schema={"service": pl.UInt32, "kind": pl.String, "sector": pl.String, "town": pl.UInt16, "asks": pl.Boolean},
        orient="row",
    )  # fmt: skip


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
    targets = [directory / name / f"{chunk:06d}.parquet" for name in ("person", "event", "lives")]
    if all(target.exists() for target in targets):
        return
    found = live(plan, chunk)
    for target, frame in zip(targets, (found.people, found.events, found.certificates), strict=True):
        _put(target, frame.write_parquet)


def _use(directory: Path, plan: Plan, chunk: int, before: Any) -> None:
    names = ("certificate", "uses", "account")
    targets = {name: directory / name / f"{chunk:06d}.parquet" for name in names}
    if all(target.exists() for target in targets.values()):
        return
    people, events, lives = (
        pl.read_parquet(directory / name / f"{chunk:06d}.parquet") for name in ("person", "event", "lives")
    )
    certificates = numbered(lives, before)
    uses = use(plan, chunk, certificates, people["town"].to_numpy())
    frames = (certificates, uses, accounts(plan, chunk, uses, people, events))
    for name, frame in zip(names, frames, strict=True):
        _put(targets[name], frame.write_parquet)


def _put(target: Path, write: Callable[[Path], object]) -> None:
    """Write a table's file. Raises OSError where the disk does not take it; what is finished stays, and a run that is
    begun anew goes on from there."""
    try:
        replace_whole(target, write)
    except pl.exceptions.ComputeError as error:
        raise OSError(f"{target} cannot be written; what is finished is kept, and gone on with: {error}") from error
