"""The five reasons for which the Supreme Court found Juki-Net constitutional on 2008-03-06 (平19(オ)403), compared with
the stores of a world's actors. Each contradiction is a row that anybody can look up."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from kazashi.assembly.actors import actors_of
from kazashi.assembly.network import Network
from kazashi.provision_network.off_network import OffNetwork
from kazashi.provision_network.rules import Decision, Denial, Penalty
from kazashi.world.home import World

_IDENTITY = {"family", "given", "former_surname", "common_name", "kana", "former_surname_kana"}
_NOT_SECRET = {
    "name", "birth", "sex", "municipality", "street", "alias", "about", "stay_end", "nationality", "residence_status",
    "household", "status", "since", "residences", *_IDENTITY,
}  # fmt: skip
_CARD_BORNE = {"serial", "resident_record_code", "record_code"}
"""Columns of what a card carries or stands for: certificate serial numbers and resident record codes."""


@dataclass(frozen=True, slots=True)
class RulingFinding:
    """A reason of the ruling: its numeral, its text, and the rows that contradict it."""

    reason: str
    words: str
    against: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether nothing contradicts the reason."""
        return not self.against


def held_against_stores(world: World, network: Network) -> list[RulingFinding]:
    """Compare the five reasons with the stores of a world, in the ruling's order."""
    return [
        RulingFinding("i", "the data in Juki-Net is not highly confidential", _secret(network)),
        RulingFinding("ii", "no data is disclosed without a legal basis", _without_basis(world, network)),
        RulingFinding("iii", "no institution can combine data of different sectors", _joined(network)),
        RulingFinding("iv", "use for another purpose is punished", _unpunished(world, network)),
        RulingFinding("v", "the data on the card does not stay in the computers of agencies", _left(world)),
    ]


def _secret(network: Network) -> list[str]:
    """The fields that J-LIS holds beyond the four attributes and what belongs to them."""
    store = network.institutions.juki_net.j_lis.store
    with store.reading() as connection:
        documents = connection.execute(sa.text("SELECT document FROM identity LIMIT 1000")).scalars().all()
    keys = {key for text in documents for key in json.loads(text)}
    return [f"j_lis.identity holds {key!r}" for key in sorted(keys - _NOT_SECRET)]


def _without_basis(world: World, network: Network) -> list[str]:
    """Provisions that were not denied and have no legal basis, on the network and outside it."""
    with network.core.store.reading() as connection:
        query = "SELECT number FROM provision_record WHERE outcome <> 'denied' AND reason = ''"
        rows = connection.execute(sa.text(query)).scalars().all()
    given = [line for line in OffNetwork(world).given() if not line.denial and not line.rule]
    return [f"provision_record {number}" for number in rows] + [f"off_network.given {line.position}" for line in given]


def _joined(network: Network) -> list[str]:
    """Platforms where one code of an institution is stored with copies of several sectors, or where the operator can
    read the copies of several institutions."""
    against = []
    for interface in network.interfaces:
        with interface.platform.store.reading() as connection:
            query = sa.text(
                "SELECT owner, count(DISTINCT item), min(address_number) FROM copy GROUP BY owner, code"
                " HAVING count(DISTINCT item) > 1 ORDER BY owner LIMIT 5"
            )
            rows = connection.execute(query).all()
        against += [f"{owner} has {items} sectors under one code (address {address})" for owner, items, address in rows]
        operator = interface.platform.operator_sees()
        if len(operator) > 1:
            total = sum(operator.values())
            against.append(
                f"the operator of {interface.platform.name} can read {total} copies of {len(operator)} institutions,"
                " each under its own codes"
            )
    return against


def _unpunished(world: World, network: Network) -> list[str]:
    """Reasons of denials for which the law has no penalty."""
    with network.core.store.reading() as connection:
        query = "SELECT DISTINCT reason FROM provision_record WHERE outcome = 'denied'"
        reasons = list(connection.execute(sa.text(query)).scalars())
    reasons += [line.denial for line in OffNetwork(world).given() if line.denial]
    known = {denial.value: denial for denial in Denial}
    return [reason for reason in dict.fromkeys(reasons)
            if reason not in known or Decision("", known[reason], "").penalty is Penalty.NONE]  # fmt: skip


def _left(world: World) -> list[str]:
    """Columns of services that hold serial numbers or resident record codes, with the number of rows. The issuers of
    these (the registry, its network, the core, the authorities) are left out: they are not agencies that a person shows
    the card to."""
    against = []
    for actor in (actor.store for actor in actors_of(world) if not actor.owner.issues):
        store = world.store_to_study(actor)
        inspector = sa.inspect(store.engine)
        schema = actor if world.settings.storage else None
        for table in sorted(inspector.get_table_names(schema=schema)):
            columns = {column["name"] for column in inspector.get_columns(table, schema=schema)} & _CARD_BORNE
            for column in sorted(columns):
                if count := _count(store, table, column):
                    against.append(f"{actor}.{table}.{column}: {count} rows")
    return against


def _count(store: Any, table: str, column: str) -> int:
    with store.reading() as connection:
        query = f'SELECT count("{column}") FROM "{table}"'
        return int(connection.scalar(sa.text(query)) or 0)
