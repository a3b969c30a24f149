"""Which integrated address systems hear of the registry's residents, and the messages that they get.

A municipality's address system must know who is registered in the municipality, under which individual number, and who
is protected. The registry's store says which address systems have subscribed. The first message is a roll of everybody;
after that, each message is written in the transaction of the event that it reports. In a world without subscribers
nothing is sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from kazashi.resident_registry.number import IndividualNumber
from kazashi.resident_registry.resident import ResidencyStatus, Resident
from kazashi.world.outbox import Body, Outbox
from kazashi.world.statement import Statement
from kazashi.world.storage import insert_if_absent

ADDRESSES = "addresses"
"""The receivers of these messages are `addresses:` and the municipality's code."""

_HERE = (ResidencyStatus.RESIDENT, ResidencyStatus.MOVING)


@dataclass(frozen=True, slots=True)
class AddressSubscription:
    """A subscription: the address system of the municipality `system` hears of the residents of `residents_of`.

    Both are municipality codes. An empty `residents_of` stands for every municipality, and an empty `system` for that
    in which the resident lives.
    """

    system: str = ""
    residents_of: str = ""


OWN_RESIDENTS = AddressSubscription()
"""Each address system hears of the residents of its own municipality."""


class AddressSubscriptions:
    """The subscriptions, in tables of the registry's store."""

    def __init__(self, metadata: sa.MetaData, outbox: Outbox) -> None:
        self._outbox = outbox
        self._subscription = sa.Table(
            "address_subscription", metadata,
            sa.Column("system", sa.Text, primary_key=True),
            sa.Column("residents_of", sa.Text, primary_key=True),
        )  # fmt: skip
        self._all = Statement(sa.select(self._subscription).order_by(*self._subscription.primary_key.columns))
        self._former = sa.Table(
            "former_number", metadata,
            sa.Column("person", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("individual_number", sa.Text, nullable=False),
        )  # fmt: skip

    def add(self, connection: sa.Connection, subscriptions: Iterable[AddressSubscription]) -> None:
        """Add subscriptions. One that is there already stays."""
        rows = [{"system": one.system, "residents_of": one.residents_of} for one in subscriptions]
        connection.execute(insert_if_absent(self._subscription), rows)

    def any(self, connection: sa.Connection) -> bool:
        """Whether any address system has subscribed."""
        return bool(connection.scalar(sa.select(sa.exists().select_from(self._subscription))))

    def send_rolls(self, connection: sa.Connection, now: datetime, people: Iterable[tuple[int, Resident]]) -> None:
        """Send each address system the roll of everybody of whom it hears. `people` are all people in the registry with
        their positions. A system that hears of nobody any more gets an empty roll."""
        subscriptions, former = self._read(connection), self._former_numbers(connection)
        rolls: dict[str, list[list[object]]] = {}
        for place, resident in people:
            for town in (resident.municipality.code, *(residence.municipality for residence in resident.residences)):
                for system in _systems(subscriptions, str(town)):
                    rolls.setdefault(system, [])
            if number := resident.individual_number or former.get(place):
                for system in _hearers(subscriptions, resident):
                    rolls[system].append([number, resident.protected])
        for system, roll in sorted(rolls.items()):
            self._send(connection, now, system, "roll", {"people": roll})

    def tell(
        self, connection: sa.Connection, now: datetime, place: int, before: Resident, after: Resident
    ) -> None:  # fmt: skip
        """Tell the address systems what an event has changed: who has arrived first, then who has left.

        A person whose number is being changed is known by the former number until the new one arrives.
        """
        if before.individual_number and after.individual_number is None:
            row = {"person": place, "individual_number": before.individual_number}
            connection.execute(sa.delete(self._former).where(self._former.c.person == place))
            connection.execute(sa.insert(self._former), row)
        subscriptions = self._read(connection)
        if not subscriptions:
            return
        number = after.individual_number or self._former_numbers(connection).get(place)
        if number is None:  # nobody has heard of the person yet
            return
        old, new = (_hearers(subscriptions, one) for one in (before, after))
        for system in new:
            if system not in old:
                self._send(connection, now, system, "admit", {"people": [[number, after.protected]]})
            elif before.protected != after.protected:
                body = {"individual_number": number, "protected": after.protected}
                self._send(connection, now, system, "protect", body)
        for system in old:
            if system not in new:
                self._send(connection, now, system, "depart", {"individual_number": number})

    def numbered(self, connection: sa.Connection, now: datetime, people: Sequence[tuple[int, Resident]]) -> None:
        """Tell the address systems of numbers that have arrived: of new people, and of changed numbers."""
        former, subscriptions = self._former_numbers(connection), self._read(connection)
        if changed := [place for place, _ in people if place in former]:
            connection.execute(sa.delete(self._former).where(self._former.c.person.in_(changed)))
        arrived: dict[str, list[list[object]]] = {}
        for place, resident in people:
            for system in _hearers(subscriptions, resident):
                if place in former:
                    body = {"former": former[place], "new": resident.individual_number}
                    self._send(connection, now, system, "renumber", body)
                else:
                    arrived.setdefault(system, []).append([resident.individual_number, resident.protected])
        for system, entries in arrived.items():
            self._send(connection, now, system, "admit", {"people": entries})

    def concern(self, connection: sa.Connection) -> bool:
        """Whether `numbered` has anything to do: an address system has subscribed, or a number is being changed."""
        return self.any(connection) or bool(connection.scalar(sa.select(sa.exists().select_from(self._former))))

    def _read(self, connection: sa.Connection) -> list[AddressSubscription]:
        return [AddressSubscription(row.system, row.residents_of) for row in self._all.all(connection)]

    def _former_numbers(self, connection: sa.Connection) -> dict[int, IndividualNumber]:
        """The former numbers of the people whose new number is on its way, by position."""
        rows = connection.execute(sa.select(self._former))
        return {row.person: IndividualNumber(row.individual_number) for row in rows}

    def _send(self, connection: sa.Connection, now: datetime, system: str, kind: str, body: Body) -> None:
        self._outbox.put(connection, f"municipality:{system}", f"{ADDRESSES}:{system}", now, kind, body)


def _hearers(subscriptions: Iterable[AddressSubscription], resident: Resident) -> list[str]:
    """The municipalities whose address systems hear of a person: none if the person is not registered any more."""
    return _systems(subscriptions, str(resident.municipality.code)) if resident.status in _HERE else []


def _systems(subscriptions: Iterable[AddressSubscription], town: str) -> list[str]:
    """The municipalities whose address systems hear of the residents of a municipality."""
    systems = [one.system or town for one in subscriptions if one.residents_of in ("", town)]
    return list(dict.fromkeys(systems))
