"""The provision network's offices inside municipalities and the pension service: they hear of people, and act on it.

What the registry or J-LIS has to tell about a person travels in one stream: to the body's address system, from there to
J-LIS, to the core, and to the body's interface system. So nothing that is said later about a person's codes overtakes
what was said before. Whoever records an event delivers all of it, also while the network's parts run as processes of
their own: a message that is delivered twice counts once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING

from kazashi.provision_network.address_store import ACTOR as MUNICIPAL_ADDRESSES
from kazashi.provision_network.assessments import sample_assessment
from kazashi.provision_network.interface_system import InterfaceSystem
from kazashi.provision_network.municipal import AddressSystem, NumberLinkageServer
from kazashi.provision_network.portal import INTERFACE_NAME
from kazashi.provision_network.terms import J_LIS
from kazashi.resident_registry.address_subscription import ADDRESSES, OWN_RESIDENTS, AddressSubscription
from kazashi.resident_registry.juki_net import JukiNet
from kazashi.resident_registry.municipality import municipality
from kazashi.resident_registry.provision_subscription import ProvisionSubject
from kazashi.world.clock import JST
from kazashi.world.home import World
from kazashi.world.outbox import Message, Receive
from kazashi.world.schedule import AT_ONCE

if TYPE_CHECKING:
    from kazashi.provision_network.core import Core

MUNICIPALITY, PENSION = "市町村長", "日本年金機構"
MUNICIPAL, NATIONAL = "municipal", "pension"
TAX_ITEM, PENSION_ITEM = "地方税関係情報", "年金給付関係情報"
TAX_OFFICE, PENSION_OFFICE = "税務", "年金"
NEIGHBOUR, FARTHER_NEIGHBOUR = "13103", "13104"
"""The municipality (港区) in which all people are assumed to have lived before, so that it has their tax data; and that
(新宿区) in which the residents of the first are assumed to have lived before."""

PENSION_ADDRESSES = "pension_addresses"
"""The name of the store of the pension service's address system."""

OUTSIDE_ADDRESSES = "addresses_outside"
"""The name of the store with the numbers under which parties that are not on the network know people."""

CORE_RECEIVER, PENSION_RECEIVER = "provision-core", f"{ADDRESSES}:pension"
"""The names of the core and of the pension service's address system in messages of J-LIS."""

SUBSCRIPTIONS = (
    OWN_RESIDENTS, AddressSubscription(NEIGHBOUR), AddressSubscription(FARTHER_NEIGHBOUR, residents_of=NEIGHBOUR)
)  # fmt: skip
"""Whose events the municipalities' address systems hear."""

_ABOUT_PEOPLE = ("codes", "closed")
"""The kinds of the core's messages that report what has happened to people."""


