from __future__ import annotations

import json
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

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
from kazashi.world.schedule import AT_ONCE, Job, Schedule
from kazashi.world.settings import Settings
from kazashi.world.storage import StoreFailed
from tests.town import MORNING

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


# The clock


def test_without_a_file_the_clock_has_the_machine_s_time(tmp_path: Path) -> None:
    clock = WorldClock(tmp_path / "clock.json")
    before, now, after = SystemClock().now(), clock.now(), SystemClock().now()
    assert before <= now <= after
    assert not clock.stands
    assert not (tmp_path / "clock.json").exists()


def test_a_stopped_clock_is_stopped_for_every_reader(tmp_path: Path) -> None:
    first, second = WorldClock(tmp_path / "c"), WorldClock(tmp_path / "c")
    assert [clock.stands for clock in (first, second)] == [False, False]
    first.stand(MORNING)
    assert [clock.stands for clock in (first, second)] == [True, True]
    assert first.now() == second.now() == MORNING
    second.move(MORNING + HOUR)
    assert first.now() == MORNING + HOUR
    assert first.stands, "it stays stopped after a move"


def test_a_running_clock_runs_for_every_reader(tmp_path: Path) -> None:
    first, second = WorldClock(tmp_path / "c"), WorldClock(tmp_path / "c")
    first.stand(MORNING)
    second.run()
    assert not first.stands
    assert MORNING <= first.now() <= MORNING + timedelta(seconds=5)
    first.run(MORNING + DAY)
    assert MORNING + DAY <= second.now() <= MORNING + DAY + timedelta(seconds=5)
    second.move(MORNING + 3 * DAY)
    assert not first.stands, "it runs on after a move"
    assert MORNING + 3 * DAY <= first.now() <= MORNING + 3 * DAY + timedelta(seconds=5)


def test_a_reader_sees_every_setting(tmp_path: Path) -> None:
    writer, reader = WorldClock(tmp_path / "c"), WorldClock(tmp_path / "c")
    for number in range(300):
        writer.stand(MORNING + timedelta(seconds=number))
        assert reader.now() == MORNING + timedelta(seconds=number)
    assert [path.name for path in tmp_path.iterdir()] == ["c"], "no unfinished file is left"


def test_another_process_reads_and_moves_the_clock(tmp_path: Path) -> None:
    clock = WorldClock(tmp_path / "c")
    clock.stand(MORNING)
    program = (
        "import sys; from pathlib import Path; from datetime import timedelta;"
        "from kazashi.world.clock import WorldClock;"
        "clock = WorldClock(Path(sys.argv[1])); print(clock.now().isoformat()); clock.move(clock.now() + timedelta(1))"
    )
    output = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "c")], capture_output=True, text=True, check=True
    ).stdout
    assert output.strip() == MORNING.isoformat()
    assert clock.now() == MORNING + DAY


def test_instants_are_whole_seconds_with_a_time_zone(tmp_path: Path) -> None:
    for clock in (WorldClock(tmp_path / "c"), FixedClock(MORNING)):
        clock.stand(MORNING.replace(microsecond=999_999))
        assert clock.now() == MORNING
        assert clock.now().tzinfo is UTC
        with pytest.raises(ValueError, match="time zone"):
            clock.stand(datetime(2026, 11, 24))
        assert clock.now() == MORNING


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("90m", timedelta(minutes=90)), ("12h", timedelta(hours=12)), ("400d", timedelta(days=400)),
        ("2w", timedelta(weeks=2)), ("0d", timedelta()), ("007d", timedelta(days=7)),
    ],
)  # fmt: skip
def test_durations_are_parsed(text: str, span: timedelta) -> None:
    assert duration_of(text) == span


@pytest.mark.parametrize("text", ["", "d", "1", "1y", "-1d", "1.5h", "1 d", "1d1h", "1234567d", "１d", "1d\n", "1D"])
def test_malformed_durations_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write 90m, 12h, 400d or 2w"):
        duration_of(text)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2027-01-31", datetime(2027, 1, 30, 15, tzinfo=UTC)),
        ("2027-01-31T12:00", datetime(2027, 1, 31, 3, tzinfo=UTC)),
        ("2027-01-31T12:00+09:00", datetime(2027, 1, 31, 3, tzinfo=UTC)),
        ("2027-01-31T12:00Z", datetime(2027, 1, 31, 12, tzinfo=UTC)),
        ("2027-01-31 12:00:01-05:00", datetime(2027, 1, 31, 17, 0, 1, tzinfo=UTC)),
    ],
)
def test_instants_are_parsed(text: str, instant: datetime) -> None:
    assert instant_of(text) == instant
    assert instant_of(text).tzinfo is UTC


@pytest.mark.parametrize("text", ["", "tomorrow", "2027-02-29", "2027-13-01", "12:00", "31.1.2027", "0001-01-01"])
def test_malformed_instants_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a date or time"):
        instant_of(text)


def test_seconds_since_1970() -> None:
    assert from_epoch(epoch(MORNING)) == MORNING
    assert in_japan(MORNING.date(), 10) == MORNING


# The schedule


class Work:
    """A job that is due at some instants, and logs the clock's time when it is run."""

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


