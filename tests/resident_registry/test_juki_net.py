"""Juki-Net's guarantee: events reach J-LIS in order and exactly once, whichever part fails."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
import sqlalchemy as sa

from kazashi.assembly.institutions import Institutions
from kazashi.resident_registry.event import (
    CardReturn,
    Channel,
    CodeChange,
    Correction,
    Death,
    Emigration,
    Event,
    Furigana,
    Immigration,
    LossReport,
    MoveIn,
    MoveOut,
    MoveWithin,
    NameChange,
    NumberChange,
)
from kazashi.resident_registry.juki_net import SUBSCRIBERS, JukiNet
from kazashi.resident_registry.registry import NoSuchResident
from kazashi.resident_registry.rejection import EventRejected
from kazashi.resident_registry.resident import ResidencyStatus, Resident
from kazashi.resident_registry.sample_residents import SAMPLE_RESIDENTS
from kazashi.world.clock import instant_of
from kazashi.world.home import World
from kazashi.world.key_source import KeySource
from kazashi.world.outbox import Message, MessageGap, NodeDown, Receive
from tests.town import later, new_world

TODAY = date(2026, 11, 24)
HANAKO = SAMPLE_RESIDENTS["hanako"]
PEOPLE = ("hanako", "taro", "single-name", "leap-day")
PLACES = ("13113", "08220", "01101", "47201")


Begin = Callable[..., World]


@pytest.fixture
def begin(tmp_path: Path, keys: KeySource) -> Iterator[Begin]:
    """Creates the test's world, with a storage and settings."""
    with ExitStack() as stack:

        def begin(storage: str = "", **settings: object) -> World:
            world = new_world(tmp_path / "w", keys, storage, **settings)
            stack.callback(world.close)
            return world

        yield begin


class Crash(Exception):
    """The process was killed at this point."""


class Unreliable:
    """A receiver that is randomly down, or crashes before or after it has applied the messages."""

    def __init__(self, inner: Receive, chance: Random, often: float) -> None:
        self.inner, self.chance, self.often = inner, chance, often

    def __call__(self, messages: Sequence[Message]) -> None:
        fault = self.chance.random() / self.often if self.often else 9.0
        if fault < 1 / 3:
            raise NodeDown
        if fault < 2 / 3:
            raise Crash("before it was applied")
        self.inner(messages)
        if fault < 1:
            raise Crash("after it was applied, before it was acknowledged")


class Net:
    """A Juki-Net in which every receiver may fail, with the messages that its subscribers received."""

    def __init__(self, world: World, chance: Random) -> None:
        self.world, self.chance = world, chance
        self.codes: dict[str, set[str]] = {}
        self.received: dict[str, list[Message]] = {name: [] for name in SUBSCRIBERS}
        self.net = JukiNet(world, {name: self._subscriber(name) for name in SUBSCRIBERS})
        self.unreliable: list[Unreliable] = []
        for node in (self.net.prefectures, self.net.j_lis, self.net.registry):
            receiver = Unreliable(node.receive, chance, 0.0)
            node.receive = receiver  # type: ignore[method-assign]
            self.unreliable.append(receiver)

    def _subscriber(self, name: str) -> Receive:
        def receive(messages: Sequence[Message]) -> None:
            seen = {(one.sender, one.sequence) for one in self.received[name]}
            self.received[name] += [one for one in messages if (one.sender, one.sequence) not in seen]

        return receive

    def add(self, who: str) -> None:
        self.codes[who] = {self.net.registry.add(SAMPLE_RESIDENTS[who]).code}

    def happen(self, who: str, number: int) -> None:
        event = random_event(self.chance, self.net.registry.find(who), number)
        channel = self.chance.choice([None, None, Channel.PAPER])
        with suppress(EventRejected):
            self.codes[who].add(self.net.registry.record(who, event, channel=channel).code)

    def fail(self, often: float) -> None:
        for receiver in self.unreliable:
            receiver.often = often

    def deliver(self) -> None:
        with suppress(Crash):
            self.net.deliver()

    def settle(self) -> None:
        self.fail(0.0)
        while (due := self.net.next_due()) is not None:
            clock = self.world.clock
            clock.move(max(due, clock.now()))  # type: ignore[attr-defined]
            self.net.deliver()


