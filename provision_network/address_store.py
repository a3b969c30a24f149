"""The store of integrated address systems: its tables and its messages. All address systems have the same."""

from __future__ import annotations

import sqlalchemy as sa

from kazashi.world.event_log import event_table
from kazashi.world.outbox import Inbox, Outbox
from kazashi.world.storage import Position

ACTOR = "integrated_addresses"
"""The name of the store of the municipalities' address systems."""

METADATA = sa.MetaData()
OUTBOX, INBOX = Outbox(METADATA), Inbox(METADATA)
_, log = event_table(METADATA)

ADDRESSEE = sa.Table(
    "addressee", METADATA,
    sa.Column("position", Position, primary_key=True),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("individual_number", sa.Text, nullable=False),
    sa.Column("left_us", sa.Boolean, nullable=False),
    sa.Index("addressee_now", "body", "individual_number"),
)  # fmt: skip

BUSINESS_NUMBER = sa.Table(
    "business_number", METADATA,
    sa.Column("body", sa.Text, primary_key=True),
    sa.Column("business", sa.Text, primary_key=True),
    sa.Column("local_number", sa.Text, primary_key=True),
    sa.Column("addressee", sa.BigInteger, nullable=False),
)  # fmt: skip


def to_2(_: sa.Connection) -> None:
    """Migrate to version 2, of which only tables are new. An older program would not take messages about people."""
