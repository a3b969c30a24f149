"""Provision outside the network (番号法19条, all items but 7 and 8), with each provider's own log. The portal does not
show it, and the Commission may inspect all of it except what investigators received."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from kazashi.provision_network.law_versions import NETWORK_IN_LAW, ProvisionItem, version_on
from kazashi.provision_network.provisions import (
    IN_FORCE,
    PersonField,
    Policy,
    Provision,
    commission_inspects,
    decide_provision,
    portal_shows,
)
from kazashi.provision_network.rules import Decision
from kazashi.provision_network.terms import NetworkRejected
from kazashi.world.clock import epoch, from_epoch, today
from kazashi.world.home import World
from kazashi.world.storage import Position

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
)  # fmt: skip

COMMISSION = "個人情報保護委員会"


@dataclass(frozen=True, slots=True)
class Given:
    """A line of the log: who provided which kind of identifier to whom, and the rule that allows it or the denial.
    `facts` are the fields of the Provision that are not empty."""

    position: int
    at: datetime
    provider: str
    receiver: str
    item: ProvisionItem
    handle: PersonField
    what: str
    rule: str
    denial: str
    facts: dict[str, Any]


class OffNetwork:
    """The logs of bodies that provide information outside the network; each line belongs to its provider."""

    def __init__(self, world: World, policy: Policy = IN_FORCE) -> None:
        self._world = world
        self._policy = policy
        self.store = world.store(ACTOR, _METADATA, [_items_have_names])

    def give(self, provider: str, receiver: str, provision: Provision, what: str) -> Decision:
        """Provide information if the law allows it, and log it in either case. Raises NetworkRejected if the law does
        not allow it."""
        decision = decide_provision(provision, today(self._world.clock), self._policy)
        facts = {name: getattr(value, "value", value) for name, value in asdict(provision).items() if value}
        row = {
            "at": epoch(self._world.clock.now()), "provider": provider, "receiver": receiver, "what": what,
            "item": provision.item.value, "handle": provision.handle.value, "rule": decision.rule,
            "denial": "" if decision.denial is None else decision.denial.value,
            "facts": json.dumps(facts, ensure_ascii=False),
        }  # fmt: skip
        with self.store.transaction() as connection:
            connection.execute(sa.insert(_GIVEN), row)
        if decision.denial is not None:
            raise NetworkRejected(decision.denial.value, decision.words)
        return decision

    def given(self, provider: str | None = None) -> list[Given]:
        """Return what was provided or denied, by one body or by all (None)."""
        query = sa.select(_GIVEN).order_by(_GIVEN.c.position)
        if provider is not None:
            query = query.where(_GIVEN.c.provider == provider)
        with self.store.reading() as connection:
            return [
                Given(row.position, from_epoch(row.at), row.provider, row.receiver, ProvisionItem(row.item),
                      PersonField(row.handle), row.what, row.rule, row.denial, json.loads(row.facts))
                for row in connection.execute(query)
            ]  # fmt: skip

    def inspected(self, role: str) -> list[Given]:
        """Return the lines that the Commission may inspect. Raises NetworkRejected for any other role."""
        if role != COMMISSION:
            raise NetworkRejected("not-entitled", f"only {COMMISSION} may inspect the logs, not {role}")
        return [line for line in self.given() if commission_inspects(line.item)]

    def shown_in_portal(self) -> list[Given]:
        """Return the lines that the portal shows to a person: by rule, none."""
        return [line for line in self.given() if portal_shows(line.item)]


def hidden_share(records: int, given: list[Given]) -> float:
    """Return the share of all exchanges that a person cannot see in the portal (experiment X19 of the tracking lab)."""
    hidden = sum(not line.denial for line in given)
    return hidden / (records + hidden) if records + hidden else 0.0


def _items_have_names(connection: sa.Connection) -> None:
    """Migrate to version 2: an item has its name in place of its number in the law of 2017, also in the facts."""
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
