from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from kazashi.assembly.institutions import Institutions
from kazashi.resident_registry.cast import CAST
from kazashi.resident_registry.event import MoveWithin
from kazashi.world.clock import (
    FixedClock,
    SystemClock,
    WorldClock,
    duration_of,
    epoch,
    from_epoch,
    in_japan,
    instant_of,
)
from kazashi.world.home import WorldUnusable, open_world
from kazashi.world.key_source import KeySource
from kazashi.world.schedule import AT_ONCE, Job, Schedule
from kazashi.world.settings import Settings
from kazashi.world.storage import Store, StoreFailed, open_store
from tests.town import MORNING, fresh_database, new_world

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


# The clock


def test_without_a_file_it_is_the_machine_s_time(tmp_path: Path) -> None:
    clock = WorldClock(tmp_path / "clock.json")
    before, now, after = SystemClock().now(), clock.now(), SystemClock().now()
    assert before <= now <= after
    assert not clock.stands
    assert not (tmp_path / "clock.json").exists()


def test_a_clock_stands_for_every_process(tmp_path: Path) -> None:
    first, second = WorldClock(tmp_path / "c"), WorldClock(tmp_path / "c")
    assert [clock.stands for clock in (first, second)] == [False, False]
    first.stand(MORNING)
    assert [clock.stands for clock in (first, second)] == [True, True]
    assert first.now() == second.now() == MORNING
    second.move(MORNING + HOUR)
    assert first.now() == MORNING + HOUR
    assert first.stands, "moved, it stands there"


def test_a_clock_runs_for_every_process(tmp_path: Path) -> None:
    first, second = WorldClock(tmp_path / "c"), WorldClock(tmp_path / "c")
    first.stand(MORNING)
    second.run()
    assert not first.stands
    assert MORNING <= first.now() <= MORNING + timedelta(seconds=5)
    first.run(MORNING + DAY)
    assert MORNING + DAY <= second.now() <= MORNING + DAY + timedelta(seconds=5)
    second.move(MORNING + 3 * DAY)
    assert not first.stands, "moved, it runs from there"
    assert MORNING + 3 * DAY <= first.now() <= MORNING + 3 * DAY + timedelta(seconds=5)


def test_no_reader_misses_a_setting(tmp_path: Path) -> None:
    writer, reader = WorldClock(tmp_path / "c"), WorldClock(tmp_path / "c")
    for number in range(300):
        writer.stand(MORNING + timedelta(seconds=number))
        assert reader.now() == MORNING + timedelta(seconds=number)
    assert [path.name for path in tmp_path.iterdir()] == ["c"], "no unfinished file is left"


def test_a_clock_in_another_process(tmp_path: Path) -> None:
    clock = WorldClock(tmp_path / "c")
    clock.stand(MORNING)
    program = (
        "import sys; from pathlib import Path; from datetime import timedelta;"
        "from kazashi.world.clock import WorldClock;"
        "clock = WorldClock(Path(sys.argv[1])); print(clock.now().isoformat()); clock.move(clock.now() + timedelta(1))"
    )
    said = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "c")], capture_output=True, text=True, check=True
    ).stdout
    assert said.strip() == MORNING.isoformat()
    assert clock.now() == MORNING + DAY


def test_instants_are_whole_seconds_of_a_known_zone(tmp_path: Path) -> None:
    for clock in (WorldClock(tmp_path / "c"), FixedClock(MORNING)):
        clock.stand(MORNING.replace(microsecond=999_999))
        assert clock.now() == MORNING
        assert clock.now().tzinfo is UTC
        with pytest.raises(ValueError, match="time zone"):
            clock.stand(datetime(2026, 11, 24))
        assert clock.now() == MORNING


@pytest.mark.parametrize(
    ("words", "span"),
    [
        ("90m", timedelta(minutes=90)), ("12h", timedelta(hours=12)), ("400d", timedelta(days=400)),
        ("2w", timedelta(weeks=2)), ("0d", timedelta()), ("007d", timedelta(days=7)),
    ],
)  # fmt: skip
def test_spans(words: str, span: timedelta) -> None:
    assert duration_of(words) == span


