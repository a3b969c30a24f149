"""The members of the network: bodies, their interface systems, and the groups that share codes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric import ec

from kazashi.provision_network.assessments import ImpactAssessment, assessments_in, store_assessment
from kazashi.provision_network.core_store import (
    CODE_GROUP,
    IMPACT_ASSESSMENT,
    INSTITUTION,
    INTERFACE_SYSTEM,
    LEAVING,
    MEMBERSHIP_VERSION,
    OUTBOX,
    log,
)
from kazashi.provision_network.law.tables import Purpose
from kazashi.provision_network.ordinances import announce_items
from kazashi.provision_network.sealing import is_key
from kazashi.provision_network.terms import CORE, NetworkRejected
from kazashi.web.mutual_tls import ServiceAuthority
from kazashi.world.clock import JST, Clock, epoch, from_epoch
from kazashi.world.statement import Statement
from kazashi.world.storage import Store, insert_if_absent

_AT_ONCE = 100
"""The maximum number of bodies in one "members" message."""


@dataclass(frozen=True, slots=True)
class Institution:
    """A body on the network.

    `kind` is its kind in the rules. `group` is the number for which codes are made: its own, unless it shares one with
    others. `starts` is when it may first use the network. `interface` is its interface system, and `key` the public key
    (JWK) to which answers to it are encrypted. `assessment` is its impact assessment, if there is one. A body that is
    `leaving` completes its requests under way before it is removed.
    """

    name: str
    kind: str
    group: int
    starts: datetime
    interface: str
    key: str
    assessment: ImpactAssessment | None
    leaving: bool

    def lacks(self, at: datetime) -> str:
        """Return why the body may not use the network at an instant, or an empty text."""
        return next((words for _, words in self._obstacles(at)), "")

    def check(self, at: datetime) -> None:
        """Raise NetworkRejected if the body may not use the network at an instant."""
        for denial, words in self._obstacles(at):
            raise NetworkRejected(denial, words)

    def check_scope(self, purpose: Purpose, *, provides: bool) -> None:
        """Raise NetworkRejected if its impact assessment does not cover what it requests or `provides`."""
        assert self.assessment is not None
        if provides:
            covered, what = purpose.item in self.assessment.items, f"the provision of {purpose.item}"
        else:
            covered = (purpose.law, purpose.affair) in self.assessment.affairs
            what = f"{purpose.affair} ({purpose.law})"
        if not covered:
            words = f"the impact assessment of {self.name} (version {self.assessment.version}) does not cover {what}"
            raise NetworkRejected("no-assessment", words)

    def unassessed(self, at: datetime) -> str:
        """Return why no impact assessment of the body is in force at an instant, or an empty text."""
        if self.assessment is None:
            return f"{self.name} has no impact assessment (特定個人情報保護評価)"
        words = self.assessment.outdated(at.astimezone(JST).date())
        return f"{self.name} may not use the network: {words}" if words else ""

    def _obstacles(self, at: datetime) -> Iterator[tuple[str, str]]:
        if self.leaving:
            yield "leaving", f"{self.name} leaves the network and accepts no new requests"
        if words := self.unassessed(at):
            yield "no-assessment", words
        if self.starts > at:
            yield "not-started", f"{self.name} joins the network on {self.starts.astimezone(JST):%Y-%m-%d}"


@dataclass(frozen=True, slots=True)
class InterfaceEntry:
    """An interface system and its address."""

    name: str
    address: str


@dataclass(frozen=True, slots=True)
class Members:
    """The bodies of the network, by name, at one instant."""

    by_name: Mapping[str, Institution]
    at: datetime

    def known(self, name: str) -> Institution:
        """Return a body. Raises NetworkRejected if it is not on the network."""
        institution = self.by_name.get(name)
        if institution is None:
            raise NetworkRejected("unknown-institution", f"{name} is not on the network")
        return institution

    def active(self, name: str) -> Institution:
        """Return a body that may use the network now. Raises NetworkRejected."""
        institution = self.known(name)
        institution.check(self.at)
        return institution

    def check_connected(self, name: str) -> None:
        """Raise NetworkRejected if a body has no interface system."""
        if (known := self.by_name.get(name)) is not None and not known.interface:
            raise NetworkRejected("not-connected", f"{name} has no interface system yet")

    def check_speaks_for(self, interface: str, body: str) -> None:
        """Raise NetworkRejected if a body is not behind an interface system."""
        known = self.by_name.get(body)
        if known is None or known.interface != interface:
            raise NetworkRejected("not-entitled", f"{interface} does not speak for {body}")


class Membership:
    """The members in the core's store. What was read is cached until something has changed."""

    def __init__(self, store: Store, clock: Clock, authority: ServiceAuthority) -> None:
        self._store = store
        self._clock = clock
        self._authority = authority
        self._cache: tuple[int, dict[str, Institution]] = (-1, {})

    def enrol(self, interface: str, key: ec.EllipticCurvePublicKey, address: str) -> bytes:
        """Add an interface system to the network, or replace its address, and return its certificate (PEM). Raises
        NetworkRejected if its name is invalid."""
        now = self._clock.now()
        if not interface or interface == CORE or not interface.isidentifier():
            raise NetworkRejected("bad-name", f"{interface!r} is not a valid name for an interface system")
        with self._store.alone() as connection:
            old = sa.delete(INTERFACE_SYSTEM).where(INTERFACE_SYSTEM.c.name == interface)
            connection.execute(old)
            connection.execute(sa.insert(INTERFACE_SYSTEM), {"name": interface, "address": address})
            self._changed(connection)
            log(connection, now, "interface enrolled", {"interface": interface})
            self._announce(connection, lambda body: body.interface == interface)
            self._announce(connection, lambda body: True, interface)
            announce_items(connection, now, interface)
            self._forget()
        return self._authority.issue(interface, key, now, unit="interface", host="localhost")

    def connect(
        self, name: str, kind: str, *, assessment: ImpactAssessment | None = None, group: str = "",
        starts: datetime | None = None, interface: str = "", key: str = "",
    ) -> Institution:  # fmt: skip
        """Add a body to the network, or replace its entry. It keeps the assessment, the group and the first day that it
        has, if no others are given. Bodies in the same `group` share one code per person, as the medical insurers do. A
        body with an `interface` also needs a public key (JWK). Raises NetworkRejected."""
        now = self._clock.now()
        if interface and not is_key(key):
            raise NetworkRejected("bad-key", f"{name} needs a public key (JWK) to which answers can be encrypted")
        with self._store.alone() as connection:
            before = connection.execute(sa.select(INSTITUTION).where(INSTITUTION.c.name == name)).one_or_none()
            number = self._group(connection, group or name) if before is None or group else before.code_group
            since = epoch(starts or now) if before is None or starts is not None else before.starts
            row = {"name": name, "kind": kind, "code_group": number, "starts": since, "interface": interface,
                   "key": key}  # fmt: skip
            connection.execute(sa.delete(INSTITUTION).where(INSTITUTION.c.name == name))
            connection.execute(sa.insert(INSTITUTION), row)
            connection.execute(sa.delete(LEAVING).where(LEAVING.c.body == name))
            if assessment is not None:
                store_assessment(connection, assessment)
            self._changed(connection)
            log(connection, now, "connected", {"institution": name})
            self._announce(connection, lambda body: body.name == name)
            body = self.within(connection).known(name)
            self._forget()
        return body

    def assess(self, assessment: ImpactAssessment) -> None:
        """Store a body's impact assessment, or a newer version. Raises NetworkRejected."""
        with self._store.alone() as connection:
            self.within(connection).known(assessment.body)
            store_assessment(connection, assessment)
            self._changed(connection)
            detail = {"institution": assessment.body, "version": assessment.version}
            log(connection, self._clock.now(), "assessed", detail)
            self._forget()

    def leave(self, name: str) -> None:
        """Accept no new requests from or to a body, so that those under way can be completed. Raises
        NetworkRejected."""
        with self._store.alone() as connection:
            self.within(connection).known(name)
            if connection.execute(insert_if_absent(LEAVING), {"body": name}).rowcount:
                self._changed(connection)
                log(connection, self._clock.now(), "leaving", {"institution": name})
            self._forget()

    def remove(self, name: str) -> None:
        """Remove a body with its impact assessment, and tell all interface systems. Raises NetworkRejected."""
        now = self._clock.now()
        with self._store.alone() as connection:
            self.within(connection).known(name)
            for column in (INSTITUTION.c.name, LEAVING.c.body, IMPACT_ASSESSMENT.c.body):
                connection.execute(sa.delete(column.table).where(column == name))
            self._changed(connection)
            log(connection, now, "removed", {"institution": name})
            with OUTBOX.batch(connection, CORE, now) as send:
                for entry in self._interfaces(connection):
                    send(entry.name, "left", {"body": name})
            self._forget()

    def ever(self, name: str) -> bool:
        """Whether a body is on the network or has been: its group of codes stays when it is removed."""
        with self._store.reading() as connection:
            return connection.scalar(sa.select(CODE_GROUP.c.number).where(CODE_GROUP.c.name == name)) is not None

    def interfaces(self) -> list[InterfaceEntry]:
        """Return all interface systems, by name."""
        with self._store.reading() as connection:
            return self._interfaces(connection)

    def institutions(self) -> list[Institution]:
        """Return all bodies."""
        with self._store.reading() as connection:
            return list(self.within(connection).by_name.values())

    def within(self, connection: sa.Connection) -> Members:
        """Return the members within a transaction of the core's store."""
        version = int(_VERSION.scalar(connection) or 0)
        if version != self._cache[0]:
            assessments, leaving = assessments_in(connection), set(connection.scalars(sa.select(LEAVING.c.body)))
            self._cache = (version, {
                row.name: Institution(
                    row.name, row.kind, row.code_group, from_epoch(row.starts), row.interface, row.key,
                    assessments.get(row.name), row.name in leaving,
                ) for row in connection.execute(sa.select(INSTITUTION))
            })  # fmt: skip
        return Members(self._cache[1], self._clock.now())

    def _interfaces(self, connection: sa.Connection) -> list[InterfaceEntry]:
        rows = connection.execute(sa.select(INTERFACE_SYSTEM).order_by(INTERFACE_SYSTEM.c.name))
        return [InterfaceEntry(row.name, row.address) for row in rows]

    def _group(self, connection: sa.Connection, name: str) -> int:
        number = connection.scalar(sa.select(CODE_GROUP.c.number).where(CODE_GROUP.c.name == name))
        if number is None:
            insert = sa.insert(CODE_GROUP).returning(CODE_GROUP.c.number)
            number = connection.execute(insert, {"name": name}).scalar_one()
        return int(number)

    def _announce(
        self, connection: sa.Connection, which: Callable[[Institution], bool], to: str | None = None
    ) -> None:  # fmt: skip
        """Send the entries of these bodies (interface system, its address, public key) to every interface system, or
        only `to` one."""
        self._forget()  # read what this transaction has written
        entries = self._interfaces(connection)
        addresses = {entry.name: entry.address for entry in entries}
        members = {
            body.name: {"interface": body.interface, "key": body.key, "address": addresses.get(body.interface, "")}
            for body in self.within(connection).by_name.values() if body.interface and which(body)
        }  # fmt: skip
        items = list(members.items())
        with OUTBOX.batch(connection, CORE, self._clock.now()) as send:
            for entry in entries:
                for begin in range(0, len(items) if to in (None, entry.name) else 0, _AT_ONCE):
                    send(entry.name, "members", {"members": dict(items[begin : begin + _AT_ONCE])})

    def _forget(self) -> None:
        """Clear the cache, because the transaction that was read may be rolled back."""
        self._cache = (-1, {})

    def _changed(self, connection: sa.Connection) -> None:
        table = MEMBERSHIP_VERSION
        connection.execute(insert_if_absent(table), {"id": 1, "value": 0})
        connection.execute(sa.update(table).values(value=table.c.value + 1))


_VERSION = Statement(sa.select(MEMBERSHIP_VERSION.c.value))
