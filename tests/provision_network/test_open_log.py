"""The network's log as open data: what is in it, what is not, and when."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import jsonschema_rs
import pytest
import sqlalchemy as sa

from kazashi.provision_network import open_log
from kazashi.provision_network.assessments import sample_assessment
from kazashi.provision_network.core import Core
from kazashi.provision_network.law.rules import RuleBook
from kazashi.provision_network.law.tables import Purpose
from kazashi.provision_network.open_log import (
    META,
    PUBLISHABLE,
    OpenDay,
    OpenLogUnusable,
    Precision,
    row_schema,
    write_open_log,
)
from kazashi.provision_network.terms import NetworkRejected, RequestOutcome
from kazashi.world.atomic_file import write_whole
from kazashi.world.clock import JST, FixedClock
from kazashi.world.home import World, open_world
from kazashi.world.settings import Settings
from tests.crash import killed_at
from tests.provision_network.bodies import (
    CHILD_PENSION,
    HANAKO,
    MINATO,
    NOW,
    PENSION,
    PURPOSE,
    ROWS,
    SHIBUYA,
    TARO,
    Network,
    denied,
    network_of,
)

HOUR, DAY, MINUTE = Precision.HOUR, Precision.DAY, Precision.MINUTE
LATER = NOW + timedelta(days=30)


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(NOW)


@pytest.fixture
def world(tmp_path: Path, clock: FixedClock) -> Iterator[World]:
    world = open_world(tmp_path / "w", settings=Settings("network"), clock=clock)
    yield world
    world.close()


@pytest.fixture
def core(world: World) -> Core:
    return core_in(world)


def core_in(world: World) -> Core:
    core = Core(world, RuleBook(ROWS))
    for name, kind in ((SHIBUYA, "市町村長"), (MINATO, "市町村長"), (PENSION, "日本年金機構")):
        core.members.connect(name, kind, assessment=sample_assessment(name, kind, NOW.date()))
    return core


def asked(core: Core, person: str, purpose: Purpose = PURPOSE, provider: str = MINATO) -> int:
    """Send a request about a person and provide it; return the core's number of the request."""
    number = core.mediation.request(SHIBUYA, core.codes.code_for(SHIBUYA, person), purpose, [provider]).number
    core.records.settle(provider, number, RequestOutcome.PROVIDED)
    return number


def rows_of(days: list[OpenDay]) -> list[dict[str, Any]]:
    return [json.loads(line) for day in days for line in gzip.decompress(day.content).decode().splitlines()]


def used(network: Network, clock: FixedClock) -> list[str]:
    """Use a network: requests about two people, one of them denied, with free text as its item. Return what identifies
    a person, a request or a second."""
    secrets = ["花子", "病歴"]
    for minutes, person in enumerate((HANAKO, TARO, HANAKO), 1):
        clock.stand(NOW + timedelta(minutes=minutes, seconds=17))
        secrets.append(str(int(clock.now().timestamp())))
        network.ask()
        network.municipal.asking.ask(SHIBUYA, network.code(SHIBUYA, person), CHILD_PENSION, [PENSION])
        network.carry()
    network.ask(purpose=Purpose("市町村長", "児童手当法", "児童手当又は特例給付の支給", "市町村長", "番号花子の病歴"))
    for person in (HANAKO, TARO):
        codes = [str(network.code(body, person)) for body in (SHIBUYA, MINATO, PENSION)]
        secrets += [person, *codes, str(network.core.codes.portal_code(person))]
    with network.core.store.transaction() as connection:
        connection.execute(sa.text("UPDATE provision_record SET number = number + 918273600"))
        stored = connection.execute(sa.text("SELECT number, record_code FROM provision_record")).all()
        secrets += [str(one) for one in connection.execute(sa.text("SELECT linkage FROM person")).scalars()]
    return [*secrets, *(str(number) for number, _ in stored), *(bytes(code).hex() for _, code in stored)]


