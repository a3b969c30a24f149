"""How long a wrong tie of the first matching stays: N2 (who guarantees the tie?), on simulated use.

Ties are made wrong on purpose, in the three ways in which wrong ties came about: a namesake, a member of the household,
and a row that was mixed up. What then happens to the two people, and what they tell the body, is drawn by the rates in
`Habits`. The body checks its ties with the product's own detector (`provision_network/tie_checks.py`), which sees what
a body sees. Right ties go through the same, so that false alarms are counted too.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import Enum
from random import Random
from statistics import quantiles
from typing import Any

from kazashi.provision_network.match_noise import KnownPerson, namesake
from kazashi.provision_network.match_register import HolderReport, Report
from kazashi.provision_network.matching import Attributes, normal_form
from kazashi.provision_network.tie_checks import (
    Answered,
    RegistryNow,
    Suspicion,
    TieEvidence,
    agreed_attributes,
    suspicions,
)
from kazashi.studies.match_records import TODAY
from kazashi.tracking_lab.metrics import Share
from kazashi.world.rng import stream

_YEAR = 365


class TieKind(Enum):
    """How a tie was made."""

    RIGHT = "right"
    NAMESAKE = "namesake"
    """The person has the same name, date of birth and sex, and lives elsewhere."""
    HOUSEHOLD = "household"
    """The person lives at the same address and has the same family name."""
    ROW = "row"
    """Any other person: two rows of a list were mixed up."""


@dataclass(frozen=True, slots=True)
class Habits:
    """What happens in a year, as the mean number of times, or as a share. All are invented but `moves` and `deaths`.

    The body asks about the person over the network (`asked`) and sees or pays the holder (`seen`). People move
    (`moves`, 住民基本台帳人口移動報告 2023: 5.2 million of 124 million) and die (`deaths`, 人口動態統計 2023). Of a
    move or a death the body hears in a share `tells` of the cases, and the registry hears too late in a share `late`.
    The person of the tie looks at the portal (`looks`), and in a share `notices` of the looks sees that the record is
    not theirs and says so. `covered` is the share of people of whom the body has a record. The body checks every
    `every` days, for `years`.
    """

    asked: float = 1.0
    seen: float = 1.0
    moves: float = 0.042
    deaths: float = 0.0127
    tells: float = 0.6
    late: float = 0.05
    looks: float = 0.2
    notices: float = 0.25
    covered: float = 0.6
    every: int = 30
    years: int = 5


@dataclass(frozen=True, slots=True)
class DetectionTimes:
    """How soon the ties of a kind are suspected: the share within a year and within all years, the quartiles of the
    days and of the uses until then among those that are, and how many each signal finds first."""

    kind: TieKind
    within_year: Share
    found: Share
    days: tuple[float, float, float] | None
    uses: tuple[float, float, float] | None
    by_signal: Mapping[str, int]

    def as_dict(self) -> dict[str, Any]:
        """Return the times for JSON."""
        shares = {"within_year": self.within_year, "found": self.found}
        return {
            "kind": self.kind.value,
            **{name: {"count": one.count, "total": one.total, "value": one.value, "low": one.interval[0],
                      "high": one.interval[1]} for name, one in shares.items()},
            "days": self.days, "uses": self.uses, "by_signal": dict(self.by_signal),
        }  # fmt: skip


def detection_times(
    seed: str, people: Mapping[str, KnownPerson], ties: int = 300, habits: Habits | None = None
) -> list[DetectionTimes]:  # fmt: skip
    """Measure the time to detection of `ties` ties of each kind, right ones among them, between people."""
    habits = habits or Habits()
    return [_measured(kind, _pairs(seed, kind, people, ties), seed, habits) for kind in TieKind]


@dataclass(slots=True)
class _Life:
    """What happens to a person: the addresses with the day from which the person and the registry have them, and the
    day of death with that on which the registry knows it."""

    attributes: Attributes
    moves: list[tuple[int, int, str]] = field(default_factory=list)
    died: int | None = None
    death_known: int = 0

    def registry(self, day: int) -> RegistryNow:
        """What the registry knows on a day."""
        known = [(moved, address) for moved, noted, address in self.moves if noted <= day]
        address, since = (
            (known[-1][1], TODAY + timedelta(days=known[-1][0])) if known else (self.attributes.address, None)
        )
        ended = TODAY + timedelta(days=self.died) if self.died is not None and self.death_known <= day else None
        return RegistryNow(replace(self.attributes, address=address), ended, since)


def _pairs(
    seed: str, kind: TieKind, people: Mapping[str, KnownPerson], count: int
) -> Iterator[tuple[Attributes, Attributes]]:  # fmt: skip
    """Yield pairs of a record's holder and the person to whom the record is tied."""
    chance = stream(seed, "wrong ties", kind.value)
    everybody = [one for one in people.values() if one.attributes.name]
    homes: dict[str, list[KnownPerson]] = defaultdict(list)
    for one in everybody:
        homes[normal_form(one.attributes).place].append(one)
    shared = [group for group in homes.values() if len(group) > 1]
    for _ in range(count):
        one, other = chance.sample(everybody, 2)
        match kind:
            case TieKind.RIGHT:
                other = one
            case TieKind.NAMESAKE:
                other = namesake(one, other)
            case TieKind.HOUSEHOLD:
                one, other = chance.sample(chance.choice(shared), 2)
        yield one.attributes, other.attributes


