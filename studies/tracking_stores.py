"""A small world in which cards are used everywhere, so that every actor has data in its store: the registry, both
authorities, the provision network with its portal, MyKey, insurance, refund points, and a platform for tenants."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

from kazashi.assembly.institutions import Institutions
from kazashi.assembly.network import Network, addresses, body_of
from kazashi.assembly.network_inside import InsideFlows
from kazashi.assembly.network_offices import TAX_ITEM
from kazashi.assembly.network_outside import OutsideProvisions
from kazashi.assembly.points import enrol_till
from kazashi.assembly.points_server import centre_of
from kazashi.assembly.relying import card_verdict, direct_linkage
from kazashi.assembly.tax_link import TaxLink
from kazashi.jpki.profile import CertificateType
from kazashi.medical_insurance.feed import ChangeType, FeedLine, InsurerFeed, written
from kazashi.medical_insurance.joint_body import JointBody
from kazashi.provision_network.codes import InstitutionCode
from kazashi.provision_network.law.provisions import PersonField
from kazashi.provision_network.portal import Portal
from kazashi.refund_points.goods import Basket, Category, Item, ReceiptLine
from kazashi.refund_points.portal import TENANT
from kazashi.refund_points.reading import CardReading
from kazashi.refund_points.refunds import Refunds
from kazashi.refund_points.zengin import Account
from kazashi.relying_party.mykey.mykey import MyKeyPlatform
from kazashi.relying_party.platform.platform import Platform
from kazashi.relying_party.verify.attributes import FourAttributes
from kazashi.relying_party.verify.certificate import read_certificate
from kazashi.relying_party.verify.verdict import Verdict
from kazashi.studies.blind_spots import hidden, stored_flows
from kazashi.studies.handles import HandleKind
from kazashi.tracking_lab.metrics import Share
from kazashi.tracking_lab.threats import StoreRun
from kazashi.world.clock import JST
from kazashi.world.home import open_world
from kazashi.world.rng import secure_random

PEOPLE = ("hanako", "taro", "rare-kanji")


def _run(name: str, source: HandleKind, target: HandleKind, *who: str) -> StoreRun:
    return StoreRun(name, source.value, target.value, frozenset(who))


RUNS = [
    _run("T10", HandleKind.BANK_ACCOUNT, HandleKind.PORTAL_CODE, "refund point centre", "portal"),
    _run("T12", HandleKind.MYKEY, HandleKind.RECORD_CODE, "MyKey platform", "municipal registry"),
    _run("T12-j-lis", HandleKind.MYKEY, HandleKind.RECORD_CODE, "MyKey platform", "municipal registry", "J-LIS"),
    _run("T13", HandleKind.CODE, HandleKind.RECORD_CODE, "network's core", "pension service"),
]

_FEAST = Basket((ReceiptLine(Item("feast", "宴会", 110_000, Category.EATING_OUT)),))


@contextmanager
def scene(directory: Path) -> Iterator[tuple[Institutions, Network]]:
    """Build the world in a directory, and close it afterwards. Yields its institutions and its network."""
    institutions = Institutions(open_world(directory, seed="tracking"))
    world = institutions.world
    for who in PEOPLE:
        institutions.issue_card(who, who)
    institutions.settle()
    network = Network(institutions)
    gates = list(network.rehearse(addresses()))
    assert all(gate.ok for gate in gates), gates
    linkage = direct_linkage(institutions, "scene")
    authority = institutions.authorities[CertificateType.AUTHENTICATION]
    portal = Portal(
        world, network.portal, lambda serial: network.core.codes.portal_code(authority.find(serial).holder),
        network.core.records.of, linkage,
    )  # fmt: skip
    mykey, joint, tenants = MyKeyPlatform(world, linkage), JointBody(world, linkage), Platform(world, linkage)
    for tenant in ("library", TENANT):
        tenants.add_tenant(tenant)
    till = enrol_till(world, "rice-shop", "till-1")
    users = {}
    for place, who in enumerate(PEOPLE):
        verdict = card_verdict(institutions, who)
        serial = _serial(verdict)
        portal.set_up(serial)
        mykey.register(verdict)
        _insure(joint, place, serial)
        mykey.enrol(verdict, "library", f"L-0000{place}")
        till.sell(_FEAST, CardReading(serial))
        assert verdict.certificate is not None
        tenants.identify("library", verdict.certificate)
        users[who] = (serial, tenants.identify(TENANT, verdict.certificate).identifier)
        network.child_allowance(institutions.registry.find(who))
    centre = centre_of(world)
    centre.receive(till.name, [record.signed.to_wire() for record in till.waiting(100)])
    refunds, year = Refunds(centre), world.clock.now().astimezone(JST).year
    for place, (who, (serial, user)) in enumerate(users.items()):
        attributes = _four_attributes(institutions, who)
        refunds.register(user, attributes)
        refunds.log_in(user, [serial])
        holder = institutions.registry.find(who).name.kana or "カクウ"
        account = Account("0005", "001", "1", f"999000{place}", holder.replace("　", " "))
        refunds.apply(user, year, account, attributes.name)
    _give_outside_the_network(network, directory)
    try:
        yield institutions, network
    finally:
        world.close()


def _insure(joint: JointBody, place: int, serial: int) -> None:
    """Insure a person, and register their card. The insurer is not on this world's network, and its code made up."""
    line = FeedLine(ChangeType.NEW, f"{place:010d}", f"06-{secure_random(26):08d}", date(2020, 4, 1), None, 2)
    text = written("架空健康保険組合", place + 1, date(2020, 4, 1), [line])
    code = InstitutionCode(secure_random(128).to_bytes(16))
    joint.accept(InsurerFeed.parse(text.encode()), {line.address_number: code})
    joint.register(serial, code)


def _four_attributes(institutions: Institutions, who: str) -> FourAttributes:
    """The four attributes in a person's latest signature certificate."""
    issued = institutions.authorities[CertificateType.SIGNATURE].of_holder(institutions.registry.find(who).code)[-1]
    attributes = read_certificate(issued.certificate).attributes
    assert attributes is not None
    return attributes


def _give_outside_the_network(network: Network, directory: Path) -> None:
    """Flows that the law allows outside the network: from the tax agency to a town, from a town to an investigator, and
    from office to office in a town."""
    person = network.institutions.registry.find(PEOPLE[0])
    town, taxes, outside = body_of(person), TaxLink(network), OutsideProvisions(network)
    path = directory / "returns.csv"
    taxes.write(town, network.now().year - 1, path)
    taxes.receive(town, path.read_bytes())
    path.unlink()
    case = ("刑訴197", "令8検1号", "所在の確認", "住民票関係情報")
    inquiry = outside.inquire(town, person, "警視庁", *case, PersonField.INDIVIDUAL_NUMBER)
    outside.decide(town, inquiry.number, "総務課長", granted=True)
    InsideFlows(network).provide(town, person, "税務", "国保", TAX_ITEM, law="国民健康保険法")


def unseen(institutions: Institutions, network: Network) -> Share:
    """X19 (hidden flows): the share of all flows about the people that the portal does not show to them."""
    flows = [one for who in PEOPLE for one in stored_flows(network, institutions.registry.find(who))]
    return hidden(flows)


def _serial(verdict: Verdict) -> int:
    assert verdict.certificate is not None, verdict
    return verdict.certificate.serial
