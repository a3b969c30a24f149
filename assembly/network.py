"""The provision network of one world: its parts, their rehearsal in stages, and their server processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from kazashi.assembly.errors import StepFailed, UsageError
from kazashi.assembly.institutions import Institutions
from kazashi.assembly.network_offices import (
    FARTHER_NEIGHBOUR,
    MUNICIPAL,
    MUNICIPALITY,
    NATIONAL,
    NEIGHBOUR,
    PENSION,
    PENSION_ITEM,
    TAX_ITEM,
    connect,
    item_of,
    office_of,
    town_of,
)
from kazashi.assembly.network_server import HOST
from kazashi.assembly.served import ServedProcess, free_port, require_free
from kazashi.provision_network.assessments import sample_assessment
from kazashi.provision_network.core import Core
from kazashi.provision_network.exchange import FlowTrace, carry
from kazashi.provision_network.interface_system import InterfaceSystem
from kazashi.provision_network.law.tables import Purpose, Row, table_of_affairs
from kazashi.provision_network.membership import Institution
from kazashi.provision_network.municipal import NumberLinkageServer
from kazashi.provision_network.portal import BODY, INTERFACE_NAME
from kazashi.provision_network.terms import CORE, PORTAL_KIND, NetworkRejected
from kazashi.resident_registry.resident import ResidencyStatus, Resident
from kazashi.web.mutual_tls import Credentials
from kazashi.web.ports import DESK as DESK_PORT
from kazashi.world.clock import today
from kazashi.world.home import World
from kazashi.world.process_lock import exclusive

DESK = "desk"

PARTS = (DESK, CORE, f"interface:{MUNICIPAL}", f"interface:{NATIONAL}", "portal")
"""The parts, each served by its own process. The portal's process has a second port for messages."""

_MOST_PEOPLE = 5_000
_LOOK_SECONDS = 0.05
_REGISTERED = (ResidencyStatus.RESIDENT, ResidencyStatus.MOVING)


@dataclass(frozen=True, slots=True)
class RehearsalStage:
    """A stage of the rehearsal (総合運用テスト): its name, whether it succeeded, and a summary of the result."""

    stage: str
    ok: bool
    words: str


def addresses(first: int = DESK_PORT.number) -> dict[str, str]:
    """The address of each part, at consecutive ports. The last one, `pages`, is that of the portal's pages."""
    names = (DESK, CORE, MUNICIPAL, NATIONAL, INTERFACE_NAME)
    servers = {name: f"https://{HOST}:{first + place}" for place, name in enumerate(names)}
    return {**servers, "pages": f"http://{HOST}:{first + len(names)}"}


def free_addresses() -> dict[str, str]:
    """The address of each part, at ports that are free. Raises ServicesUnavailable."""
    taken: list[int] = []
    for _ in addresses():
        taken.append(free_port(taken))
    return {name: f"{address.rpartition(':')[0]}:{port}"
            for (name, address), port in zip(addresses().items(), taken, strict=True)}  # fmt: skip


def body_of(resident: Resident) -> str:
    """The name of a resident's municipality in the network."""
    return town_of(resident.municipality.code)


