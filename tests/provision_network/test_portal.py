"""The portal: one folder per person, linked to certificates by their serial numbers, and what it shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa

from kazashi.jpki.linkage import Follow, LinkedCertificate
from kazashi.jpki.profile import CertificateType, Medium
from kazashi.provision_network.assessments import sample_assessment
from kazashi.provision_network.codes import PortalCode
from kazashi.provision_network.interface_system import InterfaceSystem
from kazashi.provision_network.law.versions import ProvisionItem
from kazashi.provision_network.off_network import OffNetwork
from kazashi.provision_network.portal import BODY, INTERFACE_NAME, Generations, Portal
from kazashi.provision_network.provision_records import OPERATOR
from kazashi.provision_network.terms import PORTAL_KIND, NetworkRejected, RequestOutcome
from kazashi.relying_party.verify.linkage import BOTH, LinkageUnavailable, NoLinkage
from kazashi.world.clock import FixedClock
from kazashi.world.home import World, open_world
from kazashi.world.settings import Settings
from tests.provision_network.bodies import (
    HANAKO,
    MINATO,
    NOW,
    PURPOSE,
    SHIBUYA,
    TARO,
    Network,
    denied,
    network_of,
)
from tests.provision_network.test_uses_and_provisions import ALLOWED

OLD, NEW, OTHER = 0x1111, 0x2222, 0x3333


@dataclass
class Setup:
    """A network with a portal, and the J-LIS office's list of certificates and their holders."""

    world: World
    network: Network
    holders: dict[int, str]

    def portal(self, generations: Generations = Generations.FOLLOWED, linkage: object = None) -> Portal:
        return Portal(
            self.world, self.network.interfaces[-1], self.office, self.network.core.records.of,
            linkage or Chain(), generations, self.network.core.records.looks,  # type: ignore[arg-type]
        )  # fmt: skip

    def office(self, serial: int) -> PortalCode:
        if serial not in self.holders:
            raise NetworkRejected("unknown-certificate", "no such certificate")
        return self.network.core.codes.portal_code(self.holders[serial])


class Chain:
    """The authority's reply that OLD and NEW belong to one person."""

    def certificates(
        self, kind: CertificateType, serial: int, follow: Follow = Follow.PERSON,
        types: Sequence[CertificateType] = BOTH,
    ) -> list[LinkedCertificate]:  # fmt: skip
        return [LinkedCertificate(kind, one, Medium.CARD) for one in ([OLD, NEW] if serial in (OLD, NEW) else [serial])]


class Silent(Chain):
    def certificates(
        self, kind: CertificateType, serial: int, follow: Follow = Follow.PERSON,
        types: Sequence[CertificateType] = BOTH,
    ) -> list[LinkedCertificate]:  # fmt: skip
        raise LinkageUnavailable("away")


@pytest.fixture
def setup(tmp_path: Path, storage: str) -> Iterator[Setup]:
    world = open_world(tmp_path / "w", settings=Settings("network", storage=storage), clock=FixedClock(NOW))
    network = network_of(world)
    interface = InterfaceSystem(world, INTERFACE_NAME)
    key = interface.add(BODY).public_key()
    certificate = network.core.members.enrol(INTERFACE_NAME, interface.neighbours.begin(), "https://localhost/portal")
    interface.neighbours.enrolled(certificate, network.core.authority.certificate, "https://localhost/core")
    network.core.members.connect(
        BODY,
        PORTAL_KIND,
        interface=INTERFACE_NAME,
        key=key,
        assessment=sample_assessment(BODY, PORTAL_KIND, NOW.date()),
    )
    network.interfaces.append(interface)
    network.carry()
    for town in (MINATO,):
        network.server(town).take_codes([("1", network.code(town))])
        network.server(town).register(network.code(town), "1", PURPOSE.item, "所得 2,345,678円")
    yield Setup(world, network, {OLD: HANAKO, NEW: HANAKO, OTHER: TARO})
    world.close()


def test_f1_f4_a_person_sees_only_their_own_records(setup: Setup) -> None:
    portal = setup.portal()
    mine, other = portal.set_up(OLD), portal.set_up(OTHER)
    setup.network.ask()
    (record,) = portal.records(mine, mine)
    assert (record.item, record.outcome) == (PURPOSE.item, RequestOutcome.PROVIDED)
    assert "2,345,678" not in str(record)
    assert portal.records(other, other) == []


def test_f8_who_has_looked_at_the_records_elsewhere_is_shown_to_the_person(setup: Setup) -> None:
    """`kazashi network records` reads the core's records without the portal."""
    portal, records = setup.portal(), setup.network.core.records
    mine, other = portal.set_up(OLD), portal.set_up(OTHER)
    setup.network.ask()
    code = setup.office(OLD)
    assert len(records.look(code, "職員A")) == 1
    assert records.look(code, OPERATOR)[0].item == PURPOSE.item
    looks = portal.looks_elsewhere(mine)
    assert [(look.at, look.actor, look.alarm) for look in looks] == [(NOW, "職員A", True), (NOW, OPERATOR, True)]
    assert portal.looks_elsewhere(other) == []
    setup.network.municipal.set_undisclosed(SHIBUYA, setup.network.code(SHIBUYA), on=True)
    setup.network.carry()
    with denied("undisclosed"):
        records.look(code, "職員B")
    assert [look.actor for look in portal.looks_elsewhere(mine)] == ["職員A", OPERATOR, "職員B"], "the attempt, too"


