"""Severe disasters (激甚災害) that were declared. While one lasts, a number may be used for payments by a contract made
before it (番号法9条4項, since 2024 5項)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import sqlalchemy as sa

from kazashi.provision_network.body_register_store import DISASTER, body_register_store, day_in, log
from kazashi.provision_network.documents import checked_text
from kazashi.provision_network.terms import NetworkRejected
from kazashi.world.home import World

DECLARER = "内閣"
"""Who declares a disaster severe, by cabinet order."""


@dataclass(frozen=True, slots=True)
class Disaster:
    """A declared disaster. `ended` is the first day on which it does not count any more."""

    name: str
    declared: date
    ended: date | None


class Disasters:
    """The declared disasters of one world."""

    def __init__(self, world: World) -> None:
        self._clock = world.clock
        self.store = body_register_store(world)

    def declare(self, name: str, on: date) -> Disaster:
        """Declare a disaster. Raises NetworkRejected if one of that name was declared and has not ended."""
        if any(one.name == name and one.ended is None for one in self.all()):
            raise NetworkRejected("disaster-exists", f"{name} was declared already")
        row = {"body": DECLARER, "name": checked_text(name, "the disaster"), "declared": on.isoformat()}
        with self.store.transaction() as connection:
            connection.execute(sa.insert(DISASTER), row)
            log(connection, self._clock.now(), "disaster declared", row)
        return Disaster(name, on, None)

    def end(self, name: str, on: date) -> Disaster:
        """End a declared disaster. Raises NetworkRejected if there is none of that name."""
        this = (DISASTER.c.name == name) & DISASTER.c.ended.is_(None)
        with self.store.alone() as connection:
            if not connection.execute(sa.update(DISASTER).where(this).values(ended=on.isoformat())).rowcount:
                raise NetworkRejected("unknown-disaster", f"no disaster {name} is declared")
            log(connection, self._clock.now(), "disaster ended", {"name": name})
        return next(one for one in reversed(self.all()) if one.name == name)

    def all(self) -> list[Disaster]:
        """Return all disasters, in the order in which they were declared."""
        with self.store.reading() as connection:
            rows = connection.execute(sa.select(DISASTER).order_by(DISASTER.c.number))
            return [Disaster(row.name, date.fromisoformat(row.declared), day_in(row.ended)) for row in rows]

    def lasting(self, on: date, contract_of: date) -> Disaster | None:
        """Return a disaster that lasts on a day and was declared after a contract of another day was made, or None."""
        return next(
            (one for one in self.all()
             if contract_of < one.declared <= on and (one.ended is None or on < one.ended)), None,
        )  # fmt: skip
