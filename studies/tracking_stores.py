"""A small world in which cards are used everywhere, so that every actor has data in its store: the registry, both
authorities, the provision network with its portal, MyKey, insurance, refund points, and a platform for tenants."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from itertools import chain, permutations
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from kazashi.applets import jpki
from kazashi.applets.install import load_card
from kazashi.assembly import actors
from kazashi.assembly.actors import Actor, actors_of
from kazashi.assembly.institutions import Institutions
from kazashi.assembly.network import Network, addresses
from kazashi.assembly.points import enrol_till
from kazashi.assembly.points_server import centre_of
from kazashi.assembly.relying import card_verdict, direct_linkage
from kazashi.card.chip import Chip
from kazashi.card.request import select, select_file
from kazashi.card_management.management import unfilled
from kazashi.card_management.order import image_path
from kazashi.jpki.profile import CertificateType
from kazashi.provision_network.eligibility import EligibilityService, Insurance
from kazashi.provision_network.off_network import OffNetwork
from kazashi.provision_network.portal import Portal
from kazashi.provision_network.provisions import INVESTIGATIONS, Party, Provision, portal_shows
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
from kazashi.tracking_lab.exposure import Conversion, Exposure, Row, Witness, exposure_of
from kazashi.tracking_lab.metrics import Share
from kazashi.tracking_lab.threats import StoreRun
from kazashi.world.clock import JST
from kazashi.world.home import World, open_world

PEOPLE = ("hanako", "taro", "rare-kanji")
RECORD_CODE, NUMBER, SERIAL, MYKEY, CODE, PORTAL_CODE, LINKAGE, USER, MEMBER, BANK_ACCOUNT, NAME = (
    "resident record code", "individual number", "serial number", "MyKey ID", "institution code", "portal code",
    "linkage code", "tenant's user id", "library's member number", "bank account", "name",
)  # fmt: skip
TARGETS = (CODE, RECORD_CODE, PORTAL_CODE, LINKAGE)
"""Tokens and record codes, which the number act protects."""

_UNIQUE_LENGTH = 16
"""Values of at least this many characters are taken to be unique to a person."""

ANYBODY = "any reader in range"
RUNS = [
    StoreRun("T10", "refund points: from a bank account to the portal's code", BANK_ACCOUNT, PORTAL_CODE,
             frozenset(("refund point centre", "portal"))),
    StoreRun("T12", "a municipality and MyKey: from a MyKey ID to a record code", MYKEY, RECORD_CODE,
             frozenset(("MyKey platform", "municipal registry"))),
    StoreRun("T12", "the same, with J-LIS", MYKEY, RECORD_CODE,
             frozenset(("MyKey platform", "municipal registry", "J-LIS"))),
    StoreRun("T13", "the core and a provider: from a provider's code to a record code", CODE, RECORD_CODE,
             frozenset(("network's core", "pension service"))),
]  # fmt: skip

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
        world, network.portal, lambda serial: network.core.portal_code(authority.find(serial).holder),
        network.core.records, linkage,
    )  # fmt: skip
    portal.open()
    mykey, eligibility, tenants = (
        MyKeyPlatform(world, linkage),
        EligibilityService(world, linkage),
        Platform(world, linkage),
    )
    for tenant in ("library", TENANT):
        tenants.add_tenant(tenant)
    till = enrol_till(world, "rice-shop", "till-1")
    users = {}
    for place, who in enumerate(PEOPLE):
        verdict = card_verdict(institutions, who)
        serial = _serial(verdict)
        portal.set_up(serial)
        mykey.register(verdict)
        eligibility.insure(Insurance(f"06-{place}", "架空健康保険組合", date(2020, 4, 1), None))
        eligibility.tie(verdict, f"06-{place}")
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
    _give_outside_the_network(world)
    try:
        yield institutions, network
    finally:
        world.close()


def _four_attributes(institutions: Institutions, who: str) -> FourAttributes:
    """The four attributes in a person's latest signature certificate."""
    issued = institutions.authorities[CertificateType.SIGNATURE].of_holder(institutions.registry.find(who).code)[-1]
    attributes = read_certificate(issued.certificate).attributes
    assert attributes is not None
    return attributes


