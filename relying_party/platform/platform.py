"""A platform operator (プラットフォーム事業者), which verifies for many services and gives them pseudonyms of users.

A certificate's serial number changes with every renewal, and a person may have several cards and phones over the years,
each with two certificates. The platform asks the authority which certificates belong together. It gives each tenant its
own user ID, which stays the same as far as the tenant wants to follow its users (`Follow`). IDs are random: only the
platform's table links one tenant's ID to another's, and when a tenant deletes a user, the ID cannot be recovered.
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

from kazashi.jpki.linkage import Follow
from kazashi.jpki.profile import CERTIFICATE_TYPES, CertificateType
from kazashi.relying_party.verify.certificate import HolderCertificate
from kazashi.relying_party.verify.linkage import Linkage, NoLinkage
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

_CONFLICT = "the authority links certificates of two known users to one person"

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
    """The authority links two certificates, but the tenant knows them as two users'. Nothing was changed: the platform
    never merges users without their knowledge."""


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
            sa.Column("follow", sa.Text, nullable=False),
        )  # fmt: skip
        # A person is here what the certificates that belong together have in common; how far that goes is `follow`.
        self._certificate = sa.Table(
            "certificate", metadata,
            sa.Column("follow", sa.Text, primary_key=True),
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
        self.store = world.store(ACTOR, metadata, [_add_origins, _add_follow])

    # Tenants

    def add_tenant(self, name: str, origins: Sequence[str] = (), follow: Follow = Follow.PERSON) -> str:
        """Register a service with the origins at which people log in and with how far it follows its users. Return its
        API key, which is shown only once.

        Raises TenantExists and ValueError.
        """
        checked_name(name, "tenant")
        _check_origins(origins)
        key = new_token()
        row = {"name": name, "key_digest": _digest(key), "origins": json.dumps(sorted({*origins})),
               "follow": follow.value}  # fmt: skip
        try:
            with self.store.transaction() as connection:
                connection.execute(sa.insert(self._tenant), row)
                detail = {"tenant": name, "origins": [*origins], "follow": follow.value}
                self._log(connection, self._now, "tenant added", detail)
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

    def follow(self, name: str) -> Follow:
        """Return how far a tenant follows its users. Services that are not registered follow the person."""
        with self.store.reading() as connection:
            return self._follow_of(connection, name)

    def set_follow(self, name: str, follow: Follow) -> None:
        """Change how far a tenant follows its users. A user whom it knows keeps the ID. Raises NoSuchTenant."""
        own_row = self._tenant.c.name == name
        with self.store.alone() as connection:
            changed = connection.execute(sa.update(self._tenant).where(own_row).values(follow=follow.value))
            if not changed.rowcount:
                raise NoSuchTenant(f"there is no tenant {name!r}")
            self._log(connection, self._now, "follow changed", {"tenant": name, "follow": follow.value})

    def _follow_of(self, connection: sa.Connection, name: str) -> Follow:
        value = connection.scalar(sa.select(self._tenant.c.follow).where(self._tenant.c.name == name))
        return Follow(value) if value is not None else Follow.PERSON

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
        presented, follow = (certificate.kind, certificate.serial), self.follow(tenant)
        linked: list[Serial] | None = None
        while True:
            with self.store.alone() as connection:
                person = self._known(connection, follow, linked or [presented])
                if person is None and linked is not None:
                    person = new_token(_ID_BITS)
                if person is not None:
                    self._note(connection, follow, person, linked or [presented])
                    return self._user_of(connection, tenant, follow, person)
            linked = self._linked(presented, follow)  # outside the transaction: nobody waits for the authority

    def delete(self, tenant: str, identifier: str) -> None:
        """Delete a tenant's user: the same person will be a new user from now on. Raises NoSuchUser."""
        table = self._user
        with self.store.alone() as connection:
            own_row = (table.c.tenant == tenant) & (table.c.identifier == identifier)
            person = connection.scalar(sa.select(table.c.person).where(own_row))
            if person is None:
                raise NoSuchUser(f"{tenant} has no user {identifier}")
            connection.execute(sa.delete(table).where(own_row))
            self._forget(connection, person)
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
            rows = connection.execute(sa.select(self._certificate).where(table.person == person)).all()
        known = [(CERTIFICATE_TYPES[row.kind], row.serial) for row in rows]
        linked = self._linked(known[0], Follow(rows[0].follow))
        return {kind: latest not in known for kind, latest in {one[0]: one for one in linked}.items()
                if kind in {kind for kind, _ in known}}  # fmt: skip

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

    def _linked(self, presented: Serial, follow: Follow) -> list[Serial]:
        """Return all certificates that the authority links to the presented one."""
        linkage = self._linkage if follow is not Follow.CERTIFICATE else NoLinkage()
        return [(each.kind, each.serial) for each in linkage.certificates(*presented, follow)]

    def _known(self, connection: sa.Connection, follow: Follow, serials: Sequence[Serial]) -> str | None:
        """Return the person whom serial numbers belong to, or None. Raises LinkageConflict if there are two."""
        people = set(connection.scalars(sa.select(self._certificate.c.person).where(self._among(serials, follow))))
        if len(people) > 1:
            raise LinkageConflict(_CONFLICT)
        return people.pop() if people else None

    def _among(self, serials: Sequence[Serial], follow: Follow | None = None) -> sa.ColumnElement[bool]:
        """The condition that a row is one of these certificates', as it is followed that far or anyhow."""
        table = self._certificate.c
        either = sa.or_(*(
            (table.kind == kind.code) & table.serial.in_([serial for each, serial in serials if each is kind])
            for kind in CertificateType
        ))  # fmt: skip
        return either if follow is None else (table.follow == follow.value) & either

    def _note(self, connection: sa.Connection, follow: Follow, person: str, serials: Sequence[Serial]) -> None:
        """Store that serial numbers belong to a person."""
        table = self._certificate
        rows = connection.execute(sa.select(table).where(table.c.person == person))
        known = {(row.kind, row.serial) for row in rows}
        new_rows = [
            {"follow": follow.value, "kind": kind.code, "serial": serial, "person": person}
            for kind, serial in dict.fromkeys(serials)
            if (kind.code, serial) not in known
        ]
        if new_rows:
            connection.execute(sa.insert(table), new_rows)

    def _user_of(self, connection: sa.Connection, tenant: str, follow: Follow, person: str) -> User:
        table = self._user
        own_row = (table.c.tenant == tenant) & (table.c.person == person)
        identifier = connection.scalar(sa.select(table.c.identifier).where(own_row))
        if identifier is None:
            identifier = self._user_of_before(connection, tenant, follow, person)
        if identifier is not None:
            return User(str(identifier), new=False)
        identifier = new_token(_ID_BITS)
        row = {"tenant": tenant, "person": person, "identifier": identifier, "since": epoch(self._now)}
        connection.execute(sa.insert(table), row)
        self._log(connection, self._now, "user added", {"tenant": tenant})
        return User(identifier, new=True)

    def _user_of_before(self, connection: sa.Connection, tenant: str, follow: Follow, person: str) -> str | None:
        """Return the tenant's user to whom the person's certificates belonged before the tenant followed them as far as
        it does now, and tie the user to the person. Return None if there was no such user.

        Raises LinkageConflict if there were two.
        """
        table, user = self._certificate.c, self._user.c
        rows = connection.execute(sa.select(table.kind, table.serial).where(table.person == person))
        own = [(CERTIFICATE_TYPES[row.kind], row.serial) for row in rows]
        persons = sa.select(table.person).where(self._among(own), table.follow != follow.value)
        found = connection.execute(
            sa.select(user.identifier, user.person).where(user.tenant == tenant, user.person.in_(persons))
        ).all()
        if len(found) > 1:
            raise LinkageConflict(_CONFLICT)
        for row in found:
            connection.execute(sa.update(self._user).where(user.identifier == row.identifier).values(person=person))
            self._forget(connection, row.person)
            return str(row.identifier)
        return None

    def _forget(self, connection: sa.Connection, person: str) -> None:
        """Delete a person's certificates if no tenant has the person as a user any more."""
        if connection.scalar(sa.select(sa.func.count()).where(self._user.c.person == person)) == 0:
            connection.execute(sa.delete(self._certificate).where(self._certificate.c.person == person))

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


def _add_follow(connection: sa.Connection) -> None:
    """Migrate to version 3, in which tenants choose how far they follow their users. Until now it was on one card or
    phone, which tenants of before keep."""
    connection.execute(sa.text("ALTER TABLE tenant ADD COLUMN follow TEXT NOT NULL DEFAULT 'medium'"))
    connection.execute(sa.text("DROP INDEX ix_certificate_person"))
    connection.execute(sa.text("ALTER TABLE certificate RENAME TO certificate_2"))
    connection.execute(sa.text(
        "CREATE TABLE certificate (follow TEXT NOT NULL, kind TEXT NOT NULL, serial BIGINT NOT NULL,"
        " person TEXT NOT NULL, PRIMARY KEY (follow, kind, serial))"
    ))  # fmt: skip
    connection.execute(sa.text("CREATE INDEX ix_certificate_person ON certificate (person)"))
    connection.execute(sa.text(
        "INSERT INTO certificate (follow, kind, serial, person)"
        " SELECT 'medium', kind, serial, person FROM certificate_2"
    ))  # fmt: skip
    connection.execute(sa.text("DROP TABLE certificate_2"))


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
