"""Deadlines of the registry: what a person must do by when, and what the registry records if they do not."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from kazashi.resident_registry.event import Event, Furigana, FuriganaNotice, FuriganaRecorded, Lapse
from kazashi.resident_registry.name_event import FURIGANA_STARTS
from kazashi.resident_registry.resident import JAPAN, Resident
from kazashi.world.clock import JST, epoch, from_epoch, in_japan

CONTINUATION = "card-continuation"
FURIGANA_NOTICE = "furigana-notice"
"""Not a deadline of the person, but of the municipality: the day on which it sends the notice."""


class Deadlines:
    """The deadlines that are running. Each method works in the caller's transaction."""

    def __init__(self, metadata: sa.MetaData) -> None:
        self._deadline = sa.Table(
            "deadline", metadata,
            sa.Column("person", sa.BigInteger, primary_key=True),
            sa.Column("what", sa.Text, primary_key=True),
            sa.Column("due", sa.BigInteger, nullable=False, index=True),
        )  # fmt: skip

    def set(self, connection: sa.Connection, person: int, what: str, last: date) -> None:
        """Set a deadline, in place of an earlier one of that name. `last` is the last day."""
        self.clear(connection, person, what)
        due = epoch(in_japan(last + timedelta(days=1)))
        connection.execute(sa.insert(self._deadline), {"person": person, "what": what, "due": due})

    def clear(self, connection: sa.Connection, person: int, what: str | None) -> bool:
        """End a person's deadline, or all of them; return whether there was one."""
        condition = self._deadline.c.person == person
        if what is not None:
            condition &= self._deadline.c.what == what
        return connection.execute(sa.delete(self._deadline).where(condition)).rowcount > 0

    def of(self, connection: sa.Connection, person: int) -> dict[str, date]:
        """Return a person's deadlines with their last days."""
        rows = connection.execute(sa.select(self._deadline).where(self._deadline.c.person == person))
        return {row.what: (from_epoch(row.due).astimezone(JST) - timedelta(days=1)).date() for row in rows}

    def passed(self, connection: sa.Connection, now: datetime) -> list[Any]:
        """Return the rows of the deadlines that have passed: `person` and `what`."""
        due = sa.select(self._deadline).where(self._deadline.c.due <= epoch(now))
        return list(connection.execute(due.order_by(self._deadline.c.due, self._deadline.c.person)))

    def next(self, connection: sa.Connection) -> datetime | None:
        """Return the time at which the next deadline will have passed, or None if there is no deadline."""
        due = connection.scalar(sa.select(sa.func.min(self._deadline.c.due)))
        return None if due is None else from_epoch(due)

    def announce_readings(self, connection: sa.Connection, people: Iterable[tuple[int, Resident]]) -> None:
        """Plan the notices of the readings of names, for people who are registered before readings are recorded."""
        rows = [
            {"person": person, "what": FURIGANA_NOTICE, "due": epoch(in_japan(FURIGANA_STARTS))}
            for person, resident in people
            if resident.nationality == JAPAN and resident.name.kana
        ]
        if rows:
            connection.execute(sa.insert(self._deadline), rows)


def consequence(what: str, resident: Resident) -> Event:
    """Return the event that the registry records when a deadline has passed."""
    of_reading = {FURIGANA_NOTICE: FuriganaNotice, Furigana.meets: FuriganaRecorded}.get(what)
    return of_reading(resident.name.kana) if of_reading is not None else Lapse(what)
