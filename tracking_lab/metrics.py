"""Measures of linkability, each with its formula and its source. Shares come with Wilson's interval, so that small
worlds do not look surer than they are."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

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
class PairCounts:
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


def pairwise(seen: pl.DataFrame, key: str) -> PairCounts:
    """X1 over all pairs of services: `seen` has columns `service`, `person` and the key by which services join. A pair
    is a person at two services; it is linked where both hold the same key for him."""
    held = seen.select("service", "person", key=pl.col(key)).drop_nulls().unique()
    persons = held.select("service", "person").unique().group_by("person").len()
    belongs = int(persons.select((pl.col("len") * (pl.col("len") - 1) // 2).sum()).item() or 0)
    joined = held.join(held, on="key", suffix="_other").filter(pl.col("service") < pl.col("service_other"))
    pairs = joined.select("service", "person", "service_other", "person_other").unique()
    right = pairs.filter(pl.col("person") == pl.col("person_other")).height
    return PairCounts(right, pairs.height - right, belongs - right)


@dataclass(frozen=True, slots=True)
class Clusters:
    """X2: how well the clusters of a key are people. `completeness` is the share of a person's services in the largest
    of her clusters: its mean, its 95th percentile and its greatest; `information` is the variation of information in
    bits."""

    precision: float
    recall: float
    rand: float
    information: float
    completeness: tuple[float, float, float]


def clusters(seen: pl.DataFrame, key: str) -> Clusters:
    """X2 of the clusters that a key makes of (service, person): B-cubed precision and recall (Bagga and Baldwin, 1998),
    adjusted Rand index (Hubert and Arabie, 1985), variation of information (Meila, 2007), profile completeness. What
    has no key stands alone."""
    items = seen.unique(subset=["service", "person"], keep="first", maintain_order=True)
    items = items.select("service", "person", key=pl.col(key))
    count = items.height
    if not count:
        return Clusters(math.nan, math.nan, math.nan, math.nan, (math.nan, math.nan, math.nan))
    alone = pl.concat_str([pl.lit("alone"), pl.col("service"), pl.col("person")], separator="/")
    items = items.with_columns(cluster=pl.coalesce(pl.col("key").cast(pl.String), alone))
    table = items.group_by("cluster", "person").len(name="both")
    table = table.join(items.group_by("cluster").len(name="of_cluster"), on="cluster")
    table = table.join(items.group_by("person").len(name="of_person"), on="person").cast({
        "both": pl.Float64, "of_cluster": pl.Float64, "of_person": pl.Float64,
    })  # fmt: skip
    both, of_cluster, of_person = pl.col("both"), pl.col("of_cluster"), pl.col("of_person")
    spread = -(both / count) * ((both / of_cluster).log(2) + (both / of_person).log(2))
    precision, recall, information = table.select(
        precision=(both**2 / of_cluster).sum() / count, recall=(both**2 / of_person).sum() / count,
        information=spread.sum(),
    ).row(0)  # fmt: skip
    share = table.group_by("person").agg(share=(both / of_person).max())["share"].sort()
    mean, high, most = share.mean(), share.quantile(0.95), share.max()
    assert isinstance(mean, float)
    assert isinstance(most, float)
    return Clusters(float(precision), float(recall), _rand(table), float(information), (mean, float(high or 0), most))


def _rand(table: pl.DataFrame) -> float:
    """The adjusted Rand index of a table of `both`, `of_cluster`, `of_person`."""

    def pairs(sizes: pl.Series) -> float:
        return float((sizes * (sizes - 1) / 2).sum())

    together, count = pairs(table["both"]), float(table["both"].sum())
    ours = pairs(table.unique(subset=["cluster"])["of_cluster"])
    theirs = pairs(table.unique(subset=["person"])["of_person"])
    expected = ours * theirs / (count * (count - 1) / 2) if count > 1 else 0.0
    most = (ours + theirs) / 2
    return 1.0 if most == expected else (together - expected) / (most - expected)


@dataclass(frozen=True, slots=True)
class TimeToLink:
    """X15: of pairs (person at two services) how many are ever linked, and the median of days and of uses that it takes
    from the moment when both services know the person."""

    linked: Share
    median_days: float
    median_uses: float


def time_to_link(seen: pl.DataFrame, key: str) -> TimeToLink:
    """X15 by a key: `seen` has `service`, `person`, the key, and `moment` (seconds), a row to each use."""
    ordered = seen.select("service", "person", "moment", key=pl.col(key)).sort("moment")
    since = ordered.group_by("service", "person").agg(known=pl.col("moment").min())
    first = ordered.drop_nulls("key").group_by("service", "person", "key").agg(at=pl.col("moment").min())
    linked = first.join(first, on=["person", "key"], suffix="_other").filter(
        pl.col("service") < pl.col("service_other")
    )
    linked = linked.group_by("person", "service", "service_other").agg(
        at=pl.max_horizontal("at", "at_other").min()
    )  # fmt: skip
    both = since.join(since, on="person", suffix="_other").filter(pl.col("service") < pl.col("service_other"))
    both = both.select("person", "service", "service_other", begun=pl.max_horizontal("known", "known_other"))
    found = both.join(linked, on=["person", "service", "service_other"])
    days = ((found["at"] - found["begun"]) / 86_400).median()
    pair = ["person", "service", "service_other"]
    inside = (pl.col("moment") > pl.col("begun")) & (pl.col("moment") <= pl.col("at"))
    uses = pl.concat([
        found.join(ordered.select("person", "moment", there="service"), left_on=["person", side],
                   right_on=["person", "there"]).select(*pair, hit=inside) for side in ("service", "service_other")
    ]).group_by(*pair).agg(pl.col("hit").sum())["hit"].median()  # fmt: skip
    return TimeToLink(Share(found.height, both.height), _number(days), _number(uses))


def _number(found: object) -> float:
    return float(found) if isinstance(found, int | float) else math.nan


def reidentified(ranked: pl.DataFrame, targets: int, first: int) -> Share:
    """X5, RR@k: of so many targets those whose true person is among the first k candidates. `ranked` has `target`,
    `rank` (from 1) and `right`."""
    found = ranked.filter((pl.col("rank") <= first) & pl.col("right"))["target"].n_unique()
    return Share(found, targets)


def gap_entropy(seen: pl.DataFrame) -> float:
    """X12: the entropy, in bits, of how much time lies between two uses of one handle, in doublings of an hour: what an
    observer of all uses learns of habits. `seen` has `shown` and `moment` (seconds)."""
    gaps = seen.sort("shown", "moment").select(
        gap=pl.when(pl.col("shown") == pl.col("shown").shift(1)).then(
            pl.col("moment").cast(pl.Int64) - pl.col("moment").cast(pl.Int64).shift(1)
        )
    )["gap"].drop_nulls()  # fmt: skip
    if not len(gaps):
        return math.nan
    bins = (gaps / 3600 + 1).log(2).floor()
    share = bins.value_counts()["count"] / len(gaps)
    return float(-(share * share.log(2)).sum())


@dataclass(frozen=True, slots=True)
class Anonymity:
    """X6: how many share one's attributes. `unique` are people who share them with nobody; `sets` are the sizes of
    sets that the 5th, 25th, 50th, 75th and 95th percentile of people are in; `least` is the min-entropy in bits."""

    unique: Share
    median: float
    sets: tuple[float, ...]
    least: float
    entropy_bits: float
    degree: float
    leaked_bits: float


def anonymity(people: pl.DataFrame, attributes: Sequence[str]) -> Anonymity:
    """X6 of some attributes: sizes of classes, Shannon entropy of the class (Serjantov and Danezis; Diaz et al., 2002),
    and the identifying bits that they give away (Eckersley, 2010)."""
    if not people.height:
        return Anonymity(Share(0, 0), math.nan, (math.nan,) * 5, math.nan, math.nan, math.nan, math.nan)
    sizes = people.group_by(*attributes).len(name="size")
    total = people.height
    alone = int(sizes.filter(pl.col("size") == 1).height)
    share = sizes["size"] / total
    entropy = float(-(share * share.log(2)).sum())
    own = people.join(sizes, on=list(attributes), nulls_equal=True)["size"].to_numpy()
    leaked = float(-np.log2(own / total).mean())
    most = math.log2(total) if total > 1 else 1.0
    spread = tuple(float(size) for size in np.quantile(own, (0.05, 0.25, 0.5, 0.75, 0.95)))
    least = -math.log2(float(own.max()) / total)
    return Anonymity(Share(alone, total), float(np.median(own)), spread, least, entropy, entropy / most, leaked)


def advantage(right: int, trials: int) -> tuple[float, float]:
    """X8: the advantage |2 Pr - 1| in the game of telling one's pseudonyms from a stranger's, and half its interval."""
    low, high = Share(right, trials).interval
    return abs(2 * Share(right, trials).value - 1), high - low


def area_under_curve(same: Sequence[float], different: Sequence[float], chance: Random) -> tuple[float, float, float]:
    """X8: how often a score of the same person's handles is above one of strangers' (AUC), with the interval of 500
    bootstrap samples."""
    if not same or not different:
        return (math.nan, 0.0, 1.0)
    ours, theirs = np.asarray(same), np.sort(np.asarray(different))

    def area(one: Any, other: Any) -> float:
        below, upto = np.searchsorted(other, one, "left"), np.searchsorted(other, one, "right")
        return float((below + upto).mean() / 2 / len(other))

    drawn = np.random.default_rng(chance.getrandbits(64))
    areas = [area(drawn.choice(ours, len(ours)), np.sort(drawn.choice(theirs, len(theirs)))) for _ in range(500)]
    return (area(ours, theirs), float(np.quantile(areas, 0.025)), float(np.quantile(areas, 0.975)))


def anonymeter(right: int, trials: int, control_right: int, control_trials: int) -> tuple[float, float]:
    """X9: the risk that is an attack's own, beyond what a control attack guesses, and half its interval (Giomi et al.,
    PETS 2023)."""

    def rate(count: int, total: int) -> tuple[float, float]:
        root = math.sqrt(count * (total - count) / total + Z95**2 / 4) if total else Z95 / 2
        return (count + Z95**2 / 2) / (total + Z95**2), Z95 / (total + Z95**2) * root

    (attack, wide), (control, other) = rate(right, trials), rate(control_right, control_trials)
    if control >= 1:
        return (0.0, 1.0)
    risk = (attack - control) / (1 - control)
    # The error of a quotient of two that are drawn apart.
    half = math.hypot(wide / (1 - control), other * (1 - attack) / (1 - control) ** 2)
    return (risk, half)


@dataclass(frozen=True, slots=True)
class RecordRisk:
    """X10: the risks of a release to somebody who knows that a person is in it, who does not, and who wants as many as
    possible."""

    prosecutor: float
    journalist: float
    marketer: float


def record_risk(sample: pl.DataFrame, population: pl.DataFrame, attributes: Sequence[str]) -> RecordRisk:
    """X10: prosecutor, journalist and marketer risk of a release, from class sizes in sample and population (El Emam
    and Dankar, 2008)."""
    here = sample.group_by(*attributes).len(name="f")
    there = population.group_by(*attributes).len(name="F")
    both = here.join(there, on=list(attributes), how="left", nulls_equal=True)
    if not both.height:
        return RecordRisk(math.nan, math.nan, math.nan)
    marketer = float((both["f"] / both["F"]).sum()) / sample.height
    smallest_here, smallest_there = both["f"].min(), both["F"].min()
    assert isinstance(smallest_here, int)
    assert isinstance(smallest_there, int)
    return RecordRisk(1 / smallest_here, 1 / smallest_there, marketer)


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
