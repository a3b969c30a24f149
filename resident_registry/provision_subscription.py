"""What J-LIS tells the information provision network: numbers to address systems, and record codes to its core.

An address system that is not a municipality's, such as the pension service's, hears of individual numbers. The core
hears of record codes, and never of an individual number: J-LIS replaces the numbers in the address systems' messages.
J-LIS's store says who has subscribed; without subscribers nothing is sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from enum import Enum

import sqlalchemy as sa

from kazashi.resident_registry.number import IndividualNumber, ResidentRecordCode
from kazashi.world.outbox import Body, Message, Outbox
from kazashi.world.storage import insert_if_absent, insert_many

_CHUNK = 5_000


class ProvisionSubject(Enum):
    """What a subscriber hears of."""

    CODES = "codes"
    """Record codes: changed codes, ended people, and what address systems say about people."""
    NUMBERS = "numbers"
    """Individual numbers: new people, changed numbers, and ended people."""


class ProvisionSubscriptions:
    """The subscriptions and the retired individual numbers, in tables of J-LIS's store."""

    def __init__(self, metadata: sa.MetaData, outbox: Outbox, sender: str) -> None:
        self._outbox = outbox
        self._sender = sender
        self._subscription = sa.Table(
            "provision_subscription", metadata,
            sa.Column("receiver", sa.Text, primary_key=True),
            sa.Column("subject", sa.Text, nullable=False),
        )  # fmt: skip
        self.retired = sa.Table(
            "retired_number", metadata,
            sa.Column("individual_number", sa.Text, primary_key=True),
            sa.Column("record_code", sa.Text, nullable=False, index=True),
        )  # fmt: skip

    def add(self, connection: sa.Connection, receiver: str, subject: ProvisionSubject) -> None:
        """Add a subscriber. One that is there already stays."""
        connection.execute(insert_if_absent(self._subscription), {"receiver": receiver, "subject": subject.value})

    def numbered(self, connection: sa.Connection, now: datetime, numbers: Iterable[str]) -> None:
        """Tell of people who have their first individual number."""
        if receivers := self._receivers(connection, ProvisionSubject.NUMBERS):
            body = {"people": [[number, False] for number in numbers]}
            for receiver in receivers:
                self._outbox.put(connection, self._sender, receiver, now, "admit", body)

    def send_roll(self, connection: sa.Connection, now: datetime, receiver: str, numbers: Iterable[str]) -> None:
        """Send a subscriber the numbers of all people."""
        body = {"people": [[number, False] for number in numbers]}
        self._outbox.put(connection, self._sender, receiver, now, "roll", body)

    def renumbered(
        self, connection: sa.Connection, now: datetime, former: str, new: str, code: ResidentRecordCode
    ) -> None:  # fmt: skip
        """Tell of a changed individual number, and retire the former one."""
        connection.execute(sa.insert(self.retired), {"individual_number": former, "record_code": code})
        self._send(connection, now, ProvisionSubject.NUMBERS, "renumber", {"former": former, "new": new})

    def recoded(
        self, connection: sa.Connection, now: datetime, former: ResidentRecordCode, new: ResidentRecordCode
    ) -> None:  # fmt: skip
        """Tell of a changed record code."""
        retired = self.retired
        changed = sa.update(retired).where(retired.c.record_code == former).values(record_code=new)
        connection.execute(changed)
        self._send(connection, now, ProvisionSubject.CODES, "code-change", {"former": former, "new": new})

    def ended(
        self, connection: sa.Connection, now: datetime, code: ResidentRecordCode, number: str, day: date
    ) -> None:  # fmt: skip
        """Tell of a person whose registration has ended for good."""
        self._send(connection, now, ProvisionSubject.NUMBERS, "depart", {"individual_number": number})
        self._send(
            connection, now, ProvisionSubject.CODES, "person-ended", {"record_code": code, "day": day.isoformat()}
        )

    def forward(self, connection: sa.Connection, now: datetime, message: Message, identity: sa.Table) -> int:
        """Forward what an address system says about people, with record codes in place of individual numbers.

        Returns the number of people whom J-LIS does not know; they are left out. Raises KeyError, TypeError and
        ValueError for a malformed message.
        """
        people = [(str(number), rest) for number, *rest in message.body["people"]]
        if any(len(rest) != 3 for _, rest in people):
            raise ValueError("each person in the message needs a number, a reference and two flags")
        codes = self.codes_of(connection, identity, [number for number, _ in people])
        known = [[codes[number], *rest] for number, rest in people if number in codes]
        if known:
            self._send(
                connection, now, ProvisionSubject.CODES, "codes", {"body": message.body["body"], "people": known}
            )
        return len(people) - len(known)

    def codes_of(self, connection: sa.Connection, identity: sa.Table, numbers: Sequence[str]) -> dict[str, str]:
        """Return the record codes of individual numbers, current or retired. Unknown numbers are left out."""
        codes: dict[str, str] = {}
        for begin in range(0, len(numbers), _CHUNK):
            chunk = numbers[begin : begin + _CHUNK]
            for table in (self.retired, identity):
                columns = (table.c.individual_number, table.c.record_code)
                rows = connection.execute(sa.select(*columns).where(table.c.individual_number.in_(chunk)))
                codes |= {row.individual_number: row.record_code for row in rows}
        return codes

    def retire_older(self, connection: sa.Connection, numbers: Iterable[tuple[IndividualNumber, str]]) -> None:
        """Make the table of retired numbers in an older store, from pairs of number and record code."""
        self.retired.create(connection)
        insert_many(connection, self.retired, ("individual_number", "record_code"), list(numbers))

    def _send(self, connection: sa.Connection, now: datetime, subject: ProvisionSubject, kind: str, body: Body) -> None:
        for receiver in self._receivers(connection, subject):
            self._outbox.put(connection, self._sender, receiver, now, kind, body)

    def _receivers(self, connection: sa.Connection, subject: ProvisionSubject) -> list[str]:
        table = self._subscription.c
        query = sa.select(table.receiver).where(table.subject == subject.value).order_by(table.receiver)
        return list(connection.scalars(query))
