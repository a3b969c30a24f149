"""A population on disk: Parquet files that are generated in chunks, each moved into place when it is complete.

An interrupted run resumes with the missing chunks. The same plan gives the same files.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager, nullcontext
from enum import Enum
from functools import partial
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
from kazashi.world.process_pool import process_pool
from kazashi.world.reasoned import ReasonedError

_PLAN, _WHOLE, IMPORTED = "plan.json", "whole", "import.json"
_SPILL = "spill-"
CHUNK_MEMORY = 500 * 1000**2
"""Resident bytes of a process that generates a chunk of a population of ten years (measured)."""

TABLES = ("person", "event", "certificate", "service", "uses", "account")


class PopulationUnusableReason(Enum):
    """Why a laboratory's directory cannot be used."""

    NO_POPULATION = "no-population"
    """The directory has no readable plan."""
    OTHER_PLAN = "other-plan"
    """The population in the directory was generated from another plan."""
    GENERATED = "generated"
    """Logs are to be imported, and the directory holds a generated population."""
    INCOMPLETE = "incomplete"
    """The run that generates the population has not finished."""
    NO_RESIDENTS = "no-residents"
    BAD_NAME = "bad-name"
    """The name of a population or of logs is not the name of a folder."""
    NO_LOGS = "no-logs"
    """No logs were imported into the directory."""


class PopulationUnusable(ReasonedError[PopulationUnusableReason]):
    """The laboratory's directory cannot be used for `reason`; the message says what to do."""


class Laboratory:
    """One population and its files."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @property
    def plan(self) -> Plan:
        """The plan that the population was generated from. Raises PopulationUnusable if there is none."""
        try:
            return Plan.from_dict(json.loads((self.directory / _PLAN).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise PopulationUnusable(
                PopulationUnusableReason.NO_POPULATION,
                f"there is no population in {self.directory}; try: kazashi tracking populate, or tracking import",
            ) from error

    @property
    def begun(self) -> bool:
        """Whether `populate` has started here, finished or not."""
        return (self.directory / _PLAN).exists()

    @property
    def imported(self) -> bool:
        """Whether the directory holds imported logs."""
        return (self.directory / IMPORTED).exists()

    @property
    def whole(self) -> bool:
        """Whether the population is complete."""
        return (self.directory / _WHOLE).exists()

    def spill(self) -> Path:
        """Return a directory for what an engine in this process does not keep in memory. Those of processes that were
        killed are removed."""
        for path in self.directory.glob(f"{_SPILL}*"):
            if not Path("/proc", path.name.removeprefix(_SPILL)).exists():
                shutil.rmtree(path, ignore_errors=True)
        return self.directory / f"{_SPILL}{os.getpid()}"

    def file(self, name: str) -> str:
        """The glob pattern of a table's Parquet files, for an engine."""
        return str(self.directory / name / "*.parquet")

    def populate(self, plan: Plan, progress: Callable[[int], object] = lambda _: None, processes: int = 1) -> None:
        """Generate the population, or resume an interrupted run. `progress` is called with the number of steps done, of
        `steps(plan)`. Raises PopulationUnusable if the directory holds another population, and OSError if the disk is
        full."""
        plan_file = self.directory / _PLAN
        if plan_file.exists() and self.plan != plan:
            raise PopulationUnusable(
                PopulationUnusableReason.OTHER_PLAN,
                f"{self.directory} holds another population; use an empty directory",
            )
        for name in (*TABLES, "lives"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
            clear_unfinished(self.directory / name)
        write_whole(plan_file, json.dumps(plan.as_dict(), ensure_ascii=False))
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
        """For each chunk, by certificate kind and day: how many certificates were issued on earlier days, or on that
        day to people of earlier chunks. Serial numbers are counted from this."""
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
    """The number of steps of `Laboratory.populate`."""
    return 2 * _chunks(plan)


def _chunks(plan: Plan) -> int:
    return -(-plan.residents // CHUNK)


@contextmanager
def _workers(processes: int) -> Iterator[Callable[..., Any]]:
    pool: Any = nullcontext() if processes <= 1 else process_pool(processes)
    with pool as executor:
        yield executor.map if isinstance(executor, Executor) else map


def _live(directory: Path, plan: Plan, chunk: int) -> None:
    targets = [directory / name / f"{chunk:06d}.parquet" for name in ("person", "event", "lives")]
    if all(target.exists() for target in targets):
        return
    lifetimes = live(plan, chunk)
    for target, frame in zip(targets, (lifetimes.people, lifetimes.events, lifetimes.certificates), strict=True):
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
    """Write a table's file. Raises OSError if it cannot be written. Finished files are kept, and the next run resumes
    from them."""
    try:
        replace_whole(target, write)
    except pl.exceptions.ComputeError as error:
        raise OSError(
            f"{target} cannot be written ({error}); finished files are kept, and the next run resumes from them"
        ) from error
