"""Flows inside one body, from one of its offices to another (庁内連携), with the body's own record.

No network carries them and no portal shows them. The offices are those of a municipality; which affairs each has is
made up (`offices.csv`). A flow needs an affair of 別表第一 that both offices have (番号法9条1項), or an affair by
ordinance that the body has filed with the Commission (9条2項). Tax data need a duty to report or consent as well.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache

import sqlalchemy as sa

from kazashi.provision_network.body_register_store import INTERNAL_FLOW, body_register_store, log
from kazashi.provision_network.law.rules import Decision, Denial, OrdinanceAffair
from kazashi.provision_network.law.tables import TAX_ITEM, obliges_to_report, read_table
from kazashi.provision_network.law.uses import Clause, Deed, Use, decide_use
from kazashi.world.clock import epoch, from_epoch
from kazashi.world.home import World

TAX_OFFICE = "税務"

_flow = INTERNAL_FLOW.c


@dataclass(frozen=True, slots=True)
class Flow:
    """What an office of a body asks another office for, about a person.

    `kind` is the kind of the body and `address_number` the person's number there. The basis is either `law`, that of an
    affair of 別表第一, or `ordinance`, the identifier of a filing with the Commission.
    """

    body: str
    kind: str
    address_number: str
    from_office: str
    to_office: str
    information: str
    law: str = ""
    ordinance: str = ""


@dataclass(frozen=True, slots=True)
class RecordedFlow:
    """A line of a body's record: a flow, its time, and the rule that allows it or the denial."""

    number: int
    at: datetime
    flow: Flow
    rule: str
    denial: str


@lru_cache(maxsize=1)
def offices() -> dict[str, frozenset[str]]:
    """Return the offices of a municipality, each with the laws of its affairs."""
    lines = read_table("offices.csv", ("office", "law", "source"))
    names = dict.fromkeys(line["office"] for line in lines)
    return {name: frozenset(line["law"] for line in lines if line["office"] == name) for name in names}


def decide_flow(flow: Flow, on: date, ordinances: Iterable[OrdinanceAffair], *, consent: bool) -> Decision:
    """Decide whether a flow is allowed on a day. `ordinances` are those that were filed with the Commission, and
    `consent` says whether the person's is registered."""
    known = offices()
    for office in (flow.from_office, flow.to_office):
        if office not in known:
            return _denied(f"{flow.body} has no office {office}; it has {', '.join(known)}")
    if flow.from_office == flow.to_office:
        return _denied(f"{flow.to_office} has the information itself")
    if bool(flow.law) == bool(flow.ordinance):
        return _denied("a flow needs the law of an affair or an ordinance, and not both")
    if flow.ordinance:
        use = Use(Clause.ORDINANCE, Deed.SEARCH, flow.body, flow.kind, ordinance=flow.ordinance)
    else:
        lacking = [office for office in (flow.from_office, flow.to_office) if flow.law not in known[office]]
        if lacking:
            return _denied(
                f"{' and '.join(lacking)} have no affair under {flow.law}; an ordinance may allow it (9条2項)"
            )
        use = Use(Clause.TABLE, Deed.SEARCH, flow.body, flow.kind, law=flow.law)
    decision = decide_use(use, on, ordinances)
    if not decision.allowed or flow.information != TAX_ITEM or flow.from_office != TAX_OFFICE:
        return decision
    if consent or obliges_to_report(flow.law):
        return decision
    words = f"{flow.law or flow.ordinance} does not oblige the person to report, so tax data need the person's consent"
    return Decision("", Denial.TAX_SECRECY, f"{words} (地方税法22条)")


class InternalFlows:
    """The records of flows inside the bodies of one world."""

    def __init__(self, world: World) -> None:
        self._clock = world.clock
        self.store = body_register_store(world)

    def record(self, flow: Flow, decision: Decision) -> RecordedFlow:
        """Record a flow, or its denial."""
        denial = "" if decision.denial is None else decision.denial.value
        at = self._clock.now()
        row = {
            "body": flow.body, "address_number": flow.address_number, "at": str(epoch(at)),
            "from_office": flow.from_office, "to_office": flow.to_office, "information": flow.information,
            "law": flow.law, "ordinance": flow.ordinance, "rule": decision.rule, "denial": denial,
        }  # fmt: skip
        with self.store.transaction() as connection:
            number = connection.execute(sa.insert(INTERNAL_FLOW).returning(_flow.number), row).scalar_one()
            what = "internal flow denied" if denial else "internal flow"
            log(connection, at, what, {"body": flow.body, "number": number})
        return RecordedFlow(int(number), at, flow, decision.rule, denial)

    def of(self, body: str, address_number: str | None = None) -> list[RecordedFlow]:
        """Return a body's record, oldest first, about one person or about all."""
        query = sa.select(INTERNAL_FLOW).where(_flow.body == body).order_by(_flow.number)
        if address_number is not None:
            query = query.where(_flow.address_number == address_number)
        with self.store.reading() as connection:
            return [
                RecordedFlow(
                    row.number, from_epoch(int(row.at)),
                    Flow(row.body, "", row.address_number, row.from_office, row.to_office, row.information, row.law,
                         row.ordinance),
                    row.rule, row.denial,
                )
                for row in connection.execute(query)
            ]  # fmt: skip


def _denied(words: str) -> Decision:
    return Decision("", Denial.NO_BASIS, words)
