"""The trail of the first matching: who decided what about each record of a body, when and why. It only grows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

import sqlalchemy as sa

from kazashi.provision_network.address_store import MATCH_RECORD, MATCH_TIE, MATCH_TRAIL
from kazashi.world.clock import epoch, from_epoch
from kazashi.world.storage import insert_many


class MatchState(Enum):
    """What has become of a record."""

    OPEN = "open"
    """It is on the work list."""
    TIED = "tied"
    LEFT = "left"
    """A person has decided that it belongs to nobody in the registry."""
    UNDOING = "undoing"
    """Its tie is being removed; the next command of the body's matching goes on with it."""


class TrailStep(Enum):
    """A step in the trail of a record."""

    TIED = "tied"
    LEFT = "left"
    REOPENED = "reopened"
    """The decision that it belongs to nobody was taken back."""
    SUSPECTED = "suspected"
    """A signal speaks against its tie (`tie_checks`). Only the first of a kind is noted."""
    UNDO = "undo"
    """Somebody has decided that the tie is wrong."""
    UNDONE = "undone"
    """The tie, and what followed from it, is removed."""
    ENDED = "ended"
    """The person has left the body's list, and so the tie ended."""


@dataclass(frozen=True, slots=True)
class TrailEntry:
    """A line of the trail. `why` is the rule of the matcher or the reason that a person gave; `detail` has values for
    JSON."""

    number: str
    at: datetime
    step: TrailStep
    who: str
    why: str
    detail: Mapping[str, Any]


PROGRAM = "matcher"
"""Who has tied a record by a rule."""


def note(connection: sa.Connection, body: str, entries: Iterable[TrailEntry]) -> None:
    """Add lines to the trail of a body, within a transaction."""
    columns = ("body", "number", "at", "what", "who", "why", "detail")
    insert_many(connection, MATCH_TRAIL, columns, [
        (body, one.number, epoch(one.at), one.step.value, one.who, one.why,
         json.dumps(one.detail, ensure_ascii=False))
        for one in entries
    ])  # fmt: skip


def trail_of(connection: sa.Connection, body: str, number: str | None = None) -> list[TrailEntry]:
    """Return the trail of one record of a body, or of all, oldest first, within a transaction."""
    table = MATCH_TRAIL.c
    query = sa.select(MATCH_TRAIL).where(table.body == body).order_by(table.position)
    rows = connection.execute(query if number is None else query.where(table.number == number))
    return [
        TrailEntry(row.number, from_epoch(row.at), TrailStep(row.what), row.who, row.why, json.loads(row.detail))
        for row in rows
    ]


def end_ties(connection: sa.Connection, body: str, addressee: int, at: datetime) -> None:
    """End the ties to a person who leaves the body's list, within a transaction. The records return to the work
    list."""
    this = (MATCH_TIE.c.body == body) & (MATCH_TIE.c.addressee == addressee)
    numbers = list(connection.scalars(sa.select(MATCH_TIE.c.number).where(this)))
    if numbers:
        connection.execute(sa.delete(MATCH_TIE).where(this))
        set_state(connection, body, numbers, MatchState.OPEN)
        why = "the person has left the body's list"
        note(connection, body, [TrailEntry(number, at, TrailStep.ENDED, "", why, {}) for number in numbers])


def set_state(connection: sa.Connection, body: str, numbers: Iterable[str], state: MatchState) -> None:
    """Change the state of records, within a transaction."""
    table = MATCH_RECORD
    this = (table.c.body == body) & (table.c.number == sa.bindparam("n"))
    if rows := [{"n": number} for number in numbers]:
        connection.execute(sa.update(table).where(this).values(state=state.value), rows)