class Network:
    """The parts of one world's network, in one process."""

    def __init__(self, institutions: Institutions) -> None:
        self.institutions = institutions
        self.world = institutions.world
        self._offices = institutions.offices

    @property
    def core(self) -> Core:
        """The core."""
        return self._offices.core

    @property
    def municipal(self) -> InterfaceSystem:
        """The municipalities' interface system."""
        return self._offices.municipal

    @property
    def national(self) -> InterfaceSystem:
        """The pension service's interface system."""
        return self._offices.national

    @property
    def portal(self) -> InterfaceSystem:
        """The portal's interface system."""
        return self._offices.portal

    def now(self) -> datetime:
        """The world's time."""
        return self.world.clock.now()

    @property
    def interfaces(self) -> list[InterfaceSystem]:
        """All interface systems: the three that every network has, then those of further bodies."""
        enrolled = (entry.name for entry in self.core.members.interfaces())
        names = dict.fromkeys((MUNICIPAL, NATIONAL, INTERFACE_NAME, *enrolled))
        return [self._offices.interface(name) for name in names]

    def member(self, name: str) -> Institution:
        """A body on the network. Raises NetworkRejected."""
        found = next((one for one in self.core.members.institutions() if one.name == name), None)
        if found is None:
            raise NetworkRejected(
                "unknown-institution", f"{name} is not on the network; try: kazashi network body list"
            )
        return found

    def interface_of(self, body: str) -> InterfaceSystem:
        """The interface system of a body. Raises NetworkRejected if it is not on the network, or has none."""
        interface = self.member(body).interface
        if not interface:
            raise NetworkRejected("not-connected", f"{body} has no interface system yet")
        return self._offices.interface(interface)

    def parts(self) -> list[str]:
        """The parts, with every interface system, each served by its own process."""
        names = [one.name for one in self.interfaces if one is not self.portal]
        return [DESK, CORE, *(f"interface:{name}" for name in names), "portal"]

    def located(self, first: int = DESK_PORT.number) -> dict[str, str]:
        """The address of each part. Those of further bodies' interface systems are in the core."""
        return {**{entry.name: entry.address for entry in self.core.members.interfaces()}, **addresses(first)}

    def carry(self, trace: FlowTrace | None = None) -> int:
        """Deliver every message to its final receiver, in this process, and return the number of deliveries."""
        return carry(self.world, self.core, self.interfaces, trace.watch if trace is not None else lambda _: None)

    def carry_until(self, done: Callable[[], bool], seconds: float) -> None:
        """Deliver every message until something is done, for at most `seconds`: servers may have to do their part."""
        until = time.monotonic() + seconds
        self.carry()
        while not done() and time.monotonic() < until:
            time.sleep(_LOOK_SECONDS)
            self.carry()

    def people(self) -> list[Resident]:
        """All people in the registry who are registered in a municipality now, and have an individual number."""
        people = self.institutions.registry.residents(limit=_MOST_PEOPLE)
        return [one for one in people if one.status in _REGISTERED and one.individual_number is not None]

    def linkage(self, body: str) -> NumberLinkageServer:
        """The number linkage server of a body. Raises NetworkRejected if it is not on the network."""
        interface = self.interface_of(body)
        return NumberLinkageServer(self._offices.addresses(body, interface.name), interface)

    def _local_number(self, body: str, person: Resident) -> str:
        """The number under which a body's office knows a person: the tax office of a municipality, or the pension
        service. Raises StepFailed if the body does not know the person."""
        if person.individual_number is None:
            raise StepFailed(f"{_name(person)} has no individual number yet; it is on its way from J-LIS")
        try:
            addresses = self.linkage(body).addresses
            address = addresses.address_number(person.individual_number)
        except NetworkRejected as error:
            raise StepFailed(f"{error}; run: kazashi network setup") from error
        return addresses.local_number(office_of(body), address)

    def contents(self, body: str) -> dict[str, str]:
        """What a body has registered about people, by individual number."""
        return self.linkage(body).contents(item_of(body))

    # The rehearsal

    def rehearse(self, where: dict[str, str]) -> Iterator[RehearsalStage]:
        """Run the stages of the overall operation test in order, up to the first that fails.

        Each stage can be repeated. `where` has the addresses of the parts. A rehearsal waits until no other process
        rehearses in this world, so that it finds what the other one has made.
        """
        with exclusive(self.world.run / "network-setup.lock"):
            yield from self._stages(where)

    def _stages(self, where: dict[str, str]) -> Iterator[RehearsalStage]:
        stages: Sequence[tuple[str, Callable[[], str]]] = (
            ("test data", self._test_data),
            ("bodies connected", lambda: self._connect(where)),
            ("impact assessments checked", self._check_assessments),
            ("codes issued", self._codes),
            ("copies registered", self._copies),
            ("query and provision", self._query),
            ("linkage opened", self._open),
        )
        for stage, action in stages:
            try:
                yield RehearsalStage(stage, True, action())
            except (StepFailed, NetworkRejected) as error:
                yield RehearsalStage(stage, False, str(error))
                return

    def _test_data(self) -> str:
        people = self.people()
        if not people and not self.core.members.institutions():
            raise StepFailed("no resident has an individual number yet; try: kazashi card new")
        towns = {body_of(one) for one in people}
        return f"{counted(len(people), 'resident')} of {counted(len(towns), 'municipality', 'municipalities')}"

    def _connect(self, where: dict[str, str]) -> str:
        bodies = {
            MUNICIPAL: [(name, MUNICIPALITY) for name in self._municipalities()],
            NATIONAL: [(PENSION, PENSION)], INTERFACE_NAME: [(BODY, PORTAL_KIND)],
        }  # fmt: skip
        known, where = {one.name for one in self.core.members.institutions()}, {**self.located(), **where}
        for interface in self.interfaces:
            certificate = self.core.members.enrol(interface.name, interface.neighbours.begin(), where[interface.name])
            interface.neighbours.enrolled(certificate, self.core.authority.certificate, where[CORE])
            for name, kind in bodies.get(interface.name, []):
                if name not in known:
                    connect(self.core, interface, name, kind, self.now())
        own = {name for group in bodies.values() for name, _ in group}
        affairs = {(one.law, one.affair) for one in self.core.ordinances.rules().purposes()}
        for body in self.core.members.institutions():
            of_earlier_table = body.assessment is not None and not body.assessment.affairs <= affairs
            if body.name in own and (body.unassessed(self.now()) or of_earlier_table):
                made_up = sample_assessment(body.name, body.kind, today(self.world.clock))
                version = 1 if body.assessment is None else body.assessment.version + 1
                self.core.members.assess(replace(made_up, version=version))
        self.carry()
        count = len(self.core.members.institutions())
        return f"{count} bodies{_new(count - len(known))}; {len(self.interfaces)} interface systems"

    def _check_assessments(self) -> str:
        bodies = self.core.members.institutions()
        if lacking := [words for one in bodies if (words := one.unassessed(self.now()))]:
            raise StepFailed(f"{'; '.join(lacking)}; see: kazashi network assessment add")
        affairs = sum(len(one.assessment.affairs) for one in bodies if one.assessment is not None)
        return f"all {len(bodies)} bodies have one in force, for {affairs} affairs"

    def _municipalities(self) -> list[str]:
        towns = {body_of(one) for one in self.people()}
        return sorted(towns | {former_town(town) for town in towns})

    def _codes(self) -> str:
        """Let the address systems hear of everybody, and of every event from now on, and wait for the codes.

        In a world that was set up before they heard of events, people may have left or have another number.
        """
        changed, before = self._renumber(), self._people_of_bodies()
        self._offices.subscribe()
        self._offices.deliver()
        after = self._people_of_bodies()
        bodies = self._offices.bodies()
        if missing := sum(len(self.linkage(body).without_code()) for body in bodies):
            raise StepFailed(f"{missing} people have no code yet")
        departed = len({number for _, number in before - after})
        words = f"{counted(len(after), 'code')}{_new(len(after - before))}; everybody has one"
        return "; ".join([
            words, *([f"{counted(departed, 'person', 'people')} departed"] if departed else []),
            *([f"{counted(changed, 'person', 'people')} got a new number"] if changed else []),
        ])  # fmt: skip

    def _people_of_bodies(self) -> set[tuple[str, str]]:
        """Everybody whom an address system knows, as pairs of body and individual number."""
        return {(body, number) for body in self._known_bodies() for number in self._offices.addresses(body).by_number()}

    def _known_bodies(self) -> list[str]:
        """The municipalities and the pension service, as far as they are on the network."""
        return [*self.municipal.bodies, *self.national.bodies]

    def _renumber(self) -> int:
        """Tell address systems that did not hear of it which individual numbers have changed. Returns how many."""
        j_lis, registry, changed = self.institutions.juki_net.j_lis, self.institutions.registry, set[str]()
        for body in self._known_bodies():
            addresses = self._offices.addresses(body)
            numbers = j_lis.current_numbers(list(addresses.by_number()))
            if body != PENSION:  # the registry has still to tell of a number that has not arrived there
                numbers = {former: new for former, new in numbers.items() if registry.has_number(new)}
            changed |= set(addresses.renumber(numbers))
        return len(changed)

    def _copies(self) -> str:
        registered = self._offices.register_copies()
        bodies = self._offices.bodies()
        for body in bodies:
            if lacking := self.linkage(body).without_copy():
                raise StepFailed(f"{len(lacking)} people at {body} have no copy yet")
        count = sum(len(self._offices.addresses(body).here()) for body in bodies)
        return f"{counted(count, 'copy', 'copies')}{_new(registered)}"

    def _query(self) -> str:
        if not (people := self.people()):
            return "nobody is registered whom a query could be about"
        person = people[0]
        answers = self.child_allowance(person)
        registered = {
            purpose.item: self.contents(provider).get(str(person.individual_number))
            for purpose, provider in allowance_questions(body_of(person))
        }
        if answers != registered:
            raise StepFailed(f"the answers {answers} to a query for {sorted(registered)} are not what was registered")
        return f"{len(answers)} items were returned as registered"

    def _open(self) -> str:
        waiting = [self.core.outbox.waiting(self.core.store)]
        waiting += [interface.outbox.waiting(interface.store) for interface in self.interfaces]
        if any(waiting):
            raise StepFailed(f"messages are still waiting (core, then interface systems): {waiting}")
        return "no messages are waiting"

    # A sample query

    def child_allowance(self, person: Resident, trace: FlowTrace | None = None) -> dict[str, str | None]:
        """Make the queries of a municipality where a person applies for the child allowance.

        They are for the taxes where the person lived on the first of January, and for the pension insurance. Returns
        the answers by item. Raises StepFailed.
        """
        if person.status not in _REGISTERED:
            raise StepFailed(f"{_name(person)} is not registered in a municipality any more")
        body = body_of(person)
        office, number, answers = office_of(body), self._local_number(body, person), dict[str, str | None]()
        hub = self.linkage(body)
        processes = [hub.ask(office, number, purpose, provider) for purpose, provider in allowance_questions(body)]
        self.carry(trace)
        for process in processes:
            query, answer = hub.fetch(office, process)
            if answer is None:
                raise StepFailed(f"{query.provider} has not answered: {query.stage.value} {query.words}")
            answers[query.item] = answer.content
        return answers