@pytest.mark.parametrize("words", ["", "d", "1", "1y", "-1d", "1.5h", "1 d", "1d1h", "1234567d", "１d", "1d\n", "1D"])
def test_what_is_no_span(words: str) -> None:
    with pytest.raises(ValueError, match="write 90m, 12h, 400d or 2w"):
        duration_of(words)


@pytest.mark.parametrize(
    ("words", "instant"),
    [
        ("2027-01-31", datetime(2027, 1, 30, 15, tzinfo=UTC)),
        ("2027-01-31T12:00", datetime(2027, 1, 31, 3, tzinfo=UTC)),
        ("2027-01-31T12:00+09:00", datetime(2027, 1, 31, 3, tzinfo=UTC)),
        ("2027-01-31T12:00Z", datetime(2027, 1, 31, 12, tzinfo=UTC)),
        ("2027-01-31 12:00:01-05:00", datetime(2027, 1, 31, 17, 0, 1, tzinfo=UTC)),
    ],
)
def test_instants(words: str, instant: datetime) -> None:
    assert instant_of(words) == instant
    assert instant_of(words).tzinfo is UTC


@pytest.mark.parametrize("words", ["", "tomorrow", "2027-02-29", "2027-13-01", "12:00", "31.1.2027", "0001-01-01"])
def test_what_is_no_instant(words: str) -> None:
    with pytest.raises(ValueError, match="is no instant"):
        instant_of(words)


def test_seconds_since_1970() -> None:
    assert from_epoch(epoch(MORNING)) == MORNING
    assert in_japan(MORNING.date(), 10) == MORNING


# The schedule


class Work:
    """A job that is due at some instants, and notes when it was run by the clock."""

    def __init__(self, name: str, clock: WorldClock, log: list[tuple[str, datetime]], *hours: float) -> None:
        self.name, self.clock, self.log = name, clock, log
        self.waiting = [MORNING + hour * HOUR for hour in hours]
        self.stuck = False

    def due(self) -> datetime | None:
        return self.waiting[0] if self.waiting else None

    def run(self) -> None:
        self.log.append((self.name, self.clock.now()))
        if not self.stuck:
            self.waiting.pop(0)

    @property
    def job(self) -> Job:
        return Job(self.name, self.due, self.run)


@pytest.fixture
def clock(tmp_path: Path) -> WorldClock:
    clock = WorldClock(tmp_path / "clock.json")
    clock.stand(MORNING)
    return clock


def test_jobs_are_run_in_the_order_of_time_and_each_at_its_instant(tmp_path: Path, clock: WorldClock) -> None:
    log: list[tuple[str, datetime]] = []
    first, second = Work("a", clock, log, -1, 3, 5), Work("b", clock, log, 0, 1, 3, 9)
    schedule = Schedule(tmp_path / "lock", [first.job, second.job])
    told: list[datetime] = []
    assert schedule.next() == (MORNING - HOUR, first.job)
    assert schedule.advance(clock, MORNING + 6 * HOUR, told.append) == 6
    assert log == [
        (name, MORNING + hour * HOUR) for name, hour in (("a", 0), ("b", 0), ("b", 1), ("a", 3), ("b", 3), ("a", 5))
    ]
    assert told == [MORNING + hour * HOUR for hour in (1, 3, 5, 6)]
    assert clock.now() == MORNING + 6 * HOUR
    assert schedule.next() == (MORNING + 9 * HOUR, second.job)
    assert schedule.run_due(clock.now()) == 0
    assert schedule.run_due(MORNING + 9 * HOUR) == 1
    assert schedule.next() is None
    assert schedule.advance(clock, MORNING + 30 * DAY) == 0


def test_what_a_job_brings_about_is_done_on_the_way(tmp_path: Path, clock: WorldClock) -> None:
    log: list[tuple[str, datetime]] = []
    later = Work("later", clock, log)
    earlier = Work("earlier", clock, log, 1)

    def run() -> None:
        earlier.run()
        later.waiting.append(MORNING + 2 * HOUR)

    schedule = Schedule(tmp_path / "lock", [later.job, Job("earlier", earlier.due, run)])
    assert schedule.advance(clock, MORNING + 2 * HOUR) == 2
    assert log == [("earlier", MORNING + HOUR), ("later", MORNING + 2 * HOUR)]


