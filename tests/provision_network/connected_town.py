"""A town with a provision network: its people, what happens to them, and what each part of the network then knows."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from kazashi.assembly.institutions import Institutions
from kazashi.assembly.network import Network, addresses
from kazashi.assembly.network_offices import FARTHER_NEIGHBOUR, MUNICIPALITY, NEIGHBOUR, PENSION, town_of
from kazashi.provision_network.assessments import sample_assessment
from kazashi.provision_network.codes import InstitutionCode, PortalCode
from kazashi.provision_network.core_store import ENDED_CODE, PERSON
from kazashi.provision_network.intermediate_store import COPY
from kazashi.provision_network.intermediate_store import PERSON as PERSON_AT_BODY
from kazashi.provision_network.terms import NetworkRejected, ProvisionRecord
from kazashi.resident_registry.resident import ResidencyStatus, Resident
from kazashi.world.home import open_world
from kazashi.world.key_source import KeySource
from kazashi.world.storage import Store
from tests.town import clock_of, new_institutions

SHIBUYA, MINATO, SHINJUKU, TSUKUBA = map(town_of, ("13113", NEIGHBOUR, FARTHER_NEIGHBOUR, "08220"))
PEOPLE = ("hanako", "taro")
_HERE = (ResidencyStatus.RESIDENT, ResidencyStatus.MOVING)
_ALIVE = (*_HERE, ResidencyStatus.ABROAD)


@dataclass
class ConnectedTown:
    """A world whose network is set up, in one process."""

    institutions: Institutions

    def __post_init__(self) -> None:
        self.network = Network(self.institutions)
        self.core = self.network.core

    def happen(self, who: str, event: str, **values: Any) -> None:
        """Let an event happen, as `kazashi registry event` does."""
        self.institutions.happen(who, event, values)

    def move(self, who: str, town: str, street: str = "見本台１") -> None:
        """Let a person move to another municipality."""
        day = self.institutions.world.clock.now().date().isoformat()
        self.happen(who, "move-out", to=town, moves_on=day)
        self.happen(who, "move-in", municipality=town, street=street)

    def resident(self, who: str) -> Resident:
        """A person in the registry."""
        return self.institutions.registry.find(who)

    def assess(self, body: str, *, done: bool) -> None:
        """Publish a municipality's impact assessment today, or replace it with one that is too old."""
        key = self.network.municipal.add(body).public_key()
        member = self.core.members.connect(body, MUNICIPALITY, interface=self.network.municipal.name, key=key)
        today = self.institutions.world.clock.now().date()
        published = sample_assessment(body, MUNICIPALITY, today if done else today - timedelta(days=6 * 365))
        version = 1 if member.assessment is None else member.assessment.version + 1
        self.core.members.assess(replace(published, version=version))

    def ask(self, who: str) -> dict[str, str | None]:
        """The answers to the queries for a person's child allowance."""
        return self.network.child_allowance(self.resident(who))

    def portal_code(self, who: str) -> PortalCode:
        """A person's code at the portal."""
        return self.core.codes.portal_code(self.resident(who).code)

    def records(self, who: str) -> list[ProvisionRecord]:
        """A person's records, as the portal shows them."""
        return self.core.records.of(self.portal_code(who))

    def code(self, who: str, body: str) -> InstitutionCode:
        """A person's code, as the body's intermediate server has it. Raises NetworkRejected."""
        hub = self.network.linkage(body)
        number = self.resident(who).individual_number
        assert number is not None
        interface = self.network.national if body == PENSION else self.network.municipal
        return interface.server(body).code_of(hub.addresses.address_number(number))

    def copies(self) -> dict[str, int]:
        """The number of copies of each body, as the platforms' operators count them."""
        platforms = (self.network.municipal.platform, self.network.national.platform)
        return {body: count for platform in platforms for body, count in platform.operator_sees().items()}

    def troubles(self) -> list[str]:
        """What any part has refused, or did not understand, in its log."""
        stores = [one.store for one in self.institutions.offices._address_systems]
        stores += [self.core.store, *(interface.store for interface in self.network.interfaces)]
        stores.append(self.institutions.juki_net.j_lis.store)
        rows = [row for store in stores for row in events(store)]
        return [f"{row['what']} {row['detail']}" for row in rows if row["what"] in ("refused", "not understood")]

    def check(self) -> None:
        """Assert that every part of the network knows what follows from the registry, and nothing more."""
        people = self.institutions.registry.residents()
        offices, core = self.institutions.offices, self.core
        assert offices.due() is None, "every message has arrived, and every copy is registered"
        expected: dict[str, set[Resident]] = {}
        for one in (one for one in people if one.individual_number is not None):
            towns = {one.municipality.code, NEIGHBOUR}
            towns |= {FARTHER_NEIGHBOUR} if one.municipality.code == NEIGHBOUR else set()
            for body in (*map(town_of, towns if one.status in _HERE else ()), *(PENSION,) * (one.status in _ALIVE)):
                expected.setdefault(body, set()).add(one)
        bodies = [*self.network.municipal.bodies, *self.network.national.bodies]
        assert expected.keys() <= set(bodies)
        for body in bodies:
            known, residents = offices.addresses(body).by_number(), expected.get(body, set())
            assert known.keys() == {one.individual_number for one in residents}, body
            interface = self.network.national if body == PENSION else self.network.municipal
            codes = core.codes.issue([body], [one.code for one in residents])[body] if residents else []
            wanted = {known[str(one.individual_number)]: code.value for one, code in zip(residents, codes, strict=True)}
            table, copy = PERSON_AT_BODY, COPY
            with interface.platform.store.reading() as connection:
                rows = connection.execute(sa.select(table).where(table.c.owner == body)).all()
                copied = connection.execute(sa.select(copy).where(copy.c.owner == body)).all()
            assert {row.address_number: bytes(row.code) for row in rows} == wanted, body
            assert {row.address_number: bytes(row.code) for row in copied} == wanted, body
            protected = {known[str(one.individual_number)] for one in residents if one.protected}
            if body != PENSION:  # it does not hear of protection
                assert {row.address_number for row in rows if row.withheld} == protected, body
        with core.store.reading() as connection:
            assert connection.scalar(sa.select(sa.func.count()).select_from(PERSON)) == len(people)
            ended = {(bytes(row.record_code), row.code_group) for row in connection.execute(sa.select(ENDED_CODE))}
        groups = {body.group: body.name for body in core.members.institutions()}
        with core.store.alone() as connection:
            linkages = core.codes.linkages(connection, [one.code for one in people])
        names = {core.records._coder.record(linkage).value: one for linkage, one in zip(linkages, people, strict=True)}
        for record_code, group in ended:
            assert names[record_code] not in expected.get(groups[group], set())
        for one in (one for one in people if one.status in _HERE):
            assert self.is_hidden(one.code) is one.protected, one.alias
        assert self.troubles() == []

    def is_hidden(self, record_code: str) -> bool:
        """Whether a person's records must not be shown."""
        try:
            self.core.records.of(self.core.codes.portal_code(record_code))
        except NetworkRejected as refused:
            if refused.denial != "undisclosed":
                raise
            return True
        return False