def former_town(body: str) -> str:
    """The municipality in which the residents of a municipality are assumed to have lived before."""
    neighbour = town_of(NEIGHBOUR)
    return town_of(FARTHER_NEIGHBOUR) if body == neighbour else neighbour


def allowance_questions(body: str = "") -> list[tuple[Purpose, str]]:
    """The two queries of a municipality for the child allowance, each with its provider."""
    return [(affair(TAX_ITEM).purpose, former_town(body)), (affair(PENSION_ITEM).purpose, PENSION)]


def affair(item: str) -> Row:
    """The row for the child allowance and an item in the table of affairs: 74 for taxes, 75 for pensions."""
    provider = PENSION if item == PENSION_ITEM else MUNICIPALITY
    wanted = (MUNICIPALITY, provider, item)
    return next(row for row in table_of_affairs() if row.number in ("74", "75")
                and (row.purpose.requester, row.purpose.provider, row.purpose.item) == wanted)  # fmt: skip


def _name(person: Resident) -> str:
    return person.alias or str(person.name)


def _new(count: int) -> str:
    return f", {count} new" if count else ""


def counted(count: int, one: str, more: str = "") -> str:
    """A count with its noun: `one` for 1, otherwise `more`, which is `one` with an s by default."""
    return f"{count} {one if count == 1 else more or f'{one}s'}"


