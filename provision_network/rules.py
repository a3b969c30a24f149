"""Who may request what from whom: the network's rules as data, and decisions that name the rule they are based on.

A request is a tuple of requester, affair, provider and item. It is allowed if and only if that tuple is in a table in
force on that day (番号法19条7号, 別表第二), or is an affair by ordinance that meets all five conditions (19条8号).
Nothing else counts: neither the person's consent nor anybody's discretion changes a decision under 19条7号.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import dataclass, fields
from datetime import date
from enum import Enum
from importlib.resources import files

STATUTE, ORDINANCE = "番号法19条7号", "番号法19条8号"


class Denial(Enum):
    """Why a request is not allowed."""

    UNKNOWN_PURPOSE = "unknown-purpose"
    """No table has such an affair."""
    NOT_LISTED = "not-listed"
    """The affair is known, but not with this requester, provider and item."""
    NOT_IN_FORCE = "not-in-force"
    """The affair is not in force yet, or the law of that time does not allow linkage by ordinance."""
    CONDITIONS = "conditions"
    """An affair by ordinance does not meet all conditions."""
    TAX_SECRECY = "tax-secrecy"
    """Tax data are not provided for an affair by ordinance without consent (地方税法22条)."""
    LIMITED = "limited"
    """The provider's own ordinance limits what it provides, and the Commission was notified beforehand."""
    ORDINARY = "ordinary-information"
    """The network only carries specific personal information, unless it was opened to other information
    (番号法附則6条1項)."""
    NO_BASIS = "no-basis"
    """No clause of the closed lists (番号法9条, 19条) applies, or a condition is not met; the text says which."""
    NETWORK_ONLY = "network-only"
    """What 19条7号 and 8号 allow may only be provided over the network."""
    NO_LONGER_HERE = "no-longer-here"
    """The person is no longer registered at the requester or the provider; their code there has ended."""


class Penalty(Enum):
    """The legal penalty for doing what was denied."""

    NONE = "none"
    OFF_PURPOSE = "off-purpose use (番号法51条, 55条の2; 国家公務員法82条)"
    TAX_SECRECY = "breach of tax secrecy (地方税法22条)"


_PENALTIES = {Denial.TAX_SECRECY: Penalty.TAX_SECRECY}


@dataclass(frozen=True, slots=True)
class Purpose:
    """The purpose of a request: the kinds of requester and provider, the law and its affair, and the item."""

    requester: str
    law: str
    affair: str
    provider: str
    item: str


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision. `rule` is the provision that allows the request, or `denial` says why it is not allowed. `words`
    explain the decision for people and the log."""

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


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table of affairs. `uses_number` is False if the body uses its own number instead of the individual
    number."""

    number: str
    purpose: Purpose
    uses_number: bool
    valid_from: date


@dataclass(frozen=True, slots=True)
class OrdinanceAffair:
    """An affair that a body has established by ordinance (独自利用事務), modelled on the row `like` of the table.

    The filing states the first three of the five conditions. The last two follow from the days on which the affair was
    filed with the Commission, published by it, and withdrawn again; None if that has not happened.
    """

    identifier: str
    body: str
    purpose: Purpose
    like: str
    same_purpose: bool
    similar_content: bool
    nearly_same_items: bool
    filed: date | None = None
    published: date | None = None
    withdrawn: date | None = None

    def missing(self, on: date) -> list[str]:
        """Return the conditions that are not met on a day."""
        published = self.published is not None and self.published <= on
        met = {
            "same_purpose": self.same_purpose, "similar_content": self.similar_content,
            "nearly_same_items": self.nearly_same_items, "filed": self.filed is not None and self.filed <= on,
            "published": published and not (self.withdrawn is not None and self.withdrawn <= on),
        }  # fmt: skip
        return [name for name in CONDITIONS if not met[name]]


@dataclass(frozen=True, slots=True)
class LimitingOrdinance:
    """A provider's ordinance that excludes an item from affairs by ordinance (限定条例). It applies from the day after
    the Commission was notified, because that must happen beforehand."""

    provider: str
    item: str
    notified: date


CONDITIONS = ("same_purpose", "similar_content", "nearly_same_items", "filed", "published")
"""The five conditions (準7号規則): the same purpose as the statutory affair, similar content, nearly the same provider
and items as in the table, filed with the Commission, and published by the Commission."""

TAX_ITEMS = frozenset({"地方税関係情報"})
"""The items that tax secrecy covers (地方税法22条)."""

_COLUMNS = ("row", "requester", "law", "affair", "provider", "item", "uses_number")
NETWORK_STARTS = date(2017, 7, 18)
ORDINANCES_START = date(2016, 1, 1)
"""The day on which the amendment of 2015 put linkage by ordinance into the Act. Before that, it was not possible."""


