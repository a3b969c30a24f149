"""The plan of a population: the number of people and years, the rates of their events, and where they use their cards.

Rates are rounded from Japan's published statistics if a source is named, and invented if not. None is measured here.
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
"""The plan's first second, since 1970. Moments are counted from it."""

DAY, HOUR = 86_400, 3_600
NOWHERE = np.iinfo(np.uint16).max
"""The town of a service that is not local."""


class ServiceType(IntEnum):
    """A kind of service, by what people do there."""

    LOGIN = 0
    SIGNING = 1
    TAP = 2
    POINTS = 3
    LIBRARY = 4
    INSURANCE = 5
    PORTAL = 6

    @property
    def signs(self) -> bool:
        """Whether people use the signature certificate there, which contains the four attributes."""
        return self is ServiceType.SIGNING


@dataclass(frozen=True, slots=True)
class Habit:
    """How people use services of a kind.

    `per_100_000` is the number of such services per 100,000 people (at least two), `share` the share of people who use
    any, `services` how many each of these uses, and `per_year` how often a year each. `asks` says that the services ask
    the authority about each certificate (OCSP); others use its CRLs. `local` says that people use services in their
    town.
    """

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
"""Invented, to give about eleven uses per person and year. What services of a kind see does not depend on them."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A population and its years. The same plan gives the same bytes on any number of cores.

    `moves`    share of households that move in a year: about 4 % of people between municipalities
               (住民基本台帳人口移動報告), and, invented, as many within one.
    `renames`  share of people who change their name in a year: about 0.8 % (人口動態統計: half a million marriages).
    `losses`   share of cards reported lost in a year: 0.5 %, invented.
    `phones`   share of people who also have certificates on a phone: 10 %, invented.
    `forgets`  share of people who renew a certificate or a card only after it ended: 8 %, invented.
    `errands`  share of uses at a till after which a person who has a tap service uses it within the hour: 30 %,
               invented.
    `noise`    share of accounts typed by people that differ from the registry in a letter or more: 20 %, as in the
               first matching of pension records (press of 2006-11-01).
    `first_days`  the number of days over which the first cards are issued.
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
            raise ValueError("a population needs a number of people that is not negative, and 1 to 40 years")

    @property
    def days(self) -> int:
        """The number of days of the plan."""
        return date(BEGINS.year + self.years, BEGINS.month, BEGINS.day).toordinal() - BEGINS.toordinal()

    @property
    def towns(self) -> int:
        """The number of municipalities: one per 70,000 people, as in Japan, and at least two."""
        return self.municipalities or max(2, round(self.residents / 70_000))

    def services(self) -> list[Service]:
        """The services of the plan. There is one portal. Local services are spread over towns in proportion to
        people."""
        reached = np.cumsum(zipf_weights(self.towns))
        services: list[Service] = []
        for kind, habit in self.habits.items():
            count = 1 if kind is ServiceType.PORTAL else max(2, round(habit.per_100_000 * self.residents / 100_000))
            for place in range(count):
                town = int(np.searchsorted(reached, (place + 0.5) / count)) if habit.local else NOWHERE
                services.append(Service(len(services), kind, habit.sector, town, habit.asks))
        return services

    def as_dict(self) -> dict[str, Any]:
        """The plan for a world's file, as JSON values; its habits by the kind of service in lower case."""
        fields = asdict(self)
        return {**fields, "habits": {kind.name.lower(): asdict(habit) for kind, habit in self.habits.items()}}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Plan:
        """The plan that `as_dict` wrote. Raises TypeError and KeyError if `fields` is not such a plan."""
        habits = {ServiceType[name.upper()]: Habit(**habit) for name, habit in fields["habits"].items()}
        return cls(**{**fields, "habits": habits})


@dataclass(frozen=True, slots=True)
class Service:
    """A service: its number, kind and sector, its town (or NOWHERE), and whether it asks the authority."""

    number: int
    kind: ServiceType
    sector: str
    town: int
    asks: bool


def zipf_weights(kinds: int) -> Any:
    """The shares of `kinds` kinds by Zipf's law, the largest first; they add up to one."""
    weights = 1 / np.arange(1, kinds + 1)
    return weights / weights.sum()
