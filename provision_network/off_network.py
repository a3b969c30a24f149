"""Provision outside the network (番号法19条, all items but the two for the network), with each provider's own log. The
portal does not show it, and the Commission may inspect all of it except what investigators received."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from kazashi.provision_network.law.provisions import (
    IN_FORCE,
    PersonField,
    Policy,
    Provision,
    commission_inspects,
    decide_provision,
    portal_shows,
)
from kazashi.provision_network.law.rules import Decision
from kazashi.provision_network.law.uses import ReceivedNumber
from kazashi.provision_network.law.versions import NETWORK_IN_LAW, ProvisionItem, version_on
from kazashi.provision_network.terms import NetworkRejected
from kazashi.world.clock import epoch, from_epoch, today
from kazashi.world.home import World
from kazashi.world.storage import Position, insert_if_absent

ACTOR = "off_network"
"""The name of the store with the logs."""

_METADATA = sa.MetaData()
_GIVEN = sa.Table(
    "given", _METADATA,
    sa.Column("position", Position, primary_key=True),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("provider", sa.Text, nullable=False),
    sa.Column("receiver", sa.Text, nullable=False),
    sa.Column("item", sa.Text, nullable=False),
    sa.Column("handle", sa.Text, nullable=False),
    sa.Column("what", sa.Text, nullable=False),
    sa.Column("rule", sa.Text, nullable=False),
    sa.Column("denial", sa.Text, nullable=False),
    sa.Column("facts", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False, server_default="", index=True),
    sa.Column("reference", sa.Text, nullable=False, server_default=""),
)  # fmt: skip

_FILE_GIVEN = sa.Table(
    "file_given", _METADATA,
    sa.Column("digest", sa.Text, primary_key=True),
    sa.Column("provider", sa.Text, nullable=False),
    sa.Column("receiver", sa.Text, nullable=False),
    sa.Column("medium", sa.Text, nullable=False),
    sa.Column("records", sa.Integer, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
)  # fmt: skip

_KEPT_FILE = sa.Table(
    "kept_file", _METADATA,
    sa.Column("holder", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("line", sa.BigInteger, nullable=False),
    sa.Column("assessed", sa.Text, nullable=False),
)  # fmt: skip
"""Files of specific personal information that receivers keep: the line of the log, and the day of the assessment."""

COMMISSION = "個人情報保護委員会"


@dataclass(frozen=True, slots=True)
class Given:
    """A line of the log: who provided which kind of identifier to whom, and the rule that allows it or the denial.

    `handle` is None for information without an identifier. `facts` are the fields of the Provision that are not empty.
    `subject` is the provider's own number for the person, empty if it was not stated.
    """

    position: int
    at: datetime
    provider: str
    receiver: str
    item: ProvisionItem
    handle: PersonField | None
    what: str
    rule: str
    denial: str
    facts: dict[str, Any]
    subject: str = ""


@dataclass(frozen=True, slots=True)
class FileGiven:
    """A file that was handed over, by the digest of its content: from whom to whom, on which medium, with how many
    records."""

    digest: str
    provider: str
    receiver: str
    medium: str
    records: int


@dataclass(frozen=True, slots=True)
class KeptFile:
    """A file of specific personal information that a receiver keeps: from which line of the log, and the day of the
    impact assessment that covers it."""

    holder: str
    name: str
    line: int
    assessed: date


class OffNetwork:
    """The logs of bodies that provide information outside the network; each line belongs to its provider."""

    def __init__(self, world: World, policy: Policy = IN_FORCE) -> None:
        self._world = world
        self._policy = policy
        self.store = world.store(ACTOR, _METADATA, [_items_have_names])

    def give(
        self, provider: str, receiver: str, provision: Provision, what: str, subject: str = "", *,
        reference: str = "", policy: Policy | None = None,
    ) -> Decision:  # fmt: skip
        """Provide information if the law allows it, and log it in either case.

        `subject` is the provider's own number for the person, and `policy` the ordinance of the provider if it differs
        from that of the log. What has a `reference` is logged once, however often an interrupted command is repeated.
        Raises NetworkRejected if the law does not allow it, with the penalty.
        """
        decision = decide_provision(provision, today(self._world.clock), policy or self._policy)
        line = self._line(provider, receiver, provision, decision, what, subject)
        same = (_GIVEN.c.provider == provider) & (_GIVEN.c.reference == reference)
        with self.store.alone() as connection:
            if not reference or connection.scalar(sa.select(_GIVEN.c.position).where(same)) is None:
                connection.execute(sa.insert(_GIVEN), {**line, "reference": reference})
        if decision.denial is not None:
            raise rejected(decision)
        return decision

    def give_file(self, file: FileGiven, lines: Sequence[tuple[Provision, str, str]]) -> bool:
        """Log that a file is handed over: a line for each provision, given with what it is and its subject, and denied
        ones too, all or none.

        Returns False, and logs nothing, if the same file was logged before: an interrupted hand-over was then repeated.
        """
        on = today(self._world.clock)
        row = {**asdict(file), "at": epoch(self._world.clock.now())}
        decided: dict[Provision, Decision] = {}
        with self.store.alone() as connection:
            if not connection.execute(insert_if_absent(_FILE_GIVEN), row).rowcount:
                return False
            for provision, what, subject in lines:
                if provision not in decided:
                    decided[provision] = decide_provision(provision, on, self._policy)
                line = self._line(file.provider, file.receiver, provision, decided[provision], what, subject)
                connection.execute(sa.insert(_GIVEN), line)
        return True

    def _line(
        self, provider: str, receiver: str, provision: Provision, decision: Decision, what: str, subject: str
    ) -> dict[str, Any]:  # fmt: skip
        facts = {name: getattr(value, "value", value) for name, value in asdict(provision).items() if value}
        return {
            "at": epoch(self._world.clock.now()), "provider": provider, "receiver": receiver,
            "item": provision.item.value, "handle": "" if provision.handle is None else provision.handle.value,
            "what": what, "rule": decision.rule,
            "denial": "" if decision.denial is None else decision.denial.value,
            "facts": json.dumps(facts, ensure_ascii=False), "subject": subject,
        }  # fmt: skip

    def given(self, provider: str | None = None) -> list[Given]:
        """Return what was provided or denied, by one body or by all (None)."""
        query = sa.select(_GIVEN).order_by(_GIVEN.c.position)
        if provider is not None:
            query = query.where(_GIVEN.c.provider == provider)
        with self.store.reading() as connection:
            return [_as_given(row) for row in connection.execute(query)]

    def about(self, provider: str, subject: str) -> list[Given]:
        """Return what a body provided, or was denied, about a person, by its own number for the person."""
        this = (_GIVEN.c.provider == provider) & (_GIVEN.c.subject == subject)
        with self.store.reading() as connection:
            return [
                _as_given(row) for row in connection.execute(sa.select(_GIVEN).where(this).order_by(_GIVEN.c.position))
            ]

    def line_with(self, provider: str, reference: str) -> Given | None:
        """Return the line of a body's log with a reference, None if there is no such line."""
        this = (_GIVEN.c.provider == provider) & (_GIVEN.c.reference == reference)
        with self.store.reading() as connection:
            row = connection.execute(sa.select(_GIVEN).where(this)).one_or_none()
        return None if row is None else _as_given(row)

    def receipt(self, line: int) -> ReceivedNumber | None:
        """Return what a body has received by a line of the providers' logs; None if there is no such line, or the
        provision was denied."""
        with self.store.reading() as connection:
            row = connection.execute(sa.select(_GIVEN).where(_GIVEN.c.position == line)).one_or_none()
        if row is None or row.denial:
            return None
        return ReceivedNumber(ProvisionItem(row.item), row.receiver, json.loads(row.facts).get("purpose", ""))

    def keep(self, file: KeptFile) -> None:
        """Record that a receiver keeps a file of what it received. Raises NetworkRejected if it keeps one of that name
        already."""
        row = {**asdict(file), "assessed": file.assessed.isoformat()}
        with self.store.alone() as connection:
            if not connection.execute(insert_if_absent(_KEPT_FILE), row).rowcount:
                raise NetworkRejected("file-exists", f"{file.holder} keeps a file {file.name} already")

    def kept(self) -> list[KeptFile]:
        """Return the files that receivers keep."""
        with self.store.reading() as connection:
            rows = connection.execute(sa.select(_KEPT_FILE).order_by(_KEPT_FILE.c.holder, _KEPT_FILE.c.name))
            return [KeptFile(row.holder, row.name, row.line, date.fromisoformat(row.assessed)) for row in rows]

    def inspected(self, role: str) -> list[Given]:
        """Return the lines that the Commission may inspect. Raises NetworkRejected for any other role."""
        if role != COMMISSION:
            raise NetworkRejected("not-entitled", f"only {COMMISSION} may inspect the logs, not {role}")
        return [line for line in self.given() if commission_inspects(line.item)]

    def shown_in_portal(self) -> list[Given]:
        """Return the lines that the portal shows to a person: by rule, none."""
        return [line for line in self.given() if portal_shows(line.item)]


