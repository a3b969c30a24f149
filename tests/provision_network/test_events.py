"""Every event of the registry reaches all parts of the network that hear of it, and changes nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest
import sqlalchemy as sa

from kazashi.assembly.network import addresses, allowance_questions
from kazashi.assembly.network_offices import NEIGHBOUR, PENSION, PENSION_ITEM, TAX_ITEM
from kazashi.jpki.profile import CertificateType
from kazashi.jpki.state import Reason
from kazashi.provision_network.core import Core
from kazashi.provision_network.interface_system import InterfaceSystem
from kazashi.provision_network.municipal import AddressSystem
from kazashi.provision_network.portal import Portal
from kazashi.provision_network.terms import RequestOutcome
from kazashi.resident_registry.event import (
    CodeChange,
    Death,
    Event,
    Immigration,
    MoveIn,
    MoveOut,
    NumberChange,
    Protection,
)
from kazashi.resident_registry.juki_net import JLis
from kazashi.resident_registry.registry import Registry
from kazashi.resident_registry.rejection import EventRejected
from kazashi.resident_registry.resident import ResidencyStatus
from kazashi.resident_registry.sample_residents import SAMPLE_RESIDENTS
from kazashi.world.key_source import SharedKeySource
from kazashi.world.outbox import Message
from tests.provision_network.bodies import denied
from tests.provision_network.connected_town import (
    MINATO,
    SHIBUYA,
    SHINJUKU,
    TSUKUBA,
    ConnectedTown,
    opened,
    prepare,
    set_up,
)
from tests.provision_network.test_portal import Chain
from tests.resident_registry.test_juki_net import Crash, random_event
from tests.town import later, new_institutions, standing

BOTH = {TAX_ITEM, PENSION_ITEM}
TAX_QUESTION = allowance_questions()[0][0]


def test_an_event_that_changes_no_code_changes_nothing(town: ConnectedTown) -> None:
    before = (town.portal_code("hanako"), town.copies(), [town.code("hanako", body) for body in (SHIBUYA, PENSION)])
    answers, count = town.ask("hanako"), len(town.records("hanako"))
    for event, values in (("move-within", {"street": "架空町２"}), ("name-change", {"family": "模擬"}),
                          ("correction", {"sex": "9"}), ("loss-report", {}),
                          ("move-out", {"to": "13104", "moves_on": "2026-11-24"})):  # fmt: skip
        town.happen("hanako", event, **values)
    later(town.institutions, days=1)
    assert town.ask("hanako") == answers
    assert len(town.records("hanako")) == count + 2
    after = (town.portal_code("hanako"), town.copies(), [town.code("hanako", body) for body in (SHIBUYA, PENSION)])
    assert after == before
    town.check()


def test_b11_codes_and_copies_move_with_a_person(town: ConnectedTown) -> None:
    """The old municipality's end, and the new one's are made, though nobody has connected it to the network."""
    answers, old, count = town.ask("hanako"), town.code("hanako", SHIBUYA), len(town.records("hanako"))
    assert town.copies()[SHIBUYA] == 2
    town.move("hanako", "08220")
    assert {body: town.copies()[body] for body in (SHIBUYA, TSUKUBA, MINATO, PENSION)} == {
        SHIBUYA: 1, TSUKUBA: 1, MINATO: 2, PENSION: 2,
    }  # fmt: skip
    with denied("unknown-person"):
        town.code("hanako", SHIBUYA)
    assert town.ask("hanako") == answers, "the providers' information is what it was"
    records = town.records("hanako")
    assert [record.requester for record in records[count - 2 :]] == [SHIBUYA, SHIBUYA, TSUKUBA, TSUKUBA]
    town.check()
    process = town.network.municipal.asking.ask(SHIBUYA, old, TAX_QUESTION, [MINATO])
    town.network.carry()
    refused = town.network.municipal.asking.request(process)
    assert (refused.denial, SHIBUYA in refused.words) == ("no-longer-here", True)
    record = town.records("hanako")[-1]
    assert (record.outcome, record.reason) == (RequestOutcome.DENIED, "no-longer-here"), "the refusal is recorded"


def test_b11_a_person_who_comes_back_has_another_address_number_and_the_same_code(town: ConnectedTown) -> None:
    number = town.resident("hanako").individual_number
    assert number is not None
    shibuya = town.network.linkage(SHIBUYA).addresses
    address, code = shibuya.address_number(number), town.code("hanako", SHIBUYA)
    town.move("hanako", "13104")
    town.move("hanako", "13113")
    assert shibuya.address_number(number) != address
    assert town.code("hanako", SHIBUYA) == code, "a code is made of the person and the body"
    assert town.ask("hanako").keys() == BOTH
    town.check()


def test_a_resident_of_the_neighbour_is_asked_about_elsewhere(town: ConnectedTown) -> None:
    """The municipality that has everybody's tax data cannot request them from itself."""
    town.move("hanako", NEIGHBOUR)
    answers = town.ask("hanako")
    assert answers.keys() == BOTH
    assert None not in answers.values()
    assert [(one.requester, one.provider) for one in town.records("hanako")[-2:]] == [
        (MINATO, SHINJUKU), (MINATO, PENSION),
    ]  # fmt: skip
    town.check()
    with denied("own-body"):
        town.network.municipal.asking.ask(MINATO, town.code("hanako", MINATO), TAX_QUESTION, [MINATO])
    with denied("own-body"):
        town.core.mediation.request(MINATO, town.code("hanako", MINATO), TAX_QUESTION, [MINATO])
    town.move("hanako", "13113")
    assert SHINJUKU not in town.copies(), "they do not hear of a person who has left the neighbour"
    assert town.ask("hanako").keys() == BOTH
    town.check()


