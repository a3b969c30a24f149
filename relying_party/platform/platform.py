"""A platform operator (プラットフォーム事業者): verifies for many services, and knows users where they know pseudonyms.

A certificate's serial number changes with every renewal, and a card has two. The platform asks the authority which
belong together, and gives each tenant a user id of its own that stays the same for both certificates, across renewals
and moves. Ids are drawn at random: nothing but the platform's table leads from one tenant's to another's, and once a
tenant deletes a user there is no way back to the id.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from kazashi.jpki.profile import CERTIFICATE_TYPES, CertificateType
from kazashi.relying_party.verify.certificate import HolderCertificate
from kazashi.relying_party.verify.linkage import Linkage
from kazashi.world.clock import epoch
from kazashi.world.event_log import event_table
from kazashi.world.home import World
from kazashi.world.rng import new_token
from kazashi.world.storage import Unsigned64

ACTOR = "platform"
"""The name of this actor's store."""

_ID_BITS = 160

Serial = tuple[CertificateType, int]


class NoSuchTenant(Exception):
    """Nobody is registered under that key."""


class TenantExists(Exception):
    """There is a tenant of that name already; it was left as it is."""


class NoSuchUser(Exception):
    """The tenant has no such user (any more)."""


class LinkageConflict(Exception):
    """The authority says that two certificates are one person's which are known as two people's. Nothing was changed:
    people are never merged behind their backs."""


@dataclass(frozen=True, slots=True)
class User:
    """A tenant's user: the id, and whether it is new."""

    identifier: str
    new: bool


