"""What is made up: how many people for how long, what befalls them, and where they use their cards.

Rates are rounded from Japan's published statistics where one is named, and invented where none is; none is measured
here.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import date
from enum import IntEnum
from typing import Any

import numpy as np

from kazashi.world.clock import instant_of

BEGINS = date(2026, 4, 1)
EPOCH = int(instant_of("2026-04-01T00:00+09:00").timestamp())
"""The second from which events are counted."""

DAY, HOUR = 86_400, 3_600
NOWHERE = np.iinfo(np.uint16).max
"""The town of a service that is everywhere."""


class ServiceType(IntEnum):
    """A kind of service, by what a person does there."""

    LOGIN = 0
    SIGNING = 1
    TAP = 2
    POINTS = 3
    LIBRARY = 4
    INSURANCE = 5
    PORTAL = 6

    @property
    def signs(self) -> bool:
        """Whether the signature certificate is shown there, with the four attributes in it."""
        return self is ServiceType.SIGNING


@dataclass(frozen=True, slots=True)
class Habit:
    """How people use services of a kind: how many such services there are to a hundred thousand people (at least two),
    what share of people go to one at all, to how many, and how often a year to each. `asks` says that such services ask
    the authority about each certificate (OCSP), where others take its lists; `local` that people go to one in their
    town."""

    per_100_000: float
    share: float
    services: int
    per_year: float
    sector: str
    asks: bool
    local: bool


HABITS: dict[ServiceType, Habit] = {
    ServiceType.LOGIN: Habit(20, 0.5, 2, 1.2, "private", asks=True, local=False),
    ServiceType.SIGNING: Habit(4, 0.35, 1, 0.5, "tax", asks=True, local=False),
    ServiceType.TAP: Habit(10, 0.2, 1, 3.0, "private", asks=False, local=True),
    ServiceType.POINTS: Habit(60, 0.5, 3, 4.0, "private", asks=False, local=True),
    ServiceType.LIBRARY: Habit(5, 0.15, 1, 6.0, "culture", asks=False, local=True),
    ServiceType.INSURANCE: Habit(80, 0.8, 2, 1.4, "health", asks=True, local=False),
    ServiceType.PORTAL: Habit(0, 0.4, 1, 0.8, "administration", asks=True, local=False),
}
"""Invented, so that some eleven uses come to a person and year. What services of a kind see does not hang on them."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A population and its years. The same plan gives the same bytes, on however many cores.

    `moves`    share of households that move in a year: about 4 % of people between municipalities
               (住民基本台帳人口移動報告), and, invented, as many within one.
    `renames`  share of people who change their name in a year: about 0.8 % (人口動態統計: half a million marriages).
    `losses`   cards reported lost in a year: 0.5 %, invented.
    `phones`   people who also put certificates on a phone: 10 %, invented.
    `forgets`  people who let a certificate or a card end before they renew it: 8 %, invented.
    `errands`  uses at a till after which whoever has a tap service goes there within the hour: 30 %, invented.
    `noise`    accounts that people fill in by hand and that differ from the registry in a letter or more: 20 %, as in
               the first matching of pension records (press of 2006-11-01).
    `first_days`  over how many days the first cards are issued.
    """

    residents: int
    years: int = 10
    seed: str = "tracking"
    moves: float = 0.084
    out_of_town: float = 0.5
    renames: float = 0.008
    losses: float = 0.005
    phones: float = 0.1
    forgets: float = 0.08
    errands: float = 0.3
    noise: float = 0.2
    first_days: int = 365
    municipalities: int = 0
    habits: dict[ServiceType, Habit] = field(default_factory=lambda: dict(HABITS))

    def __post_init__(self) -> None:
        if self.residents < 0 or not 1 <= self.years <= 40:
            raise ValueError("a population has no negative number of people, and 1 to 40 years")

    @property
    def days(self) -> int:
        """How many days are lived through."""
        return date(BEGINS.year + self.years, BEGINS.month, BEGINS.day).toordinal() - BEGINS.toordinal()

    @property
    def towns(self) -> int:
        """How many municipalities there are: one to 70,000 people, as in Japan, and at least two."""
        return self.municipalities or max(2, round(self.residents / 70_000))

    def services(self) -> list[Service]:
        """The services there are. There is one portal. Those that are local are spread over towns as people are."""
        reached = np.cumsum(zipf_weights(self.towns))
        found: list[Service] = []
        for kind, habit in self.habits.items():
            count = 1 if kind is ServiceType.PORTAL else max(2, round(habit.per_100_000 * self.residents / 100_000))
            for place in range(count):
                town = int(np.searchsorted(reached, (place + 0.5) / count)) if habit.local else NOWHERE
                found.append(Service(len(found), kind, habit.sector, town, habit.asks))
        return found

    def as_dict(self) -> dict[str, Any]:
        """For a world's file."""
        told = asdict(self)
        return {**told, "habits": {kind.name.lower(): asdict(habit) for kind, habit in self.habits.items()}}

    @classmethod
    def from_dict(cls, told: dict[str, Any]) -> Plan:
        """The plan of `as_dict`. Raises TypeError and KeyError for what is none."""
        habits = {ServiceType[name.upper()]: Habit(**habit) for name, habit in told["habits"].items()}
        return cls(**{**told, "habits": habits})


@dataclass(frozen=True, slots=True)
class Service:
    """A service: its number, and the town that it is in (or NOWHERE)."""

    number: int
    kind: ServiceType
    sector: str
    town: int
    asks: bool


def zipf_weights(kinds: int) -> Any:
    """Shares of so many kinds by Zipf's law, the largest first; they add up to one."""
    weights = 1 / np.arange(1, kinds + 1)
    return weights / weights.sum()
