"""An intermediate platform's store: its tables and its statements. All platforms have the same."""

from __future__ import annotations

import sqlalchemy as sa

from kazashi.world.event_log import event_table
from kazashi.world.statement import Statement
from kazashi.world.storage import insert_if_absent

METADATA = sa.MetaData()
_, log = event_table(METADATA)

COPY = sa.Table(
    "copy", METADATA,
    sa.Column("owner", sa.Text, primary_key=True),
    sa.Column("code", sa.LargeBinary, primary_key=True),
    sa.Column("item", sa.Text, primary_key=True),
    sa.Column("address_number", sa.Text, nullable=False),
    sa.Column("content", sa.Text, nullable=False),
    sa.Column("registered_at", sa.BigInteger, nullable=False),
    sa.Column("by_hand", sa.Boolean, nullable=False),
)  # fmt: skip

PERSON = sa.Table(
    "person", METADATA,
    sa.Column("owner", sa.Text, primary_key=True),
    sa.Column("address_number", sa.Text, primary_key=True),
    sa.Column("code", sa.LargeBinary, nullable=False),
    sa.Column("withheld", sa.Boolean, nullable=False, default=False),
    sa.UniqueConstraint("owner", "code"),
)  # fmt: skip

HELD = sa.Table(
    "held", METADATA,
    sa.Column("owner", sa.Text, primary_key=True),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("released", sa.Boolean, nullable=False),
)  # fmt: skip

RECEIVED = sa.Table(
    "received", METADATA,
    sa.Column("owner", sa.Text, primary_key=True),
    sa.Column("process", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("provider", sa.Text, nullable=False),
    sa.Column("item", sa.Text, nullable=False),
    sa.Column("content", sa.Text),
    sa.Column("registered_at", sa.BigInteger),
    sa.Column("received_at", sa.BigInteger, nullable=False),
)  # fmt: skip

SEALING_KEY = sa.Table(
    "sealing_key", METADATA,
    sa.Column("owner", sa.Text, primary_key=True),
    sa.Column("jwk", sa.Text, nullable=False),
)  # fmt: skip

KEEP = Statement(insert_if_absent(RECEIVED))
ANSWERS_TO = Statement(sa.select(RECEIVED).where(
    RECEIVED.c.owner == sa.bindparam("o"), RECEIVED.c.process.in_(sa.bindparam("ps", expanding=True))
))  # fmt: skip
_copy, _person, _held = COPY.c, PERSON.c, HELD.c
_owner: sa.BindParameter[str] = sa.bindparam("o")
_code: sa.BindParameter[bytes] = sa.bindparam("c")
COPY_OF = Statement(sa.select(_copy.item, _copy.content, _copy.registered_at, _copy.by_hand).where(
    _copy.owner == _owner, _copy.code == _code, _copy.item == sa.bindparam("i")
))  # fmt: skip
WITHHELD = Statement(sa.select(_person.withheld).where(_person.owner == _owner, _person.code == _code))
RELEASED = Statement(sa.select(_held.released).where(_held.owner == _owner, _held.number == sa.bindparam("n")))
CODES_OF = Statement(sa.select(_person.address_number, _person.code).where(
    _person.owner == _owner, _person.address_number.in_(sa.bindparam("as", expanding=True))
))  # fmt: skip


def items_as_published(connection: sa.Connection) -> None:
    """Migrate to version 2: the item about pensions has the name that it has in the published table of affairs."""
    former, published = "年金保険関係情報", "年金給付関係情報"
    for table in (COPY, RECEIVED):
        connection.execute(sa.update(table).where(table.c.item == former).values(item=published))
