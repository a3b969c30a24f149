"""The bodies of one world's network: registered, with their people and business systems, and removed again."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from kazashi.assembly.errors import UsageError
from kazashi.assembly.network import DESK, Network, addresses, port_of
from kazashi.assembly.network_offices import MUNICIPAL, MUNICIPALITY
from kazashi.assembly.network_server import HOST
from kazashi.provision_network.assessments import ImpactAssessment
from kazashi.provision_network.interface_system import InterfaceSystem
from kazashi.provision_network.law.tables import table_of_affairs
from kazashi.provision_network.membership import Institution
from kazashi.provision_network.portal import INTERFACE_NAME
from kazashi.provision_network.terms import CORE, PORTAL_KIND, NetworkRejected
from kazashi.resident_registry.resident import ResidencyStatus, Resident
from kazashi.web.ports import PORTS, RANGE
from kazashi.world.names import certified_name

_RESERVED = {CORE, INTERFACE_NAME, DESK, "pages"}
_LONGEST_INTERFACE = 30


@lru_cache(maxsize=1)
def kinds() -> tuple[str, ...]:
    """The kinds of bodies that occur in the table of affairs, as requesters or providers."""
    purposes = [row.purpose for row in table_of_affairs()]
    return tuple(sorted({kind for one in purposes for kind in (one.requester, one.provider)}))


@dataclass(frozen=True, slots=True)
class Removal:
    """The result of a removal: whether it is complete, and how many requests are still open and how many of these are
    on hold."""

    body: str
    removed: bool
    open: int
    held: int


@dataclass(frozen=True, slots=True)
class Listed:
    """A person in a body's list: their address number at the body, and how many copies it has registered."""

    address_number: str
    individual_number: str
    copies: int


