"""`kazashi bench points`: the time from a tap to the receipt, and the rate at which a centre accepts records."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import sqlalchemy as sa

from benchmarks.bench_tap import taps
from benchmarks.bench_worlds import Progress, new_world
from benchmarks.measure import Measure, at_least, at_most
from benchmarks.till_load import LoadedTill, bring, loaded_tills
from kazashi.assembly.points import enrol_till, serve_centre
from kazashi.assembly.points_server import centre_of
from kazashi.assembly.postgresql import server
from kazashi.refund_points.centre import Centre
from kazashi.refund_points.centre_http import HttpsTransport
from kazashi.refund_points.goods import CATALOGUE, Basket, ReceiptLine
from kazashi.refund_points.ledger import FIRST, GRANTED
from kazashi.refund_points.reading import CardReading
from kazashi.refund_points.sender import send_waiting
from kazashi.studies.points_day import BUSIEST_HOUR
from kazashi.world.home import World
from kazashi.world.key_source import SharedKeySource, generate

GOAL_TAP = 0.1

NATION = 300_000_000
"""Records per day, as estimated in the press of the time."""


@dataclass(frozen=True, slots=True)
class PointsSize:
    """The size of the benchmark.

    Each of `tills` sends `batches` batches of `batch` records by `customers` customers. `ledger` is the number of rows
    of the large ledger, `backlog` the number of waiting records of a till that was offline, and `workers` the number of
    the centre's processes.
    """

    taps: int = 50
    tills: int = 200
    batch: int = 100
    batches: int = 3
    customers: int = 50_000
    ledger: int = 10_000_000
    backlog: int = 10_000
    workers: int = os.cpu_count() or 1


def measure(progress: Progress = lambda _: None, size: PointsSize | None = None) -> list[Measure]:
    """Run every benchmark of the refund points."""
    size = size or PointsSize()
    with tempfile.TemporaryDirectory(prefix="kazashi-bench-") as name:
        directory = Path(name)
        keys = SharedKeySource([generate() for _ in range(8)])
        return [*_taps(directory, size, progress), *_centre(directory, keys, size, progress)]


def _taps(directory: Path, size: PointsSize, progress: Progress) -> Iterator[Measure]:
    progress("taps")
    medians = []
    for name, vpcd in (("ours", False), ("vpcd", True)):
        (directory / name).mkdir()
        with ProcessPoolExecutor(1, get_context("spawn")) as process:
            inserted, seen = process.submit(taps, directory / name, size.taps, vpcd).result()
        medians.append((median(inserted) * 1000, median(seen) * 1000))
    (ms, noticed), (vpcd_ms, _) = medians
    yield at_most("tap to receipt, once pcscd has seen the card", "ms", noticed, 150, "the goal", noticed / 150, 1)
    name = "tap to receipt, from the card in the field"
    yield at_most(name, "ms", ms, vpcd_ms, "vpcd, which pcscd polls", ms / vpcd_ms, GOAL_TAP)


def _centre(directory: Path, keys: SharedKeySource, size: PointsSize, progress: Progress) -> Iterator[Measure]:
    with server() as url:
        world = new_world(directory / "centre", keys, url)
        centre = centre_of(world)
        load = _TillLoad(loaded_tills(centre, size.tills), world, size)
        with _serving(world, "kazashi.assembly.points_server", size.workers) as port:
            progress("warming up the centre")
            load.bring(port, 1)
            progress(f"{size.tills} tills at once")
            empty = load.bring(port, size.batches)
        with _serving(world, "benchmarks.row_by_row", size.workers) as port:
            progress("one row and one transaction per record")
            single = load.bring(port, 1, batch=1, batches=max(1, size.batch // 4))
            bare = load.bring(port, 1)
        rows = _fill(centre, size, progress)
        with _serving(world, "kazashi.assembly.points_server", size.workers) as port:
            progress(f"the same with {rows:,} rows in the ledger")
            load.bring(port, 1)
            full = load.bring(port, size.batches)
            progress(f"a till that was offline sends {size.backlog:,} records")
            seconds = _catch_up(world, port, size)
        row_bytes = _row_bytes(centre)
        world.close()
    what = f"records accepted from {size.tills} tills, batches of {size.batch}"
    yield at_least(what, "1/s", empty, 5000, "the goal", empty / 5000, 1)
    yield at_least(f"{what}, {rows:,} rows in the ledger", "1/s", full, 5000, "the goal", full / 5000, 1)
    yield at_least("records accepted, linear", "1/s", full, empty, "an empty ledger", full / empty, 0.8)
    yield at_least(what, "1/s", empty, single, "the same client, an insert and a commit per record", empty / single, 3)
    yield at_least(what, "1/s", empty, bare, "batches, a commit per row, nothing verified", empty / bare, 0)
    yield at_most(f"{size.backlog:,} records sent by one till", "s", seconds, 10, "the goal", seconds / 10, 1)
    yield from _on_paper(min(empty, full), row_bytes)


def _on_paper(rate: float, row_bytes: float) -> Iterator[Measure]:
    """Extrapolate the measurements to a nation's records in the busiest hour of the simulated day."""
    wanted = NATION * BUSIEST_HOUR / 3600
    machines = wanted / rate
    name = f"extrapolated: {NATION:,} records a day"
    yield at_most(f"{name}, the busiest hour", "1/s", wanted, rate, "this machine", machines, 1000)
    size = NATION * row_bytes / 1e9
    yield at_most(f"{name}, ledger and indexes", "GB/day", size, 1000, "a terabyte", size / 1000, 1)


