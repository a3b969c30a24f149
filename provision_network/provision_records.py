"""The provision records (情報提供等の記録, 番号法23条): who requested which item from whom, when, and by which rule.

The content is never among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from kazashi.provision_network.codes import Coder, InstitutionCode, LinkageCode, PortalCode
from kazashi.provision_network.core_store import PROVISION_RECORD, RECORD_LOOK, UNDISCLOSED, log
from kazashi.provision_network.law.rules import Decision
from kazashi.provision_network.membership import Institution
from kazashi.provision_network.off_network import COMMISSION
from kazashi.provision_network.terms import NetworkRejected, ProvisionRecord, RequestOutcome
from kazashi.world.clock import Clock, epoch, from_epoch
from kazashi.world.statement import Statement
from kazashi.world.storage import Store

_record = PROVISION_RECORD.c
_ADD = Statement(sa.insert(PROVISION_RECORD).returning(_record.number))
_SETTLE = Statement(sa.update(PROVISION_RECORD).where(
    _record.number == sa.bindparam("n"), _record.provider == sa.bindparam("p"),
    _record.outcome.in_((RequestOutcome.NOTIFIED.value, RequestOutcome.HELD.value)),
).values(outcome=sa.bindparam("o"), provided_at=sa.bindparam("at")))  # fmt: skip


_look = RECORD_LOOK.c

OPERATOR = "the operator of the core (総務省)"
"""Who looks at records without naming themselves."""


@dataclass(frozen=True, slots=True)
class RecordLook:
    """Somebody has looked at a person's records other than through the portal."""

    at: datetime
    actor: str


