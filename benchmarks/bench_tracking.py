"""`kazashi bench tracking`: simulate and link a million people over ten years, then ten times as many."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bench_worlds import Progress
from benchmarks.measure import Measure, at_least, at_most, peak_megabytes
from kazashi.tracking_lab.countermeasures import COUNTERMEASURES, Countermeasure
from kazashi.tracking_lab.engine import DuckDb
from kazashi.tracking_lab.laboratory import TABLES, Laboratory
from kazashi.tracking_lab.linkers import exact_join, trajectories
from kazashi.tracking_lab.metrics import anonymity
from kazashi.tracking_lab.plan import Plan
from kazashi.tracking_lab.study import ATTRIBUTES, POINTS, SPANS, TRIED

NATION = 125_000_000

_UNNOTICED = 50_000
"""A delay in microseconds that nobody at a counter notices."""

ON_DISK = 1_200
"""Bytes on disk per person over ten years, including spill files: the measured value, doubled."""


@dataclass(frozen=True, slots=True)
class TrackingSize:
    """The size of the benchmark: residents, and the next power of ten, which is skipped if the disk is too small."""

    residents: int = 1_000_000
    next_power: int = 10_000_000


def measure(progress: Progress = lambda _: None, size: TrackingSize | None = None) -> list[Measure]:
    """Run every benchmark of the laboratory."""
    size = size or TrackingSize()
    with tempfile.TemporaryDirectory(prefix="kazashi-bench-") as name:
        directory = Path(name)
        progress(f"{size.residents:,} residents over ten years")
        made, laboratory = _populated(directory / "first", size.residents)
        measures = [at_most(f"generating {size.residents:,} residents over ten years", "s", made, 600, "the goal",
                         made / 600, 1)]  # fmt: skip
        progress("linkage")
        joined, uses, links = _joined(laboratory, directory)
        measures.append(at_most(f"exact joins over {uses:,} uses", "s", joined, 120, "the goal", joined / 120, 1))
        sets = _sets(laboratory, directory)
        measures.append(at_most("unicity and anonymity sets", "s", sets, 300, "the goal", sets / 300, 1))
        memory = peak_megabytes()
        measures.append(at_most("memory", "MB", memory, 8_000, "the goal", memory / 8_000, 1))
        progress("the same join in pandas")
        measures.append(_beside_pandas(laboratory, joined, links, size.residents))
        progress("pseudonyms")
        measures += [_latency(measure) for measure in COUNTERMEASURES]
        if shutil.disk_usage(directory).free > size.next_power * ON_DISK:
            progress(f"{size.next_power:,} residents")
            measures += _next_power(directory, size, made, joined)
        return measures


def _next_power(directory: Path, size: TrackingSize, made: float, joined: float) -> list[Measure]:
    """Measure ten times as many residents, compare with ten times the cost, and extrapolate to a nation."""
    times = size.next_power / size.residents
    seconds, laboratory = _populated(directory / "next", size.next_power)
    wide, uses, _ = _joined(laboratory, directory)
    memory = peak_megabytes()
    nation = seconds * NATION / size.next_power / 3600
    linked = wide * NATION / size.next_power / 3600
    return [
        at_most(f"generating {size.next_power:,} residents, linear", "s", seconds, made * times,
                f"{times:g} times the first", seconds / (made * times), 1.5),
        at_most(f"exact joins over {uses:,} uses, linear", "s", wide, joined * times, f"{times:g} times the first",
                wide / (joined * times), 3),
        at_most(f"memory, {size.next_power:,} residents", "MB", memory, 8_000, "the same goal", memory / 8_000, 1),
        at_most(f"extrapolated: generating {NATION:,} people", "h", nation, 24, "a day on one machine", nation / 24, 1),
        at_most(f"extrapolated: joining {NATION:,} people", "h", linked, 24, "a day on one machine", linked / 24, 1),
    ]  # fmt: skip


def _latency(measure: Countermeasure) -> Measure:
    """Measure the time that a countermeasure adds to a use: deriving the pseudonym of a new subject."""
    rows = [{"shown": number, "chain": number, "person": number, "service": number % 5, "sector": "private"}
            for number in range(1, 21)]  # fmt: skip
    for row in rows[:5]:  # each service is set up once
        measure.pseudonym({**row, "person": 0, "shown": 0, "chain": 0})
    begun = time.perf_counter()
    for row in rows:
        measure.pseudonym(row)
    spent = (time.perf_counter() - begun) / len(rows) * 1e6
    ratio = spent / _UNNOTICED
    return at_most(f"a pseudonym: {measure.name}", "us", spent, _UNNOTICED, "a twentieth of a second", ratio, 1)


def _populated(directory: Path, residents: int) -> tuple[float, Laboratory]:
    laboratory = Laboratory(directory)
    begun = time.perf_counter()
    laboratory.populate(Plan(residents), processes=os.cpu_count() or 1)
    return time.perf_counter() - begun, laboratory


def _engine(laboratory: Laboratory, spill: Path) -> DuckDb:
    engine = DuckDb("6GB", spill=spill / "spill")
    for name in TABLES:
        engine.table(name, laboratory.file(name))
    return engine


def _joined(laboratory: Laboratory, spill: Path) -> tuple[float, int, int]:
    """Run the exact joins; return the seconds, the number of uses, and the number of links."""
    engine = _engine(laboratory, spill)
    uses = int(engine.query("SELECT count(*) AS n FROM uses")["n"][0])
    begun = time.perf_counter()
    links = int(exact_join(engine)["linked"].sum())
    seconds = time.perf_counter() - begun
    engine.close()
    return seconds, uses, links


def _sets(laboratory: Laboratory, spill: Path) -> float:
    engine = _engine(laboratory, spill)
    begun = time.perf_counter()
    for span in SPANS:
        trajectories(engine, POINTS, TRIED, span, 1)
    people = engine.query("SELECT * FROM person")
    for names in ATTRIBUTES:
        anonymity(people, names)
    engine.close()
    return time.perf_counter() - begun


_PANDAS = """
import sys, time
import pandas
begun = time.perf_counter()
uses = pandas.read_parquet(sys.argv[1], columns=["service", "shown"])
distinct = uses.drop_duplicates()
pairs = distinct.merge(distinct, on="shown")
pairs = pairs[pairs.service_x < pairs.service_y]
linked = pairs.groupby(["service_x", "service_y"]).size()
print(time.perf_counter() - begun, int(linked.sum()))
"""


def _beside_pandas(laboratory: Laboratory, seconds: float, links: int, residents: int) -> Measure:
    """Run the same join in pandas in a separate process. Raises RuntimeError if it finds another number of links."""
    done = subprocess.run(
        [sys.executable, "-c", _PANDAS, str(laboratory.directory / "uses")], capture_output=True, text=True, check=True
    )
    theirs, linked = done.stdout.split()
    if int(linked) != links:
        raise RuntimeError(f"pandas finds {linked} links, the laboratory {links}")
    name = f"exact joins, {residents:,} residents"
    return at_least(name, "s", seconds, float(theirs), "pandas", float(theirs) / seconds, 10)