class NetworkOffices:
    """The address systems of a world, and everything behind them that hears of people's events."""

    def __init__(self, world: World, juki_net: JukiNet) -> None:
        self.world = world
        self._juki_net = juki_net
        self._interfaces = _Interfaces(world)

    @cached_property
    def core(self) -> Core:
        """The network's core."""
        # Imported here because it loads a web server, and most commands do not need the network.
        from kazashi.assembly.network_server import core_of

        return core_of(self.world)

    @property
    def municipal(self) -> InterfaceSystem:
        """The municipalities' interface system."""
        return self._interfaces.system(MUNICIPAL)

    @property
    def national(self) -> InterfaceSystem:
        """The pension service's interface system."""
        return self._interfaces.system(NATIONAL)

    @property
    def portal(self) -> InterfaceSystem:
        """The portal's interface system."""
        return self._interfaces.system(INTERFACE_NAME)

    def addresses(self, body: str, interface: str = "") -> AddressSystem:
        """The address system of a body. Those of the bodies behind one `interface` system have a common store; without
        it, the body is a municipality or the pension service."""
        store = address_store(interface or (NATIONAL if body == PENSION else MUNICIPAL))
        return AddressSystem(self.world, body, store)

    def linkage(self, body: str) -> NumberLinkageServer:
        """The number linkage server of a municipality or the pension service. Raises NetworkRejected if it is not on
        the network."""
        return NumberLinkageServer(self.addresses(body), self.national if body == PENSION else self.municipal)

    def interface(self, name: str) -> InterfaceSystem:
        """An interface system by name."""
        return self._interfaces.system(name)

    # Messages

    def subscribe(self) -> None:
        """Let the address systems and the core hear of people: of everybody now, and of every event from now on."""
        j_lis = self._juki_net.j_lis
        j_lis.subscribe(CORE_RECEIVER, ProvisionSubject.CODES)
        j_lis.subscribe(PENSION_RECEIVER, ProvisionSubject.NUMBERS)
        self._juki_net.registry.subscribe(SUBSCRIPTIONS)

    def receive(self, messages: Sequence[Message]) -> None:
        """Take messages for the address systems. A municipality that was never on the network is connected first."""
        for receiver, group in groupby(messages, key=lambda message: message.receiver):
            body = body_behind(receiver)
            self._connect(body)
            self.addresses(body).receive(list(group))

    def _connect(self, body: str) -> None:
        """Connect a municipality to the network, as all were connected before the network was opened."""
        if body != PENSION and not self.core.members.ever(body):
            connect(self.core, self.municipal, body, MUNICIPALITY, self.world.clock.now())

    def due(self) -> datetime | None:
        """When something is to be done: at once if messages about people wait, or copies are lacking; else None."""
        waits = any(one.outbox.next_due(one.store) is not None for one in self._address_systems)
        waits = waits or self.core.outbox.next_due(self.core.store, _ABOUT_PEOPLE) is not None
        return AT_ONCE if waits or self._lacking() else None

    def run(self) -> int:
        """Deliver every message about people, and register the copies that are lacking. Returns how many copies."""
        self.deliver()
        return self.register_copies()

    def deliver(self) -> None:
        """Deliver every message about people to its final receiver."""
        receivers: dict[str, Receive] = {J_LIS: self._juki_net.j_lis.receive}
        core, now, done = self.core, self.world.clock.now, 1
        while done:
            done = sum(one.outbox.deliver(one.store, now(), receivers) for one in self._address_systems)
            done += self._juki_net.deliver()
            if core.outbox.next_due(core.store, _ABOUT_PEOPLE) is not None:
                done += core.outbox.deliver(core.store, now(), self._interfaces)

    @cached_property
    def _address_systems(self) -> tuple[AddressSystem, AddressSystem]:
        """An address system of each of the two stores; the messages of all that share a store are in one outbox."""
        return self.addresses(""), self.addresses(PENSION)

    # Copies

    def bodies(self) -> list[str]:
        """The municipalities, and the pension service, whose address systems hear of people."""
        receivers = [receiver for one in self._address_systems for receiver in one.receivers()]
        return [body_behind(receiver) for receiver in receivers]

    def register_copies(self) -> int:
        """Let the offices register made-up copies of the people who have a code and no copy. Returns their number."""
        return sum(
            self.linkage(body).register_lacking(office_of(body), item_of(body), self._made_up(body))
            for body in self._lacking()
        )

    def _lacking(self) -> list[str]:
        awaiting = [*self.municipal.platform.awaiting_copies(), *self.national.platform.awaiting_copies()]
        return [body for body in self.bodies() if body in awaiting] if awaiting else []

    def _made_up(self, body: str) -> Callable[[str], str]:
        return lambda address_number: made_up(self.world, body, address_number)


class _Interfaces(dict[str, Receive]):
    """The functions that receive messages at interface systems, by name. Each is opened when it is first needed."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world
        self._systems: dict[str, InterfaceSystem] = {}

    def system(self, name: str) -> InterfaceSystem:
        """Return an interface system."""
        if name not in self._systems:
            self._systems[name] = InterfaceSystem(self._world, name)
        return self._systems[name]

    def __missing__(self, name: str) -> Receive:
        """Return the function that receives messages at `name`."""
        return self.system(name).receive


def address_store(interface: str) -> str:
    """The name of the store of the address systems of the bodies behind an interface system."""
    return {MUNICIPAL: MUNICIPAL_ADDRESSES, NATIONAL: PENSION_ADDRESSES}.get(interface, f"addresses_{interface}")


def connect(core: Core, interface: InterfaceSystem, body: str, kind: str, now: datetime) -> None:
    """Connect a body to the network behind an interface system, with a made-up impact assessment."""
    key, assessment = interface.add(body).public_key(), sample_assessment(body, kind, now.astimezone(JST).date())
    core.members.connect(body, kind, assessment=assessment, interface=interface.name, key=key)


def body_behind(receiver: str) -> str:
    """The name of the body whose address system has this name in messages."""
    return PENSION if receiver == PENSION_RECEIVER else town_of(receiver.partition(":")[2])


def town_of(code: str) -> str:
    """The name of a municipality in the network, by its code."""
    town = municipality(code)
    return f"{town.prefecture}{town.name}"


def office_of(body: str) -> str:
    """The office of a body that uses the network."""
    return PENSION_OFFICE if body == PENSION else TAX_OFFICE


def item_of(body: str) -> str:
    """The item of which a body has copies."""
    return PENSION_ITEM if body == PENSION else TAX_ITEM


def made_up(world: World, body: str, address_number: str) -> str:
    """A body's made-up information about a person: their taxes, or their pension insurance.

    It depends on the address number, which stays when the person's individual number or resident record code changes.
    """
    if body == PENSION:
        kinds = ("厚生年金保険", "国民年金 第1号", "国民年金 第3号")
        return f"{world.random_stream('network', 'pension', address_number).choice(kinds)} 加入中"
    income = world.random_stream("network", "tax", body, address_number).randrange(150, 900) * 10_000
    return f"総所得金額 {income:,}円"
