"""Who may request what from whom: the network's rules as data, and decisions that name the rule they are based on.

A request is a tuple of requester, affair, provider and item. It is allowed if and only if that tuple is in the table of
the version of the law in force on that day (別表第二, later a ministerial order), or is an affair by ordinance that
meets all conditions. Nothing else counts: neither the person's consent nor anybody's discretion changes such a
decision, except for tax data, which need consent if the law of the affair does not oblige the person to report them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import dataclass, fields
from datetime import date
from enum import Enum

from kazashi.provision_network.law.tables import TAX_ITEM, Purpose, Row, denied_purpose, kinds_of, obliges_to_report
from kazashi.provision_network.law.versions import (
    BY_ORDER,
    LINKED_BY_ORDINANCE,
    NETWORK_IN_LAW,
    NETWORK_STARTS,
    VERSIONS,
    LawVersion,
    ProvisionItem,
    version_on,
)


class Denial(Enum):
    """Why a request is not allowed."""

    UNKNOWN_PURPOSE = "unknown-purpose"
    """No table has such an affair."""
    NOT_LISTED = "not-listed"
    """The affair is known, but not with this requester, provider and item."""
    NOT_IN_FORCE = "not-in-force"
    """There is no network yet, or the law of that time does not allow linkage by ordinance."""
    NOT_KNOWN = "not-known-here"
    """The law of that day is not known here."""
    DENIED_PURPOSE = "denied-purpose"
    """The number must not serve such a purpose under any item, such as recruiting for the self-defence forces."""
    CONDITIONS = "conditions"
    """An affair by ordinance does not meet all conditions."""
    TAX_SECRECY = "tax-secrecy"
    """Tax data are not provided without consent, unless the law of the affair obliges the person to report them
    (地方税法22条)."""
    CONSENT = "consent-needed"
    """The person has not consented, or has withdrawn the consent."""
    LIMITED = "limited"
    """The provider's own ordinance limits what it provides, and the Commission was notified beforehand."""
    ORDINARY = "ordinary-information"
    """The network only carries specific personal information, unless it was opened to other information
    (番号法附則6条1項)."""
    NO_BASIS = "no-basis"
    """No clause of the closed lists (番号法9条, 19条) applies, or a condition is not met; the text says which."""
    NETWORK_ONLY = "network-only"
    """What the items for the network allow may only be provided over the network."""
    NO_LONGER_HERE = "no-longer-here"
    """The person is no longer registered at the requester or the provider; their code there has ended."""


class Penalty(Enum):
    """The legal penalty for doing what was denied."""

    NONE = "none"
    OFF_PURPOSE = "off-purpose use (番号法51条, 55条の2; 国家公務員法82条)"
    TAX_SECRECY = "breach of tax secrecy (地方税法22条)"


_PENALTIES = {Denial.TAX_SECRECY: Penalty.TAX_SECRECY}


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision. `rule` is the provision that allows the request, with the version of the law and, for a row without a
    source, the word `unverified`; or `denial` says why it is not allowed. `words` explain the decision for people and
    the log."""

    rule: str
    denial: Denial | None
    words: str

    @property
    def allowed(self) -> bool:
        """Whether the request is allowed."""
        return self.denial is None

    @property
    def penalty(self) -> Penalty:
        """The penalty for doing what was denied."""
        return Penalty.NONE if self.denial is None else _PENALTIES.get(self.denial, Penalty.OFF_PURPOSE)


ORDINANCE_FIELDS = ("福祉", "保健・医療その他の社会保障", "地方税", "防災", "その他これらに類する事務")
"""The fields in which a local government may establish its own uses of the number (9条2項)."""

LOCAL_GOVERNMENTS = ("都道府県知事", "市町村長", "都道府県教育委員会", "市町村教育委員会")
"""The kinds of bodies that can have affairs by ordinance: heads and other organs of local governments (9条2項)."""


@dataclass(frozen=True, slots=True)
class OrdinanceAffair:
    """An affair that a local government has established by ordinance (独自利用事務), like a row of the table.

    `field` is the field of 9条2項 that it belongs to. The days are those on which it was filed with the Commission,
    accepted by it (purpose and content are those of the row), published, and withdrawn again; None if that has not
    happened.
    """

    identifier: str
    body: str
    purpose: Purpose
    like: str
    field: str
    filed: date | None = None
    accepted: date | None = None
    published: date | None = None
    withdrawn: date | None = None

    def missing(self, on: date, rows: Iterable[Row]) -> list[str]:
        """Return the conditions that are not met on a day, by the table's `rows`."""
        like = [row.purpose for row in rows if row.number == self.like]
        met = {
            "statutory_affair": bool(like),
            "range_of_items": any(
                self.purpose.provider in (*kinds_of(row.provider), row.provider) and self.purpose.item == row.item
                for row in like
            ),
            "filed": _by(self.filed, on), "accepted": _by(self.accepted, on),
            "published": _by(self.published, on) and not _by(self.withdrawn, on),
        }  # fmt: skip
        return [name for name in CONDITIONS if not met[name]]


