"""An interface system's store: its tables and its messages. All interface systems have the same."""

from __future__ import annotations

import sqlalchemy as sa

from kazashi.world.event_log import event_table
from kazashi.world.outbox import Inbox, Outbox
from kazashi.world.storage import Position

METADATA = sa.MetaData()
OUTBOX, INBOX = Outbox(METADATA), Inbox(METADATA)
_, log = event_table(METADATA)

ASKED = sa.Table(
    "asked", METADATA,
    sa.Column("process", Position, primary_key=True),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("provider", sa.Text, nullable=False),
    sa.Column("item", sa.Text, nullable=False),
    sa.Column("asked_at", sa.BigInteger, nullable=False),
    sa.Column("stage", sa.Text, nullable=False),
    sa.Column("number", sa.BigInteger),
    sa.Column("rule", sa.Text, nullable=False, default=""),
    sa.Column("denial", sa.Text, nullable=False, default=""),
    sa.Column("words", sa.Text, nullable=False, default=""),
    sa.Column("reference", sa.Text, unique=True),
    sa.Index("asked_open", "body", "stage"),
)  # fmt: skip

EARLY_ANSWER = sa.Table(
    "early_answer", METADATA,
    sa.Column("process", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("sealed", sa.Text, nullable=False),
)  # fmt: skip

NOTIFIED = sa.Table(
    "notified", METADATA,
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("provider", sa.Text, nullable=False),
    sa.Column("stage", sa.Text, nullable=False, index=True),
    sa.Column("notification", sa.Text, nullable=False),
)  # fmt: skip

BODY = sa.Table("body", METADATA, sa.Column("name", sa.Text, primary_key=True))

SETTING = sa.Table(
    "setting", METADATA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)  # fmt: skip

CLOSED_FOLDER = sa.Table(
    "closed_folder", METADATA,
    sa.Column("code", sa.LargeBinary, primary_key=True),
    sa.Column("day", sa.Text, nullable=False),
)  # fmt: skip


def store_name(interface: str) -> str:
    """Return the name of an interface system's store."""
    return f"interface_{interface}"
