"""The registers that bodies keep of people's requests (番号法29条 to 31条) and of entrustments (委託, 10条). Each line
belongs to its body."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import sqlalchemy as sa

from kazashi.provision_network.body_register_store import (
    ENTRUSTMENT,
    REQUEST,
    body_register_store,
    day_in,
    log,
)
from kazashi.provision_network.documents import checked_text
from kazashi.provision_network.person_rights import PersonRequest, decide_request
from kazashi.provision_network.terms import NetworkRejected
from kazashi.world.home import World

DAYS = 30
"""The number of days within which a body decides a request (個人情報の保護に関する法律83条, 94条, 102条)."""


@dataclass(frozen=True, slots=True)
class RegisteredRequest:
    """A person's request to a body. `content` is what a correction asks for. `granted` is None until it is decided."""

    number: int
    body: str
    address_number: str
    kind: PersonRequest
    item: str
    content: str
    received: date
    decided: date | None
    granted: bool | None
    reason: str

    @property
    def deadline(self) -> date:
        """The last day for the decision."""
        return self.received + timedelta(days=DAYS)

    def overdue(self, on: date) -> bool:
        """Whether it was decided too late, or not at all until a day after the deadline."""
        return (self.decided or on) > self.deadline


@dataclass(frozen=True, slots=True)
class Entrustment:
    """A body's entrustment of an affair to a party, by a contract (番号法19条5号)."""

    number: int
    body: str
    party: str
    contract: str
    since: date
    ended: date | None


class BodyRegisters:
    """The registers of one world's bodies."""

    def __init__(self, world: World) -> None:
        self._clock = world.clock
        self.store = body_register_store(world)

    def receive(
        self, body: str, address_number: str, kind: PersonRequest, item: str, content: str, on: date
    ) -> RegisteredRequest:  # fmt: skip
        """Register a person's request. Raises NetworkRejected if the law does not provide for it, or if a correction
        has no content."""
        decision = decide_request(kind)
        if decision.denial is not None:
            raise NetworkRejected(decision.denial.value, decision.words)
        if (kind is PersonRequest.CORRECTION) != bool(content):
            raise NetworkRejected("bad-request", "a correction, and nothing else, needs the right content")
        row = {"body": body, "address_number": address_number, "kind": kind.name, "content": content,
               "item": checked_text(item, "the item"), "received": on.isoformat(), "reason": ""}  # fmt: skip
        with self.store.transaction() as connection:
            insert = sa.insert(REQUEST).returning(REQUEST.c.number)
            number = connection.execute(insert, row).scalar_one()
            log(connection, self._clock.now(), "request received", {"body": body, "number": number})
        return self.request(body, int(number))

    def request(self, body: str, number: int) -> RegisteredRequest:
        """Return a request. Raises NetworkRejected if the body has none of that number."""
        found = next((one for one in self.requests(body) if one.number == number), None)
        if found is None:
            raise NetworkRejected("unknown-request", f"{body} has no request {number}")
        return found

    def requests(self, body: str | None = None) -> list[RegisteredRequest]:
        """Return the requests to one body or to all, oldest first."""
        query = sa.select(REQUEST).order_by(REQUEST.c.number)
        if body is not None:
            query = query.where(REQUEST.c.body == body)
        with self.store.reading() as connection:
            return [_request(row) for row in connection.execute(query)]

    def decide(self, request: RegisteredRequest, on: date, reason: str, *, granted: bool) -> RegisteredRequest:
        """Record the decision about a request. Raises NetworkRejected if it is decided, or a refusal has no reason."""
        if not granted and not reason:
            raise NetworkRejected("bad-request", "a refusal needs a reason")
        this = (REQUEST.c.number == request.number) & REQUEST.c.decided.is_(None)
        with self.store.alone() as connection:
            values = {"decided": on.isoformat(), "granted": granted, "reason": reason}
            if not connection.execute(sa.update(REQUEST).where(this).values(values)).rowcount:
                raise NetworkRejected("decided", f"request {request.number} of {request.body} is decided already")
            detail = {"body": request.body, "number": request.number, "granted": granted}
            log(connection, self._clock.now(), "request decided", detail)
        return self.request(request.body, request.number)

    def entrust(self, body: str, party: str, contract: str, on: date) -> Entrustment:
        """Register an entrustment. Raises NetworkRejected if the party has one of this body already."""
        if any(one.party == party for one in self.entrustments(body) if one.ended is None):
            raise NetworkRejected("entrusted", f"{body} has entrusted {party} already")
        row = {"body": body, "party": checked_text(party, "the party"), "since": on.isoformat(),
               "contract": checked_text(contract, "the contract")}  # fmt: skip
        with self.store.alone() as connection:
            connection.execute(sa.insert(ENTRUSTMENT), row)
            log(connection, self._clock.now(), "entrusted", {"body": body, "party": party})
        return self.entrustment(body, party)

    def entrustment(self, body: str, party: str) -> Entrustment:
        """Return the current entrustment of a party. Raises NetworkRejected if the party has none."""
        found = next((one for one in self.entrustments(body) if one.party == party and one.ended is None), None)
        if found is None:
            raise NetworkRejected("not-entrusted", f"{body} has entrusted nothing to {party}")
        return found

    def entrustments(self, body: str | None = None) -> list[Entrustment]:
        """Return the entrustments of one body or of all, oldest first, ended ones too."""
        query = sa.select(ENTRUSTMENT).order_by(ENTRUSTMENT.c.number)
        if body is not None:
            query = query.where(ENTRUSTMENT.c.body == body)
        with self.store.reading() as connection:
            return [
                Entrustment(row.number, row.body, row.party, row.contract, date.fromisoformat(row.since),
                            day_in(row.ended))
                for row in connection.execute(query)
            ]  # fmt: skip

    def end(self, body: str, party: str, on: date) -> Entrustment:
        """End the current entrustment of a party. Raises NetworkRejected if the party has none."""
        found = self.entrustment(body, party)
        this = ENTRUSTMENT.c.number == found.number
        with self.store.alone() as connection:
            connection.execute(sa.update(ENTRUSTMENT).where(this).values(ended=on.isoformat()))
            log(connection, self._clock.now(), "entrustment ended", {"body": body, "party": party})
        return next(one for one in self.entrustments(body) if one.number == found.number)


def _request(row: Any) -> RegisteredRequest:
    return RegisteredRequest(
        row.number, row.body, row.address_number, PersonRequest[row.kind], row.item, row.content,
        date.fromisoformat(row.received), day_in(row.decided), row.granted, row.reason,
    )  # fmt: skip
