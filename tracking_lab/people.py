"""People and their events in the registry, generated in whole columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import polars as pl

from kazashi.resident_registry.event import Channel, Death, Event, MoveIn, MoveWithin, NameChange, Theft
from kazashi.resident_registry.made_up_names import FAMILIES, GIVEN
from kazashi.resident_registry.made_up_residents import AGES, PER_HOUSEHOLD
from kazashi.tracking_lab.plan import BEGINS, Plan, zipf_weights

CHUNK = 50_000
"""The number of people who are generated together. Each chunk has its own random stream, so the number of cores does
not matter."""

NEVER = np.iinfo(np.int32).max


class LifeEvent(IntEnum):
    """An event in a person's life, at the registry or at the card office, by the number under which it is stored."""

    MOVE_WITHIN = 0
    MOVE_IN = 1
    NAME_CHANGE = 2
    THEFT = 3
    DEATH = 4
    ISSUE = 5
    RENEWAL = 6
    PHONE = 7
    RETURN = 8


AT_THE_REGISTRY: Mapping[LifeEvent, type[Event]] = {
    LifeEvent.MOVE_WITHIN: MoveWithin,
    LifeEvent.MOVE_IN: MoveIn,
    LifeEvent.NAME_CHANGE: NameChange,
    LifeEvent.THEFT: Theft,
    LifeEvent.DEATH: Death,
}
"""The events of the registry, which are drawn for each person."""

ON_PAPER = frozenset(kind for kind, event in AT_THE_REGISTRY.items() if event.channel is Channel.PAPER)
"""Events that are submitted on paper. They leave the town hall in the evening and affect certificates on the next
day."""

STREETS = 1 << 15

_AGES = np.array(AGES)


@dataclass(frozen=True, slots=True)
class Happenings:
    """The registry's events: one row per person, with columns in the order of days, and NEVER after the last. `word`
    has the numbers of LifeEvent; `town`, `street` and `family` are the values after the event."""

    day: Any
    word: Any
    town: Any
    street: Any
    family: Any


@dataclass(frozen=True, slots=True)
class People:
    """Some people. `birthdays` has one row per person and one column per calendar year, in days from the plan's first
    day; `ages` is the age that the person reaches on each of them, negative before birth."""

    frame: pl.DataFrame
    birthdays: Any
    ages: Any
    happenings: Happenings

    def age(self, who: Any, day: Any) -> Any:
        """The ages of the people `who`, each on their own day of `day`."""
        passed = (self.birthdays[who] <= day[:, None]).sum(axis=1)
        return self.ages[who, np.maximum(passed - 1, 0)]


def people(plan: Plan, first: int, count: int, rng: np.random.Generator) -> People:
    """Generate `count` people, numbered from `first`."""
    age = rng.choice(len(_AGES), count, p=_AGES / _AGES.sum()).astype(np.int32)
    of_year = rng.integers(0, 365, count, dtype=np.int32)
    household = np.cumsum(rng.random(count) < 1 / PER_HOUSEHOLD) if count else np.empty(0, np.int64)
    houses = int(household[-1]) + 1 if count else 0
    born = np.datetime64(BEGINS) - (age * 365.2425).astype("timedelta64[D]") - of_year.astype("timedelta64[D]")
    year, month, day = _calendar(born)
    years = np.arange(BEGINS.year - 1, BEGINS.year + plan.years + 14)
    frame = pl.DataFrame({
        "person": np.arange(first, first + count, dtype=np.uint32),
        "household": (household + first).astype(np.uint32),
        "born": born.astype("datetime64[D]"), "birth_year": year.astype(np.int16),
        "sex": rng.integers(1, 3, count, dtype=np.uint8), "town": _drawn(rng, plan.towns, houses)[household],
        "family": _drawn(rng, len(FAMILIES), houses)[household], "given": _drawn(rng, len(GIVEN), count),
        "street": rng.integers(0, STREETS, houses, dtype=np.uint16)[household],
    })  # fmt: skip
    death = _deaths(plan, age, rng)
    before = np.array([frame[name].to_numpy() for name in ("town", "street", "family")])
    return People(
        frame.with_columns(died=death), birthdays(month, day, years), years[None, :] - year[:, None],
        _happenings(plan, household, houses, death, before, rng),
    )  # fmt: skip


def nth_birthday_after(birthdays: Any, day: Any, nth: Any) -> Any:
    """The n-th birthday after a day, for each row. `nth` is one number, or one for each row."""
    passed = (birthdays <= day[:, None]).sum(axis=1)
    return birthdays[np.arange(len(birthdays)), np.minimum(passed + nth - 1, birthdays.shape[1] - 1)]


