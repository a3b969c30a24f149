"""The append-only event log that every actor's store has."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

import sqlalchemy as sa

from kazashi.world.clock import epoch
from kazashi.world.statement import Statement
from kazashi.world.storage import Position


class Log(Protocol):
    """The function that adds an event to a log."""

    def __call__(
        self, connection: sa.Connection, at: datetime, what: str, detail: Mapping[str, Any], **columns: object
    ) -> None:
        """Add an event, in the same transaction as the change that it records."""


def event_table(metadata: sa.MetaData, *columns: sa.Column[Any]) -> tuple[sa.Table, Log]:
    """The event log of a store, and the function that adds to it.

    `columns` are what an actor looks events up by, such as a serial number. Everything else goes into `detail`.
    """
    table = sa.Table(
        "event", metadata,
        sa.Column("position", Position, primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("what", sa.Text, nullable=False),
        *columns,
        sa.Column("detail", sa.Text, nullable=False),
    )  # fmt: skip

    def log(
        connection: sa.Connection, at: datetime, what: str, detail: Mapping[str, Any], **columns: object
    ) -> None:  # fmt: skip
        row = event_row(at, what, detail, **columns)
        if not plain:
            connection.execute(sa.insert(table), row)
            return
        names = tuple(row)
        if names not in statements:
            statements[names] = Statement(sa.insert(table))
        statements[names].run(connection, row)

    # What `Statement` hands to the driver must need no conversion.
    plain = all(type(column.type) in (sa.Text, sa.BigInteger, sa.Integer) for column in columns)
    statements: dict[tuple[str, ...], Statement] = {}
    return table, log


def event_row(at: datetime, what: str, detail: Mapping[str, Any], **columns: object) -> dict[str, object]:
    """An event as a row of the log, for a command that adds many rows at once."""
    return {"at": epoch(at), "what": what, "detail": json.dumps(detail, ensure_ascii=False), **columns}


def word_becomes_what(connection: sa.Connection) -> None:
    """Migrate a store whose log has a column `word`: all other logs call it `what`."""
    connection.execute(sa.text("ALTER TABLE event RENAME COLUMN word TO what"))