def _measured(
    kind: TieKind, pairs: Iterator[tuple[Attributes, Attributes]], seed: str, habits: Habits
) -> DetectionTimes:  # fmt: skip
    chance = stream(seed, "wrong ties", kind.value, "lives")
    noticed = [_noticed(kind, holder, person, habits, chance) for holder, person in pairs]
    found = [one for one in noticed if one is not None]
    soon = sum(day <= _YEAR for day, _, _ in found)
    signals = Counter(suspicion.signal.value for _, _, suspicion in found)
    return DetectionTimes(
        kind, Share(soon, len(noticed)), Share(len(found), len(noticed)), _quartiles([day for day, _, _ in found]),
        _quartiles([uses for _, uses, _ in found]), dict(signals.most_common()),
    )  # fmt: skip


def _quartiles(values: Sequence[int]) -> tuple[float, float, float] | None:
    if len(values) < 2:
        return None
    low, middle, high = quantiles(values, n=4, method="inclusive")
    return low, middle, high


def _noticed(
    kind: TieKind, holder: Attributes, person: Attributes, habits: Habits, chance: Random
) -> tuple[int, int, Suspicion] | None:  # fmt: skip
    """Return the day of the first check that suspects a tie, the number of uses until then, and the suspicion; or
    None."""
    days = habits.years * _YEAR
    ours, theirs = _lived(holder, days, habits, chance), _lived(person, days, habits, chance)
    if kind is TieKind.RIGHT:
        theirs = ours
    alive = days if ours.died is None else ours.died
    reports = sorted(_reports(kind, ours, theirs, alive, habits, chance), key=lambda one: one.day)
    asked = sorted(_days(habits.asked, days, chance))
    said = f"氏名 {person.name} 氏名カナ {person.kana or '-'} 生年月日 {person.birth} 性別 {person.sex}"
    answers = [Answered(TODAY + timedelta(days=day), "架空町", said.replace(" 氏名カナ -", "")) for day in asked]
    others = ("another",) if kind is not TieKind.RIGHT and chance.random() < habits.covered else ()
    evidence = TieEvidence(holder, agreed_attributes(holder, person), TODAY, None, (), (), others)
    reported, before = [one.day for one in reports], 0
    for day in range(habits.every, days + 1, habits.every):
        now = TODAY + timedelta(days=day)
        uses = bisect_right(asked, day)
        # An answer that did not contradict the record at the last check does not contradict it now.
        evidence = replace(evidence, registry=theirs.registry(day), answers=answers[before:uses],
                           reports=reports[: bisect_right(reported, now)])  # fmt: skip
        before = uses
        if found := suspicions(evidence, now):
            return day, uses, min(found, key=lambda one: one.since)
    return None


def _lived(person: Attributes, days: int, habits: Habits, chance: Random) -> _Life:
    life = _Life(person)
    for place, day in enumerate(sorted(_days(habits.moves, days, chance))):
        life.moves.append((day, day + _delay(habits, chance), f"{person.address[:6]}架空町{place + 41}番地"))
    if deaths := _days(habits.deaths, days, chance):
        life.died = min(deaths)
        life.death_known = life.died + _delay(habits, chance)
        life.moves = [move for move in life.moves if move[0] < life.died]
    return life


def _delay(habits: Habits, chance: Random) -> int:
    """The number of days until the registry hears of something."""
    return chance.randrange(15, 120) if chance.random() < habits.late else chance.randrange(0, 14)


def _reports(
    kind: TieKind, ours: _Life, theirs: _Life, alive: int, habits: Habits, chance: Random
) -> Iterator[Report]:  # fmt: skip
    def report(what: HolderReport, day: int, content: str = "") -> Report:
        return Report("1", what, TODAY + timedelta(days=day), content)

    for day in _days(habits.seen, alive, chance):
        yield report(HolderReport.SEEN, day)
    for day, _, address in ours.moves:
        if chance.random() < habits.tells:
            yield report(HolderReport.ADDRESS, day, address)
    if ours.died is not None and chance.random() < habits.tells:
        yield report(HolderReport.DIED, ours.died)
    if kind is not TieKind.RIGHT:
        last = habits.years * _YEAR if theirs.died is None else theirs.died
        for day in _days(habits.looks, last, chance):
            if chance.random() < habits.notices:
                yield report(HolderReport.NOT_MINE, day)


def _days(rate: float, days: int, chance: Random) -> list[int]:
    """The days on which something happens `rate` times a year, before the day `days`."""
    found, at = [], 0.0
    while rate > 0:
        at += chance.expovariate(rate) * _YEAR
        if at >= days:
            break
        found.append(int(at))
    return found