def _give_outside_the_network(world: World) -> None:
    """Two flows that the law allows outside the network: from the tax agency to a town, and to an investigator."""
    log = OffNetwork(world)
    taxes = Provision(9, Party.TAX_AGENCY, Party.MUNICIPALITY, purpose="国税・地方税の賦課徴収", safeguards=True)
    log.give("国税庁", "渋谷区", taxes, "所得税の申告")
    case = Provision(13, Party.MUNICIPALITY, Party.INVESTIGATOR, purpose=INVESTIGATIONS[3], case="1", reason="x",
                     approved_by="x")  # fmt: skip
    log.give("渋谷区", "捜査機関", case, "住所")


def unseen(institutions: Institutions, network: Network) -> Share:
    """X19 (hidden flows): the share of all flows that the portal does not show to the person."""
    with network.core.store.reading() as connection:
        records = connection.scalar(sa.text("SELECT count(*) FROM provision_record WHERE outcome <> 'denied'")) or 0
    given = [line for line in OffNetwork(institutions.world).given() if not line.denial]
    hidden = sum(not portal_shows(line.item) for line in given)
    return Share(hidden, int(records) + len(given))


def exposed(institutions: Institutions, network: Network) -> Exposure:
    """The exposure matrix of such a world: what all actors hold in their stores, and what any reader in range sees."""
    stores, handles = list(_tables(institutions.world)), _handles(institutions, network)
    rows = ((table.actor, table.name, row) for tables in stores for table in tables for row in table.rows)
    exposure = exposure_of(rows, handles, (row for tables in stores for row in _joined(tables)))
    if str(_serial_without_pin(institutions.world)) in handles[SERIAL]:
        exposure.held[ANYBODY, SERIAL] = Witness("READ BINARY", "EF 000A, no PIN", 1, at_use=True)
    code = network.people()[0].code
    body = network.core.institutions()[0].name
    made = {RECORD_CODE: str(code), CODE: str(network.core.code_for(body, str(code))),
            PORTAL_CODE: str(network.core.portal_code(str(code)))}  # fmt: skip
    for source, target in permutations(made, 2):  # the core converts with its key, as above, where it has no table
        conversion = Conversion(actors.CORE_OPERATOR.name, source, target, "by its key")
        exposure.conversions.setdefault((conversion.actor, source, target), conversion)
        exposure.held.setdefault((conversion.actor, target), Witness("made of a record code", "by its key", 1))
    return exposure


def _handles(institutions: Institutions, network: Network) -> dict[str, set[str]]:
    """All values of every handle, by its name: the ground truth."""
    people = network.people()
    codes = {str(one.code) for one in people}
    serials = {issued.serial for kind in CertificateType for code in codes
               for issued in institutions.authorities[kind].of_holder(code)}  # fmt: skip
    bodies = [body.name for body in network.core.institutions()]
    issued = network.core.issue(bodies, sorted(codes))
    with network.core.store.reading() as connection:
        linkages = {str(number) for number in connection.scalars(sa.text("SELECT linkage FROM person"))}
    return {
        RECORD_CODE: codes, NUMBER: {str(one.individual_number) for one in people},
        SERIAL: {form for serial in serials for form in (str(serial), f"{serial:X}")},
        MYKEY: _column(institutions.world, actors.MYKEY, "identifier", "identifier"), LINKAGE: linkages,
        USER: _column(institutions.world, actors.PLATFORM, "user", "identifier"),
        MEMBER: _column(institutions.world, actors.MYKEY, "member", "member_number"),
        NAME: {form for one in people for form in (str(one.name), one.name.given) if form},
        BANK_ACCOUNT: _column(institutions.world, actors.CENTRE, "application", "account"),
        CODE: {str(code) for codes_of_body in issued.values() for code in codes_of_body},
        PORTAL_CODE: {str(network.core.portal_code(code)) for code in codes},
    }  # fmt: skip


def _column(world: World, actor: Actor, table: str, column: str) -> set[str]:
    with world.store_to_study(actor.store).reading() as connection:
        return set(connection.scalars(sa.text(f'SELECT {column} FROM "{table}"')))


def _serial_without_pin(world: World) -> int:
    """The serial number of the authentication certificate, which a card gives to any reader in range, without a PIN;
    0 if the card does not give it."""
    chip = Chip(load_card(image_path(world, PEOPLE[0])))
    chip.power_on()
    for command in (select(jpki.AID), select_file(jpki.AUTHENTICATION_CERTIFICATE)):
        if chip.transmit(command) != b"\x90\x00":
            return 0
    read = b"".join(chip.transmit(bytes((0x00, 0xB0, place, 0x00, 0x00)))[:-2] for place in range(8))
    return read_certificate(unfilled(read)).serial


