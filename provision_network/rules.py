"""Who may ask whom for what: the network's rules as data, and a decision that names the rule that made it.

A request is a tuple of requester, affair, provider and item. It is allowed if and only if that tuple stands in a table
in force on that day (番号法19条7号, 別表第二), or is an affair by ordinance that meets all five conditions (19条8号).
Nothing else is asked: neither the person's consent nor anybody's discretion changes a decision under 19条7号.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import date
from enum import Enum
from importlib.resources import files

STATUTE, ORDINANCE = "番号法19条7号", "番号法19条8号"


class Denial(Enum):
    """Why a request is not allowed."""

    UNKNOWN_PURPOSE = "unknown-purpose"
    """No table has such an affair (A2)."""
    NOT_LISTED = "not-listed"
    """The affair is known, and not for this requester, provider or item (D6)."""
    NOT_IN_FORCE = "not-in-force"
    """Its time has not come, or the law of that time has no such way (A14, H3)."""
    CONDITIONS = "conditions"
    """An affair by ordinance does not meet all conditions (H2)."""
    TAX_SECRECY = "tax-secrecy"
    """Tax data are not given for an affair by ordinance without consent (H6; 地方税法22条)."""
    LIMITED = "limited"
    """The provider's own ordinance limits what it gives, and the Commission was told so beforehand (H5)."""
    ORDINARY = "ordinary-information"
    """The network carries specific personal information alone, unless that was opened (番号法附則6条1項, A3)."""
    NO_BASIS = "no-basis"
    """No clause of the closed lists (番号法9条, 19条) fits, or it lacks a condition that the words name."""
    NETWORK_ONLY = "network-only"
    """What 19条7号 and 8号 allow goes over the network, and no other way."""


class Penalty(Enum):
    """What the law has in store for whoever does it all the same (G23)."""

    NONE = "none"
    OFF_PURPOSE = "off-purpose use (番号法51条, 55条の2; 国家公務員法82条)"
    TAX_SECRECY = "breach of tax secrecy (地方税法22条)"


_PENALTIES = {Denial.TAX_SECRECY: Penalty.TAX_SECRECY}


@dataclass(frozen=True, slots=True)
class Purpose:
    """What is asked: which kind of body asks which for what, and in which affair of which law."""

    requester: str
    law: str
    affair: str
    provider: str
    item: str


