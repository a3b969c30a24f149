"""Provisions decided again: every record of the network and every line of the logs outside it, by the rules of its day,
and the penalty of every misuse that these show. For the second and the fourth reason of the ruling."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from datetime import date
from typing import Any

import sqlalchemy as sa

from kazashi.provision_network.core import Core
from kazashi.provision_network.off_network import OffNetwork
from kazashi.provision_network.provisions import (
    Inquiry,
    Law,
    Party,
    PersonField,
    Policy,
    Provision,
    decide_provision,
    is_specific,
)
from kazashi.provision_network.rules import (
    ORDINANCE,
    ORDINANCES_START,
    STATUTE,
    Decision,
    Denial,
    Penalty,
    RuleBook,
)
from kazashi.provision_network.terms import OWN_INFORMATION, PORTAL_KIND, RequestOutcome
from kazashi.tracking_lab.facts import StoreFact
from kazashi.world.clock import JST, from_epoch
from kazashi.world.home import World

_REGISTRATION_ACT = "住民基本台帳法 (42条以下)"
"""The penalties for misuse of what Juki-Net carries, such as the resident record code."""


@dataclass(frozen=True, slots=True)
class DecidedAgain:
    """A provision or a refused one: the fact about it, why the rules do not allow it (empty if they do), whether it was
    provided all the same, and the penalty for doing it, empty if no law has one."""

    fact: StoreFact
    why: str
    provided: bool
    penalty: str


def decided_again(world: World, core: Core) -> list[DecidedAgain]:
    """Every provision that the logs of a world show, decided again."""
    return [*_on_network(core), *_outside(world)]


def without_basis(decided: list[DecidedAgain]) -> tuple[list[StoreFact], list[StoreFact]]:
    """What was provided although no rule allows it, and how many provisions were looked at."""
    provided = [one for one in decided if one.provided]
    return [one.fact for one in provided if one.why], [StoreFact("provisions-decided-again", {"count": len(provided)})]


def unpunished(decided: list[DecidedAgain]) -> tuple[list[StoreFact], list[StoreFact]]:
    """The misuses for which no law has a penalty, and how many each penalty covers."""
    misuses = [one for one in decided if one.why]
    covered = Counter(one.penalty for one in misuses if one.penalty)
    against = [StoreFact("misuse-without-penalty", {**one.fact.values}) for one in misuses if not one.penalty]
    return against, [StoreFact("misuses-with-penalty", {"count": count, "penalty": penalty})
                     for penalty, count in sorted(covered.items())]  # fmt: skip


def _on_network(core: Core) -> Iterator[DecidedAgain]:
    kinds, rules = {body.name: body.kind for body in core.members.institutions()}, core.ordinances.rules()
    columns = "number, requester, provider, item, requested_at, outcome, reason"
    decided: dict[tuple[str, ...], str] = {}
    with core.store.reading() as connection:
        for row in connection.execute(sa.text(f"SELECT {columns} FROM provision_record ORDER BY number")):
            denied = row.outcome == RequestOutcome.DENIED.value
            day = from_epoch(row.requested_at).astimezone(JST).date()
            if denied:
                why = row.reason
            else:
                key = (row.requester, row.provider, row.item, row.reason, day.isoformat())
                if key not in decided:
                    decided[key] = _denial(rules, kinds, row, day)
                why = decided[key]
            values = {"log": "provision_record", "line": row.number, "requester": row.requester,
                      "provider": row.provider, "item": row.item, "rule": row.reason, "why": why,
                      "handle": PersonField.PROVISION_CODE.value}  # fmt: skip
            fact = StoreFact("provision-without-basis", values)
            yield DecidedAgain(fact, why, not denied, _penalty(why, PersonField.PROVISION_CODE))


def _denial(rules: RuleBook, kinds: dict[str, str], row: Any, day: date) -> str:
    """Why the rules of the day do not allow what a record says, empty if they do. A body that has left the network is
    of any kind."""
    requester, provider = kinds.get(row.requester), kinds.get(row.provider)
    if row.reason == OWN_INFORMATION:
        return "" if requester in (None, PORTAL_KIND) else Denial.NO_BASIS.value
    named_rules = _named_rules(rules, row.reason, day)
    candidates = named_rules.purposes()
    denial = Denial.NOT_LISTED if candidates else Denial.NO_BASIS
    for purpose in candidates:
        named = (requester or purpose.requester, provider or purpose.provider, row.item)
        if named == (purpose.requester, purpose.provider, purpose.item):
            decision = named_rules.decide(
                purpose, day, consent=True, requester_name=row.requester, provider_name=row.provider
            )
            if decision.rule == row.reason:
                return ""
            denial = decision.denial or Denial.NO_BASIS
    return denial.value


def _named_rules(rules: RuleBook, reason: str, day: date) -> RuleBook:
    """The rules that a record's reason names, as of a day: a row of the table, or an affair by ordinance.

    Only the days of filing, publication and withdrawal are stored. So an affair that was withdrawn on this day counts,
    because the request may have come before.
    """
    basis, _, rule = reason.partition(", ")
    if basis == STATUTE:
        return RuleBook(one for one in rules.rows if one.number == rule.rpartition(" ")[2])
    identifier = rule.partition(" (like ")[0]
    affairs = [replace(one, withdrawn=None) if one.withdrawn == day else one
               for one in rules.ordinances if basis == ORDINANCE and one.identifier == identifier]  # fmt: skip
    return RuleBook((), affairs, rules.limits)


def _outside(world: World) -> Iterator[DecidedAgain]:
    for line in OffNetwork(world).given():
        law = Law.OF_2015 if line.at.astimezone(JST).date() >= ORDINANCES_START else Law.OF_2013
        decision = decide_provision(_provision(line.facts), Policy(law))
        provided = not line.denial
        why = line.denial or (decision.denial.value if decision.denial else "")
        fact = StoreFact("provision-without-basis", {
            "log": "off_network", "line": line.position, "requester": line.receiver, "provider": line.provider,
            "item": line.what, "rule": line.rule, "why": why, "handle": line.handle.value,
        })  # fmt: skip
        yield DecidedAgain(fact, why, provided, _penalty(why, line.handle))


def _provision(facts: dict[str, Any]) -> Provision:
    """The provision that a line of the log describes. Facts that are not in the line are those of a new Provision."""
    values = {"item": 0, **facts, "specific": facts.get("specific", False), "sender": Party(facts["sender"]),
              "receiver": Party(facts["receiver"])}  # fmt: skip
    if "inquiry" in values:
        values["inquiry"] = Inquiry(values["inquiry"])
    known = {field.name for field in fields(Provision)}
    return Provision(**{name: value for name, value in values.items() if name in known})


def _penalty(why: str, handle: PersonField) -> str:
    """The penalty for a misuse of data with a handle, or an empty text.

    The Number Act punishes misuse of specific personal information, and the Registration Act that of the resident
    record code. No law punishes it for a MyKey ID, or for the serial number of a certificate that a non-verifier has;
    nor does the Number Act for information that is not related to the number.
    """
    if not why:
        return ""
    if handle is PersonField.RESIDENT_RECORD_CODE:
        return _REGISTRATION_ACT
    denial = next((one for one in Denial if one.value == why), None)
    if denial in (None, Denial.ORDINARY) or not is_specific({handle}):
        return ""
    penalty = Decision("", denial, "").penalty
    return "" if penalty is Penalty.NONE else penalty.value
