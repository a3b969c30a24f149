"""The provision network of one world: its parts, their rehearsal in stages, and their server processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kazashi.assembly.errors import StepFailed, UsageError
from kazashi.assembly.institutions import Institutions
from kazashi.assembly.network_server import HOST, core_of
from kazashi.assembly.served import ServedProcess, free_port
from kazashi.provision_network.codes import InstitutionCode
from kazashi.provision_network.core import Core
from kazashi.provision_network.exchange import FlowTrace, carry
from kazashi.provision_network.interface_system import InterfaceSystem
from kazashi.provision_network.municipal import AddressSystem, NumberLinkageServer
from kazashi.provision_network.network_http import SYSTEM
from kazashi.provision_network.portal import BODY, INTERFACE_NAME
from kazashi.provision_network.rules import Purpose, Row, table_of_affairs
from kazashi.provision_network.terms import CORE, PORTAL_KIND
from kazashi.resident_registry.municipality import municipality
from kazashi.resident_registry.resident import ResidencyStatus, Resident
from kazashi.web.mutual_tls import Credentials
from kazashi.web.ports import DESK as DESK_PORT
from kazashi.world.home import World

MUNICIPALITY, PENSION = "市町村長", "日本年金機構"
MUNICIPAL, NATIONAL = "municipal", "pension"
TAX_ITEM, PENSION_ITEM = "地方税関係情報", "年金保険関係情報"
DESK = "desk"
OFFICE = "税務"
NEIGHBOUR = "13103"
"""The municipality (港区) from which all people are assumed to have moved, so that it has their tax data."""

PARTS = (DESK, CORE, f"interface:{MUNICIPAL}", f"interface:{NATIONAL}", "portal")
"""The parts, each served by its own process. The portal's process has a second port for messages."""

_MOST_PEOPLE = 5_000


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
    return f"{resident.municipality.prefecture}{resident.municipality.name}"


class Network:
    """The parts of one world's network, in one process."""

    def __init__(self, institutions: Institutions) -> None:
        self.institutions = institutions
        self.world = institutions.world
        self.core = core_of(self.world)
        self.municipal = InterfaceSystem(self.world, MUNICIPAL)
        self.national = InterfaceSystem(self.world, NATIONAL)
        self.portal = InterfaceSystem(self.world, INTERFACE_NAME)

    @property
    def interfaces(self) -> list[InterfaceSystem]:
        """All interface systems."""
        return [self.municipal, self.national, self.portal]

    def carry(self, trace: FlowTrace | None = None) -> int:
        """Deliver every message to its final receiver, in this process, and return the number of deliveries."""
        return carry(self.world, self.core, self.interfaces, trace.watch if trace is not None else lambda _: None)

    def people(self) -> list[Resident]:
        """All current residents in the registry who have an individual number."""
        people = self.institutions.registry.residents(limit=_MOST_PEOPLE)
        return [one for one in people if one.status is ResidencyStatus.RESIDENT and one.individual_number is not None]

    def linkage(self, body: str) -> NumberLinkageServer:
        """The number linkage server of a municipality. Raises NetworkRejected if it is not on the network."""
        return NumberLinkageServer(AddressSystem(self.world, body), self.municipal)

    # The rehearsal

    def rehearse(self, where: dict[str, str]) -> Iterator[RehearsalStage]:
        """Run the stages of the overall operation test in order, up to the first that fails.

        Each stage can be repeated. `where` has the addresses of the parts.
        """
        stages: Sequence[tuple[str, Callable[[], str]]] = (
            ("test data", self._test_data),
            ("bodies connected", lambda: self._connect(where)),
            ("codes issued", self._codes),
            ("copies registered", self._copies),
            ("query and provision", self._query),
            ("linkage opened", self._open),
        )
        for stage, action in stages:
            try:
                yield RehearsalStage(stage, True, action())
            except StepFailed as error:
                yield RehearsalStage(stage, False, str(error))
                return

    def _test_data(self) -> str:
        people = self.people()
        if not people:
            raise StepFailed("nobody in the registry has an individual number yet; try: kazashi card new")
        return f"{len(people)} residents of {len({body_of(one) for one in people})} municipalities"

    def _connect(self, where: dict[str, str]) -> str:
        bodies = {
            MUNICIPAL: [(name, MUNICIPALITY) for name in self._municipalities()],
            NATIONAL: [(PENSION, PENSION)], INTERFACE_NAME: [(BODY, PORTAL_KIND)],
        }  # fmt: skip
        for interface in self.interfaces:
            certificate = self.core.enrol(interface.name, interface.begin(), where[interface.name])
            interface.enrolled(certificate, self.core.authority.certificate, where[CORE])
            for name, kind in bodies[interface.name]:
                key = interface.add(name).public_key()
                self.core.connect(name, kind, assessed=True, interface=interface.name, key=key)
        self.carry()
        return f"{sum(map(len, bodies.values()))} bodies behind {len(bodies)} interface systems, all assessed"

    def _municipalities(self) -> list[str]:
        neighbour = municipality(NEIGHBOUR)
        return sorted({body_of(one) for one in self.people()} | {f"{neighbour.prefecture}{neighbour.name}"})

    def _codes(self) -> str:
        missing = issued = 0
        for body, people in self._by_body().items():
            hub = self.linkage(body)
            persons = []
            for one in people:
                assert one.individual_number is not None
                address = hub.addresses.admit(one.individual_number)
                hub.addresses.tie(OFFICE, local_number(one), address)
                persons.append((address, str(one.code)))
            missing += hub.acquire(persons, lambda codes, body=body: self._issued(body, codes))  # type: ignore[misc]
            issued += len(persons)
        pension = self.national.server(PENSION)
        everybody = self.people()
        codes = self._issued(PENSION, [str(one.code) for one in everybody])
        pension.take_codes(zip(map(pension_number, everybody), codes, strict=True))
        missing += len(pension.without_code(map(pension_number, everybody)))
        if missing:
            raise StepFailed(f"{missing} people have no code yet")
        return f"{issued + len(everybody)} codes; everybody has one"

    def _issued(self, body: str, record_codes: Sequence[str]) -> list[InstitutionCode]:
        return self.core.issue([body], record_codes)[body]

    def _by_body(self) -> dict[str, list[Resident]]:
        by_body: dict[str, list[Resident]] = {}
        neighbour = municipality(NEIGHBOUR)
        for one in self.people():
            for body in dict.fromkeys((body_of(one), f"{neighbour.prefecture}{neighbour.name}")):
                by_body.setdefault(body, []).append(one)
        return by_body

    def _copies(self) -> str:
        count = 0
        for body, people in self._by_body().items():
            hub = self.linkage(body)
            for one in people:
                hub.register(OFFICE, local_number(one), TAX_ITEM, tax_of(self.world, one))
                count += 1
            if lacking := self.municipal.server(body).without_copy(hub.addresses.here()):
                raise StepFailed(f"{len(lacking)} people in {body} have no copy yet")
        pension = self.national.server(PENSION)
        people = self.people()
        pension.register_all([
            (pension.code_of(pension_number(one)), pension_number(one), PENSION_ITEM, pension_of(self.world, one))
            for one in people
        ])  # fmt: skip
        return f"{count + len(people)} copies"

    def _query(self) -> str:
        person = self.people()[0]
        answers = self.child_allowance(person)
        registered = {TAX_ITEM: tax_of(self.world, person), PENSION_ITEM: pension_of(self.world, person)}
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
        hub, answers = self.linkage(body_of(person)), {}
        processes = [
            hub.ask(OFFICE, local_number(person), purpose, provider) for purpose, provider in allowance_questions()
        ]
        self.carry(trace)
        for process in processes:
            query, answer = hub.fetch(OFFICE, process)
            if answer is None:
                raise StepFailed(f"{query.provider} has not answered: {query.stage.value} {query.words}")
            answers[query.item] = answer.content
        return answers


