"""Inside a municipality: one number to a person, one way out, and people who must not be found."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from kazashi.provision_network.interface_system import RequestStage
from kazashi.provision_network.municipal import AddressSystem, NumberLinkageServer, by_owner, copies_lag
from kazashi.provision_network.terms import NetworkRejected
from kazashi.provision_network.uses import Deed, Use
from kazashi.resident_registry.number import IndividualNumber
from kazashi.world.clock import FixedClock
from kazashi.world.home import World, open_world
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


def settled(network: Network, town: str, person: str = HANAKO, number: IndividualNumber = NUMBER) -> str:
    """A person of a town, known to its tax office, with a code."""
    found = hub(network, town)
    address = found.addresses.admit(number)
    found.addresses.tie(TAX, f"t-{person}", address)
    assert found.acquire([(address, person)], lambda codes: network.core.issue([town], codes)[town]) == 0
    return address


def test_e4_b11_two_offices_numbers_are_one_person(network: Network) -> None:
    addresses = hub(network, SHIBUYA).addresses
    first = addresses.admit(NUMBER)
    assert addresses.admit(NUMBER) == first, "one to a person"
    assert addresses.admit(OTHER) != first
    addresses.tie(TAX, "77", first)
    addresses.tie(CHILD, "A-5", first)
    assert addresses.resolve(TAX, "77") == addresses.resolve(CHILD, "A-5") == first
    with denied("wrong-tie"):
        addresses.tie(TAX, "77", addresses.admit(OTHER))
    assert hub(network, MINATO).addresses.here() == [], "another town's are its own"
    with pytest.raises(NetworkRejected):
        hub(network, MINATO).addresses.resolve(TAX, "77")


def test_b11_a_move_ends_the_address_number_and_a_return_begins_another(network: Network) -> None:
    address = settled(network, SHIBUYA)
    found = hub(network, SHIBUYA)
    found.register(TAX, f"t-{HANAKO}", PURPOSE.item, "x")
    found.depart(address)
    assert found.addresses.here() == []
    with pytest.raises(NetworkRejected):
        found.addresses.resolve(TAX, f"t-{HANAKO}")
    assert network.platform.operator_sees() == {}, "nothing is left to be provided"
    assert found.addresses.admit(NUMBER) != address


def test_e5_offices_reach_the_network_over_the_hub_alone(network: Network) -> None:
    settled(network, SHIBUYA)
    settled(network, MINATO)
    hub(network, MINATO).register(TAX, f"t-{HANAKO}", PURPOSE.item, "所得 1円")
    shibuya = hub(network, SHIBUYA)
    process = shibuya.ask(TAX, f"t-{HANAKO}", PURPOSE, MINATO)
    network.carry()
    asked, received = shibuya.fetch(TAX, process)
    assert (asked.stage, received and received.content) == (RequestStage.ANSWERED, "所得 1円")
    with shibuya.addresses.store.reading() as connection:
        said = list(connection.scalars(sa.text("SELECT what FROM event ORDER BY position")))
    assert said == ["register", "ask", "fetch"]
    with pytest.raises(NetworkRejected):
        shibuya.ask(CHILD, "unknown", PURPOSE, MINATO)


def test_e3_no_town_fetches_another_s_answers(network: Network) -> None:
    settled(network, SHIBUYA)
    process = hub(network, SHIBUYA).ask(TAX, f"t-{HANAKO}", PURPOSE, MINATO)
    network.carry()
    for town in (MINATO, "新宿区", "架空町"):
        with denied("unknown-process"):
            hub(network, town).fetch(TAX, process)
    assert hub(network, SHIBUYA).fetch(TAX, process)[1] is not None


def test_codes_that_are_fetched_again_leave_a_protected_person_protected(network: Network) -> None:
    address = settled(network, MINATO)
    server = hub(network, MINATO)
    server.protect(address)
    settled(network, MINATO)
    with network.platform.store.reading() as connection:
        assert connection.scalar(sa.select(network.platform.person.c.withheld))


def test_e6_every_part_has_an_owner(network: Network) -> None:
    owners = by_owner()
    assert {"総務省", "地方公共団体情報システム機構", "市町村", "内閣官房"} <= owners.keys()
    assert sum(map(len, owners.values())) == 8


def test_e7_how_old_copies_were_is_told(world: World, network: Network) -> None:
    settled(network, SHIBUYA)
    settled(network, MINATO)
    hub(network, MINATO).register(TAX, f"t-{HANAKO}", PURPOSE.item, "x")
    assert isinstance(world.clock, FixedClock)
    world.clock.stand(NOW + timedelta(days=3))
    process = hub(network, SHIBUYA).ask(TAX, f"t-{HANAKO}", PURPOSE, MINATO)
    network.carry()
    received = network.municipal.answer_to(process)
    assert received is not None
    assert copies_lag([received]) == [3.0]


def test_e9_who_has_no_code_is_counted_before_linkage_opens(network: Network) -> None:
    found = hub(network, SHIBUYA)
    addresses = [found.addresses.admit(number) for number in (NUMBER, OTHER)]
    assert found.acquire([], lambda _: []) == 2
    assert found.acquire([(addresses[0], HANAKO)], lambda codes: network.core.issue([SHIBUYA], codes)[SHIBUYA]) == 1
    assert found.acquire([(addresses[1], TARO)], lambda codes: network.core.issue([SHIBUYA], codes)[SHIBUYA]) == 0


def test_a5_a_search_by_number_needs_an_affair_and_is_logged(network: Network) -> None:
    addresses = hub(network, SHIBUYA).addresses
    address = addresses.admit(NUMBER)
    use = Use(1, Deed.SEARCH, "市町村長", "児童手当法")
    assert addresses.search(NUMBER, use) == address
    assert addresses.search(OTHER, use) is None
    for wrong in (Use(1, Deed.SEARCH, "市町村長", "好奇心法"), Use(3, Deed.SUBMIT, "架空商店")):
        with denied("no-basis"):
            addresses.search(NUMBER, wrong)
    with addresses.store.reading() as connection:
        said = connection.execute(sa.text("SELECT what, detail FROM event")).all()
    assert [row.what for row in said] == ["searched", "searched"]
    assert NUMBER not in str(said)


def test_whoever_must_not_be_found_is_not_shown(network: Network) -> None:
    address = settled(network, MINATO)
    settled(network, SHIBUYA)
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


def test_a_town_that_has_never_heard_of_a_code_cannot_hide_records(network: Network) -> None:
    network.municipal.set_undisclosed(SHIBUYA, network.code(MINATO), on=True)
    network.ask()
    assert len(network.records()) == 1
