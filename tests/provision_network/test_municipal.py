"""Inside a municipality: address numbers, the hub to the network, and people who must not be found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from kazashi.provision_network.asking import RequestStage
from kazashi.provision_network.intermediate_store import PERSON
from kazashi.provision_network.law.uses import Clause, Deed, Use
from kazashi.provision_network.municipal import AddressSystem, NumberLinkageServer, by_owner, copies_lag
from kazashi.provision_network.terms import NetworkRejected
from kazashi.resident_registry.number import IndividualNumber
from kazashi.world.clock import FixedClock
from kazashi.world.home import World, open_world
from kazashi.world.outbox import Message
from kazashi.world.settings import Settings
from tests.provision_network.bodies import HANAKO, MINATO, NOW, PURPOSE, SHIBUYA, TARO, Network, denied, network_of

NUMBER, OTHER = IndividualNumber.around("12345678901"), IndividualNumber.around("98765432109")
TAX, CHILD = "税務", "子育て支援"


@pytest.fixture
def world(tmp_path: Path, storage: str) -> Iterator[World]:
    world = open_world(tmp_path / "w", settings=Settings("network", storage=storage), clock=FixedClock(NOW))
    yield world
    world.close()


@pytest.fixture
def network(world: World) -> Network:
    return network_of(world)


def hub(network: Network, town: str) -> NumberLinkageServer:
    return NumberLinkageServer(AddressSystem(network.world, town), network.municipal)


def registered(network: Network, town: str, person: str = HANAKO, number: IndividualNumber = NUMBER) -> str:
    """Admit a resident with a code and a number at the tax office; return the address number."""
    server = hub(network, town)
    address = server.addresses.admit(number)
    server.addresses.tie(TAX, f"t-{person}", address)
    assert server.acquire([(address, person)], lambda codes: network.core.codes.issue([town], codes)[town]) == 0
    return address


def test_e4_b11_two_offices_numbers_have_one_address_number(network: Network) -> None:
    addresses = hub(network, SHIBUYA).addresses
    first = addresses.admit(NUMBER)
    assert addresses.admit(NUMBER) == first, "a person has one address number"
    assert addresses.admit(OTHER) != first
    addresses.tie(TAX, "77", first)
    addresses.tie(CHILD, "A-5", first)
    assert addresses.resolve(TAX, "77") == addresses.resolve(CHILD, "A-5") == first
    with denied("wrong-tie"):
        addresses.tie(TAX, "77", addresses.admit(OTHER))
    assert hub(network, MINATO).addresses.here() == [], "another municipality has its own address numbers"
    with pytest.raises(NetworkRejected):
        hub(network, MINATO).addresses.resolve(TAX, "77")


def test_b11_a_person_who_returns_gets_a_new_address_number(network: Network) -> None:
    address = registered(network, SHIBUYA)
    server = hub(network, SHIBUYA)
    server.register(TAX, f"t-{HANAKO}", PURPOSE.item, "x")
    depart = Message("municipality:13113", "addresses:13113", 1, "depart", {"individual_number": NUMBER})
    server.addresses.receive([depart])
    assert server.addresses.here() == []
    with denied("not-tied"):
        server.addresses.resolve(TAX, f"t-{HANAKO}")
    said = {"body": SHIBUYA, "people": [[HANAKO, address, False, None]]}
    network.core.receive([Message("j-lis", "provision-core", 1, "codes", said)])
    network.carry()
    assert network.platform.operator_sees() == {}, "all copies are deleted"
    assert server.addresses.admit(NUMBER) != address


def test_e5_offices_use_the_network_through_the_hub(network: Network) -> None:
    registered(network, SHIBUYA)
    registered(network, MINATO)
    hub(network, MINATO).register(TAX, f"t-{HANAKO}", PURPOSE.item, "所得 1円")
    shibuya = hub(network, SHIBUYA)
    process = shibuya.ask(TAX, f"t-{HANAKO}", PURPOSE, MINATO)
    network.carry()
    asked, received = shibuya.fetch(TAX, process)
    assert (asked.stage, received and received.content) == (RequestStage.ANSWERED, "所得 1円")
    with shibuya.addresses.store.reading() as connection:
        events = list(connection.scalars(sa.text("SELECT what FROM event ORDER BY position")))
    assert events == ["register", "ask", "fetch"]
    with pytest.raises(NetworkRejected):
        shibuya.ask(CHILD, "unknown", PURPOSE, MINATO)


def test_e3_no_municipality_fetches_another_s_answers(network: Network) -> None:
    registered(network, SHIBUYA)
    process = hub(network, SHIBUYA).ask(TAX, f"t-{HANAKO}", PURPOSE, MINATO)
    network.carry()
    for town in (MINATO, "新宿区", "架空町"):
        with denied("unknown-process"):
            hub(network, town).fetch(TAX, process)
    assert hub(network, SHIBUYA).fetch(TAX, process)[1] is not None


def test_fetching_codes_again_keeps_a_person_protected(network: Network) -> None:
    address = registered(network, MINATO)
    server = hub(network, MINATO)
    server.protect(address)
    registered(network, MINATO)
    with network.platform.store.reading() as connection:
        assert connection.scalar(sa.select(PERSON.c.withheld))


def test_a_person_with_another_address_number_keeps_code_and_protection(network: Network) -> None:
    """As in a world that was set up when address numbers were counted."""
    address = registered(network, MINATO)
    server = hub(network, MINATO)
    server.protect(address)
    (code,) = network.core.codes.issue([MINATO], [HANAKO])[MINATO]
    minato = network.municipal.server(MINATO)
    minato.take_codes([("9999999999", code)])
    assert minato.code_of("9999999999") == code
    with denied("no-code"):
        minato.code_of(address)
    with network.platform.store.reading() as connection:
        assert connection.scalar(sa.select(PERSON.c.withheld))


def test_e6_every_part_has_an_owner(network: Network) -> None:
    owners = by_owner()
    assert {"総務省", "地方公共団体情報システム機構", "市町村", "内閣官房"} <= owners.keys()
    assert sum(map(len, owners.values())) == 8


def test_e7_the_age_of_copies_is_reported(world: World, network: Network) -> None:
    registered(network, SHIBUYA)
    registered(network, MINATO)
    hub(network, MINATO).register(TAX, f"t-{HANAKO}", PURPOSE.item, "x")
    assert isinstance(world.clock, FixedClock)
    world.clock.stand(NOW + timedelta(days=3))
    process = hub(network, SHIBUYA).ask(TAX, f"t-{HANAKO}", PURPOSE, MINATO)
    network.carry()
    received = network.municipal.asking.answer_to(process)
    assert received is not None
    assert copies_lag([received]) == [3.0]


def test_e9_people_without_a_code_are_counted(network: Network) -> None:
    server = hub(network, SHIBUYA)
    addresses = [server.addresses.admit(number) for number in (NUMBER, OTHER)]
    assert server.acquire([], lambda _: []) == 2
    assert (
        server.acquire([(addresses[0], HANAKO)], lambda codes: network.core.codes.issue([SHIBUYA], codes)[SHIBUYA]) == 1
    )
    assert (
        server.acquire([(addresses[1], TARO)], lambda codes: network.core.codes.issue([SHIBUYA], codes)[SHIBUYA]) == 0
    )


def test_a5_a_search_by_number_needs_an_affair_and_is_logged(network: Network) -> None:
    addresses = hub(network, SHIBUYA).addresses
    address = addresses.admit(NUMBER)
    use = Use(Clause.TABLE, Deed.SEARCH, SHIBUYA, "市町村長", law="児童手当法")
    assert addresses.search(NUMBER, use) == address
    assert addresses.search(OTHER, use) is None
    for wrong in (replace(use, law="好奇心法"), Use(Clause.RELATED, Deed.SUBMIT, "架空商店", "事業者")):
        with denied("no-basis"):
            addresses.search(NUMBER, wrong)
    with addresses.store.reading() as connection:
        events = connection.execute(sa.text("SELECT what, detail FROM event")).all()
    assert [row.what for row in events] == ["searched", "searched"]
    assert NUMBER not in str(events)


def test_records_of_a_protected_person_are_not_shown(network: Network) -> None:
    address = registered(network, MINATO)
    registered(network, SHIBUYA)
    minato = hub(network, MINATO)
    minato.register(TAX, f"t-{HANAKO}", PURPOSE.item, "x")
    hub(network, SHIBUYA).ask(TAX, f"t-{HANAKO}", PURPOSE, MINATO)
    network.carry()
    assert len(network.records()) == 1
    minato.protect(address)
    network.carry()
    with denied("undisclosed"):
        network.records()
    assert network.records(TARO) == []
    minato.protect(address, on=False)
    network.carry()
    assert len(network.records()) == 1


def test_a_body_cannot_hide_records_with_another_s_code(network: Network) -> None:
    network.municipal.set_undisclosed(SHIBUYA, network.code(MINATO), on=True)
    network.ask()
    assert len(network.records()) == 1