def system_credentials(core: Core, body: str) -> Credentials:
    """The credentials with which a body's own system connects to its interface system."""
    return core.systems.issue(body)[0]


def ports_of(part: str, where: dict[str, str]) -> list[int]:
    """The ports of a part, by the addresses in `where`; the first is that of its pages, if it has any.

    Raises UsageError if there is no such part.
    """
    name = part.removeprefix("interface:")
    if part not in PARTS and name not in where:
        raise UsageError(f"unknown part {part!r}; the parts are {', '.join(PARTS)}, and further interface systems")
    used = [where["pages"], where[INTERFACE_NAME]] if part == "portal" else [where[name]]
    return [port_of(address) for address in used]


def port_of(address: str) -> int:
    """The port number in an address."""
    return int(address.rpartition(":")[2])


def served(world: World, part: str, where: dict[str, str], log: Path, services: str, agent: str) -> ServedProcess:
    """Start a part in its own process, at its address in `where`.

    `services` and `agent` are the addresses of the authorities and of the local agent, which the portal needs. Raises
    ServicesUnavailable and UsageError.
    """
    port, *messages = ports_of(part, where)
    for other in messages:
        require_free(other)
    arguments: tuple[str, ...]
    if part == "portal":
        arguments = ("kazashi", "--world", str(world.directory), "network", "portal", "--services", services, "--agent",
                     agent, "--desk", where[DESK], "--messages", str(messages[0]))  # fmt: skip
    elif part == DESK:
        arguments = ("kazashi.assembly.j_lis_office", str(world.directory))
    else:
        arguments = ("kazashi.assembly.network_server", str(world.directory), part)
    return ServedProcess(f"the network's {part}", arguments, port, log, tls=part != "portal")
