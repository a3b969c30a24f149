"""A simulated day, a third party's audit of the tills' files, and several centre workers at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import date
from pathlib import Path

import pytest

from benchmarks import bench_points
from kazashi.assembly.points import enrol_till, serve_centre, tills_here
from kazashi.assembly.points_server import centre_of
from kazashi.refund_points.centre_http import HttpsTransport
from kazashi.refund_points.reading import CardReading
from kazashi.refund_points.sender import CentreUnreachable, send_waiting
from kazashi.refund_points.till import RecordState
from kazashi.studies.points_balance import balance
from kazashi.studies.points_day import simulate
from kazashi.world.home import World, open_world
from kazashi.world.settings import Settings
from tests.refund_points.tills import LUNCH
from tests.support import run
from tests.town import fresh_database, new_world

pytestmark = pytest.mark.load

READD = Path(__file__).parent.parent.parent / "refund_points" / "readd.sql"
DAY = date(2026, 11, 24)


@pytest.fixture
def world(tmp_path: Path, storage: str) -> Iterator[World]:
    world = open_world(tmp_path / "w", settings=Settings("points", storage))
    yield world
    world.close()


def readded(world: World, sums: Path) -> dict[tuple[str, int], int]:
    """Return the sums that the SQL script computes from all tills' files."""
    for till in sorted((world.directory / "tills").glob("till-*.sqlite")):
        for _ in range(2):  # the second time changes nothing
            run("sqlite3", str(sums), f"ATTACH '{till}' AS till", f".read {READD}")
    rows = json.loads(run("sqlite3", "-json", str(sums), "SELECT * FROM sums"))
    return {
        (row["code"], row["year"]): row["points"] - (row["still_waiting"] or 0) - (row["not_taken"] or 0)
        for row in rows
    }  # fmt: skip


def test_a_day_balances_and_the_sql_agrees(world: World, tmp_path: Path) -> None:
    report = simulate(world, 50, 150, DAY)
    result = report.balance
    assert result.good, result.in_words()
    assert report.purchases == pytest.approx(300, abs=25)
    assert min(report.cuts, report.crashes, report.lost_answers, report.centre_restarts, report.returned) > 0
    assert result.records > 200
    assert result.found + sum(one.points for one in result.waiting) == result.granted > 0
    assert all(one.till.startswith("shop-50/") for one in result.waiting)
    assert report.applications > 50
    assert result.ledger["paid"] == report.refunded > 0
    assert sum(purchases for purchases, _ in report.hours.values()) == report.purchases
    # Applications move points out of people's accounts, but do not change what the tills granted.
    ledger = {(code, year): points for code, year, points in centre_of(world).accounts()}
    sums = readded(world, tmp_path / "sums.sqlite")
    assert sum(sums.values()) == -result.ledger["granted"]
    assert {key for key, points in sums.items() if points} <= ledger.keys()


@pytest.mark.parametrize("policy", ["authentication-serial", "keyed-by-shop", "code-by-centre"])
def test_the_sql_adds_up_every_code(tmp_path: Path, policy: str) -> None:
    world = new_world(tmp_path / "w")
    tills = [enrol_till(world, shop, "till-1", policy=policy) for shop in ("rice-shop", "tea-shop")]
    centre = centre_of(world)
    for number in range(6):
        tills[number % 2].sell(LUNCH, CardReading(100 + number % 3))
    tills[0].take_back("rice-shop/till-1/1/1", [1])

    class Direct:
        def send(self, till: str, records: object) -> object:
            return [result.as_dict() for result in centre.receive(till, records)]  # type: ignore[arg-type]

    for till in tills:
        send_waiting(till, Direct())
    tills[1].sell(LUNCH, CardReading(100))  # not sent yet
    ledger = {(code, year): points for code, year, points in centre.accounts()}
    sums = readded(world, tmp_path / "sums.sqlite")
    if policy == "code-by-centre":
        assert sums == {("sealed for the centre", 2026): sum(ledger.values())}
    else:
        assert {key: points for key, points in sums.items() if points} == ledger
    assert len(ledger) == (6 if policy == "keyed-by-shop" else 3)
    report = balance(centre, tills_here(world))
    assert (report.good, [one.points for one in report.waiting]) == (True, [21])
    world.close()


def test_the_same_seed_gives_the_same_day(tmp_path: Path) -> None:
    reports = []
    for number in range(2):
        world = open_world(tmp_path / f"w{number}", settings=Settings("seed"))
        reports.append(simulate(world, 2, 20, DAY).as_dict())
        world.close()
    for report in reports:
        report.pop("refunded")  # depends on the order in which four concurrent counters number the applications
        report["balance"].pop("ledger")
    assert reports[0] == reports[1]


