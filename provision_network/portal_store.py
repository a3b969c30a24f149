"""The portal's store: its tables."""

from __future__ import annotations

import sqlalchemy as sa

from kazashi.relying_party.login.sessions import Sessions
from kazashi.world.event_log import event_table
from kazashi.world.storage import Position, Unsigned64

METADATA = sa.MetaData()
SESSIONS = Sessions(METADATA)
_, log = event_table(METADATA)

FOLDER = sa.Table(
    "folder", METADATA,
    sa.Column("folder", Position, primary_key=True),
    sa.Column("code", sa.LargeBinary, unique=True, nullable=False),
    sa.Column("begun", sa.BigInteger, nullable=False),
)  # fmt: skip

SERIAL = sa.Table(
    "serial", METADATA,
    sa.Column("serial", Unsigned64, primary_key=True, autoincrement=False),
    sa.Column("folder", sa.BigInteger, nullable=False),
)  # fmt: skip

JUKI_CARD_SERIAL = sa.Table(
    "juki_card_serial", METADATA,
    sa.Column("serial", Unsigned64, primary_key=True, autoincrement=False),
    sa.Column("folder", sa.BigInteger, nullable=False),
)  # fmt: skip
"""The same for signature certificates on Juki cards: the two authorities may give the same number to two people."""

LOOK = sa.Table(
    "look", METADATA,
    sa.Column("position", Position, primary_key=True),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False, index=True),
    sa.Column("what", sa.Text, nullable=False),
)  # fmt: skip

OWN_INFORMATION = sa.Table(
    "own_information", METADATA,
    sa.Column("position", Position, primary_key=True),
    sa.Column("reference", sa.Text, unique=True, nullable=False),
    sa.Column("folder", sa.BigInteger, nullable=False, index=True),
    sa.Column("provider", sa.Text, nullable=False),
    sa.Column("item", sa.Text, nullable=False),
)  # fmt: skip
