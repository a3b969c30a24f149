"""Made-up requests of municipalities, for the question how far an open log protects the people behind them.

The model is plain, and its numbers are assumptions. Each resident applies for something as often as `per_year` says.
The k-th affair of the table is applied for 1/k as often as the first. Offices are open on weekdays from 8:30 to 17:15,
are busiest around 10 and 14 o'clock, and have a third more visitors on Mondays. An application leads to one request for
each item that its affair has in the table. Seven of ten applications are entered 1 to 30 minutes after the visit, the
others at any time of the next working day. Of former municipalities, prefectures and medical insurers, the k-th nearest
is asked 1/k as often as the nearest; of other providers there is one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from kazashi.provision_network.law.tables import printed_table
from kazashi.world.clock import JST, epoch
from kazashi.world.rng import stream

REQUESTER = "市町村長"
WEEKS = 4

_MONDAY = epoch(datetime(2026, 10, 5, tzinfo=JST))
_DAYS, _DAY = 5 * WEEKS, 86_400
_BY_WEEKDAY = (1.3, 1.0, 1.0, 1.0, 1.0)
_QUARTERS = np.arange(34, 69)
"""The quarters of an hour in which offices are open, from midnight: 8:30 to 17:15."""
_BUSY = {8: 1.0, 9: 1.2, 10: 1.4, 11: 1.2, 12: 0.6, 13: 1.1, 14: 1.3, 15: 1.0, 16: 0.8, 17: 0.8}
_NEXT_DAY = 0.3
_LAG = (60, 1_800)
_BODIES = {"市町村長": 200, "都道府県知事": 47, "都道府県知事等": 47, "医療保険者": 100}


@dataclass(frozen=True, slots=True)
class Volume:
    """Municipalities of one size. Several small ones are simulated, so that shares have narrow intervals."""

    name: str
    residents: int
    bodies: int


VOLUMES = (Volume("village", 1_000, 60), Volume("town", 30_000, 2), Volume("city", 300_000, 1))


@dataclass(frozen=True, slots=True)
class Traffic:
    """Requests (`requester`, `provider`, `item`, `moment` in seconds, `person`), and the visits behind them
    (`requester`, `item`, `moment`, `person`), with one row for each item."""

    requests: pl.DataFrame
    visits: pl.DataFrame


def traffic_of(volume: Volume, per_year: float, seed: str) -> Traffic:
    """Make four weeks of requests. The same seed gives the same ones."""
    chance = np.random.default_rng(stream(seed, "open log", volume.name).getrandbits(64))
    affairs = _affairs()
    count = round(volume.residents * volume.bodies * per_year * 7 * WEEKS / 365)
    body = chance.integers(volume.bodies, size=count)
    person = body * volume.residents + chance.integers(volume.residents, size=count)
    day = chance.choice(_DAYS, size=count, p=_shares(np.tile(_BY_WEEKDAY, WEEKS)))
    visit = _moments(chance, day)
    entered = np.where(
        chance.random(count) < _NEXT_DAY, _moments(chance, day + 1), visit + chance.integers(*_LAG, size=count)
    )
    affair = chance.choice(len(affairs), size=count, p=_falling(len(affairs)))
    applications = pl.DataFrame({
        "requester": [f"{volume.name} {number + 1}" for number in body], "person": person, "visit": visit,
        "entered": entered, "affair": affair,
        **{kind: chance.choice(bodies, size=count, p=_falling(bodies)) for kind, bodies in _BODIES.items()},
    })  # fmt: skip
    wanted = pl.DataFrame(
        [(number, place, kind, item) for number, rows in enumerate(affairs) for place, (kind, item) in enumerate(rows)],
        schema=["affair", "place", "kind", "item"], orient="row",
    )  # fmt: skip
    rows = applications.join(wanted, on="affair", maintain_order="left_right")
    number = pl.coalesce(pl.when(pl.col("kind") == kind).then(pl.col(kind) + 1) for kind in _BODIES)
    requests = rows.select(
        "requester", "item", "person", moment=pl.col("entered") + pl.col("place"),
        provider=pl.concat_str("kind", pl.coalesce(pl.lit(" ") + number.cast(pl.String), pl.lit(""))),
    )  # fmt: skip
    return Traffic(requests, rows.select("requester", "item", "person", moment="visit"))


def _affairs() -> list[list[tuple[str, str]]]:
    """The kinds of provider and the items of each affair of municipalities."""
    affairs: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for row in printed_table():
        purpose = row.purpose
        if purpose.requester == REQUESTER:
            affairs.setdefault((purpose.law, purpose.affair), []).append((purpose.provider, purpose.item))
    return list(affairs.values())


def _moments(chance: np.random.Generator, day: Any) -> Any:
    """Times at which offices are open, on working days that are numbered from the first Monday on."""
    weights = _shares(np.array([_BUSY[int(quarter) // 4] for quarter in _QUARTERS]))
    quarter = chance.choice(_QUARTERS, size=len(day), p=weights)
    calendar = day // 5 * 7 + day % 5
    return _MONDAY + calendar * _DAY + quarter * 900 + chance.integers(900, size=len(day))


def _falling(count: int) -> Any:
    return _shares(1 / np.arange(1, count + 1))


def _shares(weights: Any) -> Any:
    return weights / weights.sum()