def test_c1_a_death_ends_codes_and_copies_and_closes_the_folder(town: ConnectedTown) -> None:
    portal = Portal(
        town.institutions.world, town.network.portal, lambda _: town.portal_code("hanako"), town.core.records.of,
        Chain(),
    )  # fmt: skip
    folder = portal.set_up(0x1111)
    records = portal.records(folder, folder)
    codes = {body: town.code("hanako", body) for body in (SHIBUYA, PENSION)}
    town.happen("hanako", "death")
    assert town.copies() == {SHIBUYA: 1, MINATO: 1, PENSION: 2}, "the municipalities know at once"
    assert portal.records(folder, folder) == records, "J-LIS hears of paper in the evening"
    later(town.institutions, days=1)
    assert town.copies() == {SHIBUYA: 1, MINATO: 1, PENSION: 1}
    for attempt in (lambda: portal.records(folder, folder), lambda: portal.own_information(folder, folder),
                    lambda: portal.ask(folder, MINATO, TAX_ITEM)):  # fmt: skip
        with denied("folder-closed"):
            attempt()
    assert len(town.records("hanako")) == len(records), "the records are kept"
    with denied("no-longer-here"):
        town.core.mediation.request(SHIBUYA, codes[SHIBUYA], TAX_QUESTION, [MINATO])
    assert town.ask("taro").keys() == BOTH
    town.check()


def test_c1_an_event_leads_to_numbers_codes_and_revocation_in_this_order(town: ConnectedTown) -> None:
    institutions = town.institutions
    institutions.issue_card("hanako", "hanako")
    net, now = institutions.juki_net, institutions.world.clock.now()
    net.registry.record("hanako", NumberChange())
    net.registry.outbox.deliver(net.registry.store, now, {"prefecture": net.prefectures.receive})
    net.prefectures.outbox.deliver(net.prefectures.store, now, {"j-lis": net.j_lis.receive})
    with net.j_lis.store.reading() as connection:
        rows = connection.execute(sa.text("SELECT receiver, kind FROM outbox ORDER BY position"))
        sent = [(row.receiver.partition(":")[0], row.kind) for row in rows]
    assert sent == [
        ("municipality", "numbers"), ("addresses", "renumber"), *[("authority", "number-change")] * 2,
        ("card-management", "number-change"),
    ]  # fmt: skip
    institutions.settle()
    for kind in CertificateType:
        assert standing(institutions, "hanako", kind).reason is Reason.CESSATION_OF_OPERATION
    town.check()


