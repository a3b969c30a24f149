"""A small world in which cards are used everywhere, so that every actor has something on its disk: the registry, both
authorities, the provision network with its portal, MyKey, insurance, refund points, and a platform for tenants."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from itertools import permutations
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from pki.profile import Kind
from provision_network.eligibility import EligibilityDesk, Insurance
from provision_network.portal import Portal
from refund_points.goods import CATALOGUE, Basket, Line
from refund_points.reading import Card
from refund_points.serve import centre_of
from relying_party.mykey import MyKeyPlatform
from relying_party.platform import Platform
from relying_party.verdict import Verdict
from tools.institutions import Institutions
from tools.network import Network, addresses
from tools.network_rulings import actors_of
from tools.points import enrol_till
from tools.relying import card_verdict, direct_linkage
from tracking_lab.exposure import Conversion, Exposure, Row, exposure_of
from world.home import World, open_world

PEOPLE = ("hanako", "taro", "rare-kanji")
RECORD_CODE, NUMBER, SERIAL, MYKEY, CODE, PORTAL_CODE, LINKAGE = (
    "resident record code", "individual number", "serial number", "MyKey ID", "institution code", "portal code",
    "linkage code",
)  # fmt: skip

ACTORS = {
    "j_lis": "J-LIS", "authority_authentication": "J-LIS", "authority_signature": "J-LIS", "card_management": "J-LIS",
    "verifier_services": "J-LIS", "registry": "municipal registry", "prefectures": "prefectures",
    "provision_core": "network's core",
    "intermediate_municipal": "intermediate platform", "intermediate_pension": "pension service",
    "integrated_addresses": "municipal address systems", "portal": "portal", "mykey": "MyKey platform",
    "eligibility": "insurers' joint body", "refund_centre": "refund point centre", "platform": "platform operator",
    "interface_municipal": "interface system (towns)", "interface_pension": "interface system (pension)",
    "interface_portal": "interface system (portal)", "intermediate_portal": "portal's answers",
}  # fmt: skip
"""Whose store is whose, in words."""


@contextmanager
def scene(directory: Path) -> Iterator[tuple[Institutions, Network]]:
    """A world in which all of it has happened, in a directory of the caller's."""
    institutions = Institutions(open_world(directory, seed="tracking"))
    world = institutions.world
    for who in PEOPLE:
        institutions.issue_card(who, who)
    institutions.settle()
    network = Network(institutions)
    gates = list(network.rehearse(addresses()))
    assert all(gate.ok for gate in gates), gates
    linkage = direct_linkage(institutions, "scene")
    authority = institutions.authorities[Kind.AUTHENTICATION]
    portal = Portal(
        world, network.portal, lambda serial: network.core.portal_code(authority.find(serial).holder),
        network.core.records, linkage,
    )  # fmt: skip
    portal.open()
    mykey, desk, tenants = MyKeyPlatform(world, linkage), EligibilityDesk(world, linkage), Platform(world, linkage)
    tenants.add_tenant("library")
    till = enrol_till(world, "rice-shop", "till-1")
    for place, who in enumerate(PEOPLE):
        verdict = card_verdict(institutions, who)
        serial = _serial(verdict)
        portal.set_up(serial)
        mykey.register(verdict)
        desk.insure(Insurance(f"06-{place}", "架空健康保険組合", date(2020, 4, 1), None))
        desk.tie(verdict, f"06-{place}")
        till.sell(Basket((Line(CATALOGUE["rice"]),)), Card(serial))
        assert verdict.certificate is not None
        tenants.identify("library", verdict.certificate)
        network.child_allowance(institutions.registry.find(who))
    centre = centre_of(world)
    centre.receive(till.name, [found.signed.to_wire() for found in till.waiting(100)])
    try:
        yield institutions, network
    finally:
        world.close()


def exposed(institutions: Institutions, network: Network) -> Exposure:
    """Who holds what in such a world, from everybody's stores."""
    found = exposure_of(_rows(institutions.world), _handles(institutions, network))
    code = network.people()[0].code
    body = network.core.institutions()[0].name
    made = {RECORD_CODE: str(code), CODE: str(network.core.code_for(body, str(code))),
            PORTAL_CODE: str(network.core.portal_code(str(code)))}  # fmt: skip
    for source, target in permutations(made, 2):  # what it has no table for it has a key for, as was just seen
        conversion = Conversion(ACTORS["provision_core"], source, target, "by its key")
        found.conversions.setdefault((conversion.actor, source, target), conversion)
    return found


def _handles(institutions: Institutions, network: Network) -> dict[str, set[str]]:
    """All values of every handle, as the judge knows them."""
    people = network.people()
    codes = {str(one.code) for one in people}
    serials = {issued.serial for kind in Kind for code in codes
               for issued in institutions.authorities[kind].of_holder(code)}  # fmt: skip
    bodies = [body.name for body in network.core.institutions()]
    issued = network.core.issue(bodies, sorted(codes))
    with network.core.store.reading() as connection:
        linkages = {str(number) for number in connection.scalars(sa.text("SELECT linkage FROM person"))}
    return {
        RECORD_CODE: codes, NUMBER: {str(one.individual_number) for one in people},
        SERIAL: {form for serial in serials for form in (str(serial), f"{serial:X}")},
        MYKEY: _mykeys(institutions.world), LINKAGE: linkages,
        CODE: {str(code) for found in issued.values() for code in found},
        PORTAL_CODE: {str(network.core.portal_code(code)) for code in codes},
    }  # fmt: skip


def _mykeys(world: World) -> set[str]:
    with world.store("mykey", sa.MetaData()).reading() as connection:
        return set(connection.scalars(sa.text("SELECT identifier FROM identifier")))


def _rows(world: World) -> Iterator[Row]:
    for actor in actors_of(world):
        store = world.store(actor, sa.MetaData())
        metadata = sa.MetaData()
        with store.reading() as connection:
            metadata.reflect(connection)
            for table in metadata.sorted_tables:
                for row in connection.execute(sa.select(table)).mappings():
                    yield ACTORS.get(actor, actor), table.name, dict(row)


def _serial(verdict: Verdict) -> int:
    assert verdict.certificate is not None, verdict
    return verdict.certificate.serial


def told(found: Exposure) -> dict[str, Any]:
    """The matrix and the paths, for the report."""
    targets = (CODE, RECORD_CODE)
    paths = {
        f"{source} -> {target}": [f"{step.actor}: {step.source} -> {step.target} ({step.table})"
                                  for step in found.path(source, target)]
        for source in (SERIAL, MYKEY, PORTAL_CODE) for target in targets
    }  # fmt: skip
    cells = {f"{actor} | {handle}": f"{witness.table}.{witness.column}, {witness.rows} rows"
             for (actor, handle), witness in sorted(found.held.items())}  # fmt: skip
    return {"actors": found.actors, "handles": found.handles, "cells": cells, "paths": paths, "widest": found.widest()}
