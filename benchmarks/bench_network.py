"""`kazashi bench network`: conversions, decisions, matching, exchanges over HTTP, codes for a million residents, and
a clinic's desk."""

from __future__ import annotations

import os
import secrets
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import date
from functools import partial
from itertools import cycle, islice
from multiprocessing import get_context
from pathlib import Path
from random import Random
from statistics import median

from benchmarks.bench_desk import desk_times
from benchmarks.bench_first_matching import measure_matching
from benchmarks.bench_matching import matchings
from benchmarks.bench_rulings import measure_rulings
from benchmarks.bench_worlds import Progress, new_world
from benchmarks.measure import Measure, at_least, at_most
from benchmarks.network_load import ask_all, start
from kazashi.assembly.network_server import core_of
from kazashi.provision_network.assessments import sample_assessment
from kazashi.provision_network.codes import Coder, InstitutionCode, LinkageCode, SoftwareCipher
from kazashi.provision_network.interface_system import InterfaceSystem
from kazashi.provision_network.law.rules import RuleBook
from kazashi.provision_network.law.tables import table_of_affairs
from kazashi.resident_registry.number import ResidentRecordCode
from kazashi.world.home import open_world
from kazashi.world.key_source import SharedKeySource, generate


@dataclass(frozen=True, slots=True)
class NetworkSize:
    """The size of the benchmark.

    `conversions` counts conversions and decisions. The network has `towns`, plus one national body, with `people` each,
    and `questions` are asked in it. `residents` get a code for each of `bodies`. `holders` of cards are in the world
    whose stores are searched for handles. A body's records are matched with `matched` people, and the returns of a town
    of `taxpayers` with its taxpayers. `taps` is the number of checks of a card at a clinic's desk, in each way; with 0
    they are left out.
    """

    conversions: int = 200_000
    towns: int = 49
    people: int = 100
    questions: int = 3_000
    residents: int = 1_000_000
    bodies: int = 50
    holders: int = 10_000
    matched: int = 20_000
    taxpayers: int = 20_000
    taps: int = 50


_BODIES = 5
"""The number of bodies for which the core issues codes at once."""

_SYSTEMS, _TOGETHER = 2, 13
"""The number of systems that ask at the same time, and of questions per list."""

_GOAL_DESK = 300.0
"""The milliseconds that a patient may wait at a clinic's desk."""

_ALONE = 10
"""The number of systems that ask at the same time, one question per request."""


def measure(progress: Progress = lambda _: None, size: NetworkSize | None = None) -> list[Measure]:
    """Run every benchmark of the provision network."""
    size = size or NetworkSize()
    with tempfile.TemporaryDirectory(prefix="kazashi-bench-") as name:
        directory = Path(name)
        progress("conversions")
        measures = [*_conversions(directory, size), _decisions(size), *matchings(size.taxpayers)]
        measures += measure_matching(directory, size.matched, progress)
        if size.taps:
            progress("a clinic's desk")
            measures += _desk(directory, size)
        progress("starting the network's processes")
        measures += _exchanges(directory, size, progress)
        measures += _codes(directory, size, progress)
        measures += measure_rulings(directory, SharedKeySource([generate()]), size.holders, progress)
        return measures


def _conversions(directory: Path, size: NetworkSize) -> Iterator[Measure]:
    coder = Coder(SoftwareCipher(secrets.token_bytes(32)))
    codes = coder.issue([LinkageCode(number) for number in range(1, size.conversions + 1)], 1)
    begun = time.perf_counter()
    for code in codes:
        coder.convert(code, 1, 2)
    rate = size.conversions / (time.perf_counter() - begun)
    table = _table(directory / "table.sqlite", codes, coder)
    yield at_least("conversions in the core", "1/s", rate, 100_000, "the goal", rate / 100_000, 1)
    yield at_least("conversions in the core", "1/s", rate, table, "a table of codes in SQLite", rate / table, 0.5)


def _table(path: Path, codes: Sequence[InstitutionCode], coder: Coder) -> float:
    """Return the conversions per second with a table of all pairs, which a core without a cipher would need."""
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE pair (a BLOB PRIMARY KEY, b BLOB NOT NULL) WITHOUT ROWID")
        rows = [(code.value, coder.convert(code, 1, 2).value) for code in codes]
        database.executemany("INSERT INTO pair VALUES (?, ?)", rows)
        begun = time.perf_counter()
        for a, _ in rows:
            database.execute("SELECT b FROM pair WHERE a = ?", (a,)).fetchone()
        return len(rows) / (time.perf_counter() - begun)


