"""Does hour precision protect the citizen? The laboratory's linker is run on the rows of an open log.

The linker is that of T17 (`tracking_lab/without_handles.py`), which never sees a handle: two parties link everybody who
has an equal key at both. Here one party is the open log, and the other an attacker who knows something else. Both round
times to the coarser of the log's precision and the attacker's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl

from kazashi.provision_network.open_log import ZONE, Precision
from kazashi.studies.open_log import RowProtection, protection
from kazashi.studies.open_log_traffic import VOLUMES, Traffic, Volume, traffic_of
from kazashi.tracking_lab.metrics import Anonymity, Share, anonymity
from kazashi.tracking_lab.without_handles import KeyLinks, by_key

PER_YEAR = 1.0
"""How often a resident applies for something in a year, by default."""

PROTECTED = 0.05
"""The share of applicants from which on a log does not protect them."""


@dataclass(frozen=True, slots=True)
class Attacker:
    """Somebody who knows times at which people were at a body, or were asked about. `seconds` is how precisely.
    `knows_affair` says that they know what people applied for, `has_all` that they know it of everybody at the body,
    and `of_requests` that they know when requests were sent, not when people came."""

    name: str
    seconds: int
    knows_affair: bool = False
    has_all: bool = False
    of_requests: bool = False


NEIGHBOUR = Attacker("neighbour", 3_600, knows_affair=True)
"""Knows where, what for and in which hour somebody applied."""
APPOINTMENTS = Attacker("appointment list", 1_800, has_all=True)
"""Has the list of a body's visitors, with the half-hour of each."""
SYSTEM_LOG = Attacker("system log", 1, has_all=True, of_requests=True)
"""Has the log of a body's own system: about whom it sent requests, and when, without the items."""
ATTACKERS = (NEIGHBOUR, APPOINTMENTS, SYSTEM_LOG)


@dataclass(frozen=True, slots=True)
class Attack:
    """What an attacker links: everybody with all rows that fit them (`linked`), and those where the choice is certain
    (`certain`): one row fits, or one person of the list does. The recall of both is a share of all applicants."""

    attacker: str
    linked: KeyLinks
    certain: KeyLinks


@dataclass(frozen=True, slots=True)
class OpenLogCase:
    """The log of one volume at one precision: its rows, the people among whom an applicant hides at a body, and the
    attacks."""

    volume: Volume
    precision: Precision
    rows: int
    protection: RowProtection
    applicants: Anonymity
    attacks: tuple[Attack, ...]

    def attack(self, attacker: Attacker) -> Attack:
        """The attack of an attacker."""
        return next(one for one in self.attacks if one.attacker == attacker.name)


def open_log_study(seed: str, per_year: float = PER_YEAR) -> Iterator[OpenLogCase]:
    """Measure every volume at every precision, from the finest on."""
    for volume in VOLUMES:
        traffic = traffic_of(volume, per_year, seed)
        for precision in Precision:
            yield measured(volume, traffic, precision)


def measured(volume: Volume, traffic: Traffic, precision: Precision) -> OpenLogCase:
    """Measure the log of some traffic at a precision."""
    requests = traffic.requests
    span = _begin(precision.seconds)
    rows = requests.select(
        clientMemberCode="requester", serviceMemberCode="provider", serviceCode="item", requestInTs=span * 1_000
    )
    applicants = requests.select("requester", "person", span=span).unique()
    return OpenLogCase(
        volume, precision, requests.height, protection(rows), anonymity(applicants, ("requester", "span")),
        tuple(attack(attacker, traffic, precision) for attacker in ATTACKERS),
    )  # fmt: skip


def attack(attacker: Attacker, traffic: Traffic, precision: Precision) -> Attack:
    """Run the linker on the log and what an attacker knows."""
    span = _begin(max(attacker.seconds, precision.seconds))
    key = ("requester", *(["item"] if attacker.knows_affair else []), "span")
    log = traffic.requests.select(*key[:-1], "person", span=span)
    known = (traffic.requests if attacker.of_requests else traffic.visits).select(*key[:-1], "person", span=span)
    linked = _linked(log, known, key)
    if attacker.has_all:
        known = known.filter(pl.col("person").n_unique().over(*key) == 1)
    else:
        log = log.filter(pl.len().over(*key) == 1)
    certain = _linked(log, known, key)
    recall = Share(certain.recall.count, linked.recall.total)
    return Attack(attacker.name, linked, KeyLinks(recall, certain.precision, certain.control))


def answer(cases: list[OpenLogCase]) -> str:
    """The answer to the question in one sentence, with its numbers."""
    by_hour, by_day = ([case for case in cases if case.precision is one] for one in (Precision.HOUR, Precision.DAY))
    sides: dict[bool, list[str]] = {}
    for case in by_hour:
        sides.setdefault(_singled(case).interval[1] < PROTECTED, []).append(f"a {case.volume.name}")
    words = ", and ".join(
        f"{'protects' if safe else 'does not protect'} applicants in {' and '.join(names)}"
        for safe, names in sorted(sides.items())
    )
    hours = [
        f"{percent(_singled(case))} of the applicants in a {case.volume.name}"
        if case is by_hour[0]
        else f"{percent(_singled(case))} in a {case.volume.name}"
        for case in by_hour
    ]
    right = [percent(case.attack(NEIGHBOUR).certain.precision) for case in by_hour]
    days = [percent(_singled(case)) for case in by_day]
    return (
        f"Hour precision {words}: a neighbour who knows the place, the purpose and the hour of a visit rightly picks"
        f" the row of {_listed(hours)} (of the rows that they pick, {_listed(right)} are right); to the day,"
        f" they do so for {_listed(days)}."
    )


def as_rows(cases: list[OpenLogCase]) -> list[dict[str, str]]:
    """The cases as rows of a table for people. Shares are in per cent, with their intervals."""
    return [
        {
            "volume": case.volume.name, "precision": case.precision.value, "rows": f"{case.rows:,}",
            "unique rows": interval(case.protection.sets.unique), "hidden among": f"{case.applicants.median:,.0f}",
            **{attack.attacker: interval(attack.certain.recall) for attack in case.attacks},
        }
        for case in cases
    ]  # fmt: skip


def interval(share: Share) -> str:
    """A share in per cent with the bounds of its interval."""
    low, high = share.interval
    return f"{percent(share)} [{100 * low:.1f}, {100 * high:.1f}]"


def _singled(case: OpenLogCase) -> Share:
    return case.attack(NEIGHBOUR).certain.recall


def percent(share: Share) -> str:
    """A share in per cent with one decimal place. Only a share of all is 100 %, and only one of none is 0 %."""
    if not share.total:
        return "-"
    text = f"{100 * share.value:.1f}"
    if text == "100.0" and share.count < share.total:
        return ">99.9 %"
    return "<0.1 %" if text == "0.0" and share.count else f"{text} %"


def _listed(parts: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))


def _begin(seconds: int) -> pl.Expr:
    return pl.col("moment") - (pl.col("moment") + ZONE) % seconds


def _linked(log: pl.DataFrame, known: pl.DataFrame, key: tuple[str, ...]) -> Any:
    seen = pl.concat([log.with_columns(service=1), known.with_columns(service=2)], how="diagonal")
    return by_key(seen, *key)