def identities(net: JukiNet) -> dict[str, dict[str, Any]]:
    table = sa.Table("identity", sa.MetaData(), autoload_with=net.j_lis.store.engine, schema=_schema(net, "j_lis"))
    with net.j_lis.store.reading() as connection:
        return {
            row.record_code: {**json.loads(row.document), "individual_number": row.individual_number}
            for row in connection.execute(sa.select(table))
        }


def log(net: JukiNet, actor: str) -> list[Any]:
    """The event log of `j_lis` or `prefectures`, in order."""
    store = net.j_lis.store if actor == "j_lis" else net.prefectures.store
    table = sa.Table("event", sa.MetaData(), autoload_with=store.engine, schema=_schema(net, actor))
    with store.reading() as connection:
        return list(connection.execute(sa.select(table).order_by(table.c.position)))


def _schema(net: JukiNet, actor: str) -> str | None:
    return actor if net.j_lis.store.engine.dialect.name == "postgresql" else None


def without_what_stays_home(resident: Resident) -> Resident:
    return replace(resident, about="", household="", nationality="JP", residence_status="", residences=())


def same_everywhere(net: JukiNet, codes: dict[str, set[str]]) -> None:
    """Assert that J-LIS's identity data equal the registry's, and that the logs have every event once and in order.

    `codes` has all record codes that each person has had.
    """
    people = net.registry.residents()
    assert identities(net).keys() == {person.code for person in people}
    for person in people:
        assert person.individual_number is not None
        assert net.j_lis.identity(person.code) == without_what_stays_home(person)
        recorded = [event.code for event in net.registry.history(person.code)][1:]
        for actor in ("j_lis", "prefectures"):
            logged = [row.what for row in log(net, actor) if row.record_code in codes[person.alias]]
            assert logged == recorded, f"{actor} about {person.alias}"


def random_event(chance: Random, resident: Resident, number: int) -> Event:
    elsewhere = chance.choice([place for place in PLACES if place != resident.municipality.code])
    if resident.status is ResidencyStatus.MOVING:
        return MoveIn(elsewhere, f"町{number}")
    if resident.status is ResidencyStatus.ABROAD:
        return chance.choice([Immigration(elsewhere, f"町{number}"), NameChange(given=f"名{number}")])
    return chance.choice([
        MoveWithin(f"町{number}"), MoveWithin(f"町{number}"), MoveOut(elsewhere, TODAY), MoveOut(elsewhere, TODAY),
        NameChange(given=f"名{number}"), Furigana("ア" * (number % 7 + 1)), LossReport(), CardReturn(),
        Correction(birth=f"1980-01-{number % 28 + 1:02}"), NumberChange(), CodeChange(),
        Emigration(resident.nationality == "JP"),
    ])  # fmt: skip


def test_failures_neither_lose_nor_repeat_nor_reorder_events(begin: Begin, storage: str) -> None:
    chance = Random(1)
    world = begin(storage, hop_minutes=7)
    net = Net(world, chance)
    for who in PEOPLE:
        net.add(who)
    net.fail(0.5)
    for number in range(80):
        net.happen(chance.choice(PEOPLE), number)
        if chance.random() < 0.5:
            net.deliver()
        if chance.random() < 0.3:
            world.clock.move(world.clock.now() + timedelta(minutes=chance.randrange(300)))  # type: ignore[attr-defined]
    net.settle()
    same_everywhere(net.net, net.codes)