def rejected(decision: Decision) -> NetworkRejected:
    """Return the refusal for a decision that denies, with the penalty for doing it all the same."""
    assert decision.denial is not None
    return NetworkRejected(decision.denial.value, f"{decision.words}; penalty: {decision.penalty.value}")


def _as_given(row: Any) -> Given:
    return Given(
        row.position, from_epoch(row.at), row.provider, row.receiver, ProvisionItem(row.item),
        PersonField(row.handle) if row.handle else None, row.what, row.rule, row.denial, json.loads(row.facts),
        row.subject,
    )  # fmt: skip


def hidden_share(records: int, given: list[Given]) -> float:
    """Return the share of all exchanges that a person cannot see in the portal (experiment X19 of the tracking lab)."""
    hidden = sum(not line.denial for line in given)
    return hidden / (records + hidden) if records + hidden else 0.0


def _items_have_names(connection: sa.Connection) -> None:
    """Migrate to version 2: an item has its name in place of its number in the law of 2017, also in the facts, and a
    line has a subject."""
    if not sa.inspect(connection).has_table(_GIVEN.name):
        return
    rows = connection.execute(sa.text(f"SELECT * FROM {_GIVEN.name} ORDER BY position")).mappings().all()
    connection.execute(sa.text(f"DROP TABLE {_GIVEN.name}"))
    _GIVEN.create(connection)
    version = version_on(NETWORK_IN_LAW)
    for row in rows:
        found = version.item(row["item"]) if version is not None else None
        item = ProvisionItem.COMMISSION_RULE if found is None else found
        facts = {**json.loads(row["facts"]), "item": item.value, "handle": row["handle"]}
        connection.execute(
            sa.insert(_GIVEN), {**row, "item": item.value, "facts": json.dumps(facts, ensure_ascii=False)}
        )