def birthdays(month: Any, day: Any, years: Any) -> Any:
    """The days from the plan's first day to each birthday. People born on 29 February have their birthday on the 28th
    in other years, as in the card's rules."""
    months = (years[None, :] - 1970).astype("datetime64[Y]").astype("datetime64[M]") + (month - 1)[:, None]
    last = (months + 1).astype("datetime64[D]") - np.timedelta64(1, "D")
    dates = np.minimum(months.astype("datetime64[D]") + (day - 1)[:, None].astype("timedelta64[D]"), last)
    return (dates - np.datetime64(BEGINS)).astype(np.int32)


def _drawn(rng: np.random.Generator, kinds: int, count: int) -> Any:
    return rng.choice(kinds, count, p=zipf_weights(kinds)).astype(np.uint16)


def _calendar(days: Any) -> tuple[Any, Any, Any]:
    years = days.astype("datetime64[Y]")
    months = days.astype("datetime64[M]")
    year = years.astype(np.int32) + 1970
    return year, (months - years.astype("datetime64[M]")).astype(np.int32) + 1, (days - months).astype(np.int32) + 1


def _deaths(plan: Plan, age: Any, rng: np.random.Generator) -> Any:
    """The day of each person's death, NEVER for those who survive the plan."""
    count = len(age)
    lived = age[:, None] + np.arange(plan.years)
    # Gompertz: the death rate doubles about every eight years of age (簡易生命表 2023, read off and rounded).
    dies = rng.random((count, plan.years)) < np.minimum(1, 2.5e-5 * np.exp(0.095 * lived))
    day = _days(plan, count, rng)
    return np.where(dies.any(axis=1), day[np.arange(count), dies.argmax(axis=1)], NEVER).astype(np.int32)


def _happenings(
    plan: Plan, household: Any, houses: int, death: Any, before: Any, rng: np.random.Generator
) -> Happenings:
    """Draw the registry's events: households move together; names change and cards are lost one by one. `before` has
    everybody's town, street and family name on the first day."""
    moves = rng.random((houses, plan.years)) < plan.moves
    out = rng.random((houses, plan.years)) < plan.out_of_town
    moved = np.where(moves, _days(plan, houses, rng), NEVER)
    shape = (len(death), plan.years)
    own = [(np.where(rng.random(shape) < rate, _days(plan, len(death), rng), NEVER), kind)
           for kind, rate in ((LifeEvent.NAME_CHANGE, plan.renames), (LifeEvent.THEFT, plan.losses))]  # fmt: skip
    day = np.hstack([moved[household], *(days for days, _ in own), death[:, None]]).astype(np.int32)
    word = np.hstack([
        np.where(out, LifeEvent.MOVE_IN, LifeEvent.MOVE_WITHIN)[household].astype(np.uint8),
        *(np.full(shape, number, np.uint8) for _, number in own),
        np.full((len(death), 1), LifeEvent.DEATH, np.uint8),
    ])  # fmt: skip
    day = np.where(day <= death[:, None], day, NEVER)
    order = np.argsort(day, axis=1, kind="stable")
    most = max(1, int((day < NEVER).sum(axis=1).max())) if len(death) else 1
    rest = np.zeros((len(death), day.shape[1] - plan.years), np.uint16)
    town, street = (np.hstack([drawn.reshape(houses, plan.years)[household], rest]) for drawn in (
        _drawn(rng, plan.towns, houses * plan.years), rng.integers(0, STREETS, houses * plan.years, dtype=np.uint16)
    ))  # fmt: skip
    named = _drawn(rng, len(FAMILIES), len(death) * plan.years).reshape(shape)
    family = np.hstack([np.zeros(shape, np.uint16), named, rest[:, plan.years :]])
    new = np.array([np.take_along_axis(column, order, axis=1)[:, :most] for column in (town, street, family)])
    day, word = (np.take_along_axis(column, order, axis=1)[:, :most] for column in (day, word))
    return Happenings(day, word, *_states(word, new, before, (plan.towns, STREETS, len(FAMILIES))))


def _states(word: Any, new: Any, before: Any, kinds: tuple[int, int, int]) -> Any:
    """The town, street and family name after each event: those that the event changes get a different value."""
    changed_by = ((LifeEvent.MOVE_IN,), (LifeEvent.MOVE_IN, LifeEvent.MOVE_WITHIN), (LifeEvent.NAME_CHANGE,))
    after = np.empty_like(new)
    for column in range(word.shape[1]):
        for row, kinds_of_event in enumerate(changed_by):
            drawn = new[row, :, column]
            other = np.where(drawn == before[row], (drawn + 1) % kinds[row], drawn)
            changes = np.isin(word[:, column], kinds_of_event)
            after[row, :, column] = before[row] = np.where(changes, other, before[row])
    return after


def _days(plan: Plan, count: int, rng: np.random.Generator) -> Any:
    """A random day in each year of the plan, for `count` people or households."""
    of_year = (np.arange(plan.years) * 365.25).astype(np.int32)
    return of_year + rng.integers(0, 365, (count, plan.years), dtype=np.int32)
