"""The card management's records: the cards that it has issued, its cases, and the log of what happened to them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from kazashi.card_management.case import CaseState, CaseType, IssuanceCase
from kazashi.card_management.consequence import CardState
from kazashi.card_management.order import DEFAULT_LENGTH_FORM, Order
from kazashi.world.event_log import event_table
from kazashi.world.storage import Migration, Position


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
        _, self._log = event_table(metadata, sa.Column("name", sa.Text, nullable=False))

    # Cards

    def card(self, connection: sa.Connection, name: str) -> Any:
        """Return the row of a card: its name, number, holder, state and last day. Raises NoSuchCard."""
        row = connection.execute(sa.select(self._card).where(self._card.c.name == name)).one_or_none()
        if row is None:
            raise NoSuchCard(f"this card management has issued no card {name!r}; see: kazashi card list")
        return row

    def cards_in_use(self, connection: sa.Connection, holder: str) -> dict[str, CardState]:
        """Return a holder's cards that have not ended, with their states."""
        card = self._card.c
        in_use = (card.holder == holder) & (card.state != CardState.ENDED.value)
        rows = connection.execute(sa.select(card.name, card.state).where(in_use))
        return {row.name: CardState(row.state) for row in rows}

    def length_form(self, connection: sa.Connection, name: str) -> int:
        """Return the form of the lengths of a card's texts, which its order said."""
        case = self._case.c
        first = sa.select(self._case).where((case.name == name) & (case.what == CaseType.NEW.value))
        row = connection.execute(first.order_by(case.position.desc()).limit(1)).one_or_none()
        return DEFAULT_LENGTH_FORM if row is None else _case_of(row).order.length_form

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

    def has_open_case(self, connection: sa.Connection) -> bool:
        """Whether any case is open."""
        is_open = self._case.c.state == CaseState.OPEN.value
        return connection.scalar(sa.select(self._case.c.position).where(is_open).limit(1)) is not None

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


MIGRATIONS: Sequence[Migration] = (_details_as_json,)
"""The steps from each version of the store to the next (`World.store`)."""
