"""The tables of the bodies' registers: requests of people, entrustments, consents, inquiries, and what went from one
office to another. Each line belongs to its body."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import sqlalchemy as sa

from kazashi.world.event_log import event_table
from kazashi.world.storage import Position

if TYPE_CHECKING:
    from kazashi.world.home import World
    from kazashi.world.storage import Store

ACTOR = "body_registers"
"""The name of the store with the registers."""

METADATA = sa.MetaData()


def _register(name: str, *columns: str, empty: tuple[str, ...] = ()) -> sa.Table:
    """A register: a number, the body, and texts, of which those in `empty` may be missing."""
    return sa.Table(
        name, METADATA,
        sa.Column("number", Position, primary_key=True),
        sa.Column("body", sa.Text, nullable=False, index=True),
        *(sa.Column(column, sa.Text, nullable=column in empty) for column in columns),
    )  # fmt: skip


REQUEST = sa.Table(
    "person_request", METADATA,
    sa.Column("number", Position, primary_key=True),
    sa.Column("body", sa.Text, nullable=False, index=True),
    sa.Column("address_number", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("item", sa.Text, nullable=False),
    sa.Column("content", sa.Text, nullable=False),
    sa.Column("received", sa.Text, nullable=False),
    sa.Column("decided", sa.Text),
    sa.Column("granted", sa.Boolean),
    sa.Column("reason", sa.Text, nullable=False),
)  # fmt: skip

ENTRUSTMENT = _register("entrustment", "party", "contract", "since", "ended", empty=("ended",))

CONSENT = _register(
    "consent", "address_number", "information", "receiver", "purpose", "given", "withdrawn", empty=("withdrawn",)
)

INQUIRY = _register(
    "inquiry", "address_number", "investigator", "basis", "case", "reason", "information", "handle", "received",
    "decided", "approved_by", "rule", "denial", empty=("decided",),
)  # fmt: skip

INTERNAL_FLOW = _register(
    "internal_flow", "address_number", "at", "from_office", "to_office", "information", "law", "ordinance", "rule",
    "denial",
)  # fmt: skip

ON_LINE = _register("on_line", "policy")
"""What the body's own ordinance says about online provision; the last line counts."""

DISASTER = _register("disaster", "name", "declared", "ended", empty=("ended",))
"""Disasters that were declared severe; the body is the one that declared it."""

_, log = event_table(METADATA)


def body_register_store(world: World) -> Store:
    """The store with the registers of all bodies of a world."""
    return world.store(ACTOR, METADATA)


def day_in(text: str | None) -> date | None:
    """Return the day in a column, or None."""
    return None if text is None else date.fromisoformat(text)