def _by(act: date | None, day: date) -> bool:
    return act is not None and act <= day


@dataclass(frozen=True, slots=True)
class LimitingOrdinance:
    """A provider's ordinance that excludes an item from affairs by ordinance (限定条例). It applies from the day after
    the Commission was notified, because that must happen beforehand."""

    provider: str
    item: str
    notified: date


_ACTS = ("filed", "accepted", "published")
CONDITIONS = ("statutory_affair", "range_of_items", *_ACTS)
"""The conditions of an affair by ordinance (準7号規則): the row that it is like is in the table; its provider and item
are among those of that row; it was filed with the Commission, which accepted its purpose and content as those of the
row, and published it."""


class RuleBook:
    """The rules of one network. It does not change; `with_ordinances` returns another one."""

    def __init__(
        self, rows: Iterable[Row], ordinances: Iterable[OrdinanceAffair] = (),
        limits: Iterable[LimitingOrdinance] = (), *, ordinary: bool = False,
    ) -> None:  # fmt: skip
        """`ordinary` opens the network to information that is not related to the individual number."""
        self._ordinary = ordinary
        self._all = tuple(rows)
        self._rows: dict[Purpose, Row] = {}
        for row in self._all:
            self._rows.setdefault(row.purpose, row)
        self._decided: Mapping[date, Mapping[Purpose, Decision]] = {
            version.begins: {purpose: _by_table(row, version) for purpose, row in self._rows.items()}
            for version in VERSIONS if version.begins >= NETWORK_IN_LAW
        }  # fmt: skip
        self._of_day: tuple[date | None, Mapping[Purpose, Decision]] = (None, {})
        self._set_ordinances(ordinances, limits)

    def with_ordinances(
        self, ordinances: Iterable[OrdinanceAffair], limits: Iterable[LimitingOrdinance]
    ) -> RuleBook:  # fmt: skip
        """Return the same rules with these affairs by ordinance and limiting ordinances added."""
        other = copy(self)
        other._set_ordinances([*self._by_identifier.values(), *ordinances], [*self._limits.values(), *limits])
        return other

    def of_ordinance(self, affair: OrdinanceAffair) -> RuleBook:
        """Return the same rules with only this affair by ordinance."""
        other = copy(self)
        other._set_ordinances([affair], self._limits.values())
        return other

    def _set_ordinances(self, ordinances: Iterable[OrdinanceAffair], limits: Iterable[LimitingOrdinance]) -> None:
        self._by_identifier = {affair.identifier: affair for affair in ordinances}
        self._ordinances: dict[Purpose, list[OrdinanceAffair]] = {}
        for affair in self._by_identifier.values():
            self._ordinances.setdefault(affair.purpose, []).append(affair)
        self._affairs = {(purpose.law, purpose.affair) for purpose in (*self._rows, *self._ordinances)}
        self._limits = {(limit.provider, limit.item): limit for limit in limits}

    @property
    def rows(self) -> list[Row]:
        """The rows of the table of affairs."""
        return list(self._all)

    @property
    def ordinances(self) -> list[OrdinanceAffair]:
        """The affairs by ordinance, in the order in which they were filed."""
        return list(self._by_identifier.values())

    @property
    def limits(self) -> list[LimitingOrdinance]:
        """The limiting ordinances."""
        return list(self._limits.values())

    def purposes(self) -> list[Purpose]:
        """Return the purposes of the table of affairs and of all affairs by ordinance."""
        return [*self._rows, *self._ordinances]

    def missing(self, affair: OrdinanceAffair, on: date) -> list[str]:
        """Return the conditions that an affair by ordinance does not meet on a day."""
        return affair.missing(on, self._all)

    def published(self, on: date) -> list[dict[str, str]]:
        """Return the affairs by ordinance that are published on a day, in the form in which the Commission publishes
        them."""
        return [
            {"identifier": affair.identifier, "body": affair.body, "like": affair.like,
             "published": str(affair.published),
             **{field.name: getattr(affair.purpose, field.name) for field in fields(Purpose)}}
            for affair in self._by_identifier.values() if not {*_ACTS} & {*self.missing(affair, on)}
        ]  # fmt: skip

    def decide(
        self, purpose: Purpose, on: date, *, consent: bool = False, requester_name: str = "", provider_name: str = "",
        ordinary: bool = False,
    ) -> Decision:  # fmt: skip
        """Decide whether a request is allowed on a day, and by which rule of the law of that day.

        `consent` is the person's consent to the provision of tax data; it changes nothing else. `requester_name` and
        `provider_name` are the names of the two bodies; without the requester's, the affairs of every body's ordinances
        count. `ordinary` says that the requested information is not related to the individual number.
        """
        day, without_consent = self._of_day
        if day != on:  # requests of one day come together
            without_consent = self._without_consent(on)
            self._of_day = (on, without_consent)
        if not ordinary and (decision := without_consent.get(purpose)) is not None:
            return decision
        return self._considered(purpose, on, consent, requester_name, provider_name, ordinary)

    def _without_consent(self, on: date) -> Mapping[Purpose, Decision]:
        """The decisions of a day that allow a request by the table whatever else it states."""
        version = version_on(on)
        decided = {} if version is None or on < NETWORK_STARTS else self._decided[version.begins]
        return {purpose: decision for purpose, decision in decided.items() if not _needs_consent(purpose)}

    def _considered(
        self, purpose: Purpose, on: date, consent: bool, requester_name: str, provider_name: str, ordinary: bool
    ) -> Decision:  # fmt: skip
        if ordinary and not self._ordinary:
            return Decision("", Denial.ORDINARY, "the network is not open to other personal information (附則6条1項)")
        version = version_on(on)
        if version is None:
            return not_known(on)
        if on < NETWORK_STARTS:
            return self._before_the_network(purpose, on)
        decision = self._decided[version.begins].get(purpose)
        if decision is not None:
            if not consent and _needs_consent(purpose):
                words = f"{purpose.law} does not oblige the person to report, so tax data need the person's consent"
                return Decision("", Denial.TAX_SECRECY, words)
            return decision
        if denied := denied_purpose(f"{purpose.law} {purpose.affair}"):
            return Decision("", Denial.DENIED_PURPOSE, f"the number must not serve {denied}")
        affairs = self._ordinances.get(purpose, [])
        own = [affair for affair in affairs if requester_name in ("", affair.body)]
        if own:
            nearest = min(own, key=lambda affair: (_withdrawn(affair, on), len(self.missing(affair, on))))
            return self._by_ordinance(nearest, on, version, consent=consent, provider_name=provider_name)
        if affairs:
            bodies = ", ".join(affair.body for affair in affairs)
            words = f"this affair is by the ordinance of {bodies}, and not of {requester_name}"
            return Decision("", Denial.NOT_LISTED, words)
        if (purpose.law, purpose.affair) not in self._affairs:
            return Decision("", Denial.UNKNOWN_PURPOSE, f"no table has the affair {purpose.affair} ({purpose.law})")
        words = f"{purpose.requester} may not request {purpose.item} from {purpose.provider} for this affair"
        return Decision("", Denial.NOT_LISTED, words)

    def _before_the_network(self, purpose: Purpose, on: date) -> Decision:
        if purpose in self._ordinances and purpose not in self._rows and on < LINKED_BY_ORDINANCE:
            words = f"the law had no linkage by ordinance before {LINKED_BY_ORDINANCE}"
        elif on < NETWORK_IN_LAW:
            words = f"the law's provisions on the network do not apply before {NETWORK_IN_LAW}"
        else:
            words = f"there is no network before {NETWORK_STARTS}"
        return Decision("", Denial.NOT_IN_FORCE, words)

    def _by_ordinance(
        self, affair: OrdinanceAffair, on: date, version: LawVersion, *, consent: bool, provider_name: str
    ) -> Decision:  # fmt: skip
        if missing := self.missing(affair, on):
            return Decision("", Denial.CONDITIONS, f"{affair.identifier} does not meet: {', '.join(missing)}")
        if affair.purpose.item == TAX_ITEM and not consent:
            return Decision("", Denial.TAX_SECRECY, "tax data for an affair by ordinance need the person's consent")
        limit = self._limits.get((provider_name, affair.purpose.item))
        if limit is not None and on > limit.notified:
            words = f"{provider_name} does not provide {affair.purpose.item} under its own ordinance"
            return Decision("", Denial.LIMITED, words)
        item = version.cite(ProvisionItem.NETWORK_ORDINANCE)
        return Decision(f"{item}, {affair.identifier} (like {_TABLE} {affair.like})", None, "by ordinance")


