"""The card management's records: the cards that it has issued, its cases, and the log of what happened to them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from kazashi.card_management.case import CaseState, CaseType, IssuanceCase
from kazashi.card_management.consequence import CardState
from kazashi.card_management.order import Order
from kazashi.world.clock import from_epoch
from kazashi.world.event_log import event_table
from kazashi.world.statement import Statement
from kazashi.world.storage import Migration, Position

_BY_END = "card_by_end"


class NoSuchCard(Exception):
    """The card management has not issued a card with that name."""


class CardRecords:
    """The tables of cards and cases. Each method works in the caller's transaction."""

    def __init__(self, metadata: sa.MetaData) -> None:
        self._card = sa.Table(
            "card", metadata,
            sa.Column("name", sa.Text, primary_key=True),
            sa.Column("number", sa.Text, unique=True, nullable=False),
            sa.Column("holder", sa.Text, nullable=False, index=True),
            sa.Column("state", sa.Text, nullable=False),
            sa.Column("expires", sa.Text, nullable=False),
            sa.Index(_BY_END, "state", "expires"),
        )  # fmt: skip
        self._case = sa.Table(
            "card_case", metadata,
            sa.Column("position", Position, primary_key=True),
            sa.Column("name", sa.Text, nullable=False),
            sa.Column("holder", sa.Text, nullable=False, index=True),
            sa.Column("what", sa.Text, nullable=False),
            sa.Column("state", sa.Text, nullable=False, index=True),
            sa.Column("note", sa.Text, nullable=False),
            sa.Column("document", sa.Text, nullable=False),
        )  # fmt: skip
        card = self._card.c
        in_use = (card.holder == sa.bindparam("of")) & (card.state != CardState.ENDED.value)
        self._in_use = Statement(sa.select(card.name, card.state).where(in_use))
        self._event, self._log = event_table(metadata, sa.Column("name", sa.Text, nullable=False))

    # Cards

    def card(self, connection: sa.Connection, name: str) -> Any:
        """Return the row of a card: its name, number, holder, state and last day. Raises NoSuchCard."""
        row = connection.execute(sa.select(self._card).where(self._card.c.name == name)).one_or_none()
        if row is None:
            raise NoSuchCard(f"this card management has issued no card {name!r}; see: kazashi card list")
        return row

    def cards_in_use(self, connection: sa.Connection, holder: str) -> dict[str, CardState]:
        """Return a holder's cards that have not ended, with their states."""
        rows = self._in_use.all(connection, {"of": str(holder)})
        return {row.name: CardState(row.state) for row in rows}

    def cards_of(self, connection: sa.Connection, holder: str) -> dict[str, CardState]:
        """Return all cards of a holder with their states, by name."""
        query = sa.select(self._card).where(self._card.c.holder == str(holder)).order_by(self._card.c.name)
        return {row.name: CardState(row.state) for row in connection.execute(query)}

    def number_of(self, connection: sa.Connection, name: str) -> str | None:
        """Return the number of a card, or None if there is no such card."""
        return connection.scalar(sa.select(self._card.c.number).where(self._card.c.name == name))

    def order_of(self, connection: sa.Connection, name: str) -> Order | None:
        """Return the order by which a card was made."""
        case = self._case.c
        first = sa.select(self._case).where((case.name == name) & (case.what == CaseType.NEW.value))
        row = connection.execute(first.order_by(case.position.desc()).limit(1)).one_or_none()
        return None if row is None else _case_of(row).order

    def first_end(self, connection: sa.Connection) -> date | None:
        """Return the earliest last day of the cards that have not ended."""
        card = self._card.c
        ends = [
            connection.scalar(sa.select(sa.func.min(card.expires)).where(card.state == state.value))
            for state in (CardState.ACTIVE, CardState.STOPPED)
        ]
        return min((date.fromisoformat(end) for end in ends if end is not None), default=None)

    def expired(self, connection: sa.Connection, day: date) -> Sequence[str]:
        """Return the names of the cards that have not ended although their last day is before `day`."""
        card = self._card.c
        query = sa.select(card.name).where((card.expires < day.isoformat()) & (card.state != CardState.ENDED.value))
        return connection.scalars(query).all()

    def history(self, connection: sa.Connection, name: str) -> list[tuple[datetime, str, str]]:
        """Return what happened to a card and its cases: the time, what, and a note, in order."""
        rows = connection.execute(
            sa.select(self._event).where(self._event.c.name == name).order_by(self._event.c.position)
        )
        return [(from_epoch(row.at), row.what, json.loads(row.detail).get("note", "")) for row in rows]

    def set_state(
        self, connection: sa.Connection, now: datetime, names: Sequence[str], state: CardState, note: str
    ) -> None:
        """Record a new state of cards, and what it follows from."""
        if not names:
            return
        connection.execute(sa.update(self._card).where(self._card.c.name.in_(names)).values(state=state.value))
        for name in names:
            self._log(connection, now, state.value, {"note": note}, name=name)

    def recode(self, connection: sa.Connection, former: str, code: str) -> None:
        """Record a holder's new resident record code."""
        for table in (self._card, self._case):
            connection.execute(sa.update(table).where(table.c.holder == former).values(holder=code))

    # Cases

    def cases(self, connection: sa.Connection, holder: str | None = None) -> list[IssuanceCase]:
        """Return the cases of a resident (by resident record code), or all cases, in order."""
        query = sa.select(self._case).order_by(self._case.c.position)
        if holder is not None:
            query = query.where(self._case.c.holder == holder)
        return [_case_of(row) for row in connection.execute(query)]

    def open_cases(self, connection: sa.Connection) -> list[IssuanceCase]:
        """Return the open cases in order."""
        query = sa.select(self._case).where(self._case.c.state == CaseState.OPEN.value)
        return [_case_of(row) for row in connection.execute(query.order_by(self._case.c.position))]

    def open_case(self, connection: sa.Connection, name: str) -> IssuanceCase | None:
        """Return the open case of a card, if there is one."""
        condition = (self._case.c.name == name) & (self._case.c.state == CaseState.OPEN.value)
        row = connection.execute(sa.select(self._case).where(condition)).one_or_none()
        return None if row is None else _case_of(row)

    def case_at(self, connection: sa.Connection, position: int) -> IssuanceCase:
        """Return the case with a number."""
        return _case_of(connection.execute(sa.select(self._case).where(self._case.c.position == position)).one())

    def open(
        self, connection: sa.Connection, now: datetime, name: str, what: CaseType, order: Order
    ) -> IssuanceCase:  # fmt: skip
        """Open a case, and return it."""
        row = {"name": name, "holder": order.code, "what": what.value, "state": CaseState.OPEN.value, "note": "",
               "document": json.dumps(order.as_dict())}  # fmt: skip
        connection.execute(sa.insert(self._case), row)
        self._log(connection, now, f"{what.value} ordered", {}, name=name)
        case = self.open_case(connection, name)
        assert case is not None
        return case

    def settle(self, connection: sa.Connection, case: IssuanceCase, renews: dict[str, int | None]) -> None:
        """Record which certificates a case issues; see `IssuanceCase.renews`."""
        document = json.dumps({**case.order.as_dict(), "renews": renews})
        same_case = self._case.c.position == case.position
        connection.execute(sa.update(self._case).where(same_case).values(document=document))

    def close(
        self, connection: sa.Connection, now: datetime, case: IssuanceCase, state: CaseState, note: str,
        card: dict[str, str] | None = None,
    ) -> None:  # fmt: skip
        """Close a case, and record the card that it has made: its `number` and its last day (`expires`)."""
        same_case = self._case.c.position == case.position
        connection.execute(sa.update(self._case).where(same_case).values(state=state.value, note=note))
        if card is not None:
            row = {"name": case.name, "holder": case.order.code, "state": CardState.ACTIVE.value, **card}
            connection.execute(sa.insert(self._card), row)
        event = f"{case.what.value} {state.value}"
        self._log(connection, now, event, {"note": note} if note else {}, name=case.name)


def _case_of(row: Any) -> IssuanceCase:
    document = json.loads(row.document)
    return IssuanceCase(
        position=row.position,
        name=row.name,
        what=CaseType(row.what),
        state=CaseState(row.state),
        note=row.note,
        order=Order.from_dict(row.holder, document),
        renews=document.get("renews"),
    )


def _details_as_json(connection: sa.Connection) -> None:
    """Migrate to version 2: the detail of an event was a plain note, and is now a JSON object, as in every store."""
    event = sa.table("event", sa.column("position"), sa.column("detail"))
    for row in connection.execute(sa.select(event)).all():
        detail = json.dumps({"note": row.detail} if row.detail else {}, ensure_ascii=False)
        connection.execute(sa.update(event).where(event.c.position == row.position).values(detail=detail))


def _index_by_end(connection: sa.Connection) -> None:
    """Migrate to version 3, which has an index of the cards' last days. An older program would make cards at once that
    are ordered for later."""
    connection.execute(sa.text(f"CREATE INDEX IF NOT EXISTS {_BY_END} ON card (state, expires)"))


MIGRATIONS: Sequence[Migration] = (_details_as_json, _index_by_end)
"""The steps from each version of the store to the next (`World.store`)."""
