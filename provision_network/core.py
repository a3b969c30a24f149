"""The core of the network (コアシステム): it makes codes, converts them, decides by the rules, and keeps records.

It stores no information about anybody: of a person it has a number of its own beside the resident record code, and of
an exchange who asked whom, when, and for which item (番号法23条). Its records stand under the record code, which nobody
else has.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

import sqlalchemy as sa

from provision_network.codes import Coder, InstitutionCode, LinkageCode, PortalCode
from provision_network.rules import Decision, Purpose, RuleBook
from relying_party.store import event_table
from world.chance import unforeseen
from world.clock import JST, epoch, from_epoch
from world.home import World
from world.storage import Position

_KEY_BITS = 256
_LINKAGE_BITS = 56


class NetworkRefused(Exception):
    """The network does not do that; `denial` is the reason's word, and nothing but a refusal was recorded."""

    def __init__(self, denial: str, words: str) -> None:
        super().__init__(words)
        self.denial = denial


class Role(Enum):
    """Who calls the core."""

    CORE_OPERATOR = "core-operator"
    """The Minister of Internal Affairs: runs the core, and alone may have a code converted by hand."""
    PORTAL_OPERATOR = "portal-operator"
    """The Cabinet Office."""
    INSTITUTION = "institution"


class Outcome(Enum):
    """Where a request stands. A provider that was notified provides, or holds; it cannot refuse (22条)."""

    NOTIFIED = "notified"
    PROVIDED = "provided"
    HELD = "held"
    DENIED = "denied"


@dataclass(frozen=True, slots=True)
class Institution:
    """A body on the network. `kind` is what the rules call it, `group` the name under which codes are made: its own,
    unless it shares them with others. `assessed` says that its impact assessment is done (D10)."""

    name: str
    kind: str
    group: str
    assessed: bool
    starts: datetime


@dataclass(frozen=True, slots=True)
class Notified:
    """What the core hands to a provider: the request's number, the person as the provider calls him, and what is asked.
    `rule` is the provision that allows it."""

    number: int
    code: InstitutionCode
    requester: str
    item: str
    rule: str


@dataclass(frozen=True, slots=True)
class ProvisionRecord:
    """What is kept of an exchange (情報提供等の記録): who, whom, when, which item. Not what was said."""

    number: int
    requester: str
    provider: str
    item: str
    requested_at: datetime
    provided_at: datetime | None
    outcome: Outcome
    reason: str


