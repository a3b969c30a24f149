"""X13: the smallest coalitions that can link. Actors are services, and others that hold a key, a table or a log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import chain, combinations
from math import comb

import polars as pl

from kazashi.tracking_lab.countermeasures import AUTHORITY, PLATFORM, Countermeasure
from kazashi.tracking_lab.metrics import minimal
from kazashi.tracking_lab.revocation_checks import Requester


class Selection(Enum):
    """Which services a coalition needs."""

    NONE = "none"
    ANY = "any"
    OF_ONE_SECTOR = "of one sector"
    OF_TWO_SECTORS = "of two sectors"
    CERTAIN = "certain"


@dataclass(frozen=True, slots=True)
class Coalition:
    """Actors who can link together: a number of services, which ones, and the other actors. `sets` is how many sets of
    that many services it stands for, out of `among`; pairs of services that share nobody are not among them."""

    services: int
    which: Selection
    sets: int
    among: int
    others: tuple[str, ...]


def coalitions(
    held: pl.DataFrame, measure: Countermeasure, size: int = 3, threshold: float = 0.95, most: int = 12
) -> list[Coalition]:  # fmt: skip
    """X13: the smallest sets of up to `size` actors who can link at least the share `threshold` of the pairs (person at
    two services) that they see. Actors are the `most` services with the most users, and the actors of
    `measure.reveals`. `held` has `service`, `sector`, `asks`, `person`, `handle`, and the keys that other actors can
    convert handles to."""
    services = {f"service {number}": number for number in _busiest(held, most)}
    everywhere = sorted(held["service"].unique().to_list())
    by_service = measure.check.requester is Requester.SERVICE
    asking = set(held.filter("asks")["service"]) if by_service else set()
    tables = {key: _by_pair(held, key) for key in dict.fromkeys(("handle", *measure.reveals.values()))}
    recalls: list[tuple[frozenset[str], float]] = []
    for some in _sets([*services, *measure.reveals], size):
        helpers = [name for name in some if name in measure.reveals]
        seen = {services[name] for name in some if name in services}
        if AUTHORITY in helpers:  # these services ask it about every use
            seen |= asking
        right, belongs = _counted(tables[_strongest(measure, helpers)], everywhere if PLATFORM in helpers else seen)
        if belongs:
            recalls.append((frozenset(some), right / belongs))
    chosen = set(services.values())
    pairs = {pair for pair in tables["handle"] if set(pair) <= chosen}
    return _grouped(minimal(recalls, threshold), services, held, pairs)


def _busiest(held: pl.DataFrame, most: int) -> list[int]:
    """The numbers of the `most` services with the most users, in ascending order."""
    people = held.group_by("service").agg(pl.col("person").n_unique())
    return sorted(people.sort("person", "service", descending=[True, False])["service"].head(most).to_list())


def _sets(actors: Sequence[str], size: int) -> Iterator[tuple[str, ...]]:
    """Every set of up to `size` actors, the smallest first."""
    return chain.from_iterable(combinations(actors, count) for count in range(1, size + 1))


def _strongest(measure: Countermeasure, helpers: Iterable[str]) -> str:
    """The most identifying key that the helpers can convert handles to, or the handle itself."""
    revealed = {measure.reveals[name] for name in helpers}
    return next((key for key in ("person", "timed", "chain", "shown") if key in revealed), "handle")


def _by_pair(held: pl.DataFrame, key: str) -> dict[tuple[int, int], tuple[int, int]]:
    """For each pair of services: how many shared persons a key links correctly, and how many they share in all."""
    rows = held.select("service", "person", key=pl.col(key)).unique()
    persons = rows.select("service", "person").unique()
    shared = persons.join(persons, on="person", suffix="_other").filter(pl.col("service") < pl.col("service_other"))
    linked = rows.join(rows, on=["person", "key"], suffix="_other").filter(pl.col("service") < pl.col("service_other"))
    right = (
        linked.select("service", "service_other", "person").unique().group_by("service", "service_other").len("right")
    )
    both = shared.group_by("service", "service_other").len("belongs").join(
        right, on=["service", "service_other"], how="left"
    )  # fmt: skip
    return {(row["service"], row["service_other"]): (row["right"] or 0, row["belongs"])
            for row in both.iter_rows(named=True)}  # fmt: skip


def _counted(table: Mapping[tuple[int, int], tuple[int, int]], services: Iterable[int]) -> tuple[int, int]:
    counts = [table[pair] for pair in combinations(sorted(services), 2) if pair in table]
    return sum(right for right, _ in counts), sum(belongs for _, belongs in counts)


def _grouped(
    sets: list[frozenset[str]], names: Mapping[str, int], held: pl.DataFrame, pairs: set[tuple[int, int]]
) -> list[Coalition]:  # fmt: skip
    """The coalitions, with those that differ only in their services described as one."""
    sector = dict(held.select("service", "sector").unique().rows())
    groups: dict[tuple[int, tuple[str, ...]], list[tuple[int, ...]]] = {}
    for who in sets:
        services = tuple(sorted(names[name] for name in who if name in names))
        groups.setdefault((len(services), tuple(sorted(who - names.keys()))), []).append(services)
    merged = [
        Coalition(
            count,
            _selection(count, some, sector, pairs),
            len(some),
            len(pairs) if count == 2 else comb(len(names), count),
            others,
        )
        for (count, others), some in groups.items()
    ]
    return sorted(merged, key=lambda one: (one.services + len(one.others), one.others, one.which.value))


def _selection(
    count: int, some: list[tuple[int, ...]], sector: Mapping[int, str], pairs: set[tuple[int, int]]
) -> Selection:  # fmt: skip
    if not count:
        return Selection.NONE
    of_one = {pair for pair in pairs if sector[pair[0]] == sector[pair[1]]}
    named: dict[frozenset[tuple[int, ...]], Selection] = {
        frozenset(of_one): Selection.OF_ONE_SECTOR,
        frozenset(pairs - of_one): Selection.OF_TWO_SECTORS,
        frozenset(pairs): Selection.ANY,
    }
    return named.get(frozenset(some), Selection.CERTAIN)