def _withdrawn(affair: OrdinanceAffair, on: date) -> bool:
    return affair.withdrawn is not None and affair.withdrawn <= on


def _needs_consent(purpose: Purpose) -> bool:
    """Whether a request by the table needs the person's consent (地方税法22条)."""
    return purpose.item == TAX_ITEM and not obliges_to_report(purpose.law)


_TABLE = "別表第二"


def _by_table(row: Row, version: LawVersion) -> Decision:
    """The decision that allows a request by a row, in a version of the law. The text of the ministerial order is not at
    hand; what was in 別表第二 is taken over from there, unverified."""
    place = (
        f"{_TABLE} {row.number}" if version.begins < BY_ORDER else f"{version.table} (formerly {_TABLE} {row.number})"
    )
    verified = row.source and version.begins < BY_ORDER
    rule = f"{version.cite(ProvisionItem.NETWORK)}, {place}{'' if verified else ', unverified'}"
    return Decision(rule, None, "the request is in the table of affairs")


def not_known(on: date) -> Decision:
    """Return the decision for a day whose law is not known here."""
    return Decision("", Denial.NOT_KNOWN, f"the law of {on} is not known here; the Act is of {VERSIONS[0].begins}")


def row_named(rule: str) -> str:
    """Return the number of the row of 別表第二 on which a decision is based, by its rule, or an empty text."""
    found = re.search(rf", (?:[^,]*formerly )?{_TABLE} ([^ ,)]+)", rule)
    return found[1] if found else ""