class NetworkBodies:
    """The registration of bodies in one world's network."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._core = network.core

    def add(
        self, name: str, kind: str, *, interface: str = "", group: str = "", starts: datetime | None = None,
        assessment: ImpactAssessment | None = None, port: int | None = None,
    ) -> Institution:  # fmt: skip
        """Register a body behind an interface system, which is enrolled if it is new.

        A municipality is behind the municipalities' interface system unless another is named; any other body gets one
        of its own. Repeating an interrupted registration completes it. Raises UsageError and NetworkRejected.
        """
        try:
            certified_name(name, "body")
        except ValueError as error:
            raise UsageError(str(error)) from error
        if kind not in kinds():
            raise UsageError(
                f"no affair of the table has a body of the kind {kind!r}; the kinds are {', '.join(kinds())}"
            )
        if assessment is not None and assessment.body != name:
            raise UsageError(f"the impact assessment is of {assessment.body}, not of {name}")
        known = {one.name: one for one in self._core.members.institutions()}
        before = known.get(name)
        interface = interface or (before.interface if before else self._interface_for(kind))
        if before is not None and (before.kind, before.interface) != (kind, interface):
            words = f"{name} is on the network already, as {before.kind} behind {before.interface}; remove it first"
            raise NetworkRejected("body-exists", words)
        system = self._enrolled(interface, port)
        key = system.add(name).public_key()
        body = self._core.members.connect(name, kind, group=group, starts=starts, interface=interface, key=key)
        if assessment is not None:
            self._core.members.assess(assessment)
        self._network.carry()
        return body

    def _interface_for(self, kind: str) -> str:
        if kind == MUNICIPALITY:
            return MUNICIPAL
        used = {one.interface for one in self._core.members.institutions()}
        return next(name for number in range(1, len(used) + 2) if (name := f"body{number}") not in used)

    def _enrolled(self, name: str, port: int | None) -> InterfaceSystem:
        """The interface system of that name; a new one is enrolled at a port of its own."""
        core = self._network.municipal.neighbours.credentials()[1]
        entries = {entry.name: port_of(entry.address) for entry in self._core.members.interfaces()}
        owners = _owners(port_of(core), entries)
        if port is not None and owners.get(port, name) != name:
            raise UsageError(f"port {port} belongs to {owners[port]}; name another with --port")
        if name in entries and name not in _RESERVED:
            return InterfaceSystem(self._network.world, name)
        if name in _RESERVED or not _is_interface(name):
            raise UsageError(
                f"{name!r} cannot be an interface system's name; it begins with a letter a-z, and goes on with letters,"
                f" digits and underscores, up to {_LONGEST_INTERFACE}"
            )
        system = InterfaceSystem(self._network.world, name)
        address = f"https://{HOST}:{port or _free(owners)}"
        certificate = self._core.members.enrol(name, system.neighbours.begin(), address)
        system.neighbours.enrolled(certificate, self._core.authority.certificate, core)
        return system

    # Removal

    def remove(self, name: str, *, when_done: bool = False, seconds: float = 0.0) -> Removal:
        """Remove a body, with its people's codes and copies, its systems and its impact assessment.

        From the beginning of a removal the core refuses new requests from and to the body. Requests under way are
        completed first, and a removal that was interrupted, or had to wait for a request on hold, goes on when it is
        repeated. Raises NetworkRejected, with the number of open requests unless `when_done` is set.
        """
        body = self._network.member(name)
        if body.kind == PORTAL_KIND:
            raise NetworkRejected("not-entitled", "the portal cannot be removed: people read their records there")
        self._network.carry()  # what was asked before is not refused
        open_, held = self._open(name)
        if open_ and not when_done and not body.leaving:
            words = f"{open_} requests from or to {name} are under way, {held} of them on hold; see --when-done"
            raise NetworkRejected("open-requests", words)
        self._core.members.leave(name)
        self._network.carry_until(lambda: self._waits_for_people_only(name), seconds)
        open_, held = self._open(name)
        if open_:
            return Removal(name, False, open_, held)
        # Its own data first and its entry at the core last, so that an interrupted removal can be repeated.
        self._network.linkage(name).addresses.dissolve()
        self._core.systems.remove_all(name)
        self._core.members.remove(name)
        self._network.carry()
        return Removal(name, True, 0, 0)

    def _waits_for_people_only(self, name: str) -> bool:
        open_, held = self._open(name)
        return open_ == held

    def _open(self, name: str) -> tuple[int, int]:
        """The number of open requests from or to a body, and how many of them are on hold."""
        counts = [interface.asking.open_with(name) for interface in self._network.interfaces]
        return sum(open_ for open_, _ in counts), sum(held for _, held in counts)

    # People

    def admit(self, name: str, people: Sequence[Resident]) -> int:
        """Put people on a body's list: each gets an address number, drawn at random, and the body gets their codes from
        the core by way of J-LIS. Returns how many are new.

        Raises NetworkRejected if somebody has no individual number yet, or if the body may not use the network.
        """
        for one in people:
            if one.individual_number is None:
                raise NetworkRejected("no-number", f"{one.alias or one.code} has no individual number yet")
        hub, codes = self._network.linkage(name), [str(one.code) for one in people]
        issued = self._core.codes.issue([name], codes)[name]
        before = len(hub.addresses.here())
        numbers = [one.individual_number for one in people if one.individual_number is not None]
        admitted = hub.addresses.admit_all(numbers)
        hub.acquire(list(zip(admitted, codes, strict=True)), lambda _: issued)
        return len(hub.addresses.here()) - before

    def dismiss(self, name: str, people: Sequence[Resident]) -> int:
        """Take people off a body's list; their codes and copies there are deleted. Returns how many were on it."""
        hub = self._network.linkage(name)
        listed = hub.addresses.by_number()
        ended = [listed[one.individual_number] for one in people if one.individual_number in listed]
        for address in ended:
            hub.depart(address)
        return len(ended)

    def people(self, name: str) -> list[Listed]:
        """A body's list of people. Raises NetworkRejected."""
        hub = self._network.linkage(name)
        copies = self._network.interface_of(name).server(name).copies_by_person()
        listed = hub.addresses.by_number()
        return [Listed(address, number, copies.get(address, 0)) for number, address in listed.items()]

    def address_of(self, name: str, person: Resident) -> str:
        """A person's address number at a body. Raises NetworkRejected if they are not on its list."""
        listed = self._network.linkage(name).addresses.by_number()
        if person.individual_number is None or person.individual_number not in listed:
            who = person.alias or person.code
            if person.status is ResidencyStatus.DEAD:
                raise NetworkRejected("not-listed", f"{who} has died, and is on no body's list any more")
            raise NetworkRejected("not-listed", f"{name} has nobody like {who}; try: kazashi network people add")
        return listed[person.individual_number]


def _owners(core: int, interfaces: Mapping[str, int]) -> dict[int, str]:
    """Which server has a port: by the table of ports, by the core's port (the parts that every network has are at
    consecutive ports), and by those of the interface systems."""
    beside = addresses(core - 1)  # the first is that of the J-LIS office
    return {
        **{port.number: port.listener for port in PORTS},
        **{port_of(address): name for name, address in beside.items()},
        **{number: name for name, number in interfaces.items()},
    }


def _free(taken: Container[int]) -> int:
    """The first of the instance's ports that is not `taken`. Raises UsageError."""
    for number in RANGE:
        if number not in taken:
            return number
    raise UsageError("all of the instance's ports have a server; name one for the new interface system with --port")


def _is_interface(name: str) -> bool:
    letters = name.isascii() and name.isidentifier() and name.islower()
    return letters and name[0] != "_" and len(name) <= _LONGEST_INTERFACE