@dataclass(frozen=True, slots=True)
class _Table:
    """A table of an actor: its rows, and the columns that are each a key on their own."""

    actor: str
    name: str
    keys: set[str]
    rows: list[dict[str, Any]]


def _tables(world: World) -> Iterator[list[_Table]]:
    """The tables of each actor's store."""
    for actor in actors_of(world):
        store = world.store_to_study(actor.store)
        metadata = sa.MetaData()
        with store.reading() as connection:
            metadata.reflect(connection)
            yield [
                _Table(actor.owner.name, table.name, _keys(table),
                       [_opened(row) for row in connection.execute(sa.select(table)).mappings()])
                for table in metadata.sorted_tables
            ]  # fmt: skip


def _opened(row: Mapping[Any, Any]) -> dict[str, Any]:
    """A row whose JSON documents are flattened into columns, named by their path."""
    columns: dict[str, Any] = {}
    waiting = [(str(name), value) for name, value in row.items()]
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, str) and value[:1] in ("{", "["):
            with suppress(ValueError):
                value = json.loads(value)
        if isinstance(value, dict):
            waiting += [(f"{name}.{inside}", each) for inside, each in value.items()]
        elif isinstance(value, list):
            waiting += [(f"{name}.{place}", each) for place, each in enumerate(value)]
        else:
            columns[name] = value
    return columns


def _keys(table: sa.Table) -> set[str]:
    """The columns of a table that are each a key on their own."""
    unique = [index.columns.keys() for index in table.indexes if index.unique]
    unique += [one.columns.keys() for one in table.constraints if isinstance(one, sa.UniqueConstraint)]
    return {names[0] for names in [table.primary_key.columns.keys(), *unique] if len(names) == 1} - {"position"}


def _joined(tables: list[_Table]) -> Iterator[Row]:
    """The rows that the owner of some tables gets by joining each two of them, on a column that is a key of one of
    them, or whose values are long enough to be unique."""
    for one, other in permutations(tables, 2):
        for column in {*chain(*one.rows)} & {*chain(*other.rows)} - {"position"}:
            is_key = column in one.keys | other.keys
            by_value = defaultdict(list)
            for match in other.rows:
                by_value[match.get(column)].append(match)
            for row in one.rows:
                value = row.get(column)
                if value is not None and (is_key or len(str(value)) >= _UNIQUE_LENGTH):
                    for match in by_value.get(value, ()):
                        merged = {**{f"{other.name}.{name}": each for name, each in match.items()}, **row}
                        yield one.actor, f"{one.name} + {other.name}", merged


def _serial(verdict: Verdict) -> int:
    assert verdict.certificate is not None, verdict
    return verdict.certificate.serial


def exposure_as_dict(exposure: Exposure) -> dict[str, Any]:
    """The exposure for JSON: `actors`, `handles`, `cells` by "actor | handle", `ways` (the shortest path from each
    handle of an actor that is not an issuer to each target) and `widest`, the actor with the most kinds of handles."""
    ways = []
    issuers = {actor.owner.name for actor in actors.ACTORS if actor.owner.issues}
    for actor in (name for name in exposure.actors if name not in issuers):
        for handle in (handle for who, handle in sorted(exposure.held) if who == actor):
            for target in (target for target in TARGETS if target != handle):
                steps = exposure.path(handle, target)
                ways.append({"actor": actor, "handle": handle, "target": target, "steps": [
                    f"{step.actor}: {step.source} -> {step.target} ({step.table})" for step in steps
                ]})  # fmt: skip
    cells = {
        f"{actor} | {handle}": {
            "level": "at use" if witness.at_use else
            "can convert" if any((actor, handle, other) in exposure.conversions for other in exposure.handles)
            else "stored",
            "witness": f"{witness.table}, {witness.column}", "rows": witness.rows,
        } for (actor, handle), witness in sorted(exposure.held.items())
    }  # fmt: skip
    return {
        "actors": exposure.actors,
        "handles": exposure.handles,
        "cells": cells,
        "ways": ways,
        "widest": exposure.widest(),
    }