def test_no_published_byte_is_about_a_person_a_request_or_a_second(
    world: World, clock: FixedClock, tmp_path: Path
) -> None:
    network = network_of(world)
    secrets = used(network, clock)
    assert len(set(secrets)) > 20
    clock.stand(LATER)
    days = network.core.open_log.publish(HOUR, 10)
    write_open_log(tmp_path / "out", days, HOUR, 10)
    published = b"".join(
        gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        for path in (tmp_path / "out").iterdir()
    ).decode()
    assert [secret for secret in secrets if secret.lower() in published.lower()] == []
    rows = rows_of(days)
    assert len(rows) == 7
    assert {row["serviceCode"] for row in rows} == {PURPOSE.item, CHILD_PENSION.item, None}
    assert {row["clientMemberCode"] for row in rows} == {SHIBUYA}
    assert {row["serviceMemberCode"] for row in rows} == {MINATO, PENSION}
    (refused,) = (row for row in rows if row["clientSubsystemCode"] is None)
    assert (refused["serviceCode"], refused["succeeded"], refused["totalDurationClass"]) == (None, False, None)


def test_rows_have_the_time_to_the_precision_and_nothing_finer(core: Core, clock: FixedClock) -> None:
    clock.stand(datetime(2018, 4, 2, 15, 59, 59, tzinfo=UTC))  # the 3rd of April, 0:59:59 in Japan
    asked(core, HANAKO)
    clock.stand(LATER)
    (row,) = rows_of(core.open_log.publish(HOUR, 10))
    assert row == {
        "requestInTs": int(datetime(2018, 4, 3, 0, tzinfo=JST).timestamp()) * 1000, "requestInDate": "2018-04-03",
        "clientMemberCode": SHIBUYA, "clientSubsystemCode": "番号法19条7号 (2017-05-30), 別表第二 74",
        "serviceMemberCode": MINATO,
        "serviceCode": "地方税関係情報", "totalDurationClass": "to-1s", "succeeded": True,
    }  # fmt: skip


@pytest.mark.parametrize(("precision", "begin"), [
    (Precision.SECOND, "00:59:59"), (MINUTE, "00:59:00"), (HOUR, "00:00:00"), (DAY, "00:00:00"),
])  # fmt: skip
def test_spans_begin_at_japanese_times(precision: Precision, begin: str) -> None:
    moment = int(datetime(2018, 4, 3, 0, 59, 59, tzinfo=JST).timestamp())
    assert str(datetime.fromtimestamp(precision.begin(moment), JST)) == f"2018-04-03 {begin}+09:00"


def test_a_day_comes_out_after_the_delay_and_not_a_second_before(core: Core, clock: FixedClock) -> None:
    asked(core, HANAKO)  # on the 2nd of April at noon in Japan
    clock.stand(datetime(2018, 4, 12, 23, 59, 59, tzinfo=JST))
    assert core.open_log.publish(HOUR, 10) == []
    clock.stand(datetime(2018, 4, 13, tzinfo=JST))
    assert [day.day for day in core.open_log.publish(HOUR, 10)] == [date(2018, 4, 2)]
    asked(core, TARO)
    assert [day.day for day in core.open_log.publish(HOUR, 0)] == [date(2018, 4, 2)], (
        "today is not over, whatever the delay"
    )
    clock.stand(datetime(2018, 4, 14, tzinfo=JST))
    assert [day.day for day in core.open_log.publish(HOUR, 0)] == [date(2018, 4, 2), date(2018, 4, 13)]


def test_a_published_day_stays_as_it_is(core: Core, clock: FixedClock, tmp_path: Path) -> None:
    held = core.mediation.request(SHIBUYA, core.codes.code_for(SHIBUYA, HANAKO), PURPOSE, [MINATO]).number
    core.records.settle(MINATO, held, RequestOutcome.HELD)
    clock.stand(LATER)
    first = core.open_log.publish(HOUR, 10)
    write_open_log(tmp_path / "one", first, HOUR, 10)
    core.records.settle(MINATO, held, RequestOutcome.PROVIDED)
    clock.stand(NOW)  # somebody sets the clock back: a request of a day that is already out
    asked(core, TARO)
    clock.stand(LATER + timedelta(days=1))
    again = core.open_log.publish(HOUR, 10)
    write_open_log(tmp_path / "two", again, HOUR, 10)
    assert again == first
    assert {path.name: path.read_bytes() for path in (tmp_path / "one").iterdir()} == {
        path.name: path.read_bytes() for path in (tmp_path / "two").iterdir()
    }
    with core.store.reading() as connection:
        events = connection.execute(sa.text("SELECT detail FROM event WHERE what = 'day published'")).scalars().all()
    assert [json.loads(one) for one in events] == [{"day": "2018-04-02", "sha256": first[0].sha256}]