class _TillLoad:
    """Tills whose record numbers continue from one call to the next."""

    def __init__(self, tills: list[LoadedTill], world: World, size: PointsSize) -> None:
        self._tills, self._world, self._size = tills, world, size
        self._next = 1

    def bring(self, port: int, rounds: int, batch: int = 0, batches: int = 1) -> float:
        """Return the records per second: the median of `rounds` rounds, in each of which every till sends `batches`
        batches."""
        batch = batch or self._size.batch
        rates = []
        for _ in range(rounds):
            bodies = [
                till.bodies(self._next, batches, batch, self._world.clock, self._size.customers) for till in self._tills
            ]
            self._next += batches * batch
            rates.append(len(self._tills) * batches * batch / bring(port, self._tills, bodies))
        return median(rates)


@contextmanager
def _serving(world: World, module: str, workers: int) -> Iterator[int]:
    process = serve_centre(world, workers=workers, module=module)
    try:
        yield process.port
    finally:
        process.stop()


def _fill(centre: Centre, size: PointsSize, progress: Progress) -> int:
    """Insert rows as tills would send them over months; return the number of rows in the ledger."""
    step = 1_000_000
    with centre.store.transaction() as connection:
        connection.execute(
            sa.text("INSERT INTO account (code, year) SELECT 'old-' || i, 2026 FROM generate_series(1, :n) i"),
            {"n": size.customers * 10},
        )
        first = connection.scalar(sa.text("SELECT max(id) FROM account")) - size.customers * 10
        for index in centre.ledger.posting.indexes:  # recreated afterwards, which is many times faster
            index.drop(connection)
    assert first >= FIRST
    for begin in range(0, size.ledger, step):
        progress(f"{begin:,} of {size.ledger:,} rows in the ledger")
        sql = """INSERT INTO posting (debit, credit, points, at, till, number, digest, bought, eligible, receipt, "of",
                                      doubtful)
            SELECT :granted, :first + 1 + (i * 7919::bigint) % :n, i % 60, 1790000000, 1000000 + i % 1000, i / 1000 + 1,
                   repeat(md5(i::text), 2), 1790000000, i % 3300, 'old-shop/till-1/1/' || i, '', false
            FROM generate_series(:begin, :end - 1) i"""
        values = {"granted": GRANTED, "first": first, "n": size.customers * 10, "begin": begin,
                  "end": min(begin + step, size.ledger)}  # fmt: skip
        with centre.store.transaction() as connection:
            connection.execute(sa.text(sql), values)
    progress("indexes of the ledger")
    with centre.store.transaction() as connection:
        for index in centre.ledger.posting.indexes:
            index.create(connection)
    centre.store.analyze()
    with centre.store.reading() as connection:
        return int(connection.scalar(sa.select(sa.func.count()).select_from(centre.ledger.posting)) or 0)


def _row_bytes(centre: Centre) -> float:
    with centre.store.reading() as connection:
        sql = "SELECT pg_total_relation_size('posting')::float / greatest(1, count(*)) FROM posting"
        return float(connection.scalar(sa.text(sql)) or 0)


def _catch_up(world: World, port: int, size: PointsSize) -> float:
    till = enrol_till(world, "far-shop", "till-1")
    basket = Basket((ReceiptLine(CATALOGUE["lunch"]),))
    for number in range(size.backlog):
        till.sell(basket, CardReading(0x70000000 + number % 997))
    transport = HttpsTransport.of(till, f"https://localhost:{port}")
    begun = time.perf_counter()
    sent = send_waiting(till, transport)
    seconds = time.perf_counter() - begun
    transport.close()
    if sent.acknowledged != size.backlog:
        raise RuntimeError(f"the centre accepted {sent.acknowledged} of {size.backlog} records")
    return seconds