def test_emigration_and_return(town: ConnectedTown) -> None:
    code, count = town.portal_code("hanako"), len(town.records("hanako"))
    town.happen("hanako", "emigration", continued="yes")
    assert town.copies() == {SHIBUYA: 1, MINATO: 1, PENSION: 2}, "the pension goes on"
    town.check()
    town.happen("hanako", "immigration", municipality="13104", street="見本台１")
    assert town.ask("hanako").keys() == BOTH
    assert town.portal_code("hanako") == code
    assert len(town.records("hanako")) == count + 2
    town.check()


def test_b1_a_changed_record_code_leaves_portal_and_records(town: ConnectedTown) -> None:
    before, answers = town.resident("hanako").code, town.ask("hanako")
    kept = (town.portal_code("hanako"), town.records("hanako"), town.code("hanako", SHIBUYA), town.copies())
    town.happen("hanako", "code-change")
    assert town.resident("hanako").code != before
    after = (town.portal_code("hanako"), town.records("hanako"), town.code("hanako", SHIBUYA), town.copies())
    assert after == kept
    assert town.ask("hanako") == answers
    with denied("unknown-person"):
        town.core.codes.portal_code(before)
    town.check()


def test_a_record_code_that_changes_in_the_evening_opens_no_second_folder(town: ConnectedTown) -> None:
    code = town.portal_code("hanako")
    town.institutions.registry.record("hanako", CodeChange(), channel=Death.channel)
    town.institutions.settle()
    with denied("unknown-person"):  # rather than a new person without records
        town.portal_code("hanako")
    town.core.codes.issue([PENSION], [town.resident("hanako").code])  # somebody asked too early
    later(town.institutions, days=1)
    assert town.portal_code("hanako") == code
    town.check()


def test_b2_a_changed_individual_number_leaves_address_number_and_copies(town: ConnectedTown) -> None:
    before, answers, copies = town.resident("hanako").individual_number, town.ask("hanako"), town.copies()
    assert before is not None
    shibuya = town.network.linkage(SHIBUYA).addresses
    address = shibuya.address_number(before)
    for _ in range(2):
        town.happen("hanako", "number-change")
    new = town.resident("hanako").individual_number
    assert new is not None
    assert new != before
    assert shibuya.address_number(new) == address
    with denied("unknown-person"):
        shibuya.address_number(before)
    assert (town.ask("hanako"), town.copies()) == (answers, copies)
    town.check()


def test_protection_hides_records_and_own_information(town: ConnectedTown) -> None:
    town.happen("hanako", "protection", protected="yes")
    with denied("undisclosed"):
        town.records("hanako")
    town.check()  # the municipalities' intermediate servers withhold own information
    assert town.ask("hanako").keys() == BOTH, "bodies still get what they may request"
    assert town.records("taro") is not None
    town.move("hanako", "13104")
    town.check()
    town.happen("hanako", "protection", protected="no")
    assert len(town.records("hanako")) >= 2, "the flag of the municipality that they have left is gone, too"
    town.check()


def test_a_protected_person_who_has_left_stays_hidden(town: ConnectedTown) -> None:
    town.happen("hanako", "protection", protected="yes")
    town.happen("hanako", "emigration", continued="yes")
    assert town.is_hidden(town.resident("hanako").code)
    town.happen("hanako", "immigration", municipality="13104", street="見本台１")
    town.happen("hanako", "protection", protected="no")
    assert not town.is_hidden(town.resident("hanako").code)
    town.check()