def test_a_job_that_stays_due_is_tried_once_and_not_for_ever(tmp_path: Path, clock: WorldClock) -> None:
    log: list[tuple[str, datetime]] = []
    work = Work("a", clock, log, 1, 2)
    work.stuck = True
    schedule = Schedule(tmp_path / "lock", [work.job])
    schedule.run_due(MORNING)
    assert log == []
    schedule.advance(clock, MORNING + 5 * HOUR)
    assert log == [("a", MORNING + HOUR)]
    assert clock.now() == MORNING + 5 * HOUR
    work.stuck = False
    assert schedule.run_due(clock.now()) == 2
    assert work.due() is None


def test_what_is_due_at_once_is_due_whatever_the_second(tmp_path: Path) -> None:
    """A job that answered the present instant would be passed over where a second has passed since somebody looked."""
    ran: list[int] = []
    job = Job("new", lambda: None if ran else AT_ONCE, lambda: ran.append(1))
    assert Schedule(tmp_path / "lock", [job]).run_due(MORNING - 1000 * HOUR) == 1


def test_a_job_that_stays_due_holds_nobody_up(tmp_path: Path, clock: WorldClock) -> None:
    log: list[tuple[str, datetime]] = []
    stuck, other = Work("stuck", clock, log, 0), Work("other", clock, log, 0, 2)
    stuck.stuck = True
    Schedule(tmp_path / "lock", [stuck.job, other.job]).advance(clock, MORNING + 3 * HOUR)
    assert [found for found in log if found[0] == "other"] == [("other", MORNING), ("other", MORNING + 2 * HOUR)]


def test_a_job_that_fails_stops_the_clock_where_it_failed(tmp_path: Path, clock: WorldClock) -> None:
    log: list[tuple[str, datetime]] = []
    work = Work("a", clock, log, 3)

    def fail() -> None:
        raise StoreFailed("the disk is full")

    schedule = Schedule(tmp_path / "lock", [Job("a", work.due, fail)])
    with pytest.raises(StoreFailed):
        schedule.advance(clock, MORNING + 5 * HOUR)
    assert clock.now() == MORNING + 3 * HOUR
    assert Schedule(tmp_path / "lock", [work.job]).advance(clock, MORNING + 5 * HOUR) == 1, "the lock is free again"


def test_one_at_a_time_carries_the_jobs_out(tmp_path: Path) -> None:
    inside: list[int] = []
    most: list[int] = []
    waiting = list(range(40))

    def run() -> None:
        inside.append(1)
        most.append(len(inside))
        waiting.pop()
        inside.pop()

    def work() -> None:
        Schedule(
            tmp_path / "lock", [Job("a", lambda: MORNING - len(waiting) * HOUR if waiting else None, run)]
        ).run_due(MORNING)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 40


def test_a_running_clock_is_moved_on_and_runs_on(tmp_path: Path) -> None:
    clock = WorldClock(tmp_path / "c")
    clock.run(MORNING)
    log: list[tuple[str, datetime]] = []
    Schedule(tmp_path / "lock", [Work("a", clock, log, 2).job]).advance(clock, MORNING + 4 * HOUR)
    assert not clock.stands
    assert MORNING + 2 * HOUR <= log[0][1] <= MORNING + 2 * HOUR + timedelta(seconds=5)
    assert MORNING + 4 * HOUR <= clock.now() <= MORNING + 4 * HOUR + timedelta(seconds=5)