def events(store: Store) -> list[dict[str, Any]]:
    """The log of a store, in order."""
    with store.reading() as connection:
        rows = connection.execute(sa.text("SELECT what, detail FROM event ORDER BY position")).mappings()
        return [{**row, "detail": json.loads(row["detail"])} for row in rows]


def prepare(directory: Path, keys: KeySource, storage: str = "", **settings: object) -> None:
    """Make a world with a few people, and set its network up."""
    institutions = new_institutions(directory, keys, storage, **settings)
    for who in PEOPLE:
        institutions.resident(who)
    institutions.settle()
    while (due := institutions.juki_net.next_due()) is not None:
        institutions.advance(due)
    stages = list(Network(institutions).rehearse(addresses()))
    assert all(stage.ok for stage in stages), stages
    institutions.world.close()


@contextmanager
def opened(directory: Path, keys: KeySource) -> Iterator[ConnectedTown]:
    """Open a world whose network is set up."""
    world = open_world(directory, keys=keys)
    clock_of(world).stand(world.clock.now())
    yield ConnectedTown(Institutions(world))
    world.close()


def copied(prepared: Path, directory: Path) -> Path:
    """Copy a prepared world."""
    return Path(shutil.copytree(prepared, directory))


def set_up(town: ConnectedTown) -> dict[str, str]:
    """Set the network up again. Returns what each stage says."""
    stages = list(town.network.rehearse(addresses()))
    assert all(stage.ok for stage in stages), stages
    return {stage.stage: stage.words for stage in stages}
