"""The five-step flow, the separation of copies, and invalid messages."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from datetime import date, timedelta
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from kazashi.provision_network.asking import RequestStage
from kazashi.provision_network.assessments import sample_assessment
from kazashi.provision_network.codes import InstitutionCode
from kazashi.provision_network.exchange import carry
from kazashi.provision_network.interface_system import InterfaceSystem
from kazashi.provision_network.intermediate import InvalidAnswer, ProvisionOnHold
from kazashi.provision_network.intermediate_store import COPY, PERSON
from kazashi.provision_network.law.rules import ORDINANCE_FIELDS, Denial, OrdinanceAffair, RuleBook
from kazashi.provision_network.law.tables import Purpose
from kazashi.provision_network.terms import CORE, NetworkRejected, Notification, RequestOutcome
from kazashi.world.clock import FixedClock
from kazashi.world.home import World, open_world
from kazashi.world.outbox import Message, MessageGap, NodeDown
from kazashi.world.settings import Settings
from kazashi.world.storage import Store
from tests.provision_network.bodies import (
    CHILD_PENSION,
    HANAKO,
    MINATO,
    MUNICIPAL,
    NATIONAL,
    NOW,
    PENSION,
    PURPOSE,
    ROWS,
    SHIBUYA,
    TARO,
    TOWNS,
    Network,
    denied,
    network_of,
)

SECRET = "所得 2,345,678円"


@pytest.fixture
def world(tmp_path: Path, storage: str) -> Iterator[World]:
    world = open_world(tmp_path / "w", settings=Settings("network", storage=storage), clock=FixedClock(NOW))
    yield world
    world.close()


@pytest.fixture
def network(world: World) -> Network:
    network = network_of(world)
    for town in TOWNS:
        network.server(town).take_codes([(f"{town}-1", network.code(town))])
        network.server(town).register(network.code(town), f"{town}-1", PURPOSE.item, f"{SECRET} {town}")
    return network


def everything_in(store: Store) -> list[str]:
    with store.reading() as connection:
        metadata = sa.MetaData()
        metadata.reflect(connection)
        return [value.hex() if isinstance(value, bytes) else str(value) for table in metadata.tables.values()
                for row in connection.execute(sa.select(table)) for value in row]  # fmt: skip


def content_of(network: Network, process: int) -> str:
    received = network.municipal.asking.answer_to(process)
    assert received is not None
    return str(received.content)


def test_d7_an_answer_does_not_go_through_the_core(network: Network) -> None:
    asked = network.ask()
    assert asked.stage is RequestStage.ANSWERED
    assert asked.rule == "番号法19条7号 (2017-05-30), 別表第二 74"
    assert content_of(network, asked.process) == f"{SECRET} {MINATO}"
    assert [(step.sender, step.receiver) for step in network.trace.steps] == [
        (SHIBUYA, CORE), (CORE, CORE), (CORE, MINATO), (MINATO, MINATO), (MINATO, SHIBUYA),
    ]  # fmt: skip
    content = f"content of {PURPOSE.item}"
    assert content in network.trace.seen_by(SHIBUYA)
    assert content not in network.trace.seen_by(CORE)
    assert f"code of {MINATO}" not in network.trace.seen_by(SHIBUYA)


def test_d13_affairs_without_the_individual_number_take_the_same_route(network: Network) -> None:
    """Insurers know a person by their own numbers (別番号). Their affair needs a row of the table, like any other."""
    row = next(row for row in ROWS if not row.uses_number)
    insurers = InterfaceSystem(network.world, "insurers")
    certificate = network.core.members.enrol("insurers", insurers.neighbours.begin(), "https://localhost/insurers")
    insurers.neighbours.enrolled(certificate, network.core.authority.certificate, "https://localhost/core")
    network.interfaces.append(insurers)
    asking, asked = "架空健康保険組合", "架空共済組合"
    for body in (asking, asked):
        server = insurers.add(body)
        network.core.members.connect(
            body,
            row.purpose.requester,
            interface="insurers",
            key=server.public_key(),
            assessment=sample_assessment(body, row.purpose.requester, NOW.date()),
        )
        server.take_codes([(f"記号・番号 {body}", network.code(body))])
    network.carry()
    code = insurers.server(asked).code_of(f"記号・番号 {asked}")
    insurers.server(asked).register(code, f"記号・番号 {asked}", row.purpose.item, SECRET)

    def route(interface: InterfaceSystem, body: str, provider: str, purpose: Purpose) -> list[tuple[str, str]]:
        network.trace.steps.clear()
        process = interface.asking.ask(body, network.code(body), purpose, [provider])
        network.carry()
        assert interface.asking.request(process).stage is RequestStage.ANSWERED
        names = {body: "requester", provider: "provider"}
        return [(names.get(one.sender, one.sender), names.get(one.receiver, one.receiver))
                for one in network.trace.steps]  # fmt: skip

    own = route(insurers, asking, asked, row.purpose)
    assert own == route(network.municipal, SHIBUYA, MINATO, PURPOSE)
    assert network.records()[0].reason == "番号法19条7号 (2017-05-30), 別表第二 試1, unverified"
    without = RuleBook([other for other in ROWS if other.number != row.number])
    assert without.decide(row.purpose, date(2018, 4, 2)).denial is Denial.UNKNOWN_PURPOSE


def test_d7_a_broadcast_is_refused(network: Network) -> None:
    process = network.municipal.asking.ask(SHIBUYA, network.code(SHIBUYA), PURPOSE, [MINATO, "新宿区"])
    network.carry()
    asked = network.municipal.asking.request(process)
    assert (asked.stage, asked.denial) == (RequestStage.REFUSED, "broadcast")
    assert network.municipal.answering.notified() == {}


def test_g19_7_statutory_affairs_use_the_network_and_are_recorded(network: Network) -> None:
    network.ask()
    (record,) = network.records()
    assert (record.requester, record.provider, record.item, record.outcome) == (
        SHIBUYA, MINATO, PURPOSE.item, RequestOutcome.PROVIDED,
    )  # fmt: skip
    assert record.reason.startswith("番号法19条7号")
    assert network.records(TARO) == []


def test_g19_8_h4_h7_affairs_by_ordinance_use_the_network(world: World) -> None:
    own = Purpose("市町村長", "架空町医療費助成条例", "医療費の助成", "市町村長", "住民票関係情報")
    affair = OrdinanceAffair("渋谷区-1", SHIBUYA, own, "9", ORDINANCE_FIELDS[0], NOW.date(), NOW.date(), NOW.date())
    network = network_of(world, affair, replace(affair, identifier="x", purpose=replace(own, law="y"), filed=None))
    assert network.ask(purpose=own).stage is RequestStage.ANSWERED
    assert network.ask().stage is RequestStage.ANSWERED
    assert len(network.records()) == 2
    assert network.core.records.by_basis() == {"番号法19条8号 (2017-05-30)": 1, "番号法19条7号 (2017-05-30)": 1}
    assert [affair["identifier"] for affair in network.core.ordinances.rules().published(NOW.date())] == ["渋谷区-1"]


def test_d3_the_core_stores_no_content(network: Network) -> None:
    for requester, provider in permutations(TOWNS, 2):
        assert network.ask(requester, provider).stage is RequestStage.ANSWERED
    assert len(network.records()) == 12
    values = everything_in(network.core.store)
    assert len(values) > 50
    assert not [value for value in values if "2,345,678" in value]


def test_d1_answers_are_encrypted_from_body_to_body(network: Network) -> None:
    code = network.code(SHIBUYA)
    process = network.municipal.asking.ask(SHIBUYA, code, PURPOSE, [MINATO])
    network.carry()
    messages = network.seen
    assert content_of(network, process) == f"{SECRET} {MINATO}"
    texts = [*everything_in(network.municipal.store), *(json.dumps(one.body, ensure_ascii=False) for one in messages)]
    assert [one.kind for one in messages if one.kind == "answer"] == ["answer"]
    for plain in ("2,345,678", HANAKO):
        assert not [text for text in texts if plain in text]
    sealed = next(one.body["sealed"] for one in messages if one.kind == "answer")
    with pytest.raises(InvalidAnswer, match="cannot be decrypted"):
        network.server("新宿区").opened(process, 1, MINATO, PURPOSE.item, sealed)


def test_d5_an_interface_system_only_acts_for_its_own_bodies(network: Network) -> None:
    asked = network.national.asking.request
    request = {"code": str(network.code(SHIBUYA)), "purpose": asdict(PURPOSE), "providers": [MINATO], "process": 1,
               "requester": SHIBUYA}  # fmt: skip
    with network.national.store.transaction() as connection:
        network.national.outbox.put(connection, NATIONAL, CORE, NOW, "request", request)
    network.carry()
    assert network.records() == []
    assert "not-entitled" in " ".join(everything_in(network.core.store))
    with denied("unknown-process"):
        asked(1)
    with denied("unknown-institution"):
        network.national.asking.ask(SHIBUYA, network.code(SHIBUYA), PURPOSE, [MINATO])


def test_e1_e7_a_copy_is_provided_with_its_registration_time(world: World, network: Network) -> None:
    assert isinstance(world.clock, FixedClock)
    world.clock.stand(NOW + timedelta(days=30))
    received = network.municipal.asking.answer_to(network.ask().process)
    assert received is not None
    assert received.registered_at == NOW, "an old copy is provided with its time"
    assert received.received_at - NOW == timedelta(days=30)
    network.server(MINATO).register(network.code(MINATO), "港区-1", PURPOSE.item, "newer")
    again = network.municipal.asking.answer_to(network.ask().process)
    assert again is not None
    assert (again.content, again.registered_at) == ("newer", world.clock.now())


def test_a_provider_without_a_copy_answers_that_it_has_none(network: Network) -> None:
    process = network.municipal.asking.ask(SHIBUYA, network.code(SHIBUYA, TARO), PURPOSE, [MINATO])
    network.carry()
    received = network.municipal.asking.answer_to(process)
    assert received is not None
    assert (received.content, received.registered_at) == (None, None)
    assert network.records(TARO)[0].outcome is RequestOutcome.PROVIDED


def test_e2_a_copy_has_no_column_for_the_individual_number(network: Network) -> None:
    names = {column.name for column in COPY.columns}
    assert names == {"owner", "code", "item", "address_number", "content", "registered_at", "by_hand"}
    assert {column.name for column in PERSON.columns} == {"owner", "address_number", "code",
                                                                           "withheld"}  # fmt: skip


def test_e3_no_municipality_reads_another_s_copies(network: Network) -> None:
    for reader, owner in permutations(TOWNS, 2):
        stolen = Notification(1, network.code(owner), owner, SHIBUYA, 1, PURPOSE.item, "none")
        with denied("no-copy"):
            network.server(reader).answer(stolen)
        with pytest.raises(NetworkRejected):
            network.server(reader).code_of(f"{owner}-1")
        assert network.server(reader).without_copy([f"{owner}-1"]) == [f"{owner}-1"]
        network.server(reader).withhold(f"{owner}-1", on=True)
        network.server(reader).forget(f"{owner}-1")
    assert network.platform.operator_sees() == dict.fromkeys(TOWNS, 1), "the operator could read all"
    own = Notification(1, network.code(MINATO), MINATO, SHIBUYA, 1, PURPOSE.item, "番号法附則6条3項 (自己情報表示)")
    assert network.server(MINATO).answer(own).content.startswith(SECRET)


def test_a10_a_town_finds_another_s_residents_only_by_the_network(network: Network) -> None:
    with pytest.raises(NetworkRejected):
        network.server(SHIBUYA).code_of("港区-1")
    assert content_of(network, network.ask().process) == f"{SECRET} {MINATO}"


def test_e8_a_flagged_item_needs_a_manual_release(network: Network) -> None:
    code = network.code(MINATO)
    network.server(MINATO).register(code, "港区-1", PURPOSE.item, SECRET, by_hand=True)
    asked = network.ask()
    assert asked.stage is RequestStage.HELD
    assert network.trace.steps[-1].receiver == MINATO, "nothing was sent to the requester"
    (record,) = network.records()
    assert (record.outcome, network.server(MINATO).waiting()) == (RequestOutcome.HELD, [record.number])
    with pytest.raises(ProvisionOnHold):
        network.server(MINATO).answer(network.municipal.answering.notified()[record.number][0])
    for wrong in (record.number + 1, -1):
        with pytest.raises(NetworkRejected):
            network.municipal.answering.release(MINATO, wrong)
    with pytest.raises(NetworkRejected):
        network.municipal.answering.release(SHIBUYA, record.number)
    assert network.carry() == 0, "the request stays on hold"
    network.municipal.answering.release(MINATO, record.number)
    network.carry()
    assert content_of(network, asked.process) == SECRET
    assert network.server(MINATO).waiting() == []
    assert network.records()[0].outcome is RequestOutcome.PROVIDED
    assert not hasattr(RequestOutcome, "REFUSED")


def test_e9_people_without_a_code_or_copy_are_listed(network: Network) -> None:
    shibuya, residents = network.server(SHIBUYA), ["渋谷区-1", "渋谷区-2"]
    assert shibuya.without_code(residents) == shibuya.without_copy(residents) == ["渋谷区-2"]
    shibuya.take_codes([("渋谷区-2", network.code(SHIBUYA, TARO))])
    shibuya.register(shibuya.code_of("渋谷区-2"), "渋谷区-2", PURPOSE.item, "x")
    assert shibuya.without_code(residents) == shibuya.without_copy(residents) == []
    shibuya.forget("渋谷区-2")
    assert shibuya.without_code(residents) == shibuya.without_copy(residents) == ["渋谷区-2"]


def test_a11_each_body_has_its_own_codes(network: Network) -> None:
    codes = network.core.codes.issue([SHIBUYA, MINATO, PENSION], [HANAKO, TARO])
    flat = [code.value for codes_of_body in codes.values() for code in codes_of_body]
    assert len(set(flat)) == len(flat) == 6
    assert codes[SHIBUYA][0] == network.code(SHIBUYA)


# Invalid input


def refused(network: Network, **changed: Any) -> str:
    """Change a valid request, expect that it is refused, and return the reason."""
    request = {"body": SHIBUYA, "code": network.code(SHIBUYA), "purpose": PURPOSE, "providers": [MINATO], **changed}
    process = network.municipal.asking.ask(**request)
    network.carry()
    asked = network.municipal.asking.request(process)
    assert asked.stage is RequestStage.REFUSED
    assert asked.words
    assert network.municipal.asking.answer_to(process) is None
    return asked.denial


def test_a_refusal_is_replied_to_and_logged(network: Network) -> None:
    cases: list[tuple[str, dict[str, Any]]] = [
        ("broadcast", {"providers": [MINATO, "新宿区"]}),
        ("broadcast", {"providers": []}),
        ("unknown-purpose", {"purpose": replace(PURPOSE, affair="好奇心")}),
        ("not-listed", {"purpose": replace(PURPOSE, item="病歴")}),
        ("unknown-institution", {"providers": ["どこにもない村"]}),
        ("foreign-code", {"code": network.code(MINATO)}),
        ("foreign-code", {"code": InstitutionCode(bytes(16))}),
        ("another-body", {"purpose": CHILD_PENSION}),
        ("ordinary-information", {"ordinary": True}),
    ]
    for denial, changed in cases:
        assert refused(network, **changed) == denial
    network.core.members.connect("新町", "市町村長", interface=MUNICIPAL, key=network.server(MINATO).public_key())
    assert refused(network, providers=["新町"]) == "no-assessment"
    events = " ".join(everything_in(network.core.store))
    for denial, _ in cases:
        assert denial in events


def test_a3_other_information_is_allowed_once_opened(world: World) -> None:
    assert network_of(world, ordinary=True).ask(ordinary=True).stage is RequestStage.ANSWERED


def test_replayed_and_reordered_messages_change_nothing(network: Network) -> None:
    network.ask()
    messages = list(network.seen)
    receivers = {
        CORE: network.core.receive, MUNICIPAL: network.municipal.receive, NATIONAL: network.national.receive
    }  # fmt: skip
    before = [len(everything_in(store)) for store in (network.core.store, network.municipal.store)]
    for message in messages:
        receive = receivers[message.receiver]
        receive([message])  # a repetition
        with pytest.raises(MessageGap):
            receive([replace(message, sequence=message.sequence + 50)])
    network.carry()
    assert [len(everything_in(store)) for store in (network.core.store, network.municipal.store)] == before
    assert len(network.records()) == 1


def test_an_answer_about_another_item_is_disputed(network: Network) -> None:
    process = network.municipal.asking.ask(SHIBUYA, network.code(SHIBUYA), CHILD_PENSION, [PENSION])
    server = network.national.server(PENSION)
    seal = server.seal
    server.seal = lambda notified, copy, key: seal(replace(notified, item="別の項目"), copy, key)  # type: ignore[method-assign]
    network.carry()
    asked = network.municipal.asking.request(process)
    assert (asked.stage, asked.words) == (RequestStage.DISPUTED, "the answer belongs to another request")
    assert network.municipal.asking.answer_to(process) is None
    assert "disputed" in everything_in(network.core.store)


def test_d9_an_answer_without_the_core_s_acceptance_is_ignored(network: Network) -> None:
    """A provider answers a request that the core refuses, or has not accepted yet: the first answer is dropped, the
    second kept until the core replies."""
    unlawful = replace(PURPOSE, affair="好奇心")
    for purpose, stage in ((unlawful, RequestStage.REFUSED), (PURPOSE, RequestStage.DISPUTED)):
        process = network.municipal.asking.ask(SHIBUYA, network.code(SHIBUYA), purpose, [MINATO])
        forged = Notification(0, network.code(MINATO), MINATO, SHIBUYA, process, purpose.item, "none")
        copy = network.server(MINATO).answer(forged)
        sealed = network.server(MINATO).seal(forged, copy, network.server(SHIBUYA).public_key())
        with network.municipal.store.transaction() as connection:
            answer = {"process": process, "number": 0, "sealed": sealed}
            network.municipal.outbox.put(connection, MUNICIPAL, MUNICIPAL, NOW, "answer", answer)
        receivers = {CORE: down, MUNICIPAL: network.municipal.receive}
        network.municipal.outbox.deliver(network.municipal.store, NOW, receivers)
        assert network.municipal.asking.answer_to(process) is None, "nobody was notified yet"
        carry(network.world, network.core, network.interfaces)
        assert network.municipal.asking.request(process).stage is stage
        assert network.municipal.asking.answer_to(process) is None


def down(messages: Sequence[Message]) -> None:
    raise NodeDown


def test_unstorable_input_is_refused(network: Network) -> None:
    for wrong in ("x" * 10_001, "a\0b", "\ud800"):
        with denied("bad-copy"):
            network.server(MINATO).register(network.code(MINATO), "1", PURPOSE.item, wrong)
    network.server(MINATO).register(network.code(MINATO), "1", PURPOSE.item, "字" * 10_000)
    assert len(content_of(network, network.ask().process)) == 10_000
    with denied("bad-key"):
        network.core.members.connect("架空市", "市町村長", interface=MUNICIPAL)
    for name in (CORE, "", "a:b"):
        with denied("bad-name"):
            network.core.members.enrol(name, network.municipal.neighbours.begin(), "https://localhost:1")
    network.core.members.connect("孤島町", "市町村長")
    assert network.ask(provider="孤島町").denial == "not-connected"


def test_malformed_messages_do_not_block_later_ones(network: Network) -> None:
    good = {"code": str(network.code(SHIBUYA)), "purpose": asdict(PURPOSE), "providers": [MINATO], "process": 1,
            "requester": SHIBUYA}  # fmt: skip
    to_core: list[tuple[str, dict[str, Any]]] = [
        ("request", {**good, "process": 1 << 80}), ("request", {**good, "process": "1"}), ("request", {}),
        ("request", {**good, "purpose": [1]}), ("request", {**good, "purpose": {**asdict(PURPOSE), "item": "a\0b"}}),
        ("request", {**good, "purpose": {**asdict(PURPOSE), "item": "x" * 201}}), ("request", {**good, "code": 5}),
        ("settled", {"provider": MINATO, "number": -1, "outcome": "provided"}), ("nonsense", {}),
        ("settled", {"provider": MINATO, "number": 1, "outcome": "eaten"}), ("disputed", {"requester": SHIBUYA}),
        ("undisclosed", {"body": SHIBUYA, "code": "0" * 32, "on": True}),
    ]  # fmt: skip
    to_interface: list[tuple[str, dict[str, Any]]] = [
        ("accepted", {"process": 1 << 80, "number": 1, "rule": "x"}), ("refused", {"process": "x"}), ("members", {}),
        ("notification", {"number": 1}), ("answer", {"process": None}), ("nonsense", {}),
    ]  # fmt: skip
    with network.municipal.store.transaction() as connection:
        for kind, body in to_core:
            network.municipal.outbox.put(connection, MUNICIPAL, CORE, NOW, kind, body)
    with network.core.store.transaction() as connection:
        for kind, body in to_interface:
            network.core.outbox.put(connection, CORE, MUNICIPAL, NOW, kind, body)
    carry(network.world, network.core, network.interfaces)
    assert network.ask().stage is RequestStage.ANSWERED
    assert len(network.records()) == 1
    with denied("bad-message"):
        network.municipal.asking.ask(SHIBUYA, network.code(SHIBUYA), replace(PURPOSE, item="a\0b"), [MINATO])


def test_an_answer_from_another_body_is_refused(network: Network) -> None:
    process = network.municipal.asking.ask(SHIBUYA, network.code(SHIBUYA), PURPOSE, [MINATO])
    network.server(MINATO).register(network.code(MINATO), "港区-1", PURPOSE.item, SECRET, by_hand=True)
    network.carry()
    answer = {"process": process, "number": 1, "sealed": "x"}
    with network.national.store.transaction() as connection:
        network.national.outbox.put(connection, NATIONAL, MUNICIPAL, NOW, "answer", answer)
        network.national.outbox.put(connection, NATIONAL, MUNICIPAL, NOW, "notification", {"number": 9})
        network.national.outbox.put(connection, NATIONAL, MUNICIPAL, NOW, "answer", {**answer, "process": 999})
    network.carry()
    assert network.municipal.asking.request(process).stage is RequestStage.HELD
    events = " ".join(everything_in(network.municipal.store))
    assert all(words in events for words in ("does not speak for", "is not the core", "there is no open request"))


def test_a_provider_answers_after_an_outage(network: Network) -> None:
    process = network.municipal.asking.ask(SHIBUYA, network.code(SHIBUYA), CHILD_PENSION, [PENSION])

    def away(messages: Sequence[Message]) -> None:
        raise NodeDown

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network.national, "receive", away)
        network.carry()
    assert network.municipal.asking.request(process).stage is RequestStage.ACCEPTED
    network.carry()
    assert network.municipal.asking.request(process).stage is RequestStage.ANSWERED


def test_n8_a_body_with_too_many_open_requests_is_refused(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kazashi.provision_network.asking.MOST_OPEN", 3)
    for _ in range(3):
        network.municipal.asking.ask(SHIBUYA, network.code(SHIBUYA), PURPOSE, [MINATO])
    with denied("busy"):
        network.municipal.asking.ask(SHIBUYA, network.code(SHIBUYA), PURPOSE, [MINATO])
    of_another = network.municipal.asking.ask("新宿区", network.code("新宿区"), PURPOSE, [MINATO])
    assert of_another, "another body is not affected"
    network.carry()
    assert network.ask().stage is RequestStage.ANSWERED
    assert len(network.records()) == 5