@dataclass(frozen=True, slots=True)
class Decision:
    """`rule` is the provision that allows it, or `denial` says why not; `words` are for people and the log."""

    rule: str
    denial: Denial | None
    words: str

    @property
    def allowed(self) -> bool:
        """Whether it may be done."""
        return self.denial is None

    @property
    def penalty(self) -> Penalty:
        """What threatens whoever does what was denied."""
        return Penalty.NONE if self.denial is None else _PENALTIES.get(self.denial, Penalty.OFF_PURPOSE)


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table of affairs. `uses_number` False is a body that has a number of its own instead (B16, D13)."""

    number: str
    purpose: Purpose
    uses_number: bool
    valid_from: date


@dataclass(frozen=True, slots=True)
class OrdinanceAffair:
    """An affair that a municipality has made its own (独自利用事務). It follows an affair of the table, `like`; the
    five conditions are facts that somebody has established, and each of them counts."""

    identifier: str
    purpose: Purpose
    like: str
    same_purpose: bool
    similar_content: bool
    nearly_same_items: bool
    filed: bool
    published: bool
    tax_item: bool = False

    @property
    def missing(self) -> list[str]:
        """The conditions that it does not meet."""
        return [name for name in CONDITIONS if not getattr(self, name)]


CONDITIONS = ("same_purpose", "similar_content", "nearly_same_items", "filed", "published")
"""Purpose as the statutory affair's, content similar, provider and items nearly those of the table, filed with the
Commission, and published by it (準７号規則)."""

_COLUMNS = ("row", "requester", "law", "affair", "provider", "item", "uses_number")
NETWORK_STARTS = date(2017, 7, 18)
ORDINANCES_START = date(2016, 1, 1)
"""When the amendment of 2015 put ordinance linkage into the Act itself. Before, the law had no such way."""


class RuleBook:
    """The rules of one network."""

    def __init__(
        self, rows: Iterable[Row], ordinances: Iterable[OrdinanceAffair] = (), *, ordinary: bool = False
    ) -> None:
        """`ordinary` opens the network to information that has nothing to do with the number (A3)."""
        self._ordinary = ordinary
        self._rows: Mapping[Purpose, Row] = {row.purpose: row for row in rows}
        self._ordinances = {affair.purpose: affair for affair in ordinances}
        self._affairs = {(purpose.law, purpose.affair) for purpose in (*self._rows, *self._ordinances)}
        self._decided = {
            purpose: Decision(f"{STATUTE}, 別表第二 {row.number}", None, "it stands in the table of affairs")
            for purpose, row in self._rows.items()
        }
        self._limits: set[tuple[str, str]] = set()

    @property
    def rows(self) -> list[Row]:
        """The table."""
        return list(self._rows.values())

    def published(self) -> list[dict[str, str]]:
        """The affairs by ordinance as the Commission publishes them (H4): those that were filed and published."""
        return [
            {"identifier": affair.identifier, "like": affair.like,
             **{field.name: getattr(affair.purpose, field.name) for field in fields(Purpose)}}
            for affair in self._ordinances.values() if affair.filed and affair.published
        ]  # fmt: skip

    def limit(self, provider: str, item: str) -> None:
        """A provider's ordinance limits what it gives for affairs by ordinance, and the Commission was told (H5)."""
        self._limits.add((provider, item))

    def decide(
        self, purpose: Purpose, on: date, *, consent: bool = False, provider_name: str = "", ordinary: bool = False
    ) -> Decision:
        """Whether a request is allowed on a day, and by which rule. `consent` is the person's to a provision of tax
        data for an affair by ordinance; it changes nothing else. `provider_name` is the body that is asked; `ordinary`
        says that what is asked for has nothing to do with the number."""
        if ordinary and not self._ordinary:
            return Decision("", Denial.ORDINARY, "the network is not open to other personal information (附則6条1項)")
        row = self._rows.get(purpose)
        if row is not None:
            if on >= row.valid_from:
                return self._decided[purpose]
            return Decision("", Denial.NOT_IN_FORCE, f"that affair is linked from {row.valid_from} on")
        affair = self._ordinances.get(purpose)
        if affair is not None:
            return self._by_ordinance(affair, on, consent=consent, provider_name=provider_name)
        if (purpose.law, purpose.affair) not in self._affairs:
            return Decision("", Denial.UNKNOWN_PURPOSE, f"no table has the affair {purpose.affair} ({purpose.law})")
        words = f"{purpose.requester} may not ask {purpose.provider} for {purpose.item} in this affair"
        return Decision("", Denial.NOT_LISTED, words)

    def _by_ordinance(
        self, affair: OrdinanceAffair, on: date, *, consent: bool, provider_name: str
    ) -> Decision:  # fmt: skip
        if on < ORDINANCES_START:
            return Decision("", Denial.NOT_IN_FORCE, f"the law had no linkage by ordinance before {ORDINANCES_START}")
        if affair.missing:
            return Decision("", Denial.CONDITIONS, f"{affair.identifier} lacks: {', '.join(affair.missing)}")
        if affair.tax_item and not consent:
            return Decision("", Denial.TAX_SECRECY, "tax data are given for an affair by ordinance with consent only")
        if (provider_name, affair.purpose.item) in self._limits:
            return Decision("", Denial.LIMITED, f"{provider_name} has limited that by its own ordinance")
        return Decision(f"{ORDINANCE}, {affair.identifier} (like 別表第二 {affair.like})", None, "by ordinance")


def table_of_affairs() -> list[Row]:
    """The table that comes along: a realistic 別表第二 as of 2016, with the number of each row there. It is written
    down from general knowledge of the table, for prototypes, and is no statement of the law. Raises ValueError for a
    table that is damaged."""
    names = [field.name for field in fields(Purpose)]
    return [
        Row(line["row"], Purpose(*(line[name] for name in names)), line["uses_number"] == "yes", NETWORK_STARTS)
        for line in read_table("affairs.csv", _COLUMNS)
    ]


def read_table(name: str, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """The lines of a table that comes along. Raises ValueError for one that is damaged."""
    with (files(__package__) / name).open(encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != columns:
            raise ValueError(f"{name} has the columns {', '.join(columns)}")
        return list(reader)