def allowance_questions() -> list[tuple[Purpose, str]]:
    """The two queries for the child allowance, each with its provider."""
    neighbour = f"{municipality(NEIGHBOUR).prefecture}{municipality(NEIGHBOUR).name}"
    return [(affair(TAX_ITEM).purpose, neighbour), (affair(PENSION_ITEM).purpose, PENSION)]


def affair(item: str) -> Row:
    """The row for the child allowance and an item in the table of affairs."""
    return next(row for row in table_of_affairs() if row.number == "74" and row.purpose.item == item)


def local_number(person: Resident) -> str:
    """The tax office's own number for a person, which no other body uses."""
    return f"T{int(person.code) % 10**9:09d}"


def pension_number(person: Resident) -> str:
    """The pension service's own number (基礎年金番号) for a person, made up."""
    return f"9{int(person.code) * 7 % 10**9:09d}"


def tax_of(world: World, person: Resident) -> str:
    """A person's made-up tax data."""
    income = world.random_stream("network", "tax", str(person.code)).randrange(150, 900) * 10_000
    return f"総所得金額 {income:,}円"


def pension_of(world: World, person: Resident) -> str:
    """A person's made-up pension insurance."""
    kinds = ("厚生年金保険", "国民年金 第1号", "国民年金 第3号")
    return f"{world.random_stream('network', 'pension', str(person.code)).choice(kinds)} 加入中"


def system_credentials(core: Core, body: str) -> Credentials:
    """The credentials with which a body's own system connects to its interface system."""
    return core.credentials(body, SYSTEM)


def served(world: World, part: str, where: dict[str, str], log: Path, services: str, agent: str) -> ServedProcess:
    """Start a part in its own process, at its address in `where`.

    `services` and `agent` are the addresses of the authorities and of the local agent, which the portal needs. Raises
    ServicesUnavailable and UsageError.
    """
    if part not in PARTS:
        raise UsageError(f"unknown part {part!r}; the parts are {', '.join(PARTS)}")
    arguments: tuple[str, ...]
    if part == "portal":
        address = where["pages"]
        messages = where[INTERFACE_NAME].rpartition(":")[2]
        arguments = ("kazashi", "--world", str(world.directory), "network", "portal", "--services", services, "--agent",
                     agent, "--desk", where[DESK], "--messages", messages)  # fmt: skip
    elif part == DESK:
        address, arguments = where[DESK], ("kazashi.assembly.j_lis_office", str(world.directory))
    else:
        address = where[part.removeprefix("interface:")]
        arguments = ("kazashi.assembly.network_server", str(world.directory), part)
    port = int(address.rpartition(":")[2])
    return ServedProcess(f"the network's {part}", arguments, port, log, tls=part != "portal")