def test_jobs_run_in_order_of_time_each_at_its_instant(tmp_path: Path, clock: WorldClock) -> None:
    log: list[tuple[str, datetime]] = []
    first, second = Work("a", clock, log, -1, 3, 5), Work("b", clock, log, 0, 1, 3, 9)
    schedule = Schedule(tmp_path / "lock", [first.job, second.job])
    stops: list[datetime] = []
    assert schedule.next() == (MORNING - HOUR, first.job)
    assert schedule.advance(clock, MORNING + 6 * HOUR, stops.append) == 6
    assert log == [
        (name, MORNING + hour * HOUR) for name, hour in (("a", 0), ("b", 0), ("b", 1), ("a", 3), ("b", 3), ("a", 5))
    ]
    assert stops == [MORNING + hour * HOUR for hour in (1, 3, 5, 6)]
    assert clock.now() == MORNING + 6 * HOUR
    assert schedule.next() == (MORNING + 9 * HOUR, second.job)
    assert schedule.run_due(clock.now()) == 0
    assert schedule.run_due(MORNING + 9 * HOUR) == 1
    assert schedule.next() is None
    assert schedule.advance(clock, MORNING + 30 * DAY) == 0


def test_a_job_that_another_job_makes_due_is_also_run(tmp_path: Path, clock: WorldClock) -> None:
    log: list[tuple[str, datetime]] = []
    later = Work("later", clock, log)
    earlier = Work("earlier", clock, log, 1)

    def run() -> None:
        earlier.run()
        later.waiting.append(MORNING + 2 * HOUR)

    schedule = Schedule(tmp_path / "lock", [later.job, Job("earlier", earlier.due, run)])
    assert schedule.advance(clock, MORNING + 2 * HOUR) == 2
    assert log == [("earlier", MORNING + HOUR), ("later", MORNING + 2 * HOUR)]


def test_a_job_that_stays_due_is_tried_only_once(tmp_path: Path, clock: WorldClock) -> None:
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


def test_a_job_due_at_once_is_due_at_any_time(tmp_path: Path) -> None:
    """A job that returned the current time would be skipped if a second passed between two readings of the clock."""
    ran: list[int] = []
    job = Job("new", lambda: None if ran else AT_ONCE, lambda: ran.append(1))
    assert Schedule(tmp_path / "lock", [job]).run_due(MORNING - 1000 * HOUR) == 1


def test_a_job_that_stays_due_does_not_delay_others(tmp_path: Path, clock: WorldClock) -> None:
    log: list[tuple[str, datetime]] = []
    stuck, other = Work("stuck", clock, log, 0), Work("other", clock, log, 0, 2)
    stuck.stuck = True
    Schedule(tmp_path / "lock", [stuck.job, other.job]).advance(clock, MORNING + 3 * HOUR)
    assert [entry for entry in log if entry[0] == "other"] == [("other", MORNING), ("other", MORNING + 2 * HOUR)]


def test_a_failing_job_stops_the_clock_at_its_instant(tmp_path: Path, clock: WorldClock) -> None:
    log: list[tuple[str, datetime]] = []
    work = Work("a", clock, log, 3)

    def fail() -> None:
        raise StoreFailed("the disk is full")

    schedule = Schedule(tmp_path / "lock", [Job("a", work.due, fail)])
    with pytest.raises(StoreFailed):
        schedule.advance(clock, MORNING + 5 * HOUR)
    assert clock.now() == MORNING + 3 * HOUR
    assert Schedule(tmp_path / "lock", [work.job]).advance(clock, MORNING + 5 * HOUR) == 1, "the lock was released"


def test_only_one_schedule_runs_jobs_at_a_time(tmp_path: Path) -> None:
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


def test_a_running_clock_still_runs_after_advancing(tmp_path: Path) -> None:
    clock = WorldClock(tmp_path / "c")
    clock.run(MORNING)
    log: list[tuple[str, datetime]] = []
    Schedule(tmp_path / "lock", [Work("a", clock, log, 2).job]).advance(clock, MORNING + 4 * HOUR)
    assert not clock.stands
    assert MORNING + 2 * HOUR <= log[0][1] <= MORNING + 2 * HOUR + timedelta(seconds=5)
    assert MORNING + 4 * HOUR <= clock.now() <= MORNING + 4 * HOUR + timedelta(seconds=5)


# Settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"storage": "mysql://x"}, "postgresql"), ({"storage": "sqlite:///x"}, "postgresql"),
        ({"storage": "postgresqlx"}, "postgresql"), ({"keys": "hardware"}, "pkcs11"), ({"keys": ""}, "pkcs11"),
        ({"serials": "odd"}, "gapless, random"), ({"evening": 24}, "evening"), ({"evening": -1}, "evening"),
        ({"hop_minutes": -1}, "hop_minutes"), ({"crl_minute": 1440}, "crl_minute"), ({"crl_minute": -1}, "crl_minute"),
        ({"opens": 24}, "opens must be before closes"), ({"opens": 9, "closes": 9}, "opens must be before closes"),
        ({"closes": 25}, "between 0 and 24"), ({"opens": -1}, "between 0 and 24"),
    ],
)  # fmt: skip
def test_invalid_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Settings("seed", **settings)


def test_extreme_settings_are_valid(tmp_path: Path) -> None:
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
    assert "keys" not in written, "default settings are not written"


@pytest.mark.parametrize(
    "change", [{"evening": 99}, {"colour": "red"}, {"serials": "odd"}, {"seed": None, "evening": "x"}]
)
def test_a_world_with_invalid_settings_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    open_world(tmp_path / "w", seed="s")
    file = tmp_path / "w" / "world.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(WorldUnusable, match="damaged"):
        open_world(tmp_path / "w")