class ProvisionRecords:
    """The records, each under the record code of the person."""

    def __init__(self, store: Store, clock: Clock, coder: Coder) -> None:
        self._store = store
        self._clock = clock
        self._coder = coder

    def add(
        self, connection: sa.Connection, linkage: LinkageCode, requester: str, provider: str, item: str,
        decision: Decision,
    ) -> int:  # fmt: skip
        """Record a request and the decision about it. Returns the number of the record."""
        outcome = RequestOutcome.NOTIFIED if decision.allowed else RequestOutcome.DENIED
        row = {
            "record_code": self._coder.record(linkage).value, "requester": requester, "provider": provider,
            "item": item, "requested_at": epoch(self._clock.now()), "outcome": outcome.value,
            "reason": decision.rule if decision.denial is None else decision.denial.value,
        }  # fmt: skip
        return int(_ADD.scalar(connection, row))

    def settle(self, provider: str, number: int, outcome: RequestOutcome) -> None:
        """Record the provider's result: provided, or on hold until a person at the provider has checked the request. A
        provider cannot refuse. Raises NetworkRejected."""
        with self._store.alone() as connection:
            self.settle_in(connection, provider, number, outcome)

    def settle_in(self, connection: sa.Connection, provider: str, number: int, outcome: RequestOutcome) -> None:
        """Record a result like `settle`, within a transaction of the core's store."""
        if outcome not in (RequestOutcome.PROVIDED, RequestOutcome.HELD):
            raise NetworkRejected("duty-to-provide", f"a notified provider must provide or hold, not {outcome.value}")
        at = epoch(self._clock.now()) if outcome is RequestOutcome.PROVIDED else None
        values = {"n": number, "p": provider, "o": outcome.value, "at": at}
        if not _SETTLE.run(connection, values):
            words = f"{provider} was not notified of a request {number}, or has already answered it"
            raise NetworkRejected("not-notified", words)

    def look(self, code: PortalCode, actor: str) -> list[ProvisionRecord]:
        """Return a person's records like `of`, for somebody other than the portal. That `actor` has looked is recorded
        first."""
        with self._store.transaction() as connection:
            row = {"record_code": self._person(code), "at": epoch(self._clock.now()), "actor": actor}
            connection.execute(sa.insert(RECORD_LOOK), row)
        return self.of(code)

    def looks(self, code: PortalCode) -> list[RecordLook]:
        """Return who has looked at a person's records other than through the portal, oldest first. Raises
        ForeignCode."""
        return self._looks(_look.record_code == self._person(code))

    def looks_of(self, body: str) -> list[RecordLook]:
        """Return who has looked at the records of people about whom a body has requested or provided something."""
        people = sa.select(_record.record_code).where(_party(body))
        return self._looks(_look.record_code.in_(people))

    def _looks(self, which: sa.ColumnElement[bool]) -> list[RecordLook]:
        query = sa.select(_look.at, _look.actor).where(which).order_by(_look.position)
        with self._store.reading() as connection:
            return [RecordLook(from_epoch(row.at), row.actor) for row in connection.execute(query)]

    def inspect(self, body: str, role: str) -> list[ProvisionRecord]:
        """Return the records of a body's requests and provisions for an inspection, oldest first. It is logged. Raises
        NetworkRejected for anybody but the Commission (番号法35条)."""
        if role != COMMISSION:
            raise NetworkRejected("not-entitled", f"only {COMMISSION} may inspect the records of bodies, not {role}")
        query = sa.select(PROVISION_RECORD).where(_party(body)).order_by(_record.number)
        with self._store.transaction() as connection:
            log(connection, self._clock.now(), "inspected", {"institution": body})
            return [_as_record(row) for row in connection.execute(query)]

    def _person(self, code: PortalCode) -> bytes:
        return self._coder.record(self._coder.linkage(code)).value

    def of(self, code: PortalCode) -> list[ProvisionRecord]:
        """Return a person's records for the portal, oldest first. Raises ForeignCode, and NetworkRejected if a body has
        set the flag that they must not be shown."""
        person = self._person(code)
        flags = sa.select(sa.func.count()).where(UNDISCLOSED.c.record_code == person)
        query = sa.select(PROVISION_RECORD).where(_record.record_code == person).order_by(_record.number)
        with self._store.reading() as connection:
            if connection.scalar(flags):
                raise NetworkRejected("undisclosed", "these records must not be shown (不開示該当フラグ)")
            return [_as_record(row) for row in connection.execute(query)]

    def about(
        self, body: Institution, codes: Sequence[InstitutionCode]
    ) -> dict[InstitutionCode, list[ProvisionRecord]]:  # fmt: skip
        """Return the records of a body's own requests and provisions about people, by the body's code, oldest first.
        Raises ForeignCode."""
        people = {self._coder.record(self._coder.linkage(code, body.group)).value: code for code in codes}
        query = sa.select(PROVISION_RECORD).where(_party(body.name)).order_by(_record.number)
        found: dict[InstitutionCode, list[ProvisionRecord]] = {}
        with self._store.reading() as connection:
            for row in connection.execute(query):
                if (code := people.get(bytes(row.record_code))) is not None:
                    found.setdefault(code, []).append(_as_record(row))
        return found

    def stored(self, code: PortalCode) -> list[ProvisionRecord]:
        """Return a person's records as they are stored, for a study that compares them with what the portal shows.
        Raises ForeignCode."""
        query = sa.select(PROVISION_RECORD).where(_record.record_code == self._person(code)).order_by(_record.number)
        with self._store.reading() as connection:
            return [_as_record(row) for row in connection.execute(query)]

    def by_basis(self, body: str | None = None) -> dict[str, int]:
        """Return the number of exchanges per legal basis, without denied requests, of one body or of all."""
        query = sa.select(_record.reason, sa.func.count()).where(
            _record.outcome != RequestOutcome.DENIED.value, sa.true() if body is None else _party(body)
        ).group_by(_record.reason)  # fmt: skip
        with self._store.reading() as connection:
            rows = connection.execute(query).all()
        counts: dict[str, int] = {}
        for reason, count in rows:
            basis = reason.partition(",")[0]
            counts[basis] = counts.get(basis, 0) + count
        return counts


def _party(body: str) -> sa.ColumnElement[bool]:
    return (_record.requester == body) | (_record.provider == body)


def _as_record(row: Any) -> ProvisionRecord:
    provided: datetime | None = None if row.provided_at is None else from_epoch(row.provided_at)
    return ProvisionRecord(
        row.number, row.requester, row.provider, row.item, from_epoch(row.requested_at), provided,
        RequestOutcome(row.outcome), row.reason,
    )  # fmt: skip