class RuleBook:
    """The rules of one network. It does not change; `with_ordinances` returns another one."""

    def __init__(
        self, rows: Iterable[Row], ordinances: Iterable[OrdinanceAffair] = (),
        limits: Iterable[LimitingOrdinance] = (), *, ordinary: bool = False,
    ) -> None:  # fmt: skip
        """`ordinary` opens the network to information that is not related to the individual number."""
        self._ordinary = ordinary
        self._rows: Mapping[Purpose, Row] = {row.purpose: row for row in rows}
        self._decided = {
            purpose: Decision(f"{STATUTE}, 別表第二 {row.number}", None, "the request is in the table of affairs")
            for purpose, row in self._rows.items()
        }
        self._set_ordinances(ordinances, limits)

    def with_ordinances(
        self, ordinances: Iterable[OrdinanceAffair], limits: Iterable[LimitingOrdinance]
    ) -> RuleBook:  # fmt: skip
        """Return the same rules with these affairs by ordinance and limiting ordinances added."""
        other = copy(self)
        other._set_ordinances([*self._by_identifier.values(), *ordinances], [*self._limits.values(), *limits])
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
        return list(self._rows.values())

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

    def published(self, on: date) -> list[dict[str, str]]:
        """Return the affairs by ordinance that are published on a day, in the form in which the Commission publishes
        them."""
        return [
            {"identifier": affair.identifier, "body": affair.body, "like": affair.like,
             "published": str(affair.published),
             **{field.name: getattr(affair.purpose, field.name) for field in fields(Purpose)}}
            for affair in self._by_identifier.values() if not {"filed", "published"} & {*affair.missing(on)}
        ]  # fmt: skip

    def decide(
        self, purpose: Purpose, on: date, *, consent: bool = False, requester_name: str = "", provider_name: str = "",
        ordinary: bool = False,
    ) -> Decision:  # fmt: skip
        """Decide whether a request is allowed on a day, and by which rule.

        `consent` is the person's consent to the provision of tax data for an affair by ordinance; it changes nothing
        else. `requester_name` and `provider_name` are the names of the two bodies; without the requester's, the affairs
        of every body's ordinances count. `ordinary` says that the requested information is not related to the
        individual number.
        """
        if ordinary and not self._ordinary:
            return Decision("", Denial.ORDINARY, "the network is not open to other personal information (附則6条1項)")
        row = self._rows.get(purpose)
        if row is not None:
            if on >= row.valid_from:
                return self._decided[purpose]
            return Decision("", Denial.NOT_IN_FORCE, f"the affair is not in force before {row.valid_from}")
        affairs = self._ordinances.get(purpose, [])
        own = [affair for affair in affairs if requester_name in ("", affair.body)]
        if own:
            nearest = min(own, key=lambda affair: len(affair.missing(on)))
            return self._by_ordinance(nearest, on, consent=consent, provider_name=provider_name)
        if affairs:
            bodies = ", ".join(affair.body for affair in affairs)
            words = f"this affair is by the ordinance of {bodies}, and not of {requester_name}"
            return Decision("", Denial.NOT_LISTED, words)
        if (purpose.law, purpose.affair) not in self._affairs:
            return Decision("", Denial.UNKNOWN_PURPOSE, f"no table has the affair {purpose.affair} ({purpose.law})")
        words = f"{purpose.requester} may not request {purpose.item} from {purpose.provider} for this affair"
        return Decision("", Denial.NOT_LISTED, words)

    def _by_ordinance(
        self, affair: OrdinanceAffair, on: date, *, consent: bool, provider_name: str
    ) -> Decision:  # fmt: skip
        if on < ORDINANCES_START:
            return Decision("", Denial.NOT_IN_FORCE, f"the law had no linkage by ordinance before {ORDINANCES_START}")
        if on < NETWORK_STARTS:
            return Decision("", Denial.NOT_IN_FORCE, f"there is no network before {NETWORK_STARTS}")
        if missing := affair.missing(on):
            return Decision("", Denial.CONDITIONS, f"{affair.identifier} does not meet: {', '.join(missing)}")
        if affair.purpose.item in TAX_ITEMS and not consent:
            return Decision("", Denial.TAX_SECRECY, "tax data for an affair by ordinance need the person's consent")
        limit = self._limits.get((provider_name, affair.purpose.item))
        if limit is not None and on > limit.notified:
            words = f"{provider_name} does not provide {affair.purpose.item} under its own ordinance"
            return Decision("", Denial.LIMITED, words)
        return Decision(f"{ORDINANCE}, {affair.identifier} (like 別表第二 {affair.like})", None, "by ordinance")


def table_of_affairs() -> list[Row]:
    """Return the included table of affairs: a realistic 別表第二 as of 2016, with its row numbers.

    It was written from general knowledge of the table, for prototypes, and is not a statement of the law. Raises
    ValueError if the file is damaged.
    """
    names = [field.name for field in fields(Purpose)]
    return [
        Row(line["row"], Purpose(*(line[name] for name in names)), line["uses_number"] == "yes", NETWORK_STARTS)
        for line in read_table("affairs.csv", _COLUMNS)
    ]


def read_table(name: str, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """Return the rows of an included table. Raises ValueError if its columns are wrong."""
    with (files(__package__) / name).open(encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != columns:
            raise ValueError(f"{name} must have the columns {', '.join(columns)}")
        return list(reader)