def test_f3_own_information_is_an_exchange_with_a_record(setup: Setup) -> None:
    portal = setup.portal()
    folder = portal.set_up(OLD)
    portal.ask(folder, MINATO, PURPOSE.item)
    portal.ask(folder, MINATO, "何もない項目")
    setup.network.carry()
    missing, income = portal.own_information(folder, folder)
    assert income.received is not None
    assert income.received.content == "所得 2,345,678円"
    assert missing.received is not None
    assert missing.received.content is None
    assert [record.requester for record in portal.records(folder, folder)] == [BODY, BODY]
    assert portal.own_information(portal.set_up(OTHER), portal.set_up(OTHER)) == []
    setup.network.server(MINATO).withhold("1", on=True)
    portal.ask(folder, MINATO, PURPOSE.item)
    setup.network.carry()
    latest = portal.own_information(folder, folder)[0].received
    assert latest is not None
    assert latest.content is None, "a body may withhold it from the portal (自己情報提供不可フラグ)"
    assert setup.network.ask().number is not None, "but not from other bodies"


def test_an_interrupted_request_is_sent_once(setup: Setup) -> None:
    portal = setup.portal()
    folder = portal.set_up(OLD)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setup.network.interfaces[-1].asking, "ask_own", killed)
        with pytest.raises(KeyboardInterrupt):
            portal.ask(folder, MINATO, PURPOSE.item)
    assert len(portal.own_information(folder, folder)) == len(portal.own_information(folder, folder)) == 1
    setup.network.carry()
    (information,) = portal.own_information(folder, folder)
    assert information.received is not None
    assert len(portal.records(folder, folder)) == 1, "the request was sent only once"
    with pytest.raises(ValueError, match="is not a printable text"):
        portal.ask(folder, MINATO, "a\0b")


def killed(*_: object) -> int:
    raise KeyboardInterrupt


def test_only_the_portal_can_request_own_information(setup: Setup) -> None:
    code = setup.network.core.codes.portal_code(HANAKO)
    process = setup.network.municipal.asking.ask_own(MINATO, code, SHIBUYA, PURPOSE.item, "1")
    setup.network.carry()
    assert setup.network.municipal.asking.request(process).denial == "not-entitled"


def test_b8_f5_the_portal_only_has_serial_numbers_and_codes(setup: Setup) -> None:
    portal = setup.portal()
    folder = portal.set_up(OLD)
    with portal.store.reading() as connection:
        metadata = sa.MetaData()
        metadata.reflect(connection)
        content = " ".join(value.hex() if isinstance(value, bytes) else str(value)
                           for table in metadata.tables.values() for row in connection.execute(sa.select(table))
                           for value in row)  # fmt: skip
    assert portal.serials(folder) == [OLD]
    assert str(setup.network.core.codes.portal_code(HANAKO)) in content
    assert HANAKO not in content


def test_f6_a_second_setup_finds_the_folder(setup: Setup) -> None:
    portal = setup.portal()
    assert portal.set_up(OLD) == portal.set_up(OLD) == portal.set_up(NEW)
    assert portal.set_up(OTHER) != portal.set_up(OLD)
    with pytest.raises(NetworkRejected):
        portal.set_up(0x9999)


def test_f5_b13_a_renewed_certificate_opens_the_same_folder(setup: Setup) -> None:
    followed = setup.portal()
    folder = followed.set_up(OLD)
    assert followed.folder_of(NEW) == folder
    assert followed.serials(folder) == [OLD, NEW], "the new certificate is linked now"
    assert setup.portal(linkage=Silent()).folder_of(NEW) == folder
    assert followed.folder_of(OTHER) is None
    with pytest.raises(LinkageUnavailable):
        setup.portal(linkage=Silent()).folder_of(OTHER)


def test_f5_without_the_chain_the_setup_is_repeated(setup: Setup) -> None:
    portal = setup.portal(Generations.BEGUN_ANEW)
    folder = portal.set_up(OLD)
    assert portal.folder_of(NEW) is None
    assert portal.set_up(NEW) == folder
    assert setup.portal(linkage=NoLinkage()).folder_of(OTHER) is None


def test_f7_provision_outside_the_network_is_not_shown(setup: Setup) -> None:
    portal = setup.portal()
    folder = portal.set_up(OLD)
    OffNetwork(setup.world).give("渋谷区", "警視庁", ALLOWED[ProvisionItem.INVESTIGATION], "住所")
    assert portal.records(folder, folder) == []


def test_f8_access_is_logged_and_another_person_s_is_an_alarm(setup: Setup) -> None:
    portal = setup.portal()
    folder = portal.set_up(OLD)
    portal.records(folder, folder)
    portal.own_information(folder, folder)
    assert not any(look.alarm for look in portal.looks(folder))
    portal.records("operator", folder)
    looks = portal.looks(folder)
    assert [(look.actor, look.what, look.alarm) for look in looks][-1] == ("operator", "records", True)
    with portal.store.reading() as connection:
        events = list(connection.scalars(sa.text("SELECT what FROM event")))
    assert [event for event in events if event.startswith("ALARM")] == ["ALARM: somebody else has looked"]
    with pytest.raises(NetworkRejected):
        portal.records(folder, "999")


def test_j7_losing_the_serials_only_stops_the_portal(setup: Setup) -> None:
    portal = setup.portal()
    folder = portal.set_up(OLD)
    with portal.store.transaction() as connection:
        connection.execute(sa.text("DELETE FROM serial"))
    assert portal.folder_of(OLD) is None
    assert setup.network.ask().denial == "", "requests between bodies still work"
    assert len(portal.records(folder, folder)) == 1
