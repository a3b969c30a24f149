"""People, what befalls them, and the certificates that follow from it: whole columns at a time.

What an event does to certificates, how long they last and when they can be renewed are the authorities' own rules
(`pki/consequence.py`, `pki/profile.py`); a test lets a small world live through the services, and finds the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from pki.consequence import TABLE
from pki.profile import EMULATED
from pki.profile import Kind as Certificate
from tracking_lab.plan import BEGINS, Plan
from world.chance import stream

CHUNK = 50_000
"""People whose lives are made together. A chunk's chance is its own, so that cores do not matter."""

SIGNATURES = 1 << 40
"""What is added to the serial numbers of the signature authority's, which counts for itself."""

NEVER = np.iinfo(np.int32).max
WORDS = ("move-within", "move-in", "name-change", "theft", "death")
REASONS = ("", "superseded", "expired", *WORDS)
"""What ends a certificate, by number."""

_AGES = np.array([1.0] * 15 + [1.1] * 10 + [1.2] * 15 + [1.6] * 15 + [1.35] * 20 + [0.8] * 10 + [0.35] * 10)
"""People by year of age, in proportion (人口推計 2023, by fifteen years)."""

_REPLACED_AFTER = (7, 45)
"""Days after which a certificate that died early is made anew, at least and at most."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some people's lives. `people` has a row to a person, `certificates` one to a certificate, without its number."""

    people: pl.DataFrame
    certificates: pl.DataFrame


def live(plan: Plan, chunk: int) -> Chunk:
    """The lives of the people of a chunk, from the plan's first day to its last."""
    first = chunk * CHUNK
    count = min(CHUNK, plan.residents - first)
    rng = np.random.default_rng(stream(plan.seed, "tracking", "lives", str(chunk)).getrandbits(128))
    people, births = _people(plan, first, count, rng)
    events = _events(plan, births, rng)
    issued = rng.integers(0, plan.first_days, count, dtype=np.int32)
    has_phone = rng.random(count) < plan.phones
    rows = [_card(plan, births, events, issued, rng)]
    rows += [_phone(plan, births, events, issued, has_phone, rng)]
    return Chunk(
        people.with_columns(died=events["death"]), pl.concat(rows).with_columns(person=pl.col("person") + first)
    )


def _people(plan: Plan, first: int, count: int, rng: np.random.Generator) -> tuple[pl.DataFrame, Any]:
    """Columns of people, and their birthdays: one row to a person, one column to a calendar year."""
    age = rng.choice(len(_AGES), count, p=_AGES / _AGES.sum()).astype(np.int32)
    of_year = rng.integers(0, 365, count, dtype=np.int32)
    households = np.cumsum(rng.random(count) < 1 / 2.2)
    town = _towns(plan, rng)[households % max(1, plan.residents)] if count else np.empty(0, np.int32)
    born = np.datetime64(BEGINS) - (age * 365.2425).astype("timedelta64[D]") - of_year.astype("timedelta64[D]")
    year, month, day = _calendar(born)
    years = np.arange(BEGINS.year - 1, BEGINS.year + plan.years + 14)
    births = _birthdays(month, day, years)
    people = pl.DataFrame({
        "person": np.arange(first, first + count, dtype=np.uint32),
        "household": (households + first).astype(np.uint32),
        "born": born.astype("datetime64[D]"), "birth_year": year.astype(np.int16),
        "sex": rng.integers(1, 3, count, dtype=np.uint8), "town": town.astype(np.uint16),
        "family": _zipf(rng, 5_000, count), "given": _zipf(rng, 2_000, count),
        "street": rng.integers(0, 1 << 16, count, dtype=np.uint16),
    })  # fmt: skip
    return people, (births, age)


def _towns(plan: Plan, rng: np.random.Generator) -> Any:
    """A municipality to each household: large and small ones, by Zipf's law."""
    return _zipf(rng, plan.towns, max(1, min(CHUNK, plan.residents)))


def _zipf(rng: np.random.Generator, kinds: int, count: int) -> Any:
    weights = 1 / np.arange(1, kinds + 1)
    return rng.choice(kinds, count, p=weights / weights.sum()).astype(np.uint16)


