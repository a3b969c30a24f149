"""`kazashi bench tracking`: a population of a million over ten years, and what linking it takes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tools.bench_worlds import Progress
from tools.measure import Measure, at_least, at_most, peak_megabytes
from tracking_lab.engine import DuckDb
from tracking_lab.laboratory import TABLES, Laboratory
from tracking_lab.linkers import exact_join, trajectories
from tracking_lab.metrics import anonymity
from tracking_lab.plan import Plan
from tracking_lab.study import ATTRIBUTES, POINTS, SPANS, TRIED

NATION = 125_000_000


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured: residents, and how many of them pandas is given."""

    residents: int = 1_000_000
    for_pandas: int = 150_000


def measure(progress: Progress = lambda _: None, size: Size | None = None) -> list[Measure]:
    """Every measure of the laboratory."""
    size = size or Size()
    with tempfile.TemporaryDirectory(prefix="kazashi-bench-") as name:
        directory = Path(name)
        progress(f"{size.residents:,} residents over ten years")
        small, _ = _populated(directory / "small", max(1, size.residents // 10))
        seconds, laboratory = _populated(directory / "large", size.residents)
        found = [at_most(f"{size.residents:,} residents over ten years made", "s", seconds, 600, "the goal",
                         seconds / 600, 1)]  # fmt: skip
        linear = seconds / (small * 10)
        found.append(at_most("the same, linear", "s", seconds, small * 10, "ten times a tenth of them", linear, 1.5))
        nation = seconds * NATION / size.residents / 3600
        found.append(at_most(f"on paper: {NATION:,} people", "h", nation, 24, "a day on this machine", nation / 24, 1))
        progress("linkage")
        found += _linked(laboratory, directory)
        progress("beside pandas")
        found.append(_beside_pandas(directory, size))
        return found


def _populated(directory: Path, residents: int) -> tuple[float, Laboratory]:
    laboratory = Laboratory(directory)
    begun = time.perf_counter()
    laboratory.populate(Plan(residents), processes=os.cpu_count() or 1)
    return time.perf_counter() - begun, laboratory


def _engine(laboratory: Laboratory, spill: Path) -> DuckDb:
    engine = DuckDb("6GB", spill=spill)
    for name in TABLES:
        engine.table(name, laboratory.file(name))
    return engine


def _linked(laboratory: Laboratory, spill: Path) -> list[Measure]:
    engine = _engine(laboratory, spill)
    uses = int(engine.query("SELECT count(*) AS n FROM uses")["n"][0])
    begun = time.perf_counter()
    exact_join(engine)
    joined = time.perf_counter() - begun
    begun = time.perf_counter()
    for span in SPANS:
        trajectories(engine, POINTS, TRIED, span, 1)
    people = engine.query("SELECT * FROM person")
    for names in ATTRIBUTES:
        anonymity(people, names)
    sets = time.perf_counter() - begun
    engine.close()
    memory = peak_megabytes()
    return [
        at_most(f"exact joins over {uses:,} uses", "s", joined, 120, "the goal", joined / 120, 1),
        at_most("unicity and anonymity sets on the same", "s", sets, 300, "the goal", sets / 300, 1),
        at_most("memory", "MB", memory, 8_000, "the goal", memory / 8_000, 1),
    ]


_PANDAS = """
import sys, time
from pathlib import Path
import pandas
begun = time.perf_counter()
uses = pandas.read_parquet(sys.argv[1], columns=["service", "shown"])
held = uses.drop_duplicates()
pairs = held.merge(held, on="shown")
pairs = pairs[pairs.service_x < pairs.service_y]
linked = pairs.groupby(["service_x", "service_y"]).size()
print(time.perf_counter() - begun, int(linked.sum()))
"""


def _beside_pandas(directory: Path, size: Size) -> Measure:
    """The same join in pandas, in a process of its own, on a size that it can hold."""
    _, laboratory = _populated(directory / "pandas", size.for_pandas)
    engine = _engine(laboratory, directory)
    begun = time.perf_counter()
    ours = int(exact_join(engine)["linked"].sum())
    seconds = time.perf_counter() - begun
    engine.close()
    done = subprocess.run(
        [sys.executable, "-c", _PANDAS, str(laboratory.directory / "uses")], capture_output=True, text=True, check=True
    )
    theirs, linked = done.stdout.split()
    if int(linked) != ours:
        raise RuntimeError(f"pandas links {linked}, and we {ours}")
    name = f"exact joins, {size.for_pandas:,} residents"
    return at_least(name, "s", seconds, float(theirs), "pandas", float(theirs) / seconds, 10)
