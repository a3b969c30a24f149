"""A small network in one process: a core, the municipalities' platform, and a national body with its own platform."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from kazashi.provision_network.asking import OutgoingRequest
from kazashi.provision_network.assessments import sample_assessment
from kazashi.provision_network.codes import InstitutionCode
from kazashi.provision_network.core import Core
from kazashi.provision_network.exchange import FlowTrace, carry
from kazashi.provision_network.interface_system import InterfaceSystem
from kazashi.provision_network.intermediate import IntermediatePlatform, IntermediateServer
from kazashi.provision_network.law.rules import OrdinanceAffair, RuleBook
from kazashi.provision_network.law.tables import Purpose, table_of_affairs
from kazashi.provision_network.terms import NetworkRejected, ProvisionRecord
from kazashi.world.home import World
from kazashi.world.outbox import Message

NOW = datetime(2018, 4, 2, 3, tzinfo=UTC)
HANAKO, TARO = "12345678903", "98765432101"
ROWS = table_of_affairs()
PURPOSE = next(row.purpose for row in ROWS if (row.number, row.purpose.requester) == ("74", "市町村長"))
SHIBUYA, MINATO, PENSION = "渋谷区", "港区", "日本年金機構"
TOWNS = [SHIBUYA, MINATO, "新宿区", "架空町"]
MUNICIPAL, NATIONAL = "municipal", "pension"
CHILD_PENSION = next(row.purpose for row in ROWS if row.number == "75" and row.purpose.provider == PENSION)


@contextmanager
def denied(denial: str) -> Iterator[None]:
    """Expect NetworkRejected with this reason."""
    with pytest.raises(NetworkRejected) as refused:
        yield
    assert refused.value.denial == denial


@dataclass
class Network:
    """The network's parts, and a record of its messages."""

    world: World
    core: Core
    platform: IntermediatePlatform
    interfaces: list[InterfaceSystem]
    trace: FlowTrace = field(default_factory=FlowTrace)
    seen: list[Message] = field(default_factory=list)
    """All messages that were delivered."""

    @property
    def municipal(self) -> InterfaceSystem:
        return self.interfaces[0]

    @property
    def national(self) -> InterfaceSystem:
        return self.interfaces[1]

    def server(self, town: str) -> IntermediateServer:
        return self.platform.server(town)

    def code(self, body: str, person: str = HANAKO) -> InstitutionCode:
        return self.core.codes.code_for(body, person)

    def carry(self) -> int:
        def watch(message: Message) -> None:
            self.seen.append(message)
            self.trace.watch(message)

        return carry(self.world, self.core, self.interfaces, watch)

    def ask(
        self, body: str = SHIBUYA, provider: str = MINATO, purpose: Purpose = PURPOSE, **more: bool
    ) -> OutgoingRequest:
        """Request an item, deliver all messages, and return the state of the process."""
        process = self.municipal.asking.ask(body, self.code(body), purpose, [provider], **more)
        self.carry()
        return self.municipal.asking.request(process)

    def records(self, person: str = HANAKO) -> list[ProvisionRecord]:
        return self.core.records.of(self.core.codes.portal_code(person))


def network_of(world: World, *ordinances: OrdinanceAffair, ordinary: bool = False) -> Network:
    """Return a network of four municipalities and the pension service, all enrolled and announced, and two people."""
    core = Core(world, RuleBook(ROWS, ordinances, ordinary=ordinary))
    interfaces = [InterfaceSystem(world, MUNICIPAL), InterfaceSystem(world, NATIONAL)]
    for interface, bodies in zip(interfaces, (TOWNS, [PENSION]), strict=True):
        for body in bodies:
            interface.add(body)
    for interface in interfaces:
        certificate = core.members.enrol(
            interface.name, interface.neighbours.begin(), f"https://localhost/{interface.name}"
        )
        interface.neighbours.enrolled(certificate, core.authority.certificate, "https://localhost/core")
        for body in interface.bodies:
            kind = PENSION if body == PENSION else "市町村長"
            core.members.connect(
                body, kind, interface=interface.name, key=interface.server(body).public_key(),
                assessment=sample_assessment(body, kind, NOW.date(), core.ordinances.rules().purposes()),
            )  # fmt: skip
    core.codes.issue([PENSION], [HANAKO, TARO])
    network = Network(world, core, interfaces[0].platform, interfaces)
    network.carry()
    return network