# Settings


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"storage": "mysql://x"}, "postgresql"), ({"storage": "sqlite:///x"}, "postgresql"),
        ({"storage": "postgresqlx"}, "postgresql"), ({"keys": "hardware"}, "pkcs11"), ({"keys": ""}, "pkcs11"),
        ({"serials": "odd"}, "gapless, random"), ({"evening": 24}, "evening"), ({"evening": -1}, "evening"),
        ({"hop_minutes": -1}, "hop_minutes"), ({"crl_minute": 1440}, "crl_minute"), ({"crl_minute": -1}, "crl_minute"),
        ({"opens": 24}, "open before they close"), ({"opens": 9, "closes": 9}, "open before they close"),
        ({"closes": 25}, "between 0 and 24"), ({"opens": -1}, "between 0 and 24"),
    ],
)  # fmt: skip
def test_settings_that_make_no_sense(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Settings("seed", **settings)


def test_the_furthest_settings_that_do(tmp_path: Path) -> None:
    for settings in (
        Settings("s", evening=0, crl_minute=0, opens=0, closes=1),
        Settings("s", "postgresql://user@host/x", "pkcs11:token=T", "random", 23, 10**6, 1439, 23, 24),
    ):
        assert Settings(**settings.as_dict()) == settings  # type: ignore[arg-type]


def test_settings_survive_reopening(tmp_path: Path) -> None:
    settings = Settings("seed", serials="random", evening=7, hop_minutes=3, crl_minute=90, opens=8, closes=20)
    assert open_world(tmp_path / "w", settings=settings).settings == settings
    assert open_world(tmp_path / "w").settings == settings
    assert open_world(tmp_path / "w", seed="other", settings=Settings("third")).settings == settings
    written = json.loads((tmp_path / "w" / "world.json").read_text())
    assert "keys" not in written, "what is as usual is not written down"


@pytest.mark.parametrize(
    "change", [{"evening": 99}, {"colour": "red"}, {"serials": "odd"}, {"seed": None, "evening": "x"}]
)
def test_a_world_with_settings_that_make_no_sense(tmp_path: Path, change: dict[str, object]) -> None:
    open_world(tmp_path / "w", seed="s")
    mark = tmp_path / "w" / "world.json"
    mark.write_text(json.dumps({**json.loads(mark.read_text()), **change}))
    with pytest.raises(WorldUnusable, match="damaged"):
        open_world(tmp_path / "w")


# Stores


@pytest.fixture
def numbers(tmp_path: Path, storage: str) -> Iterator[tuple[Store, sa.Table]]:
    metadata = sa.MetaData()
    table = sa.Table("number", metadata, sa.Column("number", sa.BigInteger, primary_key=True))
    store = open_store(tmp_path / "stores", storage, "actor", metadata)
    yield store, table
    store.engine.dispose()


def test_a_transaction_is_all_or_nothing(numbers: tuple[Store, sa.Table]) -> None:
    store, table = numbers

    def held() -> list[int]:
        with store.reading() as connection:
            return list(connection.scalars(sa.select(table.c.number).order_by(table.c.number)))

    with store.transaction() as connection:
        connection.execute(sa.insert(table), [{"number": 1}, {"number": 2}])
    with suppress(KeyError), store.transaction() as connection:
        connection.execute(sa.insert(table), {"number": 3})
        raise KeyError
    for doubled in ([4, 1], [5, 5]):
        with pytest.raises(sa.exc.IntegrityError), store.transaction() as connection:
            connection.execute(sa.insert(table), [{"number": number} for number in doubled])
    assert held() == [1, 2]


def test_an_error_of_the_database_is_told_in_one_line(numbers: tuple[Store, sa.Table]) -> None:
    store, _ = numbers
    for within in (store.transaction, store.reading):
        with pytest.raises(StoreFailed, match="the store of actor failed: ") as failed, within() as connection:
            connection.execute(sa.text("SELECT * FROM nowhere"))
        assert "\n" not in str(failed.value)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "actor.sqlite").write_bytes(b"somebody's letters" * 100)
    with pytest.raises(StoreFailed, match="not a database"):
        open_store(tmp_path, "", "actor", sa.MetaData())
    assert (tmp_path / "actor.sqlite").read_bytes() == b"somebody's letters" * 100


# A full disk