@pytest.mark.parametrize("seed", range(100, 116))
def test_any_interleaving_of_events_and_failures(begin: Begin, seed: int) -> None:
    chance = Random(seed)
    world = begin(hop_minutes=chance.choice([0, 0, 5, 60]))
    net = Net(world, chance)
    for who in PEOPLE:
        net.add(who)
    for number in range(25):
        net.fail(chance.choice([0.0, 0.3, 0.9]))
        net.happen(chance.choice(PEOPLE), number)
        if chance.random() < 0.5:
            net.deliver()
        if chance.random() < 0.3:
            world.clock.move(world.clock.now() + timedelta(minutes=chance.randrange(600)))  # type: ignore[attr-defined]
    net.settle()
    same_everywhere(net.net, net.codes)
    for name in SUBSCRIBERS:
        assert [one.sequence for one in net.received[name]] == list(range(1, len(net.received[name]) + 1))
    first, second = (net.received[name] for name in SUBSCRIBERS[:2])
    assert first == [replace(one, receiver=SUBSCRIBERS[0]) for one in second]


def test_events_from_another_municipality_do_not_overtake(town: Institutions) -> None:
    """A paper notice waits for the evening. Later events in another municipality still arrive after it."""
    town.resident("hanako")
    registry, j_lis = town.registry, town.juki_net.j_lis
    registry.record("hanako", MoveOut("08220", TODAY), channel=Channel.PAPER)
    registry.record("hanako", MoveIn("08220", "見本台１"))
    later(town, days=1)
    assert j_lis.identity(registry.find("hanako").code) == without_what_stays_home(registry.find("hanako"))
    registry.record("hanako", Emigration(continued=True))
    registry.record("hanako", NameChange(given="良子"))
    registry.record("hanako", Immigration("47201", "架空１"))
    later(town, days=1)
    assert j_lis.identity(registry.find("hanako").code) == without_what_stays_home(registry.find("hanako"))
    assert [row.what for row in log(town.juki_net, "j_lis") if row.record_code == registry.find("hanako").code] == [
        "move-out", "move-in", "emigration", "name-change", "immigration",
    ]  # fmt: skip


@pytest.mark.parametrize("first", [None, NumberChange()])
def test_a_number_arrives_although_the_record_code_has_changed(begin: Begin, first: Event | None) -> None:
    world = begin(hop_minutes=10)
    town = Institutions(world)
    town.registry.add(HANAKO)
    if first is not None:
        later(town, hours=1)
        town.registry.record("hanako", first)
    later(town, minutes=15)
    with suppress(EventRejected):  # it may also be refused until the number has arrived
        town.registry.record("hanako", CodeChange())
    later(town, hours=2)
    hanako = town.registry.find("hanako")
    assert hanako.individual_number is not None
    assert town.juki_net.j_lis.identity(hanako.code).individual_number == hanako.individual_number


# When messages are sent


def test_paper_is_sent_in_the_evening_and_the_rest_at_once(institutions: Institutions) -> None:
    registry, net = institutions.registry, institutions.juki_net
    institutions.resident("hanako")
    registry.record("hanako", Furigana("ア"))
    evening = instant_of("2026-11-24T20:00+09:00")
    assert net.next_due() == evening
    institutions.advance(evening - timedelta(seconds=1))
    assert net.j_lis.identity(registry.find("hanako").code).name.kana == HANAKO.name.kana
    institutions.advance(evening)
    assert net.j_lis.identity(registry.find("hanako").code).name.kana == "ア"
    registry.record("hanako", Furigana("イ"))
    assert net.next_due() == evening, "what is reported exactly at that time is still sent"
    later(institutions, seconds=1)
    registry.record("hanako", Furigana("ウ"))
    assert net.next_due() == evening + timedelta(days=1), "a second later it waits for the next evening"
    registry.record("hanako", LossReport())
    assert net.next_due() == institutions.world.clock.now()