class Core:
    """The core of one world."""

    def __init__(self, world: World, rules: RuleBook) -> None:
        self._world = world
        self.rules = rules
        metadata = sa.MetaData()
        self._secret = sa.Table(
            "secret", metadata,
            sa.Column("name", sa.Text, primary_key=True),
            sa.Column("value", sa.LargeBinary, nullable=False),
        )  # fmt: skip
        self._person = sa.Table(
            "person", metadata,
            sa.Column("linkage", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("resident_record_code", sa.Text, unique=True, nullable=False),
        )  # fmt: skip
        self._group = sa.Table(
            "code_group", metadata,
            sa.Column("number", sa.Integer, primary_key=True),
            sa.Column("name", sa.Text, unique=True, nullable=False),
        )  # fmt: skip
        self._institution = sa.Table(
            "institution", metadata,
            sa.Column("name", sa.Text, primary_key=True),
            sa.Column("kind", sa.Text, nullable=False),
            sa.Column("code_group", sa.Integer, nullable=False),
            sa.Column("assessed", sa.Boolean, nullable=False),
            sa.Column("starts", sa.BigInteger, nullable=False),
        )  # fmt: skip
        self._record = sa.Table(
            "provision_record", metadata,
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
        _, self._log = event_table(metadata)
        self.store = world.store("provision_core", metadata)
        self._coder = self._begin()

    def _begin(self) -> Coder:
        with self.store.alone() as connection:
            key = connection.scalar(sa.select(self._secret.c.value).where(self._secret.c.name == "key"))
            if key is None:
                key = unforeseen(_KEY_BITS).to_bytes(_KEY_BITS // 8)
                connection.execute(sa.insert(self._secret), {"name": "key", "value": key})
        return Coder(bytes(key))

    # Institutions

    def connect(
        self, name: str, kind: str, *, assessed: bool, group: str = "", starts: datetime | None = None
    ) -> Institution:  # fmt: skip
        """Put a body on the network, or change what is known of it. Several in one `group` share one code for a person,
        as the medical insurers do."""
        group = group or name
        starts = starts or self._world.clock.now()
        with self.store.alone() as connection:
            number = connection.scalar(sa.select(self._group.c.number).where(self._group.c.name == group))
            if number is None:
                number = connection.execute(
                    sa.insert(self._group).returning(self._group.c.number), {"name": group}
                ).scalar_one()
            values = {"kind": kind, "code_group": number, "assessed": assessed, "starts": epoch(starts)}
            here = self._institution.c.name == name
            if not connection.execute(sa.update(self._institution).where(here).values(values)).rowcount:
                connection.execute(sa.insert(self._institution), {"name": name, **values})
            self._log(connection, self._world.clock.now(), "connected", {"institution": name, "assessed": assessed})
        return Institution(name, kind, group, assessed, starts)

    def _known(self, connection: sa.Connection, name: str) -> Any:
        """A body that may take part now. Raises NetworkRefused."""
        row = connection.execute(sa.select(self._institution).where(self._institution.c.name == name)).one_or_none()
        if row is None:
            raise NetworkRefused("unknown-institution", f"{name} is not on the network")
        if not row.assessed:
            raise NetworkRefused("no-assessment", f"{name} has not done its impact assessment (特定個人情報保護評価)")
        if row.starts > epoch(self._world.clock.now()):
            raise NetworkRefused("not-started", f"{name} takes part from {from_epoch(row.starts):%Y-%m-%d} on")
        return row

    # Codes

    def code_for(self, institution: str, resident_record_code: str) -> InstitutionCode:
        """A person's code for a body that is entitled to it: the way from the resident registry's network, which is the
        only one that knows the resident record code. Raises NetworkRefused."""
        with self.store.alone() as connection:
            row = self._known(connection, institution)
            return self._coder.institution(self._linkage(connection, resident_record_code), row.code_group)

    def portal_code(self, resident_record_code: str) -> PortalCode:
        """A person's code for the portal."""
        with self.store.alone() as connection:
            return self._coder.portal(self._linkage(connection, resident_record_code))

    def _linkage(self, connection: sa.Connection, resident_record_code: str) -> LinkageCode:
        table = self._person
        here = table.c.resident_record_code == resident_record_code
        found = connection.scalar(sa.select(table.c.linkage).where(here))
        if found is None:
            # At random, so that it tells nothing of the code that it goes with, and that code may be changed.
            found = unforeseen(_LINKAGE_BITS) or 1
            row = {"linkage": found, "resident_record_code": resident_record_code}
            connection.execute(sa.insert(table), row)
        return LinkageCode(found)

    def recode(self, old: str, new: str) -> None:
        """A person's resident record code was changed: all codes stay what they are."""
        table = self._person
        with self.store.alone() as connection:
            changed = sa.update(table).where(table.c.resident_record_code == old).values(resident_record_code=new)
            connection.execute(changed)
            self._log(connection, self._world.clock.now(), "recoded", {})

    def convert(self, role: Role, code: InstitutionCode, source: str, target: str) -> InstitutionCode:
        """One body's code for a person as another's. The core's operator alone may have that, and it is logged. Raises
        NetworkRefused and ForeignCode."""
        if role is not Role.CORE_OPERATOR:
            raise NetworkRefused("not-entitled", f"a {role.value} may not have codes converted")
        with self.store.transaction() as connection:
            ours, theirs = self._known(connection, source), self._known(connection, target)
            self._log(connection, self._world.clock.now(), "converted", {"source": source, "target": target})
        return self._coder.convert(code, ours.code_group, theirs.code_group)

    # The flow

    def request(
        self, requester: str, code: InstitutionCode, purpose: Purpose, providers: list[str], *, consent: bool = False
    ) -> Notified:  # fmt: skip
        """The second and third step of five: decide, convert, and notify the one provider. Whatever is denied is
        recorded too. Raises NetworkRefused and ForeignCode."""
        if len(providers) != 1:
            raise NetworkRefused("broadcast", "a request goes to one provider")
        (provider,) = providers
        now = self._world.clock.now()
        with self.store.transaction() as connection:
            ours, theirs = self._known(connection, requester), self._known(connection, provider)
            linkage = self._coder.linkage(code, ours.code_group)
            if (ours.kind, theirs.kind) != (purpose.requester, purpose.provider):
                words = f"{requester} is {ours.kind}, and {provider} is {theirs.kind}"
                raise NetworkRefused("another-body", words)
            decision = self.rules.decide(purpose, now.astimezone(JST).date(), consent=consent, provider_name=provider)
            number = self._note(connection, linkage, requester, provider, purpose.item, decision, now)
        if decision.denial is not None:
            raise NetworkRefused(decision.denial.value, decision.words)
        return Notified(
            number, self._coder.institution(linkage, theirs.code_group), requester, purpose.item, decision.rule
        )

    def _note(
        self, connection: sa.Connection, linkage: LinkageCode, requester: str, provider: str, item: str,
        decision: Decision, now: datetime,
    ) -> int:  # fmt: skip
        outcome = Outcome.NOTIFIED if decision.allowed else Outcome.DENIED
        row = {
            "record_code": self._coder.record(linkage).value, "requester": requester, "provider": provider,
            "item": item, "requested_at": epoch(now), "outcome": outcome.value,
            "reason": decision.rule if decision.denial is None else decision.denial.value,
        }  # fmt: skip
        found = connection.execute(sa.insert(self._record).returning(self._record.c.number), row).scalar_one()
        return int(found)

    def settle(self, provider: str, number: int, outcome: Outcome) -> None:
        """What the provider says it has done: provided, or held for a human's look. It cannot refuse. Raises
        NetworkRefused."""
        if outcome not in (Outcome.PROVIDED, Outcome.HELD):
            raise NetworkRefused("duty-to-provide", "a provider that was notified provides, or holds")
        table = self._record
        with self.store.alone() as connection:
            here = (table.c.number == number) & (table.c.provider == provider)
            state = connection.scalar(sa.select(table.c.outcome).where(here))
            if state not in (Outcome.NOTIFIED.value, Outcome.HELD.value):
                raise NetworkRefused(
                    "not-notified", f"{provider} was not notified of a request {number}, or has answered"
                )
            at = epoch(self._world.clock.now()) if outcome is Outcome.PROVIDED else None
            connection.execute(sa.update(table).where(here).values(outcome=outcome.value, provided_at=at))

    # Records

    def records(self, code: PortalCode) -> list[ProvisionRecord]:
        """A person's records, as the portal asks for them, oldest first. Raises ForeignCode."""
        wanted = self._coder.record(self._coder.linkage(code)).value
        table = self._record
        with self.store.reading() as connection:
            rows = connection.execute(sa.select(table).where(table.c.record_code == wanted).order_by(table.c.number))
            return [
                ProvisionRecord(
                    row.number, row.requester, row.provider, row.item, from_epoch(row.requested_at),
                    from_epoch(row.provided_at) if row.provided_at is not None else None, Outcome(row.outcome),
                    row.reason,
                )
                for row in rows
            ]  # fmt: skip
