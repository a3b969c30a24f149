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
from kazashi.provision_network.law.provisions import (
    Inquiry,
    Party,
    PersonField,
    Provision,
    decide_provision,
    is_specific,
)
from kazashi.provision_network.law.rules import Decision, Denial, Penalty, RuleBook
from kazashi.provision_network.law.tables import Purpose
from kazashi.provision_network.law.versions import ProvisionItem
from kazashi.provision_network.off_network import OffNetwork
from kazashi.provision_network.terms import OWN_INFORMATION, PORTAL_KIND, RequestOutcome
from kazashi.tracking_lab.facts import StoreFact
from kazashi.world.clock import JST, from_epoch
from kazashi.world.home import World

_REGISTRATION_ACT = "住民基本台帳法 (42条以下)"
"""The penalties for misuse of what Juki-Net carries, such as the resident record code."""


@dataclass(frozen=True, slots=True)
class DecidedAgain:
    """A provision or a refused one: the fact about it, why the rules do not allow it (empty if they do), whether
    specific personal information was provided all the same, and the penalty for doing it, empty if no law has one.

    Information with another identifier is decided as if it had the individual number: what would be a misuse is one
    for which the Number Act has no penalty.
    """

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
    kinds, rules = {body.name: body.kind for body in core.members.institutions()}, _OfDays(core.ordinances.rules())
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


class _OfDays:
    """The rules as of each day.

    Only the days of the acts about an affair by ordinance are stored. So an affair that was withdrawn on a day counts
    on that day, because the request may have come before.
    """

    def __init__(self, rules: RuleBook) -> None:
        self._rules = rules
        self._by_item: dict[str, list[Purpose]] = {}
        for purpose in rules.purposes():
            self._by_item.setdefault(purpose.item, []).append(purpose)

    def purposes(self, item: str) -> list[Purpose]:
        """The purposes of requests for an item."""
        return self._by_item.get(item, [])

    def on(self, day: date, reason: str) -> RuleBook:
        """The rules for deciding about a request of a day again, with the affair by ordinance that its reason names."""
        identifier = reason.partition(", ")[2].partition(" (like ")[0]
        affair = next((one for one in self._rules.ordinances if one.identifier == identifier), None)
        if affair is None:
            return self._rules
        return self._rules.of_ordinance(replace(affair, withdrawn=None) if affair.withdrawn == day else affair)


def _denial(rules: _OfDays, kinds: dict[str, str], row: Any, day: date) -> str:
    """Why the rules of the day do not allow what a record says, empty if they do. A body that has left the network is
    of any kind."""
    requester, provider = kinds.get(row.requester), kinds.get(row.provider)
    if row.reason == OWN_INFORMATION:
        return "" if requester in (None, PORTAL_KIND) else Denial.NO_BASIS.value
    of_day, denial = rules.on(day, row.reason), Denial.NOT_LISTED if row.reason else Denial.NO_BASIS
    for purpose in rules.purposes(row.item):
        if (requester or purpose.requester, provider or purpose.provider) == (purpose.requester, purpose.provider):
            decision = of_day.decide(
                purpose, day, consent=True, requester_name=row.requester, provider_name=row.provider
            )
            if decision.rule == row.reason:
                return ""
            denial = decision.denial or denial
    return denial.value


def _outside(world: World) -> Iterator[DecidedAgain]:
    for line in OffNetwork(world).given():
        as_number = replace(_provision(line.facts), handle=PersonField.INDIVIDUAL_NUMBER)
        decision = decide_provision(as_number, line.at.astimezone(JST).date())
        provided = not line.denial and line.handle is not None and is_specific({line.handle})
        why = line.denial or (decision.denial.value if decision.denial else "")
        fact = StoreFact("provision-without-basis", {
            "log": "off_network", "line": line.position, "requester": line.receiver, "provider": line.provider,
            "item": line.what, "rule": line.rule, "why": why,
            "handle": "" if line.handle is None else line.handle.value,
        })  # fmt: skip
        yield DecidedAgain(fact, why, provided, _penalty(why, line.handle))


def _provision(facts: dict[str, Any]) -> Provision:
    """The provision that a line of the log describes. Facts that are not in the line are those of a new Provision."""
    values = {**facts, "item": ProvisionItem(facts["item"]), "sender": Party(facts["sender"]),
              "receiver": Party(facts["receiver"]),
              "handle": PersonField(facts["handle"]) if "handle" in facts else None}  # fmt: skip
    if "inquiry" in values:
        values["inquiry"] = Inquiry(values["inquiry"])
    known = {field.name for field in fields(Provision)}
    return Provision(**{name: value for name, value in values.items() if name in known})


def _penalty(why: str, handle: PersonField | None) -> str:
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
    if denial in (None, Denial.ORDINARY) or handle is None or not is_specific({handle}):
        return ""
    penalty = Decision("", denial, "").penalty
    return "" if penalty is Penalty.NONE else penalty.value
