"""Why the Supreme Court found Juki-Net constitutional on 2008-03-06 (平19(オ)403): five reasons, held against what the
actors of a world have on their disks. Whatever contradicts a reason is a row that anybody can look up."""

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
"""Columns that hold what a card carries, or stands for: certificate serial numbers and resident record codes."""


@dataclass(frozen=True, slots=True)
class RulingFinding:
    """A reason, and the rows that speak against it."""

    reason: str
    words: str
    against: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.against


def held_against_stores(world: World, network: Network) -> list[RulingFinding]:
    """The five reasons, in the ruling's order."""
    return [
        RulingFinding("i", "what Juki-Net holds is not highly secret", _secret(network)),
        RulingFinding("ii", "nothing is disclosed without a basis in law", _without_basis(world, network)),
        RulingFinding("iii", "no body can bring together what is handled in different sectors", _joined(network)),
        RulingFinding("iv", "use off purpose is punished", _unpunished(world, network)),
        RulingFinding("v", "what the card carries is not left in the computers of agencies", _left(world)),
    ]


def _secret(network: Network) -> list[str]:
    """What J-LIS holds of people beyond the four attributes and what goes with them."""
    store = network.institutions.juki_net.j_lis.store
    with store.reading() as connection:
        documents = connection.execute(sa.text("SELECT document FROM identity LIMIT 1000")).scalars().all()
    keys = {key for text in documents for key in json.loads(text)}
    return [f"j_lis.identity holds {key!r}" for key in sorted(keys - _NOT_SECRET)]


def _without_basis(world: World, network: Network) -> list[str]:
    with network.core.store.reading() as connection:
        query = "SELECT number FROM provision_record WHERE outcome <> 'denied' AND reason = ''"
        rows = connection.execute(sa.text(query)).scalars().all()
    given = [line for line in OffNetwork(world).given() if not line.denial and not line.rule]
    return [f"provision_record {number}" for number in rows] + [f"off_network.given {line.position}" for line in given]


def _joined(network: Network) -> list[str]:
    """Platforms on which one owner's one code stands beside copies of several sectors, or one operator could read
    several bodies' copies."""
    found = []
    for interface in network.interfaces:
        with interface.platform.store.reading() as connection:
            query = sa.text(
                "SELECT owner, count(DISTINCT item), min(address_number) FROM copy GROUP BY owner, code"
                " HAVING count(DISTINCT item) > 1 ORDER BY owner LIMIT 5"
            )
            rows = connection.execute(query).all()
        found += [f"{owner} has {items} sectors under one code (address {address})" for owner, items, address in rows]
        operator = interface.platform.operator_sees()
        if len(operator) > 1:
            total = sum(operator.values())
            found.append(
                f"whoever runs {interface.platform.name} could read {total} copies of {len(operator)} bodies,"
                " each under codes of its own"
            )
    return found


def _unpunished(world: World, network: Network) -> list[str]:
    """Denials for which the law has no penalty in store."""
    with network.core.store.reading() as connection:
        query = "SELECT DISTINCT reason FROM provision_record WHERE outcome = 'denied'"
        reasons = list(connection.execute(sa.text(query)).scalars())
    reasons += [line.denial for line in OffNetwork(world).given() if line.denial]
    known = {denial.value: denial for denial in Denial}
    return [reason for reason in dict.fromkeys(reasons)
            if reason not in known or Decision("", known[reason], "").penalty is Penalty.NONE]  # fmt: skip


def _left(world: World) -> list[str]:
    """Tables of services that hold serial numbers or resident record codes, with how many rows. Whoever issues these
    is not an agency that a person shows the card to: the registry, its network, the core, and the authorities."""
    found = []
    for actor in (actor.store for actor in actors_of(world) if not actor.owner.issues):
        store = world.store_to_study(actor)
        inspector = sa.inspect(store.engine)
        schema = actor if world.settings.storage else None
        for table in sorted(inspector.get_table_names(schema=schema)):
            columns = {column["name"] for column in inspector.get_columns(table, schema=schema)} & _CARD_BORNE
            for column in sorted(columns):
                if count := _count(store, table, column):
                    found.append(f"{actor}.{table}.{column}: {count} rows")
    return found


def _count(store: Any, table: str, column: str) -> int:
    with store.reading() as connection:
        query = f'SELECT count("{column}") FROM "{table}"'
        return int(connection.scalar(sa.text(query)) or 0)
