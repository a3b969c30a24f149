"""A platform operator (プラットフォーム事業者), which verifies for many services and gives them pseudonyms of users.

A certificate's serial number changes with every renewal, and a card has two certificates. The platform asks the
authority which serial numbers belong together. It gives each tenant its own user ID, which stays the same for both
certificates and across renewals and moves. IDs are random: only the platform's table links one tenant's ID to
another's, and when a tenant deletes a user, the ID cannot be recovered.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from kazashi.jpki.profile import CERTIFICATE_TYPES, CertificateType
from kazashi.relying_party.verify.certificate import HolderCertificate
from kazashi.relying_party.verify.linkage import Linkage
from kazashi.web.origin import origin_of
from kazashi.world.clock import epoch
from kazashi.world.event_log import event_table
from kazashi.world.home import World
from kazashi.world.names import checked_name
from kazashi.world.rng import new_token
from kazashi.world.storage import Unsigned64

ACTOR = "platform"
"""The name of this actor's store."""

_ID_BITS = 160

Serial = tuple[CertificateType, int]


class NoSuchTenant(Exception):
    """No tenant is registered with that key."""


class TenantExists(Exception):
    """A tenant with that name already exists; it was not changed."""


class OriginNotRegistered(Exception):
    """The tenant has not registered that origin, so it gets no challenge for it."""


class NoSuchUser(Exception):
    """The tenant has no such user, or has deleted it."""


class LinkageConflict(Exception):
    """The authority links two certificates to one person, but the platform knows them as two people's. Nothing was
    changed: the platform never merges people without their knowledge."""


@dataclass(frozen=True, slots=True)
class User:
    """A tenant's user: the ID, and whether it is new."""

    identifier: str
    new: bool