def test_a_message_sent_at_once_takes_waiting_ones_along(institutions: Institutions) -> None:
    for who in ("hanako", "taro", "leap-day"):
        institutions.resident(who)
    registry, j_lis = institutions.registry, institutions.juki_net.j_lis
    registry.record("hanako", Furigana("ア"))
    registry.record("leap-day", Furigana("イ"))
    registry.record("taro", MoveWithin("町１"))
    registry.record("taro", Furigana("ウ"))
    institutions.settle()
    kana = [j_lis.identity(registry.find(who).code).name.kana for who in ("hanako", "leap-day", "taro")]
    assert kana == ["ア", "", SAMPLE_RESIDENTS["taro"].name.kana], (
        "another municipality's paper still waits, and so does later paper"
    )
    later(institutions, hours=12)
    kana = [j_lis.identity(registry.find(who).code).name.kana for who in ("hanako", "leap-day", "taro")]
    assert kana == ["ア", "イ", "ウ"]


@pytest.mark.parametrize("hour", [0, 9, 23])
def test_the_hour_of_the_evening_batch_is_a_setting(begin: Begin, hour: int) -> None:
    world = begin(evening=hour)
    town = Institutions(world)
    town.resident("hanako")
    town.registry.record("hanako", Furigana("ア"))
    day = 24 if hour >= 10 else 25
    assert town.juki_net.next_due() == instant_of(f"2026-11-{day}T{hour:02}:00+09:00")


def test_every_hop_takes_the_set_time(begin: Begin, storage: str) -> None:
    world = begin(storage, hop_minutes=10)
    town = Institutions(world)
    code = town.registry.add(HANAKO).code
    with pytest.raises(NoSuchResident):
        town.juki_net.j_lis.identity(code)
    town.settle()
    assert town.juki_net.prefectures.outbox.waiting(town.juki_net.prefectures.store) == 1
    later(town, minutes=9)
    with pytest.raises(NoSuchResident, match="may not have arrived yet"):
        town.juki_net.j_lis.identity(code)
    later(town, minutes=1)
    number = town.juki_net.j_lis.identity(code).individual_number
    assert number is not None
    assert town.registry.find(code).individual_number is None
    later(town, minutes=10)
    assert town.registry.find(code).individual_number == number


# Gaps


def message(sequence: int, kind: str = "registration", **body: object) -> Message:
    return Message("municipality:13113", "prefecture:13", sequence, kind, body)


def test_a_gap_is_reported_and_nothing_is_applied(institutions: Institutions) -> None:
    prefectures = institutions.juki_net.prefectures
    with pytest.raises(MessageGap, match="message 2 from municipality:13113 arrived after message 0"):
        prefectures.receive([message(2)])
    with pytest.raises(MessageGap, match="message 3 from municipality:13113 arrived after message 1"):
        prefectures.receive([message(1), message(3)])
    assert prefectures.outbox.waiting(prefectures.store) == 0
    assert log(institutions.juki_net, "prefectures") == []
    prefectures.receive([message(1), message(2)])
    prefectures.receive([message(1), message(2), message(3), message(3)])
    prefectures.receive([])
    assert prefectures.outbox.waiting(prefectures.store) == 3
    assert len(log(institutions.juki_net, "prefectures")) == 3
    with pytest.raises(MessageGap):
        prefectures.receive([message(5)])
    assert prefectures.outbox.waiting(prefectures.store) == 3


def test_each_sender_has_its_own_sequence(town: Institutions) -> None:
    prefectures = town.juki_net.prefectures
    elsewhere = [replace(message(number), sender="municipality:13101") for number in (1, 2)]
    prefectures.receive([message(1), elsewhere[0], message(2), elsewhere[1]])
    assert prefectures.outbox.waiting(prefectures.store) == 4
    with pytest.raises(MessageGap):
        prefectures.receive([message(3), replace(elsewhere[1], sequence=4)])
    assert prefectures.outbox.waiting(prefectures.store) == 4, "the valid one of the two was not applied either"


# The content of messages


@pytest.fixture
def node_messages(town: Institutions) -> Iterator[list[Message]]:
    """All messages that the nodes of the town's Juki-Net receive during a test."""
    received: list[Message] = []
    with ExitStack() as stack:
        for node in (town.juki_net.prefectures, town.juki_net.j_lis):

            def receive(messages: Sequence[Message], inner: Receive = node.receive) -> None:
                received.extend(messages)
                inner(messages)

            patch = stack.enter_context(pytest.MonkeyPatch.context())
            patch.setattr(node, "receive", receive)
        yield received