def _calendar(days: Any) -> tuple[Any, Any, Any]:
    years = days.astype("datetime64[Y]")
    months = days.astype("datetime64[M]")
    year = years.astype(np.int32) + 1970
    return year, (months - years.astype("datetime64[M]")).astype(np.int32) + 1, (days - months).astype(np.int32) + 1


def _birthdays(month: Any, day: Any, years: Any) -> Any:
    """Days from the plan's first day to each birthday. Whoever was born on 29 February has it on the 28th in other
    years, as the card's rules count."""
    months = (years[None, :] - 1970).astype("datetime64[Y]").astype("datetime64[M]") + (month - 1)[:, None]
    last = (months + 1).astype("datetime64[D]") - np.timedelta64(1, "D")
    found = np.minimum(months.astype("datetime64[D]") + (day - 1)[:, None].astype("timedelta64[D]"), last)
    return (found - np.datetime64(BEGINS)).astype(np.int32)


def nth_birthday_after(birthdays: Any, day: Any, nth: int) -> Any:
    """The n-th birthday after a day, for each row."""
    passed = (birthdays <= day[:, None]).sum(axis=1)
    return birthdays[np.arange(len(birthdays)), np.minimum(passed + nth - 1, birthdays.shape[1] - 1)]


def _renewal_opens(last: Any) -> Any:
    """The first day on which what ends on a day can be renewed, as `pki.validity.renewal_opens` says it. Of NEVER it is
    some day."""
    days = np.datetime64(BEGINS) + np.where(last == NEVER, 0, last).astype("timedelta64[D]")
    months = days.astype("datetime64[M]")
    opens = months - EMULATED.term.renewal_months
    most = ((opens + 1).astype("datetime64[D]") - opens.astype("datetime64[D]")).astype(np.int32) - 1
    of_month = np.minimum((days - months.astype("datetime64[D]")).astype(np.int32), most)
    return (opens.astype("datetime64[D]") + of_month.astype("timedelta64[D]") - np.datetime64(BEGINS)).astype(np.int32)


def _events(plan: Plan, births: Any, rng: np.random.Generator) -> dict[str, Any]:
    """For each person the day of death (NEVER), and for each kind of event its days, one column to a year."""
    _, age = births
    count = len(age)
    found: dict[str, Any] = {}
    lived = age[:, None] + np.arange(plan.years)
    # Gompertz: what dies in a year at an age, doubling every eight years (簡易生命表 2023, read off and rounded).
    dies = rng.random((count, plan.years)) < np.minimum(1, 2.5e-5 * np.exp(0.095 * lived))
    of_year = (np.arange(plan.years) * 365.25).astype(np.int32)
    day = of_year + rng.integers(0, 365, (count, plan.years), dtype=np.int32)
    found["death"] = np.where(dies.any(axis=1), day[np.arange(count), dies.argmax(axis=1)], NEVER)
    rates = {"move-within": plan.moves * (1 - plan.out_of_town), "move-in": plan.moves * plan.out_of_town,
             "name-change": plan.renames, "theft": plan.losses}  # fmt: skip
    for word, rate in rates.items():
        happens = rng.random((count, plan.years)) < rate
        at = of_year + rng.integers(0, 365, (count, plan.years), dtype=np.int32)
        found[word] = np.where(happens & (at < found["death"][:, None]), at, NEVER).astype(np.int32)
    return found


def _next_end(events: dict[str, Any], words: tuple[str, ...], after: Any, people: Any) -> tuple[Any, Any]:
    """The first event of those kinds after a day, for each person: its day (NEVER) and its reason's number."""
    day, reason = events["death"][people].copy(), np.full(len(people), REASONS.index("death"), np.uint8)
    day[day <= after] = after[day <= after] + 1
    for word in words:
        if word == "death":
            continue
        days = events[word][people]
        days = np.where(days > after[:, None], days, NEVER).min(axis=1)
        sooner = days < day
        day[sooner], reason[sooner] = days[sooner], REASONS.index(word)
    return day, reason


def _ending(kind: Certificate) -> tuple[str, ...]:
    """The words of events that end a certificate of a kind, by the authorities' own table."""
    return tuple(word for word in WORDS if TABLE[word].of(kind) is not None)


def _card(plan: Plan, births: Any, events: dict[str, Any], issued: Any, rng: np.random.Generator) -> pl.DataFrame:
    return _chain(plan, births, events, issued, np.arange(len(issued)), 0, rng)


