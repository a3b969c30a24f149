"""The sessions of a site in its store."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

import sqlalchemy as sa

from kazashi.world.clock import epoch

_SESSION = timedelta(minutes=30)


class Sessions:
    """The table of a site's sessions and their users. A session expires after half an hour.

    It contains only digests of the cookies: someone who reads the store cannot use them.
    """

    def __init__(self, metadata: sa.MetaData) -> None:
        self._table = sa.Table(
            "session", metadata,
            sa.Column("digest", sa.LargeBinary, primary_key=True),
            sa.Column("user", sa.Text, nullable=False),
            sa.Column("begun", sa.BigInteger, nullable=False, index=True),
        )  # fmt: skip

    @staticmethod
    def migrate(connection: sa.Connection) -> None:
        """Delete the sessions of a store that contained the cookies themselves: their users log in again."""
        connection.execute(sa.text("DROP TABLE IF EXISTS sitting"))

    def user(self, connection: sa.Connection, session: str, now: datetime) -> str | None:
        """Return the user of a session, or None if there is no such session or it has expired."""
        table = self._table.c
        valid = (table.digest == _digest(session)) & (table.begun > epoch(now) - _SESSION.total_seconds())
        return connection.scalar(sa.select(table.user).where(valid))

    def begin(self, connection: sa.Connection, session: str, user: str, now: datetime) -> None:
        """Start a session for a user."""
        row = {"digest": _digest(session), "user": user, "begun": epoch(now)}
        connection.execute(sa.insert(self._table), row)

    def end(self, connection: sa.Connection, session: str) -> None:
        """Delete a session."""
        connection.execute(sa.delete(self._table).where(self._table.c.digest == _digest(session)))

    def sweep(self, connection: sa.Connection, now: datetime) -> None:
        """Delete the sessions that have expired."""
        expired = self._table.c.begun <= epoch(now) - _SESSION.total_seconds()
        connection.execute(sa.delete(self._table).where(expired))


def _digest(session: str) -> bytes:
    return hashlib.sha256(session.encode()).digest()