def test_only_identity_data_leave_the_municipality(town: Institutions, node_messages: list[Message]) -> None:
    resident = replace(
        SAMPLE_RESIDENTS["single-name"], alias="x", about="SECRETNOTE", household="SECRETHOUSE", nationality="ZZ",
        residence_status="SECRETSTATUS", street="SECRETSTREET",
    )  # fmt: skip
    town.registry.add(resident)
    town.settle()
    number = town.registry.find("x").individual_number
    assert number is not None
    before = len(node_messages)
    town.registry.record("x", MoveWithin("NEWSTREET"))
    town.registry.record("x", MoveOut("47201", TODAY))
    town.registry.record("x", replace(MoveIn("47201", "見本台１"), household="SECRETHOME"))
    town.registry.record("x", NumberChange())
    town.settle()
    town.registry.record("x", CodeChange())
    town.registry.record("x", Death())
    later(town, days=1)
    bodies = [json.dumps(one.body, ensure_ascii=False) for one in node_messages]
    assert before >= 2
    assert len(bodies) >= before + 12
    assert all("SECRETSTREET" not in body for body in bodies[before:]), "a former address"
    for secret in ("SECRETNOTE", "SECRETHOUSE", "SECRETHOME", "SECRETSTATUS", "ZZ"):
        assert all(secret not in body for body in bodies), secret
    for known in (number, str(town.registry.find("x").individual_number)):
        assert all(known not in body for body in bodies), "J-LIS sends numbers and never receives them"


def test_notices_contain_only_person_event_and_day(town: Institutions) -> None:
    received: list[Message] = []
    net = JukiNet(town.world, dict.fromkeys(SUBSCRIBERS, received.extend))
    net.registry.add(HANAKO)
    net.registry.record("hanako", NameChange(given="良子"), channel=Channel.COUNTER)
    net.registry.record("hanako", Emigration(continued=True))
    code = net.registry.find("hanako").code
    net.deliver()
    assert {one.receiver for one in received} == set(SUBSCRIBERS)
    bodies = [one.body for one in received if one.receiver == SUBSCRIBERS[0]]
    shared = {"day": "2026-11-24", "record_code": code, "former_code": code}
    assert bodies == [shared, {**shared, "continued": True}]


# A killed process

DELIVER = """
import sys
from pathlib import Path
from kazashi.assembly.institutions import Institutions
from kazashi.world.home import open_world
town = Institutions(open_world(Path(sys.argv[1])))
town.juki_net
sys.stdout.write("ready\\n"); sys.stdout.flush()
while True:
    town.juki_net.deliver()
"""


def deliver_until_killed(world: World, events: int, meanwhile: Callable[[], None]) -> None:
    process = subprocess.Popen([sys.executable, "-c", DELIVER, str(world.directory)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == "ready\n"
        for _ in range(events):
            meanwhile()
        process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def test_killed_deliveries_neither_lose_nor_repeat_nor_reorder(begin: Begin, storage: str) -> None:
    chance, world = Random(7), begin(storage)
    net = Net(world, chance)
    for who in PEOPLE:
        net.add(who)
    numbers = iter(range(10**6))

    def happen() -> None:
        who = chance.choice(PEOPLE)
        event = chance.choice([MoveWithin(f"町{next(numbers)}"), CodeChange(), NameChange(given=f"名{next(numbers)}")])
        with suppress(EventRejected):
            net.codes[who].add(net.net.registry.record(who, event, channel=Channel.COUNTER).code)

    for _ in range(4):
        deliver_until_killed(world, chance.randint(5, 25), happen)
    town = Institutions(world)
    town.settle()
    assert town.juki_net.next_due() is None
    assert len(log(town.juki_net, "j_lis")) > 30
    same_everywhere(town.juki_net, net.codes)