def _phone(
    plan: Plan, births: Any, events: dict[str, Any], issued: Any, has: Any, rng: np.random.Generator
) -> pl.DataFrame:
    people = np.flatnonzero(has)
    later = issued[people] + rng.integers(1, 365, len(people), dtype=np.int32)
    return _chain(plan, births, events, later, people, 1, rng)


def _chain(
    plan: Plan, births: Any, events: dict[str, Any], issued: Any, people: Any, medium: int, rng: np.random.Generator
) -> pl.DataFrame:
    """The certificates on one card or phone after the other. A renewal follows its certificate in the chain; a card
    made anew after a loss begins a chain of its own."""
    birthdays, age = births
    rows: list[pl.DataFrame] = []
    open_ = {kind: (people, issued.astype(np.int32), np.full(len(people), NEVER, np.int32),
                    np.zeros(len(people), np.uint16)) for kind in Certificate}  # fmt: skip
    for kind, (who, begin, former_end, chain) in open_.items():
        if kind is Certificate.SIGNATURE:
            old_enough = age[who] >= 15
            who, begin, former_end, chain = (column[old_enough] for column in (who, begin, former_end, chain))
        generation = 0
        while len(who):
            lasts = begin < np.minimum(plan.days, events["death"][who])
            who, begin, former_end, chain = (column[lasts] for column in (who, begin, former_end, chain))
            if not len(who):
                break
            # Within the last three months the birthdays are counted from the former end, so that nobody loses by it.
            early = (former_end != NEVER) & (_renewal_opens(former_end) <= begin) & (begin <= former_end)
            counted = np.where(early, former_end, begin)
            end = nth_birthday_after(birthdays[who], counted, EMULATED.term.birthdays)
            ended, reason = _next_end(events, _ending(kind), begin, who)
            renews = end - rng.integers(1, 85, len(who), dtype=np.int32)
            forgets = rng.random(len(who)) < 0.08
            renews = np.where(forgets, end + rng.integers(1, 200, len(who), dtype=np.int32), renews)
            expires = end < ended
            supersedes = (renews < ended) & ~forgets
            reason = np.where(supersedes, REASONS.index("superseded"),
                              np.where(expires, REASONS.index("expired"), reason)).astype(np.uint8)  # fmt: skip
            ended = np.where(supersedes, renews, np.where(expires, end, ended)).astype(np.int32)
            rows.append(pl.DataFrame({
                "person": who.astype(np.uint32), "kind": np.full(len(who), kind is Certificate.SIGNATURE),
                "medium": np.full(len(who), medium, np.uint8), "chain": chain, "generation":
                np.full(len(who), generation, np.uint8), "begins": begin.astype(np.int32),
                "ends": end.astype(np.int32), "ended": ended, "reason": reason,
            }))  # fmt: skip
            again = ended + rng.integers(*_REPLACED_AFTER, len(who), dtype=np.int32)
            lost = reason == REASONS.index("theft")
            begin = np.where(supersedes, renews, np.where(expires, np.maximum(renews, end + 1), again)).astype(np.int32)
            former_end = np.where(lost, NEVER, end).astype(np.int32)
            chain = (chain + lost).astype(np.uint16)
            goes_on = reason != REASONS.index("death")
            who, begin, former_end, chain = (column[goes_on] for column in (who, begin, former_end, chain))
            generation += 1
    return pl.concat(rows) if rows else _no_certificates()


def _no_certificates() -> pl.DataFrame:
    return pl.DataFrame(schema={
        "person": pl.UInt32, "kind": pl.Boolean, "medium": pl.UInt8, "chain": pl.UInt16, "generation": pl.UInt8,
        "begins": pl.Int32, "ends": pl.Int32, "ended": pl.Int32, "reason": pl.UInt8,
    })  # fmt: skip


def numbered(certificates: pl.DataFrame) -> pl.DataFrame:
    """Certificates with their serial numbers: each authority counts without a gap, in the order of issue. `shown` is
    what tells one from all others, of either authority."""
    found = certificates.sort("begins", "person", "medium", "generation").with_columns(
        serial=pl.int_range(1, pl.len() + 1, dtype=pl.UInt64).over("kind")
    )
    return found.with_columns(shown=pl.col("serial") + pl.col("kind").cast(pl.UInt64) * SIGNATURES)
