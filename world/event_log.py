"""What the stores of relying parties have in common: the log of events."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from kazashi.world.clock import epoch
from kazashi.world.storage import Position

Log = Callable[[sa.Connection, datetime, str, dict[str, Any]], None]


def event_table(metadata: sa.MetaData) -> tuple[sa.Table, Log]:
    """The append-only log of a store, and the function that adds to it within a transaction."""
    table = sa.Table(
        "event", metadata,
        sa.Column("position", Position, primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("what", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
    )  # fmt: skip

    def log(connection: sa.Connection, at: datetime, what: str, detail: dict[str, Any]) -> None:
        row = {"at": epoch(at), "what": what, "detail": json.dumps(detail, ensure_ascii=False)}
        connection.execute(sa.insert(table), row)

    return table, log
