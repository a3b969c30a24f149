"""The members of the network: bodies, their interface systems, and the groups that share codes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from kazashi.world.clock import epoch, from_epoch
from kazashi.world.storage import insert_if_absent


@dataclass(frozen=True, slots=True)
class Institution:
    """A body on the network.

    `kind` is its kind in the rules. `group` is the number for which codes are made: its own, unless it shares one with
    others. `assessed` says that its impact assessment is completed. `starts` is when it may first use the network.
    `interface` is its interface system, and `key` the public key (JWK) to which answers to it are encrypted.
    """

    name: str
    kind: str
    group: int
    assessed: bool
    starts: datetime
    interface: str
    key: str


@dataclass(frozen=True, slots=True)
class InterfaceEntry:
    """An interface system and its address."""

    name: str
    address: str


class Membership:
    """The members in the core's store. What was read is cached until something has changed."""

    def __init__(self, metadata: sa.MetaData) -> None:
        self._group = sa.Table(
            "code_group", metadata,
            sa.Column("number", sa.Integer, primary_key=True),
            sa.Column("name", sa.Text, unique=True, nullable=False),
        )  # fmt: skip
        self._institution = sa.Table(
            "institution", metadata,
            sa.Column("name", sa.Text, primary_key=True),
            sa.Column("kind", sa.Text, nullable=False),
            sa.Column("code_group", sa.Integer, nullable=False),
            sa.Column("assessed", sa.Boolean, nullable=False),
            sa.Column("starts", sa.BigInteger, nullable=False),
            sa.Column("interface", sa.Text, nullable=False),
            sa.Column("key", sa.Text, nullable=False),
        )  # fmt: skip
        self._interface = sa.Table(
            "interface_system", metadata,
            sa.Column("name", sa.Text, primary_key=True),
            sa.Column("address", sa.Text, nullable=False),
        )  # fmt: skip
        self._version = sa.Table(
            "membership_version", metadata,
            sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
            sa.Column("value", sa.BigInteger, nullable=False),
        )  # fmt: skip
        self._cache: tuple[int, dict[str, Institution]] = (-1, {})

    def institutions(self, connection: sa.Connection) -> dict[str, Institution]:
        """Return all bodies by name."""
        version = int(connection.scalar(sa.select(self._version.c.value)) or 0)
        if version != self._cache[0]:
            rows = connection.execute(sa.select(self._institution))
            self._cache = (version, {row.name: _institution(row) for row in rows})
        return self._cache[1]

    def interfaces(self, connection: sa.Connection) -> list[InterfaceEntry]:
        """Return all interface systems."""
        rows = connection.execute(sa.select(self._interface).order_by(self._interface.c.name))
        return [InterfaceEntry(row.name, row.address) for row in rows]

    def forget(self) -> None:
        """Clear the cache, for example because the transaction that was read may be rolled back."""
        self._cache = (-1, {})

    def put_institution(
        self, connection: sa.Connection, name: str, kind: str, group: str, *, assessed: bool, starts: datetime,
        interface: str, key: str,
    ) -> Institution:  # fmt: skip
        """Insert a body or replace its entry."""
        number = connection.scalar(sa.select(self._group.c.number).where(self._group.c.name == group))
        if number is None:
            insert = sa.insert(self._group).returning(self._group.c.number)
            number = connection.execute(insert, {"name": group}).scalar_one()
        row = {"name": name, "kind": kind, "code_group": number, "assessed": assessed, "starts": epoch(starts),
               "interface": interface, "key": key}  # fmt: skip
        connection.execute(sa.delete(self._institution).where(self._institution.c.name == name))
        connection.execute(sa.insert(self._institution), row)
        self._changed(connection)
        return Institution(name, kind, number, assessed, starts, interface, key)

    def put_interface(self, connection: sa.Connection, name: str, address: str) -> None:
        """Insert an interface system or replace its address."""
        connection.execute(sa.delete(self._interface).where(self._interface.c.name == name))
        connection.execute(sa.insert(self._interface), {"name": name, "address": address})
        self._changed(connection)

    def _changed(self, connection: sa.Connection) -> None:
        connection.execute(insert_if_absent(self._version), {"id": 1, "value": 0})
        connection.execute(sa.update(self._version).values(value=self._version.c.value + 1))


def _institution(row: Any) -> Institution:
    return Institution(
        row.name, row.kind, row.code_group, row.assessed, from_epoch(row.starts), row.interface, row.key
    )  # fmt: skip
