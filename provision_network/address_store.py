"""The store of integrated address systems: its tables and its messages. All address systems have the same.

The tables of the first matching (`MATCH_*`) are here, because a tie, the address number that it makes and the message
about the code are one transaction.
"""

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

MATCH_FILE = sa.Table(
    "match_file", METADATA,
    sa.Column("position", Position, primary_key=True),
    sa.Column("body", sa.Text, nullable=False, index=True),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("records", sa.BigInteger, nullable=False),
    sa.Column("refused", sa.Text, nullable=False),
)  # fmt: skip
"""The files that were handed in, taken or refused. `refused` has the name of the broken rule, or is empty."""

MATCH_RECORD = sa.Table(
    "match_record", METADATA,
    sa.Column("body", sa.Text, primary_key=True),
    sa.Column("number", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("kana", sa.Text, nullable=False),
    sa.Column("birth", sa.Text, nullable=False),
    sa.Column("sex", sa.Text, nullable=False),
    sa.Column("address", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
)  # fmt: skip

MATCH_TIE = sa.Table(
    "match_tie", METADATA,
    sa.Column("body", sa.Text, primary_key=True),
    sa.Column("number", sa.Text, primary_key=True),
    sa.Column("addressee", sa.BigInteger, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("admitted", sa.Boolean, nullable=False),
    sa.Column("agreed", sa.Text, nullable=False),
    sa.Index("match_tie_addressee", "body", "addressee"),
)  # fmt: skip
"""Which record is which person now. `admitted` says that the tie has put the person on the body's list, and `agreed`
in what the two agreed when they were tied."""

MATCH_TRAIL = sa.Table(
    "match_trail", METADATA,
    sa.Column("position", Position, primary_key=True),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("number", sa.Text, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("what", sa.Text, nullable=False),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Index("match_trail_record", "body", "number"),
)  # fmt: skip
"""What was decided about each record. Rows are only added."""

MATCH_REPORT = sa.Table(
    "match_report", METADATA,
    sa.Column("position", Position, primary_key=True),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("number", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("day", sa.Text, nullable=False),
    sa.Column("content", sa.Text, nullable=False),
    sa.Index("match_report_record", "body", "number"),
)  # fmt: skip
"""What the holder of a record has told the body."""


def address_number(position: int) -> str:
    """Return an address number as it is written, with ten digits."""
    return f"{position:010d}"


def to_2(_: sa.Connection) -> None:
    """Migrate to version 2, of which only tables are new. An older program would not take messages about people."""
