"""Who must come together to link (X13): services, and whoever else holds a key, a table or a log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import polars as pl

from kazashi.tracking_lab.countermeasures import AUTHORITY, PLATFORM, Countermeasure
from kazashi.tracking_lab.metrics import minimal


@dataclass(frozen=True, slots=True)
class Coalition:
    """Actors who could link together: so many services, which ones they may be, and others beside them."""

    services: int
    which: str
    others: tuple[str, ...]

    def __str__(self) -> str:
        return " + ".join([*([self.which] if self.services else []), *self.others])


def coalitions(
    held: pl.DataFrame, measure: Countermeasure, size: int = 3, threshold: float = 0.95, most: int = 12
) -> list[Coalition]:  # fmt: skip
    """X13: the smallest sets of up to so many actors who link, of the pairs (person at two services) that they see,
    nearly all. Actors are the services that most people use, at most so many of them, and whoever else holds
    something. `held` has `service`, `sector`, `asks`, `person`, `handle`, and the keys that others can turn handles
    into."""
    busiest = (
        held.group_by("service").agg(pl.col("person").n_unique()).sort("person", "service", descending=[True, False])
    )
    chosen = sorted(busiest["service"].head(most).to_list())
    keys = ["handle", *dict.fromkeys(measure.reveals.values())]
    tables = {key: _by_pair(held, key) for key in keys}
    everywhere = sorted(held["service"].unique().to_list())
    asking = sorted(held.filter("asks")["service"].unique().to_list())
    found: list[tuple[frozenset[str], float]] = []
    others, names = list(measure.reveals), {f"service {number}": number for number in chosen}
    for count in range(1, size + 1):
        for some in combinations([*names, *others], count):
            services = [names[name] for name in some if name in names]
            helpers = [name for name in some if name in others]
            if PLATFORM in helpers:  # it has derived every handle itself
                services = everywhere
            elif AUTHORITY in helpers and measure.online:  # it was asked about every use
                services = sorted({*services, *asking})
            key = next((key for key in ("person", "chain", "shown")
                        if any(measure.reveals[name] == key for name in helpers)), "handle")  # fmt: skip
            right, belongs = _counted(tables[key], services)
            if belongs:
                found.append((frozenset(some), right / belongs))
    return _grouped(
        minimal(found, threshold), names, held, {pair for pair in tables["handle"] if set(pair) <= {*chosen}}
    )


def _by_pair(held: pl.DataFrame, key: str) -> dict[tuple[int, int], tuple[int, int]]:
    """For each two services: how many persons they share, rightly linked by a key, and in all."""
    rows = held.select("service", "person", key=pl.col(key)).unique()
    persons = rows.select("service", "person").unique()
    shared = persons.join(persons, on="person", suffix="_other").filter(pl.col("service") < pl.col("service_other"))
    linked = rows.join(rows, on=["person", "key"], suffix="_other").filter(pl.col("service") < pl.col("service_other"))
    right = (
        linked.select("service", "service_other", "person").unique().group_by("service", "service_other").len("right")
    )
    found = shared.group_by("service", "service_other").len("belongs").join(
        right, on=["service", "service_other"], how="left"
    )  # fmt: skip
    return {(row["service"], row["service_other"]): (row["right"] or 0, row["belongs"])
            for row in found.iter_rows(named=True)}  # fmt: skip


def _counted(table: Mapping[tuple[int, int], tuple[int, int]], services: list[int]) -> tuple[int, int]:
    found = [table[pair] for pair in combinations(services, 2) if pair in table]
    return sum(right for right, _ in found), sum(belongs for _, belongs in found)


def _grouped(
    found: list[frozenset[str]], names: Mapping[str, int], held: pl.DataFrame, pairs: set[tuple[int, int]]
) -> list[Coalition]:  # fmt: skip
    """Coalitions that differ in nothing but which services they are, told in one."""
    sector = dict(held.select("service", "sector").unique().rows())
    groups: dict[tuple[int, tuple[str, ...]], list[tuple[int, ...]]] = {}
    for who in found:
        services = tuple(sorted(names[name] for name in who if name in names))
        groups.setdefault((len(services), tuple(sorted(who - names.keys()))), []).append(services)
    found_ = [Coalition(count, _which(count, some, sector, pairs), others) for (count, others), some in groups.items()]
    return sorted(found_, key=lambda one: (one.services + len(one.others), one.others, one.which))


def _which(
    count: int, some: list[tuple[int, ...]], sector: Mapping[int, str], pairs: set[tuple[int, int]]
) -> str:  # fmt: skip
    if not count:
        return ""
    words = f"{('one', 'two', 'three')[count - 1]} service{'s' * (count > 1)}"
    if count == 2:
        if len(some) == len(pairs):
            return f"any {words}"
        of_one = {pair for pair in pairs if sector[pair[0]] == sector[pair[1]]}
        named: dict[frozenset[tuple[int, ...]], str] = {
            frozenset(of_one): f"any {words} of one sector",
            frozenset(pairs - of_one): f"any {words} of two sectors",
        }
        return named.get(frozenset(some), f"{words} ({len(some)} of {len(pairs)} pairs)")
    return f"{words} ({len(some)} sets)"
