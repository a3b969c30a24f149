"""The core's store: its tables, its messages and its event log.

For a person it has a number of its own and the resident record code. For an exchange it has the requester, the
provider, the time and the item (番号法23条), under the record code, which nobody else has.
"""

from __future__ import annotations

import sqlalchemy as sa

from kazashi.provision_network.law.tables import Purpose
from kazashi.world.event_log import event_table
from kazashi.world.outbox import Inbox, Outbox
from kazashi.world.secret import Secrets
from kazashi.world.storage import Position

ACTOR = "provision_core"
"""The name of the core's store."""

METADATA = sa.MetaData()
OUTBOX, INBOX = Outbox(METADATA), Inbox(METADATA)
SECRETS = Secrets(METADATA)
_, log = event_table(METADATA)

CODE_GROUP = sa.Table(
    "code_group", METADATA,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, unique=True, nullable=False),
)  # fmt: skip

INSTITUTION = sa.Table(
    "institution", METADATA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("code_group", sa.Integer, nullable=False),
    sa.Column("starts", sa.BigInteger, nullable=False),
    sa.Column("interface", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False),
)  # fmt: skip

LEAVING = sa.Table("leaving", METADATA, sa.Column("body", sa.Text, primary_key=True))
"""The bodies that complete their requests under way before they are removed."""

INTERFACE_SYSTEM = sa.Table(
    "interface_system", METADATA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("address", sa.Text, nullable=False),
)  # fmt: skip

MEMBERSHIP_VERSION = sa.Table(
    "membership_version", METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("value", sa.BigInteger, nullable=False),
)  # fmt: skip

PERSON = sa.Table(
    "person", METADATA,
    sa.Column("linkage", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("resident_record_code", sa.Text, unique=True, nullable=False),
)  # fmt: skip

PROVISION_RECORD = sa.Table(
    "provision_record", METADATA,
    sa.Column("number", Position, primary_key=True),
    sa.Column("record_code", sa.LargeBinary, nullable=False, index=True),
    sa.Column("requester", sa.Text, nullable=False),
    sa.Column("provider", sa.Text, nullable=False),
    sa.Column("item", sa.Text, nullable=False),
    sa.Column("requested_at", sa.BigInteger, nullable=False),
    sa.Column("provided_at", sa.BigInteger),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
)  # fmt: skip

RECORD_LOOK = sa.Table(
    "record_look", METADATA,
    sa.Column("position", Position, primary_key=True),
    sa.Column("record_code", sa.LargeBinary, nullable=False, index=True),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
)  # fmt: skip

UNDISCLOSED = sa.Table(
    "undisclosed", METADATA,
    sa.Column("record_code", sa.LargeBinary, primary_key=True),
    sa.Column("body", sa.Text, primary_key=True),
)  # fmt: skip

ENDED_CODE = sa.Table(
    "ended_code", METADATA,
    sa.Column("record_code", sa.LargeBinary, primary_key=True),
    sa.Column("code_group", sa.Integer, primary_key=True, autoincrement=False),
)  # fmt: skip
"""The groups at which a person is no longer registered, by the code under which the person's records are kept."""

OPEN_DAY = sa.Table(
    "open_day", METADATA,
    sa.Column("day", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("precision", sa.Text, nullable=False),
    sa.Column("rows", sa.Integer, nullable=False),
    sa.Column("published_at", sa.BigInteger, nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False),
)  # fmt: skip
"""What was published of the records: days, by their number since 1970 in Japan."""

IMPACT_ASSESSMENT = sa.Table(
    "impact_assessment", METADATA,
    sa.Column("body", sa.Text, primary_key=True),
    sa.Column("document", sa.Text, nullable=False),
)  # fmt: skip

BUSINESS_SYSTEM = sa.Table(
    "business_system", METADATA,
    sa.Column("fingerprint", sa.Text, primary_key=True),
    sa.Column("body", sa.Text, nullable=False, index=True),
    sa.Column("used_by", sa.Text, nullable=False),
    sa.Column("issued", sa.BigInteger, nullable=False),
    sa.Column("removed", sa.BigInteger),
)  # fmt: skip

CORRECTION_NOTICE = sa.Table(
    "correction_notice", METADATA,
    sa.Column("record", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("reference", sa.Text, primary_key=True),
    sa.Column("told_at", sa.BigInteger, nullable=False),
)  # fmt: skip

ORDINANCE_ACTS = ("filed", "accepted", "published", "withdrawn")
"""What is done with an affair by ordinance; each has its day."""

ORDINANCE_AFFAIR = sa.Table(
    "ordinance_affair", METADATA,
    sa.Column("position", Position, primary_key=True),
    sa.Column("identifier", sa.Text, unique=True, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    *(sa.Column(name, sa.Text, nullable=False) for name in Purpose.__slots__),
    sa.Column("like", sa.Text, nullable=False),
    sa.Column("field", sa.Text, nullable=False),
    *(sa.Column(name, sa.Text) for name in ORDINANCE_ACTS),
)  # fmt: skip

LIMITING_ORDINANCE = sa.Table(
    "limiting_ordinance", METADATA,
    sa.Column("provider", sa.Text, primary_key=True),
    sa.Column("item", sa.Text, primary_key=True),
    sa.Column("notified", sa.Text, nullable=False),
)  # fmt: skip

ORDINANCE_VERSION = sa.Table(
    "ordinance_version", METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("value", sa.BigInteger, nullable=False),
)  # fmt: skip


def to_2(_: sa.Connection) -> None:
    """Migrate to version 2, of which only a table is new. An older program would accept codes that have ended."""


def ordinances_are_accepted(connection: sa.Connection) -> None:
    """Migrate to version 4, in which the Commission accepts an affair by ordinance. Before, a filing said itself that
    it met the conditions; one that said so and was published counts as accepted on that day."""
    table = ORDINANCE_AFFAIR
    if not sa.inspect(connection).has_table(table.name):
        return
    rows = connection.execute(sa.text(f"SELECT * FROM {table.name} ORDER BY position")).mappings().all()
    connection.execute(sa.text(f"DROP TABLE {table.name}"))
    table.create(connection)
    for row in rows:
        met = row["same_purpose"] and row["similar_content"] and row["nearly_same_items"]
        kept = {column.name: row[column.name] for column in table.columns if column.name in row}
        accepted = row["published"] if met else None
        connection.execute(sa.insert(table), {**kept, "field": "その他これらに類する事務", "accepted": accepted})
