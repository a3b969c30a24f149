"""Measures of linkability, each with its formula and its source. Shares come with Wilson's interval, so that small
worlds do not look surer than they are."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

Z95 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Share:
    """A share of `total`, with Wilson's interval at 95 %. Of nothing it is not a number, and says so."""

    count: int
    total: int

    @property
    def value(self) -> float:
        """The share itself."""
        return self.count / self.total if self.total else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's interval."""
        if not self.total:
            return (0.0, 1.0)
        n, z = self.total, Z95
        centre = (self.value + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * math.sqrt(self.value * (1 - self.value) / n + z * z / (4 * n * n))
        return (max(0.0, centre - half), min(1.0, centre + half))

    def __str__(self) -> str:
        if not self.total:
            return "none"
        low, high = self.interval
        return f"{self.value:.3f} [{low:.3f}, {high:.3f}]"


@dataclass(frozen=True, slots=True)
class Linkage:
    """Precision and recall of pairs (X1): pairs that were rightly linked, wrongly, and not."""

    right: int
    wrong: int
    missed: int

    @property
    def precision(self) -> Share:
        """Of the pairs that were linked, those that belong together."""
        return Share(self.right, self.right + self.wrong)

    @property
    def recall(self) -> Share:
        """Of the pairs that belong together, those that were linked."""
        return Share(self.right, self.right + self.missed)

    @property
    def f1(self) -> float:
        """Both in one."""
        total = 2 * self.right + self.wrong + self.missed
        return 2 * self.right / total if total else math.nan


def pairwise(seen: pl.DataFrame, key: str) -> Linkage:
    """X1 over all pairs of services: `seen` has columns `service`, `person` and the key by which services join. A pair
    is a person at two services; it is linked where both hold the same key for him."""
    held = seen.select("service", "person", key=pl.col(key)).drop_nulls().unique()
    persons = held.select("service", "person").unique().group_by("person").len()
    belongs = int(persons.select((pl.col("len") * (pl.col("len") - 1) // 2).sum()).item() or 0)
    joined = held.join(held, on="key", suffix="_other").filter(pl.col("service") < pl.col("service_other"))
    pairs = joined.select("service", "person", "service_other", "person_other").unique()
    right = pairs.filter(pl.col("person") == pl.col("person_other")).height
    return Linkage(right, pairs.height - right, belongs - right)


def b_cubed(seen: pl.DataFrame, key: str) -> tuple[float, float, float]:
    """X2: B-cubed precision and recall of the clusters that a key makes of (service, person), and the mean share of a
    person's services in the largest of her clusters (profile completeness). What has no key stands alone."""
    items = seen.unique(subset=["service", "person"], keep="first", maintain_order=True)
    items = items.select("service", "person", key=pl.col(key))
    if not items.height:
        return (math.nan, math.nan, math.nan)
    alone = pl.concat_str([pl.lit("alone"), pl.col("service"), pl.col("person")], separator="/")
    items = items.with_columns(cluster=pl.coalesce(pl.col("key").cast(pl.String), alone))
    both = items.group_by("cluster", "person").len(name="both")
    clusters = items.group_by("cluster").len(name="cluster_size")
    people = items.group_by("person").len(name="person_size")
    table = both.join(clusters, on="cluster").join(people, on="person")
    square = pl.col("both").cast(pl.Float64) ** 2
    precision = table.select((square / pl.col("cluster_size")).sum()).item() / items.height
    recall = table.select((square / pl.col("person_size")).sum()).item() / items.height
    completeness = (
        table.group_by("person").agg((pl.col("both") / pl.col("person_size")).max().alias("share"))["share"].mean()
    )
    assert isinstance(completeness, float)
    return (float(precision), float(recall), completeness)


@dataclass(frozen=True, slots=True)
class Anonymity:
    """X6: how many share one's attributes. `unique` are people who share them with nobody."""

    unique: Share
    median: float
    entropy_bits: float
    degree: float
    leaked_bits: float


def anonymity(people: pl.DataFrame, attributes: Sequence[str]) -> Anonymity:
    """X6 of some attributes: sizes of classes, Shannon entropy of the class (Serjantov and Danezis; Diaz et al., 2002),
    and the identifying bits that they give away (Eckersley, 2010)."""
    if not people.height:
        return Anonymity(Share(0, 0), math.nan, math.nan, math.nan, math.nan)
    sizes = people.group_by(*attributes).len(name="size")
    total = people.height
    alone = int(sizes.filter(pl.col("size") == 1).height)
    share = sizes["size"] / total
    entropy = float(-(share * share.log(2)).sum())
    own = people.join(sizes, on=list(attributes), nulls_equal=True)["size"].to_numpy()
    leaked = float(-np.log2(own / total).mean())
    most = math.log2(total) if total > 1 else 1.0
    return Anonymity(Share(alone, total), float(np.median(own)), entropy, entropy / most, leaked)


def advantage(right: int, trials: int) -> tuple[float, float]:
    """X8: the advantage |2 Pr - 1| in the game of telling one's pseudonyms from a stranger's, and half its interval."""
    low, high = Share(right, trials).interval
    return abs(2 * Share(right, trials).value - 1), high - low


def anonymeter(right: int, trials: int, control_right: int, control_trials: int) -> float:
    """X9: the risk that is an attack's own, beyond what a control attack guesses (Giomi et al., PETS 2023)."""

    def rate(count: int, total: int) -> float:
        return (count + Z95**2 / 2) / (total + Z95**2)

    attack, control = rate(right, trials), rate(control_right, control_trials)
    return (attack - control) / (1 - control) if control < 1 else 0.0


def record_risk(sample: pl.DataFrame, population: pl.DataFrame, attributes: Sequence[str]) -> dict[str, float]:
    """X10: prosecutor, journalist and marketer risk of a release, from class sizes in sample and population (El Emam
    and Dankar, 2008)."""
    here = sample.group_by(*attributes).len(name="f")
    there = population.group_by(*attributes).len(name="F")
    both = here.join(there, on=list(attributes), how="left", nulls_equal=True)
    if not both.height:
        return {"prosecutor": math.nan, "journalist": math.nan, "marketer": math.nan}
    marketer = float((both["f"] / both["F"]).sum()) / sample.height
    smallest_here, smallest_there = both["f"].min(), both["F"].min()
    assert isinstance(smallest_here, int)
    assert isinstance(smallest_there, int)
    return {"prosecutor": 1 / smallest_here, "journalist": 1 / smallest_there, "marketer": marketer}


@dataclass(frozen=True, slots=True)
class HashCost:
    """X11: what it takes to find serial numbers behind digests by trying all that were issued."""

    guesses: int
    bits: float
    seconds: float


def hash_cost(issued: int, per_second: float) -> HashCost:
    """The cost of all guesses at a rate."""
    return HashCost(issued, math.log2(issued) if issued else 0.0, issued / per_second)


def lifelong(per_renewal: float, renewals: int) -> float:
    """X3: the share of people all of whose renewals are linked, if each is by itself."""
    return per_renewal**renewals


def minimal(coalitions: Iterable[tuple[frozenset[str], float]], threshold: float = 0.95) -> list[frozenset[str]]:
    """X13: the smallest sets of actors whose recall reaches a threshold; none of them holds another (an antichain)."""
    enough = [who for who, recall in coalitions if recall >= threshold]
    smallest = [who for who in enough if not any(other < who for other in enough)]
    return sorted(smallest, key=lambda who: (len(who), sorted(who)))