def published_in(directory: Path, order: list[int]) -> bytes:
    """The bytes of a day with the same six requests, recorded in an order."""
    clock = FixedClock(NOW)
    world = open_world(directory, settings=Settings("network"), clock=clock)
    core = core_in(world)
    six = [(person, *which) for person in (HANAKO, TARO, "11111111106")
           for which in ((PURPOSE, MINATO), (CHILD_PENSION, PENSION))]  # fmt: skip
    for minute, place in enumerate(order):
        clock.stand(NOW + timedelta(minutes=minute))
        asked(core, *six[place])
    clock.stand(LATER)
    (day,) = core.open_log.publish(HOUR, 10)
    world.close()
    return day.content


def test_the_order_of_rows_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    orders = ([0, 1, 2, 3, 4, 5], [0, 2, 4, 1, 3, 5])
    one, other = (published_in(tmp_path / str(place), order) for place, order in enumerate(orders))
    assert one == other, "whoever made two requests one after the other, and who between them"
    monkeypatch.setattr(open_log, "sorted", list, raising=False)
    leaking, other = (published_in(tmp_path / f"leak{place}", order) for place, order in enumerate(orders))
    assert leaking != other, "a program that keeps the order of the records is found out"


def test_people_whose_records_must_not_be_shown_are_left_out(tmp_path: Path, storage: str, clock: FixedClock) -> None:
    world = open_world(tmp_path / "w", settings=Settings("network", storage=storage), clock=clock)
    network = network_of(world)
    network.ask()
    network.municipal.set_undisclosed(SHIBUYA, network.code(SHIBUYA), on=True)
    network.carry()
    network.municipal.asking.ask(SHIBUYA, network.code(SHIBUYA, TARO), CHILD_PENSION, [PENSION])
    network.carry()
    clock.stand(LATER)
    assert [row["serviceMemberCode"] for row in rows_of(network.core.open_log.publish(HOUR, 10))] == [PENSION]
    assert len(network.core.open_log.publish(HOUR, 10)) == 1
    world.close()


def test_a_second_form_of_the_log_is_refused(core: Core, clock: FixedClock) -> None:
    asked(core, HANAKO)
    clock.stand(LATER)
    core.open_log.publish(HOUR, 10)
    for precision in (MINUTE, DAY):
        with denied("published-otherwise"):
            core.open_log.publish(precision, 10)
    with pytest.raises(NetworkRejected, match="to the hour from 2018-04-02 on"):
        core.open_log.publish(DAY, 10)
    assert len(core.open_log.publish(HOUR, 0)) == 1