def test_a_new_resident_gets_codes_and_copies_at_once(town: ConnectedTown) -> None:
    town.institutions.resident("child")
    town.institutions.settle()
    assert town.ask("child").keys() == BOTH
    town.check()


def test_a_life_on_each_kind_of_storage(tmp_path: Path, keys: SharedKeySource, storage: str) -> None:
    prepare(tmp_path / "w", keys, storage)
    with opened(tmp_path / "w", keys) as town:
        town.institutions.resident("child")
        for event in ("number-change", "code-change"):
            town.happen("hanako", event)
        town.move("hanako", "08220")
        town.happen("hanako", "protection", protected="yes")
        assert town.ask("hanako").keys() == BOTH
        town.check()
        town.happen("hanako", "death")
        later(town.institutions, days=1)
        assert set_up(town)["codes issued"] == "6 codes; everybody has one"
        town.check()


@pytest.mark.long
def test_people_move_while_their_number_is_on_its_way(tmp_path: Path, keys: SharedKeySource) -> None:
    directory = tmp_path / "w"
    prepare(directory, keys, hop_minutes=10)
    with opened(directory, keys) as town:
        town.institutions.resident("child")
        town.move("child", "13104")
        town.happen("hanako", "number-change")
        town.move("hanako", "13104")
        town.happen("taro", "number-change")
        town.happen(
            "taro",
            "death",
        )
        later(town.institutions, days=1)
        assert town.copies() == {MINATO: 2, SHINJUKU: 2, PENSION: 2}
        assert town.ask("hanako").keys() == town.ask("child").keys() == BOTH
        town.check()


def test_a_world_without_a_network_sends_nothing(tmp_path: Path, keys: SharedKeySource) -> None:
    institutions = new_institutions(tmp_path / "w", keys)
    institutions.resident("hanako")
    institutions.happen("hanako", "protection", {"protected": "yes"})
    institutions.happen("hanako", "number-change", {})
    institutions.happen("hanako", "code-change", {})
    institutions.happen("hanako", "death", {}, channel=CodeChange.channel)
    for node in (institutions.registry, institutions.juki_net.j_lis):
        assert node.outbox.waiting(node.store) == 0
    stores = {path.stem for path in (tmp_path / "w" / "stores").glob("*.sqlite")}
    assert not stores & {"provision_core", "integrated_addresses", "interface_municipal"}
    institutions.world.close()


# Setup


@pytest.mark.parametrize("what", [
    "move", "death",
    *(pytest.param(what, marks=pytest.mark.long) for what in ("nothing", "code-change", "number-change", "emigration")),
])  # fmt: skip
def test_setup_after_an_event_finds_everything_in_order(town: ConnectedTown, what: str) -> None:
    match what:
        case "move":
            town.move("hanako", "13104")
        case "death":
            town.happen("hanako", "death")
            later(town.institutions, days=1)
        case "emigration":
            town.happen("hanako", "emigration", continued="yes")
        case "code-change" | "number-change":
            town.happen("hanako", what)
    stages = set_up(town)
    codes = {"death": 3, "emigration": 4}.get(what, 6)
    assert stages["codes issued"] == f"{codes} codes; everybody has one"
    assert stages["copies registered"] == f"{codes} copies"
    town.check()


def test_setup_without_residents_is_in_order(town: ConnectedTown) -> None:
    for resident in town.institutions.registry.residents():
        town.happen(resident.code, "emigration", continued="no")
    stages = set_up(town)
    assert stages["test data"] == "0 residents of 0 municipalities"
    assert stages["query and provision"] == "nobody is registered whom a query could be about"


