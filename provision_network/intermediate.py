"""The municipalities' intermediate servers (中間サーバー), on one platform: copies of what may be provided, by code.

A copy stands under the code and the municipality's own integrated address number, and there is no column for the
individual number. The platform hosts everybody's copies in one place; each municipality works with its own alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from provision_network.codes import InstitutionCode
from provision_network.core import NetworkRefused, Notified
from relying_party.store import event_table
from world.clock import epoch, from_epoch
from world.home import World


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy (副本) as it was registered: what is provided is that, and not what has changed since."""

    item: str
    content: str
    registered_at: datetime

    def age(self, now: datetime) -> timedelta:
        """How old it is."""
        return now - self.registered_at


class Held(Exception):
    """The item is answered by a human only, who has not looked yet (自動応答不可). It can be held, and not refused."""


class IntermediatePlatform:
    """The platform on which all intermediate servers run."""

    def __init__(self, world: World) -> None:
        self._world = world
        metadata = sa.MetaData()
        self.copy = sa.Table(
            "copy", metadata,
            sa.Column("owner", sa.Text, primary_key=True),
            sa.Column("code", sa.LargeBinary, primary_key=True),
            sa.Column("item", sa.Text, primary_key=True),
            sa.Column("address_number", sa.Text, nullable=False),
            sa.Column("content", sa.Text, nullable=False),
            sa.Column("registered_at", sa.BigInteger, nullable=False),
            sa.Column("by_hand", sa.Boolean, nullable=False),
        )  # fmt: skip
        self.held = sa.Table(
            "held", metadata,
            sa.Column("owner", sa.Text, primary_key=True),
            sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("released", sa.Boolean, nullable=False),
        )  # fmt: skip
        _, self._log = event_table(metadata)
        self.store = world.store("intermediate_platform", metadata)

    def server(self, owner: str) -> IntermediateServer:
        """The server of one municipality: the only way to copies."""
        return IntermediateServer(self, self._world, owner)

    def operator_sees(self) -> dict[str, int]:
        """How many copies of each municipality the platform's operator could read with nobody's leave: the risk that
        remains (E3)."""
        owner = self.copy.c.owner
        with self.store.reading() as connection:
            rows = connection.execute(sa.select(owner, sa.func.count()).group_by(owner)).all()
        return {row[0]: row[1] for row in rows}


class IntermediateServer:
    """What one municipality can do on the platform. Every statement names the owner, which nobody can choose."""

    def __init__(self, platform: IntermediatePlatform, world: World, owner: str) -> None:
        self._platform = platform
        self._world = world
        self.owner = owner

    def register(
        self, code: InstitutionCode, address_number: str, item: str, content: str, *, by_hand: bool = False
    ) -> None:  # fmt: skip
        """Register a copy, or a newer one. `by_hand` sets the flag that a human answers (自動応答不可フラグ)."""
        table = self._platform.copy
        values = {"address_number": address_number, "content": content, "by_hand": by_hand,
                  "registered_at": epoch(self._world.clock.now())}  # fmt: skip
        with self._platform.store.alone() as connection:
            here = (table.c.owner == self.owner) & (table.c.code == code.value) & (table.c.item == item)
            if not connection.execute(sa.update(table).where(here).values(values)).rowcount:
                connection.execute(
                    sa.insert(table), {"owner": self.owner, "code": code.value, "item": item, **values}
                )  # fmt: skip

    def answer(self, notified: Notified) -> Copy:
        """What is provided to a request of which the core has notified this municipality. Raises Held, and
        NetworkRefused where there is no such copy."""
        table, held = self._platform.copy, self._platform.held
        with self._platform.store.alone() as connection:
            row = connection.execute(
                sa.select(table).where(
                    table.c.owner == self.owner, table.c.code == notified.code.value, table.c.item == notified.item
                )
            ).one_or_none()
            if row is None:
                raise NetworkRefused("no-copy", f"{self.owner} has no copy of {notified.item} for that person")
            mine = (held.c.owner == self.owner) & (held.c.number == notified.number)
            released = connection.scalar(sa.select(held.c.released).where(mine))
            if row.by_hand and released is None:
                connection.execute(
                    sa.insert(held), {"owner": self.owner, "number": notified.number, "released": False}
                )  # fmt: skip
        if row.by_hand and not released:
            raise Held(f"{notified.item} waits for a human at {self.owner}")
        return Copy(row.item, row.content, from_epoch(row.registered_at))

    def waiting(self) -> list[int]:
        """The requests that wait for a human here."""
        held = self._platform.held.c
        query = sa.select(held.number).where(held.owner == self.owner, sa.not_(held.released)).order_by(held.number)
        with self._platform.store.reading() as connection:
            return list(connection.scalars(query))

    def release(self, number: int) -> None:
        """A human has looked: the request may be answered. Raises NetworkRefused where none of that number waits
        here."""
        held = self._platform.held
        with self._platform.store.alone() as connection:
            here = (held.c.owner == self.owner) & (held.c.number == number) & sa.not_(held.c.released)
            if not connection.execute(sa.update(held).where(here).values(released=True)).rowcount:
                raise NetworkRefused("not-held", f"no request {number} waits at {self.owner}")

    def without_copy(self, address_numbers: Iterable[str]) -> list[str]:
        """The address numbers of residents for whom no copy stands here yet (E9)."""
        copy = self._platform.copy.c
        with self._platform.store.reading() as connection:
            there = set(connection.scalars(sa.select(copy.address_number).where(copy.owner == self.owner)))
        return sorted(set(address_numbers) - there)