def test_an_interrupted_run_is_completed_and_other_files_are_not_touched(
    core: Core, clock: FixedClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in range(3):
        clock.stand(NOW + timedelta(days=day))
        asked(core, HANAKO)
    clock.stand(LATER)
    days, out = core.open_log.publish(HOUR, 10), tmp_path / "out"

    def fails(path: Path, content: Any) -> None:
        if path.name == days[1].file:
            raise OSError(28, "No space left on device")
        write_whole(path, content)

    monkeypatch.setattr(open_log, "write_whole", fails)
    with pytest.raises(OSError, match="No space"):
        write_open_log(out, days, HOUR, 10)
    assert [path.name for path in out.iterdir()] == [days[0].file], "no description of files that are not there"
    monkeypatch.setattr(open_log, "write_whole", write_whole)
    write_open_log(out, core.open_log.publish(HOUR, 10), HOUR, 10)
    assert sorted(path.name for path in out.iterdir()) == [*(day.file for day in days), META]
    (out / days[2].file).write_bytes(b"another log")
    with pytest.raises(OpenLogUnusable, match=days[2].file):
        write_open_log(out, days, HOUR, 10)
    assert (out / days[2].file).read_bytes() == b"another log"


def publish_in(home: Path, out: Path) -> dict[str, bytes]:
    """Publish a world's log, and return the files."""
    world = open_world(home, clock=FixedClock(LATER))
    write_open_log(out, Core(world, RuleBook(ROWS)).open_log.publish(HOUR, 10), HOUR, 10)
    world.close()
    return {path.name: path.read_bytes() for path in out.iterdir()}


@pytest.mark.crash
def test_a_publication_that_is_killed_at_any_moment_is_completed_with_the_same_bytes(tmp_path: Path) -> None:
    prepared, clock = tmp_path / "prepared", FixedClock(NOW)
    world = open_world(prepared, settings=Settings("network"), clock=clock)
    core = core_in(world)
    for day in range(2):
        clock.stand(NOW + timedelta(days=day))
        asked(core, HANAKO)
    world.close()
    moment, killed = 0, True
    whole = publish_in(shutil.copytree(prepared, tmp_path / "straight"), tmp_path / "whole")
    assert len(whole) == 3
    while killed:
        moment += 1
        home, out = shutil.copytree(prepared, tmp_path / f"w{moment}"), tmp_path / f"out{moment}"
        killed = killed_at(moment, partial(publish_in, home, out))
        if (out / META).exists():
            described = json.loads((out / META).read_text(encoding="utf-8"))["days"]
            assert all((out / day["file"]).read_bytes() == whole[day["file"]] for day in described), "written last"
        assert publish_in(home, out) == whole, moment
    assert moment > 8


def test_other_programs_read_the_files_and_the_schema_fits_them(core: Core, clock: FixedClock, tmp_path: Path) -> None:
    for hour in range(30):
        clock.stand(NOW + timedelta(hours=hour, seconds=hour))
        asked(core, HANAKO, *((PURPOSE, MINATO) if hour % 3 else (CHILD_PENSION, PENSION)))
    clock.stand(LATER)
    write_open_log(tmp_path, core.open_log.publish(HOUR, 10), HOUR, 10)
    meta = json.loads((tmp_path / META).read_text(encoding="utf-8"))
    counted = duckdb.connect().execute(f"""
        SELECT requestInDate::TEXT, serviceMemberCode, count(*), bool_and(succeeded), min(requestInTs % 3600000)
        FROM read_json('{tmp_path}/*.ndjson.gz', format = 'newline_delimited') GROUP BY ALL ORDER BY ALL
    """).fetchall()  # fmt: skip
    assert counted == [
        ("2018-04-02", "日本年金機構", 4, True, 0), ("2018-04-02", "港区", 8, True, 0),
        ("2018-04-03", "日本年金機構", 6, True, 0), ("2018-04-03", "港区", 12, True, 0),
    ]  # fmt: skip
    assert [(day["day"], day["rows"]) for day in meta["days"]] == [("2018-04-02", 12), ("2018-04-03", 18)]
    validator = jsonschema_rs.validator_for(meta["schema"])
    rows = [json.loads(line) for day in meta["days"]
            for line in gzip.decompress((tmp_path / day["file"]).read_bytes()).splitlines()]  # fmt: skip
    assert all(validator.is_valid(row) for row in rows)
    for wrong in ({"requestInTs": rows[0]["requestInTs"] + 1000}, {"messageUserId": "EE1"}, {"succeeded": None},
                  {"totalDurationClass": 350}):  # fmt: skip
        assert not validator.is_valid({**rows[0], **wrong}), wrong


@pytest.mark.parametrize("precision", PUBLISHABLE)
def test_the_schema_of_each_precision_is_a_schema(precision: Precision) -> None:
    jsonschema_rs.meta.validate(row_schema(precision))