def _decisions(size: NetworkSize) -> Measure:
    rows = table_of_affairs()
    rules, day = RuleBook(rows), date(2026, 11, 24)
    purposes = list(islice(cycle(row.purpose for row in rows), size.conversions))
    begun = time.perf_counter()
    for purpose in purposes:
        rules.decide(purpose, day)
    microseconds = (time.perf_counter() - begun) / len(purposes) * 1e6
    begun = time.perf_counter()
    for purpose in purposes[: size.conversions // 100]:
        next(row for row in rows if row.purpose == purpose)
    search = (time.perf_counter() - begun) / (size.conversions // 100) * 1e6
    return at_most("decision by the rules", "us", microseconds, 5, f"the goal; a search takes {search:.1f} us",
                   microseconds / 5, 1)  # fmt: skip


def _exchanges(directory: Path, size: NetworkSize, progress: Progress) -> Iterator[Measure]:
    keys = SharedKeySource([generate()])
    world = new_world(directory / "network", keys)
    load = start(world, size.towns, size.people)
    questions = load.questions
    Random("network").shuffle(questions)
    try:
        progress("warming up")
        ask_all(load, questions[: max(20, size.questions // 10)], 4)
        progress(f"{size.questions} questions, in lists")
        lists, rate = ask_all(load, questions[: size.questions], _SYSTEMS, _TOGETHER)
        progress("one by one")
        single, alone = ask_all(load, questions[: size.questions // 2], _ALONE)
    finally:
        load.stop()
        world.close()
    what = f"exchanges over HTTPS among {size.towns + 1} bodies"
    for how, per_second, taken in ((f"in lists of {_TOGETHER}", rate, lists), ("one by one", alone, single)):
        name = f"{what}, {how}"
        p95 = taken[int(len(taken) * 0.95)] * 1000
        yield at_least(name, "1/s", per_second, 300, "the goal", per_second / 300, 1)
        yield at_most(f"{name}: p95", "ms", p95, 100, "the goal", p95 / 100, 1)


def _desk(directory: Path, size: NetworkSize) -> Iterator[Measure]:
    """Measure checks at a clinic's desk with a card in a reader, in a process of its own."""
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        times = process.submit(desk_times, directory, size.taps).result()
    alone = median(times.card_alone) * 1000
    peer = f"the goal; the card's signature alone takes {alone:.0f} ms"
    for way, taken in times.inserted.items():
        for what, value in (("median", median(taken)), ("p95", sorted(taken)[int(len(taken) * 0.95)])):
            name = f"tap to page at a clinic's desk, by {way}: {what}"
            yield at_most(name, "ms", value * 1000, _GOAL_DESK, peer, value * 1000 / _GOAL_DESK, 1)
        there = median(times.there[way]) * 1000
        name = f"the same with the card there already, by {way}: median"
        yield at_most(name, "ms", there, _GOAL_DESK, peer, there / _GOAL_DESK, 1)
    paused = max(times.paused) * 1000
    yield at_most("tap to page after a pause, by PIN: the longest of five", "ms", paused, _GOAL_DESK, peer,
                  paused / _GOAL_DESK, 1)  # fmt: skip


def _codes(directory: Path, size: NetworkSize, progress: Progress) -> Iterator[Measure]:
    """Measure the codes of all residents for all bodies: the core issues them, and each body stores its own."""
    keys = SharedKeySource([generate()])
    world = new_world(directory / "codes", keys)
    core = core_of(world)
    bodies = [f"架空{number}市" for number in range(size.bodies)]
    for body in bodies:
        core.members.connect(
            body, "市町村長", assessment=sample_assessment(body, "市町村長", world.clock.now().date())
        )  # fmt: skip
    workers = os.cpu_count() or 1
    progress(f"persons: {size.residents:,}")
    begun = time.perf_counter()
    codes = [str(ResidentRecordCode.around(f"{place + 1:010d}")) for place in range(size.residents)]
    core.codes.issue(bodies[:1], codes)
    persons = time.perf_counter() - begun
    world.close()
    progress(f"codes: {size.residents:,} for each of {size.bodies} bodies")
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        groups = [bodies[begin : begin + _BODIES] for begin in range(0, len(bodies), _BODIES)]
        issue = partial(_issue, directory / "codes", size.residents)
        sizes = [one for group in pool.map(issue, groups) for one in group]
    seconds = time.perf_counter() - begun
    stores = directory / "codes" / "stores"
    at_core = sum(path.stat().st_size for path in stores.glob("provision_core.sqlite*"))
    name = f"{size.residents:,} residents' codes for {size.bodies} bodies"
    yield at_most(name, "s", seconds, 300, "the goal", seconds / 300, 1)
    yield at_most(f"{name}: entering the persons", "s", persons, seconds, "the whole run", persons / seconds, 1)
    per_body = sum(sizes) / len(sizes) / size.residents
    yield at_most("stored at a body, per resident", "bytes", per_body, 16, "the code alone", per_body / 16, 12)
    per_core = at_core / size.residents
    yield at_most("stored at the core, per resident", "bytes", per_core, 18, "both numbers alone", per_core / 18, 12)
    cost = seconds / size.residents / size.bodies * 1e6
    yield at_most("a code issued and stored", "us", cost, 6, "the goal for one code", cost / 6, 1)


def _issue(directory: Path, residents: int, bodies: Sequence[str]) -> list[int]:
    """Issue the codes of all residents for some bodies; return the sizes of the bodies' stores in bytes. Runs in its
    own process."""
    world, sizes = open_world(directory), []
    codes = [str(ResidentRecordCode.around(f"{number + 1:010d}")) for number in range(residents)]
    issued = core_of(world).codes.issue(bodies, codes)
    for body in bodies:
        interface = InterfaceSystem(world, body)
        interface.add(body).take_codes((f"{number:010d}", code) for number, code in enumerate(issued.pop(body)))
        stores = list((directory / "stores").glob(f"*_{body}.sqlite*"))
        sizes.append(sum(path.stat().st_size for path in stores if path.name.startswith("intermediate")))
        for path in stores:
            path.unlink()  # the stores of fifty bodies would fill a small disk
    world.close()
    return sizes