FULL = """
import json, os, sys
from dataclasses import replace
from pathlib import Path
from kazashi.resident_registry.cast import CAST
from kazashi.resident_registry.event import MoveWithin
from tests.town import new_institutions
from kazashi.assembly.error_codes import code_of
from kazashi.world.key_source import SharedKeySource, generate
from kazashi.world.storage import StoreFailed

disk = Path(sys.argv[1])
os.environ["SQLITE_TMPDIR"] = sys.argv[1]
town = new_institutions(disk / "w", SharedKeySource([generate()]))
town.issue_card("hanako", "hanako")
town.settle()
before = town.registry.find("hanako")
filler = (disk / "filler").open("wb", buffering=0)
try:
    while True:
        filler.write(b"x" * 4096)
except OSError:
    pass
failed, moves = [], 0
try:
    for moves in range(10000):
        town.registry.record("hanako", MoveWithin("町%d" % moves + "あ" * 50))
except StoreFailed as error:
    failed.append([code_of(error), str(error)])
try:
    town.registry.add(replace(CAST["taro"], street="あ" * 9000))
except StoreFailed as error:
    failed.append([code_of(error), str(error)])
street, history = town.registry.find("hanako").street, len(town.registry.history("hanako"))
people = town.registry.count()
waiting = town.registry.outbox.waiting(town.registry.store)
filler.truncate(0)
town.registry.record("hanako", MoveWithin("after"))
town.settle()
after = town.juki_net.j_lis.identity(before.code).street
print(json.dumps({"failed": failed, "moves": moves, "street": street, "history": history, "people": people,
                  "waiting": waiting, "after": after}))
"""


def on_a_small_disk(directory: Path, size: str, program: str) -> subprocess.CompletedProcess[str]:
    """Run a program with a directory that is a small disk of its own, in a mount namespace of its own."""
    directory.mkdir()
    alone = ["unshare", "--mount"] + (["--map-root-user"] if os.geteuid() != 0 else [])
    script = 'mount -t tmpfs -o size="$1" tmpfs "$2" && exec "$3" -c "$4" "$2"'
    return subprocess.run(
        [*alone, "sh", "-c", script, "sh", size, str(directory), sys.executable, program],
        capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    done = on_a_small_disk(tmp_path / "disk", "12m", FULL)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [code for code, _ in told["failed"]] == ["store-failed"] * 2
    for _, words in told["failed"]:
        assert words.startswith("the store of registry failed: ")
        assert "\n" not in words
    moves = told["moves"]
    assert told["street"].startswith(f"町{moves - 1}あ") if moves else told["street"] == CAST["hanako"].street
    assert (told["history"], told["waiting"], told["people"]) == (moves + 1, moves, 1)
    assert told["after"] == "after", "and with room again it goes on"
    assert not list((tmp_path / "disk").iterdir()), "the disk was the program's own"


# A database server that is away


def test_a_server_that_was_never_there(tmp_path: Path) -> None:
    storage = f"postgresql://nobody@/nothing?host={tmp_path}"
    with pytest.raises(StoreFailed, match="the store of j_lis failed") as failed:
        Institutions(new_world(tmp_path / "w", storage=storage)).registry.count()
    assert "\n" not in str(failed.value)


@contextmanager
def administrator(url: str) -> Iterator[Callable[[str], None]]:
    with psycopg.connect(url, autocommit=True) as connection:

        def say(statement: str) -> None:
            connection.execute(statement.encode())

        yield say


def test_connections_that_break(tmp_path: Path, keys: KeySource, postgresql: str) -> None:
    with fresh_database(postgresql) as storage, administrator(postgresql) as say:
        world = new_world(tmp_path / "w", keys, storage)
        town = Institutions(world)
        town.resident("hanako")
        name = sa.make_url(storage).database
        say(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        with pytest.raises(StoreFailed, match="the store of registry failed") as failed:
            town.registry.record("hanako", MoveWithin("町１"))
        assert "\n" not in str(failed.value)
        town.registry.record("hanako", MoveWithin("町２"))
        assert [found.word for found in town.registry.history("hanako")] == ["registration", "move-within"]
        say(f"DROP DATABASE {name} WITH (FORCE)")
        for _ in range(2):
            with pytest.raises(StoreFailed):
                town.registry.find("hanako")
        world.close()
        say(f"CREATE DATABASE {name}")
