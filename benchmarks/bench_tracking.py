"""`kazashi bench tracking`: generate and examine a million people over ten years and a log of ten million rows, then
ten times as many people."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from benchmarks.bench_worlds import Progress
from benchmarks.measure import Measure, at_least, at_most, peak_megabytes
from benchmarks.tracking import commands, peers
from benchmarks.tracking.cluster import ON_THIS_MACHINE, cluster
from kazashi.tracking_lab.countermeasures import COUNTERMEASURES, Countermeasure
from kazashi.tracking_lab.engine import DuckDb, Spark
from kazashi.tracking_lab.laboratory import TABLES, Laboratory
from kazashi.tracking_lab.linkers import digest_join, exact_join, hashed, shared_persons, trajectories
from kazashi.tracking_lab.memory import MemoryLimit
from kazashi.tracking_lab.metrics import anonymity
from kazashi.tracking_lab.plan import Plan
from kazashi.tracking_lab.queries import POINTS, SPANS, TRIED
from kazashi.tracking_lab.study import ATTRIBUTES
from kazashi.world.home import open_world

NATION = 125_000_000

_UNNOTICED = 50_000
"""A delay in microseconds that nobody at a counter notices."""

_FILES = 4
"""The number of files of each table on Spark."""

ON_DISK = 1_200
"""Bytes on disk per person over ten years, including spill files: the measured value, doubled."""


@dataclass(frozen=True, slots=True)
class TrackingSize:
    """The size of the benchmark: residents, and the next power of ten, which is skipped if the disk is too small; the
    rows and handles of a log; and the residents whose tables DuckDB and a Spark cluster both join. Without rows, no
    commands are run, and without such residents no cluster is started."""

    residents: int = 1_000_000
    next_power: int = 10_000_000
    rows: int = 10_000_000
    handles: int = 1_000_000
    on_spark: int = 20_000


def measure(progress: Progress = lambda _: None, size: TrackingSize | None = None) -> list[Measure]:
    """Run every benchmark of the laboratory."""
    size = size or TrackingSize()
    with tempfile.TemporaryDirectory(prefix="kazashi-bench-") as name:
        directory = Path(name)
        world = open_world(directory / "world").directory
        progress(f"{size.residents:,} residents over ten years")
        made, laboratory = _populated(world / "tracking" / "first", size.residents)
        measures = [at_most(f"generating {size.residents:,} residents over ten years", "s", made, 600, "the goal",
                         made / 600, 1)]  # fmt: skip
        progress("linkage")
        joined, uses, _ = _joined(laboratory, directory)
        measures.append(at_most(f"exact joins over {uses:,} uses", "s", joined, 120, "the goal", joined / 120, 1))
        measures += _beside_peers(laboratory, uses, progress)
        sets = _sets(laboratory, directory)
        measures.append(at_most("unicity and anonymity sets", "s", sets, 300, "the goal", sets / 300, 1))
        if size.rows:
            progress(f"the report on {size.residents:,} residents")
            measures += _report(world, "first", f"{size.residents:,} residents", 600)
            measures += _own_log(world, directory, size, progress)
        progress("pseudonyms")
        measures += [_latency(measure) for measure in COUNTERMEASURES]
        if size.on_spark:
            progress("a Spark cluster of two workers")
            measures.append(_on_spark(directory, size.on_spark))
        if shutil.disk_usage(directory).free > size.next_power * ON_DISK:
            progress(f"{size.next_power:,} residents")
            measures += _next_power(directory, size, made, joined)
        return measures


def _beside_peers(laboratory: Laboratory, uses: int, progress: Progress) -> list[Measure]:
    """Run the same joins in other ways, each in a new process. Raises RuntimeError if one finds another number of
    links."""
    seconds, links = peers.joined("ours", laboratory.directory)
    measures = []
    for peer, goal in (("pandas", 10.0), ("Polars", 1.5), ("DuckDB", 1.0)):
        progress(f"the same joins in {peer}")
        theirs, linked = peers.joined(peer, laboratory.directory)
        if linked != links:
            raise RuntimeError(f"{peer} finds {linked} links, the laboratory {links}")
        name = f"exact joins over {uses:,} uses, beside {peer}"
        measures.append(at_least(name, "s", seconds, theirs, peer, theirs / seconds, goal))
    return measures


def _report(world: Path, name: str, words: str, goal: float) -> list[Measure]:
    """Measure the time and the memory of a report within the default limit."""
    report = commands.run(world, "report", "--name", name, "--html", str(world / f"{name}.html"))
    return [
        at_most(f"report on {words}", "s", report.seconds, goal, "the goal", report.seconds / goal, 1),
        at_most(f"report on {words}: memory", "MB", report.megabytes, 2_000, "--memory 2GB",
                report.megabytes / 2_000, 1),
    ]  # fmt: skip


def _own_log(world: Path, directory: Path, size: TrackingSize, progress: Progress) -> list[Measure]:
    """Measure the import of a log of many handles in mixed spellings, and the report on it."""
    words = f"{size.rows:,} rows with {size.handles:,} handles"
    progress(f"a log of {words}")
    log, mapping = directory / "log.csv", directory / "mapping.yaml"
    commands.write_log(log, size.rows, size.handles)
    mapping.write_text(commands.MAPPING, encoding="utf-8")
    read = commands.run(world, "import", str(log), "--mapping", str(mapping))
    return [
        at_most(f"import of {words}", "s", read.seconds, 60, "the goal", read.seconds / 60, 1),
        at_most(f"import of {words}: memory", "MB", read.megabytes, 2_000, "--memory 2GB", read.megabytes / 2_000, 1),
        *_report(world, "logs", words, 120),
    ]  # fmt: skip


def _on_spark(directory: Path, residents: int) -> Measure:
    """Join one population of several files on DuckDB and on a Spark cluster. Raises RuntimeError if the numbers
    differ."""
    _, laboratory = _populated(directory / "shared", residents)
    for name in TABLES:
        _split(Path(laboratory.file(name)).parent, _FILES)
    seconds, numbers = [], []
    with cluster(directory / "cluster") as address:
        for engine in (DuckDb(spill=laboratory.spill()), Spark(address, ON_THIS_MACHINE)):
            for name in TABLES:
                engine.table(name, laboratory.file(name))
            begun = time.perf_counter()
            plain = exact_join(engine)
            joins = [plain, digest_join(engine, hashed(engine), plain), shared_persons(engine)]
            numbers.append(([join.rows() for join in joins], trajectories(engine, POINTS, TRIED, 7, 1)))
            seconds.append(time.perf_counter() - begun)
            engine.close()
    if numbers[0] != numbers[1]:
        raise RuntimeError("Spark finds other numbers than DuckDB")
    name = f"joins and unicity of {residents:,} residents in {_FILES} files a table, on Spark (two workers)"
    return at_least(name, "s", seconds[0], seconds[1], "Spark", seconds[1] / seconds[0], 0)


def _split(table: Path, files: int) -> None:
    """Divide a table into files of consecutive rows."""
    rows = pl.read_parquet(table / "*.parquet")
    for file in table.glob("*.parquet"):
        file.unlink()
    step = -(-rows.height // files)
    for number in range(files):
        rows.slice(number * step, step).write_parquet(table / f"{number:06d}.parquet")


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
                wide / (joined * times), 1.3),
        at_most(f"memory, {size.next_power:,} residents", "MB", memory, 8_000, "the goal", memory / 8_000, 1),
        at_most(f"extrapolated: generating {NATION:,} people", "h", nation, 24, "a day on one machine", nation / 24, 1),
        at_most(f"extrapolated: joining {NATION:,} people", "h", linked, 24, "a day on one machine", linked / 24, 1),
    ]  # fmt: skip


def _latency(measure: Countermeasure) -> Measure:
    """Measure the time that a countermeasure adds to a use: deriving the pseudonym of a new subject."""
    rows = [{"shown": number, "chain": number, "person": number, "attestation": number, "service": number % 5,
             "sector": "private"} for number in range(1, 21)]  # fmt: skip
    for row in rows[:5]:  # each service is set up once
        measure.pseudonym({**row, "person": 0, "shown": 0, "chain": 0, "attestation": 0})
    begun = time.perf_counter()
    for row in rows:
        measure.pseudonym(row)
    spent = (time.perf_counter() - begun) / len(rows) * 1e6
    ratio = spent / _UNNOTICED
    return at_most(f"a pseudonym: {measure.id}", "us", spent, _UNNOTICED, "a twentieth of a second", ratio, 1)


def _populated(directory: Path, residents: int) -> tuple[float, Laboratory]:
    laboratory = Laboratory(directory)
    begun = time.perf_counter()
    laboratory.populate(Plan(residents), processes=os.cpu_count() or 1)
    return time.perf_counter() - begun, laboratory


def _engine(laboratory: Laboratory, spill: Path) -> DuckDb:
    engine = DuckDb(MemoryLimit(8 * 1000**3), spill=spill / "spill")
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
