"""The store of the insurers' joint body. It has no column for an individual number."""

from __future__ import annotations

import sqlalchemy as sa

from kazashi.world.event_log import event_table
from kazashi.world.secret import Secrets
from kazashi.world.storage import Unsigned64

ACTOR = "eligibility"
"""The name of the store."""

METADATA = sa.MetaData()
EVENT, log = event_table(METADATA)
SECRETS = Secrets(METADATA)

PERSON = sa.Table(
    "person", METADATA,
    sa.Column("own_number", sa.Text, primary_key=True),
    sa.Column("code", sa.LargeBinary, nullable=False, unique=True),
)  # fmt: skip
"""Insured persons: the joint body's own number, and the insurers' shared code."""

ENTITLEMENT = sa.Table(
    "entitlement", METADATA,
    sa.Column("insurer", sa.Text, primary_key=True),
    sa.Column("insured_number", sa.Text, primary_key=True),
    sa.Column("own_number", sa.Text, nullable=False, index=True),
    sa.Column("begins", sa.Text, nullable=False),
    sa.Column("ends", sa.Text),
)  # fmt: skip

CARD = sa.Table(
    "registered_card", METADATA,
    sa.Column("serial", Unsigned64, primary_key=True, autoincrement=False),
    sa.Column("own_number", sa.Text, nullable=False),
)  # fmt: skip
"""The authentication certificates that are registered as insurance cards."""

FEED = sa.Table(
    "feed", METADATA,
    sa.Column("insurer", sa.Text, primary_key=True),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("accepted_at", sa.BigInteger, nullable=False),
    sa.Column("new", sa.Integer, nullable=False),
    sa.Column("changed", sa.Integer, nullable=False),
    sa.Column("ended", sa.Integer, nullable=False),
)  # fmt: skip

DUE_COPY = sa.Table(
    "due_copy", METADATA,
    sa.Column("insurer", sa.Text, primary_key=True),
    sa.Column("address_number", sa.Text, primary_key=True),
    sa.Column("own_number", sa.Text, nullable=False),
    sa.Column("code", sa.LargeBinary, nullable=False),
    sa.Column("content", sa.Text, nullable=False),
)  # fmt: skip
"""Copies that an accepted file has changed, until the insurer's intermediate server has them."""

CLINIC = sa.Table(
    "clinic", METADATA,
    sa.Column("fingerprint", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("added", sa.BigInteger, nullable=False),
    sa.Column("removed", sa.BigInteger),
)  # fmt: skip
"""The certificates of clinics."""


def to_2(connection: sa.Connection) -> None:
    """Migrate to version 2: persons, entitlements and cards are separate. No command could fill the earlier tables."""
    for name in ("insured", "card"):
        connection.execute(sa.text(f"DROP TABLE IF EXISTS {name}"))