class Platform:
    """The tenants and their users."""

    def __init__(self, world: World, linkage: Linkage) -> None:
        self._world = world
        self._linkage = linkage
        metadata = sa.MetaData()
        self._tenant = sa.Table(
            "tenant", metadata,
            sa.Column("name", sa.Text, primary_key=True),
            sa.Column("key_digest", sa.LargeBinary, unique=True, nullable=False),
            sa.Column("origins", sa.Text, nullable=False),
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
        self.store = world.store(ACTOR, metadata, [_add_origins])

    # Tenants

    def add_tenant(self, name: str, origins: Sequence[str] = ()) -> str:
        """Register a service with the origins at which people log in, and return its API key, which is shown only once.

        Raises TenantExists and ValueError.
        """
        checked_name(name, "tenant")
        _check_origins(origins)
        key = new_token()
        row = {"name": name, "key_digest": _digest(key), "origins": json.dumps(sorted({*origins}))}
        try:
            with self.store.transaction() as connection:
                connection.execute(sa.insert(self._tenant), row)
                self._log(connection, self._now, "tenant added", {"tenant": name, "origins": [*origins]})
        except IntegrityError as error:
            raise TenantExists(f"the tenant {name!r} already exists; choose another name") from error
        return key

    def add_origins(self, name: str, origins: Sequence[str]) -> list[str]:
        """Register more origins of a tenant, and return all of them. Raises NoSuchTenant and ValueError."""
        _check_origins(origins)
        own_row = self._tenant.c.name == name
        with self.store.alone() as connection:
            known = connection.scalar(sa.select(self._tenant.c.origins).where(own_row))
            if known is None:
                raise NoSuchTenant(f"there is no tenant {name!r}")
            together = sorted({*json.loads(known), *origins})
            connection.execute(sa.update(self._tenant).where(own_row).values(origins=json.dumps(together)))
            self._log(connection, self._now, "origins added", {"tenant": name, "origins": [*origins]})
        return together

    def check_origin(self, tenant: str, origin: str) -> None:
        """Raise OriginNotRegistered unless the tenant has registered the origin."""
        with self.store.reading() as connection:
            query = sa.select(self._tenant.c.origins).where(self._tenant.c.name == tenant)
            origins = json.loads(connection.scalar(query) or "[]")
        if origin not in origins:
            raise OriginNotRegistered(
                f"{tenant} has not registered {origin!r}, only {', '.join(origins) or 'no origin'}; register it:"
                f" kazashi tenant {tenant!r} {origin}"
            )

    def tenant(self, key: str) -> str:
        """Return the name of the tenant with that key. Raises NoSuchTenant."""
        with self.store.reading() as connection:
            query = sa.select(self._tenant.c.name).where(self._tenant.c.key_digest == _digest(key))
            name = connection.scalar(query)
        if name is None:
            raise NoSuchTenant("no tenant is registered with this key")
        return str(name)

    # Users

    def identify(self, tenant: str, certificate: HolderCertificate) -> User:
        """Return the tenant's user whom a certificate belongs to. The verdict on it must have been good. Raises
        LinkageConflict and LinkageUnavailable."""
        presented = (certificate.kind, certificate.serial)
        linked: list[Serial] | None = None
        while True:
            with self.store.alone() as connection:
                person = self._known(connection, linked or [presented])
                if person is None and linked is not None:
                    person = new_token(_ID_BITS)
                if person is not None:
                    self._note(connection, person, linked or [presented])
                    return self._user_of(connection, tenant, person)
            linked = self._linked(presented)  # outside the transaction, so that nobody waits for the authority

    def delete(self, tenant: str, identifier: str) -> None:
        """Delete a tenant's user: the same person will be a new user from now on. Raises NoSuchUser."""
        table = self._user
        with self.store.alone() as connection:
            own_row = (table.c.tenant == tenant) & (table.c.identifier == identifier)
            person = connection.scalar(sa.select(table.c.person).where(own_row))
            if person is None:
                raise NoSuchUser(f"{tenant} has no user {identifier}")
            connection.execute(sa.delete(table).where(own_row))
            if connection.scalar(sa.select(sa.func.count()).where(table.c.person == person)) == 0:
                # No tenant has this person as a user any more, so the platform forgets their certificates.
                connection.execute(sa.delete(self._certificate).where(self._certificate.c.person == person))
            self._log(connection, self._now, "user deleted", {"tenant": tenant})

    def renewed(self, tenant: str, identifier: str) -> dict[CertificateType, bool]:
        """Return, for each type of certificate that the user has presented, whether the authority now has a newer one.
        Raises NoSuchUser and LinkageUnavailable."""
        table, user = self._certificate.c, self._user.c
        with self.store.reading() as connection:
            own_row = (user.tenant == tenant) & (user.identifier == identifier)
            person = connection.scalar(sa.select(user.person).where(own_row))
            if person is None:
                raise NoSuchUser(f"{tenant} has no user {identifier}")
            rows = connection.execute(sa.select(table.kind, table.serial).where(table.person == person)).all()
        known = [(CERTIFICATE_TYPES[row.kind], row.serial) for row in rows]
        latest = dict(reversed(known))
        return {kind: (kind, self._linkage.renewal(kind, serial)[-1]) not in known for kind, serial in latest.items()}

    def exposure(self, tenant: str) -> list[dict[str, Any]]:
        """Return what is stored about a tenant's users: the ID, since when, and its serial numbers. A tenant that gets
        only the IDs cannot leak anything else."""
        user, certificate = self._user.c, self._certificate.c
        with self.store.reading() as connection:
            rows = connection.execute(
                sa.select(user.identifier, user.since, certificate.kind, certificate.serial)
                .join_from(self._user, self._certificate, user.person == certificate.person)
                .where(user.tenant == tenant).order_by(user.identifier, certificate.kind, certificate.serial)
            )  # fmt: skip
            return [dict(row) for row in rows.mappings()]

    def _linked(self, presented: Serial) -> list[Serial]:
        """Return all certificates that the authority links to the holder of the presented one."""
        kind, serial = presented
        chain = [(kind, number) for number in self._linkage.renewal(kind, serial)]
        others: list[Serial] = []
        for _, number in reversed(chain):  # newest first, because the chain of the counterpart leads back from there
            counterpart = self._linkage.counterpart(kind, number)
            if counterpart is not None and (kind.other, counterpart) not in others:
                others += [(kind.other, other) for other in self._linkage.renewal(kind.other, counterpart)]
        return [*chain, *others]

    def _known(self, connection: sa.Connection, serials: Sequence[Serial]) -> str | None:
        """Return the person whom serial numbers belong to, or None. Raises LinkageConflict if there are two."""
        table = self._certificate.c
        people: set[str] = set()
        for kind in CertificateType:
            numbers = [serial for serial_kind, serial in serials if serial_kind is kind]
            matching = (table.kind == kind.code) & table.serial.in_(numbers)
            people |= set(connection.scalars(sa.select(table.person).where(matching)))
        if len(people) > 1:
            raise LinkageConflict("the authority links certificates of two known users to one person")
        return people.pop() if people else None

    def _note(self, connection: sa.Connection, person: str, serials: Sequence[Serial]) -> None:
        """Store that serial numbers belong to a person."""
        table = self._certificate
        rows = connection.execute(sa.select(table).where(table.c.person == person))
        known = {(row.kind, row.serial) for row in rows}
        new_rows = [
            {"kind": kind.code, "serial": serial, "person": person}
            for kind, serial in dict.fromkeys(serials)
            if (kind.code, serial) not in known
        ]
        if new_rows:
            connection.execute(sa.insert(table), new_rows)

    def _user_of(self, connection: sa.Connection, tenant: str, person: str) -> User:
        table = self._user
        own_row = (table.c.tenant == tenant) & (table.c.person == person)
        identifier = connection.scalar(sa.select(table.c.identifier).where(own_row))
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


def _check_origins(origins: Sequence[str]) -> None:
    for origin in origins:
        if origin_of(origin) != origin:
            raise ValueError(f"{origin!r} is not only an origin; use {origin_of(origin)}")


def _add_origins(connection: sa.Connection) -> None:
    """Give each tenant an empty list of origins."""
    connection.execute(sa.text("ALTER TABLE tenant ADD COLUMN origins TEXT NOT NULL DEFAULT '[]'"))


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