def test_the_simulate_command_reports_the_day(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "kazashi", "points", "simulate", "--shops", "2", "--customers", "10", "--day"]
    done = subprocess.run([*command, "--keep", str(tmp_path / "kept")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "balanced" in done.stdout
    assert (tmp_path / "kept" / "tills").is_dir()
    for arguments in (["--keep", str(tmp_path / "kept")], ["--day", "nonsense"]):
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
        assert (done.returncode, "usage" in done.stderr) == (2, True)


def test_an_imbalance_is_reported(tmp_path: Path) -> None:
    world = new_world(tmp_path / "w")
    till, centre = enrol_till(world, "rice-shop", "till-1"), centre_of(world)
    till.sell(LUNCH, CardReading(7))
    till.settle({1: (RecordState.ACKNOWLEDGED, "")})  # but the centre has never received it
    report = balance(centre, [till])
    assert not report.good
    assert [one.why for one in report.wrong] == ["acknowledged, but not in the ledger"]
    assert "NOT BALANCED" in report.in_words()
    world.close()


def test_killed_workers_count_every_record_once(tmp_path: Path, postgresql: str) -> None:
    with fresh_database(postgresql) as url:
        world = open_world(tmp_path / "w", settings=Settings("points", url))
        tills = [enrol_till(world, f"shop-{number}", "till-1") for number in range(4)]
        for till in tills:
            for number in range(60):
                till.sell(LUNCH, CardReading(number % 7))
        process = serve_centre(world, workers=3)

        def bring(number: int) -> None:
            till = tills[number]
            while till.states()[RecordState.WAITING]:
                transport = HttpsTransport.of(till, f"https://localhost:{process.port}")
                with suppress(CentreUnreachable):
                    send_waiting(till, transport, batch=4)
                transport.close()

        senders = [threading.Thread(target=bring, args=(number,)) for number in range(4)]
        for sender in senders:
            sender.start()
        killed = 0
        while any(sender.is_alive() for sender in senders):
            workers = _children(process.pid)
            if workers and killed < 6:  # uvicorn starts a replacement
                with suppress(ProcessLookupError):
                    os.kill(workers[killed % len(workers)], signal.SIGKILL)
                killed += 1
            senders[0].join(0.3)
            for sender in senders:
                sender.join(0.01)
        process.stop()
        assert killed > 0
        report = balance(centre_of(world), tills)
        assert (report.good, report.found, report.waiting) == (True, 4 * 60 * 21, [])
        world.close()


def _children(pid: int) -> list[int]:
    """Return the child processes of a process, without Python's resource tracker."""
    done = subprocess.run(["pgrep", "-P", str(pid), "-f", "spawn_main"], capture_output=True, text=True, check=False)
    return [int(word) for word in done.stdout.split()]


@pytest.mark.reader
@pytest.mark.usefixtures("temporary_in_memory")
def test_the_points_benchmark_takes_every_measure() -> None:
    size = bench_points.PointsSize(
        taps=2, tills=4, batch=5, batches=2, customers=20, ledger=2000, backlog=20, workers=1,
    )  # fmt: skip
    measures = bench_points.measure(size=size)
    names = [measure.name for measure in measures]
    assert len(names) == 10
    assert "2,060 rows in the ledger" in names[3]
    for measure in measures:
        assert min(measure.ours, measure.peer, measure.ratio) > 0
        comparison, goal = measure.goal.split()
        assert measure.met == (measure.ratio >= float(goal) if comparison == ">=" else measure.ratio <= float(goal))


def test_the_balance_lists_unreadable_records(tmp_path: Path) -> None:
    world = new_world(tmp_path / "w")
    till, centre = enrol_till(world, "rice-shop", "till-1"), centre_of(world)
    for _ in range(3):
        till.sell(LUNCH, CardReading(7))
    with till.store.transaction() as connection:
        connection.exec_driver_sql("UPDATE record SET body = x'00ff' WHERE number = 1")
        connection.exec_driver_sql("UPDATE record SET body = 'text' WHERE number = 2")
    report = balance(centre, [till])
    assert (report.records, report.granted, [one.number for one in report.refused]) == (3, 21, [1, 2])
    world.close()


def test_a_till_set_up_anew_is_another_installation(tmp_path: Path) -> None:
    world = new_world(tmp_path / "w")
    open_elsewhere = enrol_till(world, "rice-shop", "till-1")
    open_elsewhere.sell(LUNCH, CardReading(7))
    command = [
        sys.executable,
        "-m",
        "kazashi",
        "--world",
        str(world.directory),
        "points",
        "enrol",
        "rice-shop",
        "till-1",
    ]
    assert "has the till rice-shop/till-1 open" in run(*command, "--anew", expect=2)
    open_elsewhere.store.close()
    output = run(*command, "--anew")
    assert output.startswith("rice-shop/till-1/2: ")
    assert run(*command).startswith("rice-shop/till-1/2: "), "enrolling again changes nothing"
    till = enrol_till(world, "rice-shop", "till-1")
    assert not till.records()
    assert till.sell(LUNCH, CardReading(7)).name == "rice-shop/till-1/2/1"
    (aside,) = (world.directory / "tills").glob("aside-*.sqlite")
    assert run("sqlite3", str(aside), "SELECT count(*) FROM record").strip() == "1"
    world.close()