def test_setup_finds_what_happened_before_anybody_heard_of_it(town: ConnectedTown) -> None:
    """As in a world that an earlier program has set up: no address system has subscribed."""
    institutions = town.institutions
    for store, table in ((institutions.registry.store, "address_subscription"),
                         (institutions.juki_net.j_lis.store, "provision_subscription")):  # fmt: skip
        with store.transaction() as connection:
            connection.execute(sa.text(f"DELETE FROM {table}"))
    before = town.ask("taro")
    town.happen("taro", "number-change")
    town.move("hanako", "13104")
    institutions.resident("child")
    institutions.settle()
    stages = set_up(town)
    assert stages["codes issued"] == "9 codes, 4 new; everybody has one; 1 person departed; 1 person got a new number"
    assert stages["copies registered"] == "9 copies, 4 new"
    assert town.ask("taro") == before, "a person with another number is not a new person"
    town.check()


def test_a_stage_that_fails_says_so_and_can_be_done_again(town: ConnectedTown) -> None:
    new, municipal = "架空町", town.network.municipal
    town.core.members.connect(new, "市町村長", interface=municipal.name, key=municipal.add(new).public_key())
    town.institutions.resident("child")
    stages = list(town.network.rehearse(addresses()))
    assert (stages[-1].stage, stages[-1].ok) == ("impact assessments checked", False)
    assert f"{new} has no impact assessment" in stages[-1].words
    town.assess(new, done=True)
    assert set_up(town)["codes issued"] == "9 codes; everybody has one", "the other bodies did not wait"
    assert town.ask("child").keys() == BOTH


# Failures

_PLACES = ("13113", "13103", "13104", "08220")


def any_event(chance: Random, town: ConnectedTown, who: str, number: int) -> Event:
    """An event that may happen to a person; also one that most people see once at most."""
    resident = town.resident(who)
    if chance.random() < 0.1:
        return chance.choice([Protection(not resident.protected), Death()])
    event = random_event(chance, resident, number)
    place = chance.choice([place for place in _PLACES if place != resident.municipality.code])
    match event:
        case MoveIn():
            return MoveIn(place, f"町{number}")
        case Immigration():
            return Immigration(place, f"町{number}")
        case MoveOut():
            return MoveOut(place, event.moves_on)
    return event


class Breaking:
    """Makes a receiver crash at random, before or after it has applied messages."""

    def __init__(self, patch: pytest.MonkeyPatch, owner: Any, chance: Random) -> None:
        self.often = 0.0
        inner = owner.receive

        def receive(this: Any, messages: Sequence[Message]) -> None:
            if chance.random() < self.often:
                raise Crash("before it was applied")
            inner(this, messages)
            if chance.random() < self.often:
                raise Crash("after it was applied, before it was acknowledged")

        patch.setattr(owner, "receive", receive)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 30))])
def test_any_interleaving_of_events_and_failures(tmp_path: Path, keys: SharedKeySource, seed: int) -> None:
    """Whatever fails on the way, every part ends with what follows from the registry."""
    chance, directory = Random(seed), tmp_path / "w"
    prepare(directory, keys, hop_minutes=chance.choice([0, 0, 5, 60]))
    with opened(directory, keys) as town, pytest.MonkeyPatch.context() as patch:
        breaking = [Breaking(patch, owner, chance) for owner in (AddressSystem, Core, InterfaceSystem, JLis, Registry)]
        people = ["hanako", "taro", "child", "rare-kanji"]
        for who in people[2:]:
            town.institutions.registry.add(SAMPLE_RESIDENTS[who])
        for number in range(20):
            for one in breaking:
                one.often = chance.choice([0.0, 0.1, 0.4])
            who = chance.choice(people)
            with suppress(EventRejected):
                town.institutions.registry.record(who, any_event(chance, town, who, number))
            with suppress(Crash):
                if chance.random() < 0.6:
                    town.institutions.settle()
            if chance.random() < 0.2:
                with suppress(Crash):
                    later(town.institutions, minutes=chance.randrange(600))
        for one in breaking:
            one.often = 0.0
        later(town.institutions, days=3)
        assert not [who for who in people if town.resident(who).status is ResidencyStatus.RESIDENT
                    and town.ask(who).keys() != BOTH]  # fmt: skip
        town.check()