class Platform:
    """The tenants, and whom each of them knows."""

    def __init__(self, world: World, linkage: Linkage) -> None:
        self._world = world
        self._linkage = linkage
        metadata = sa.MetaData()
        self._tenant = sa.Table(
            "tenant", metadata,
            sa.Column("name", sa.Text, primary_key=True),
            sa.Column("key_digest", sa.LargeBinary, unique=True, nullable=False),
        )  # fmt: skip
        self._certificate = sa.Table(
            "certificate", metadata,
            sa.Column("kind", sa.Text, primary_key=True),
            sa.Column("serial", Unsigned64, primary_key=True, autoincrement=False),
            sa.Column("person", sa.Text, nullable=False, index=True),
        )  # fmt: skip
        self._user = sa.Table(
            "user", metadata,
            sa.Column("tenant", sa.Text, primary_key=True),
            sa.Column("person", sa.Text, primary_key=True),
            sa.Column("identifier", sa.Text, unique=True, nullable=False),
            sa.Column("since", sa.BigInteger, nullable=False),
        )  # fmt: skip
        self._event, self._log = event_table(metadata)
        self.store = world.store(ACTOR, metadata)

    # Tenants

    def add_tenant(self, name: str) -> str:
        """Register a service; answers its key, which is shown this once. Raises TenantExists and ValueError."""
        if not name.strip():
            raise ValueError("a tenant has a name")
        key = new_token()
        try:
            with self.store.transaction() as connection:
                connection.execute(sa.insert(self._tenant), {"name": name, "key_digest": _digest(key)})
                self._log(connection, self._now, "tenant added", {"tenant": name})
        except IntegrityError as error:
            raise TenantExists(f"there is a tenant {name!r} already; choose another name") from error
        return key

    def tenant(self, key: str) -> str:
        """Whose key it is. Raises NoSuchTenant."""
        with self.store.reading() as connection:
            query = sa.select(self._tenant.c.name).where(self._tenant.c.key_digest == _digest(key))
            name = connection.scalar(query)
        if name is None:
            raise NoSuchTenant("no tenant is registered under this key")
        return str(name)

    # Users

    def identify(self, tenant: str, certificate: HolderCertificate) -> User:
        """The tenant's user to whom a certificate belongs, of which the verdict must have been good. Raises
        LinkageConflict and LinkageUnavailable."""
        asked = (certificate.kind, certificate.serial)
        linked: list[Serial] | None = None
        while True:
            with self.store.alone() as connection:
                person = self._known(connection, linked or [asked])
                if person is None and linked is not None:
                    person = new_token(_ID_BITS)
                if person is not None:
                    self._note(connection, person, linked or [asked])
                    return self._user_of(connection, tenant, person)
            linked = self._linked(asked)  # the authority is asked while nobody waits for us

    def delete(self, tenant: str, identifier: str) -> None:
        """Forget a tenant's user: the same person is another user from now on. Raises NoSuchUser."""
        table = self._user
        with self.store.alone() as connection:
            here = (table.c.tenant == tenant) & (table.c.identifier == identifier)
            person = connection.scalar(sa.select(table.c.person).where(here))
            if person is None:
                raise NoSuchUser(f"{tenant} has no user {identifier}")
            connection.execute(sa.delete(table).where(here))
            if connection.scalar(sa.select(sa.func.count()).where(table.c.person == person)) == 0:
                # Nobody knows this person any more, and then neither does the platform.
                connection.execute(sa.delete(self._certificate).where(self._certificate.c.person == person))
            self._log(connection, self._now, "user deleted", {"tenant": tenant})

    def renewed(self, tenant: str, identifier: str) -> dict[CertificateType, bool]:
        """For each kind of certificate that the user has shown: whether the authority knows a newer one by now. Raises
        NoSuchUser and LinkageUnavailable."""
        table, user = self._certificate.c, self._user.c
        with self.store.reading() as connection:
            here = (user.tenant == tenant) & (user.identifier == identifier)
            person = connection.scalar(sa.select(user.person).where(here))
            if person is None:
                raise NoSuchUser(f"{tenant} has no user {identifier}")
            rows = connection.execute(sa.select(table.kind, table.serial).where(table.person == person)).all()
        known = [(CERTIFICATE_TYPES[row.kind], row.serial) for row in rows]
        asked = dict(reversed(known))
        return {kind: (kind, self._linkage.renewal(kind, serial)[-1]) not in known for kind, serial in asked.items()}

    def exposure(self, tenant: str) -> list[dict[str, Any]]:
        """What is stored of a tenant's users: the id, since when, and the serial numbers behind it. A tenant that is
        told no more than the ids has nothing else to lose."""
        user, certificate = self._user.c, self._certificate.c
        with self.store.reading() as connection:
            rows = connection.execute(
                sa.select(user.identifier, user.since, certificate.kind, certificate.serial)
                .join_from(self._user, self._certificate, user.person == certificate.person)
                .where(user.tenant == tenant).order_by(user.identifier, certificate.kind, certificate.serial)
            )  # fmt: skip
            return [dict(row) for row in rows.mappings()]

    def _linked(self, asked: Serial) -> list[Serial]:
        """All certificates that the authority says are one holder's."""
        kind, serial = asked
        found = [(kind, each) for each in self._linkage.renewal(kind, serial)]
        others: list[Serial] = []
        for _, each in reversed(found):  # the newest first: the other certificate's chain leads back from there
            counterpart = self._linkage.counterpart(kind, each)
            if counterpart is not None and (kind.other, counterpart) not in others:
                others += [(kind.other, one) for one in self._linkage.renewal(kind.other, counterpart)]
        return [*found, *others]

    def _known(self, connection: sa.Connection, serials: Sequence[Serial]) -> str | None:
        """The person to whom serial numbers are known to belong. Raises LinkageConflict where there are two."""
        table = self._certificate.c
        people: set[str] = set()
        for kind in CertificateType:
            wanted = [serial for found, serial in serials if found is kind]
            here = (table.kind == kind.code) & table.serial.in_(wanted)
            people |= set(connection.scalars(sa.select(table.person).where(here)))
        if len(people) > 1:
            raise LinkageConflict("the authority ties together what is known as two people")
        return people.pop() if people else None

    def _note(self, connection: sa.Connection, person: str, serials: Sequence[Serial]) -> None:
        """Note that serial numbers are one person's."""
        table = self._certificate
        rows = connection.execute(sa.select(table).where(table.c.person == person))
        known = {(row.kind, row.serial) for row in rows}
        fresh = [
            {"kind": kind.code, "serial": serial, "person": person}
            for kind, serial in dict.fromkeys(serials)
            if (kind.code, serial) not in known
        ]
        if fresh:
            connection.execute(sa.insert(table), fresh)

    def _user_of(self, connection: sa.Connection, tenant: str, person: str) -> User:
        table = self._user
        here = (table.c.tenant == tenant) & (table.c.person == person)
        identifier = connection.scalar(sa.select(table.c.identifier).where(here))
        if identifier is not None:
            return User(str(identifier), new=False)
        identifier = new_token(_ID_BITS)
        row = {"tenant": tenant, "person": person, "identifier": identifier, "since": epoch(self._now)}
        connection.execute(sa.insert(table), row)
        self._log(connection, self._now, "user added", {"tenant": tenant})
        return User(identifier, new=True)

    @property
    def _now(self) -> datetime:
        return self._world.clock.now()


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
