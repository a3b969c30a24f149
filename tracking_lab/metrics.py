"""Measures of linkability, each with its formula and its source. Shares have Wilson's interval, so that results of
small worlds do not look more certain than they are."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Annotated, Any

import numpy as np
import polars as pl

Z95 = 1.959963984540054

Bits = Annotated[float, "bits"]
Bytes = Annotated[float, "bytes"]
Days = Annotated[float, "days"]
Seconds = Annotated[float, "seconds"]
Uses = Annotated[float, "uses"]
People = Annotated[float, "people"]
"""Numbers with their units. A float without a unit is a ratio, from 0 to 1."""


@dataclass(frozen=True, slots=True)
class Share:
    """The share `count` of `total`, with Wilson's interval at 95 %. It is NaN if the total is 0."""

    count: int
    total: int

    @property
    def value(self) -> float:
        """The share itself, from 0 to 1; NaN if the total is 0."""
        return self.count / self.total if self.total else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """The bounds of Wilson's interval at 95 %; 0 and 1 if the total is 0."""
        if not self.total:
            return (0.0, 1.0)
        n, z = self.total, Z95
        centre = (self.value + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * math.sqrt(self.value * (1 - self.value) / n + z * z / (4 * n * n))
        return (max(0.0, centre - half), min(1.0, centre + half))

    def of(self, whole: int) -> Estimate:
        """The number that the share is of a whole, if `total` of it were examined, chosen at random."""
        low, high = self.interval
        return Estimate(self.value * whole, low * whole, high * whole)

    def __str__(self) -> str:
        if not self.total:
            return "none"
        low, high = self.interval
        return f"{self.value:.3f} [{low:.3f}, {high:.3f}]"


@dataclass(frozen=True, slots=True)
class Estimate:
    """An estimated value and the bounds of its interval at 95 %. All three are NaN if it cannot be estimated."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return "none" if math.isnan(self.value) else f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


UNKNOWN = Estimate(math.nan, math.nan, math.nan)
"""An estimate for which there are no data."""


@dataclass(frozen=True, slots=True)
class Completeness:
    """Profile completeness: the share of a person's services that are in their largest cluster."""

    mean: float
    percentile_95: float
    most: float


@dataclass(frozen=True, slots=True)
class PairCounts:
    """X1 (precision and recall of pairs): the numbers of pairs linked correctly, linked wrongly, and missed."""

    right: int
    wrong: int
    missed: int

    @property
    def precision(self) -> Share:
        """The share of the linked pairs that belong together."""
        return Share(self.right, self.right + self.wrong)

    @property
    def recall(self) -> Share:
        """The share of the pairs that belong together that were linked."""
        return Share(self.right, self.right + self.missed)

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall."""
        total = 2 * self.right + self.wrong + self.missed
        return 2 * self.right / total if total else math.nan


def pairwise(seen: pl.DataFrame, key: str) -> PairCounts:
    """X1 over all pairs of services. `seen` has columns `service`, `person` and the key by which services join. A pair
    is a person at two services; it is linked if both hold the same key for that person."""
    held = seen.select("service", "person", key=pl.col(key)).drop_nulls().unique()
    persons = held.select("service", "person").unique().group_by("person").len()
    belongs = int(persons.select((pl.col("len") * (pl.col("len") - 1) // 2).sum()).item() or 0)
    joined = held.join(held, on="key", suffix="_other").filter(pl.col("service") < pl.col("service_other"))
    pairs = joined.select("service", "person", "service_other", "person_other").unique()
    right = pairs.filter(pl.col("person") == pl.col("person_other")).height
    return PairCounts(right, pairs.height - right, belongs - right)


@dataclass(frozen=True, slots=True)
class Clusters:
    """X2 (clusters): how well the clusters of a key match people. `precision` and `recall` are B-cubed, `rand` is the
    adjusted Rand index, and `information` the variation of information."""

    precision: float
    recall: float
    rand: float
    information: Bits
    completeness: Completeness


def clusters(seen: pl.DataFrame, key: str) -> Clusters:
    """X2 of the clusters of (service, person) by a key: B-cubed precision and recall (Bagga and Baldwin, 1998),
    adjusted Rand index (Hubert and Arabie, 1985), variation of information (Meila, 2007), profile completeness. A row
    without a key is a cluster of its own."""
    items = seen.unique(subset=["service", "person"], keep="first", maintain_order=True)
    items = items.select("service", "person", key=pl.col(key))
    count = items.height
    if not count:
        return Clusters(math.nan, math.nan, math.nan, math.nan, Completeness(math.nan, math.nan, math.nan))
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
    completeness = Completeness(mean, float(high or 0), most)
    return Clusters(float(precision), float(recall), _rand(table), float(information), completeness)


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
    """X15 (time to link): the share of pairs (person at two services) that are ever linked, and the median days and
    uses until then, from the moment when both services know the person."""

    linked: Share
    median_days: Days
    median_uses: Uses


def time_to_link(seen: pl.DataFrame, key: str) -> TimeToLink:
    """X15 by a key. `seen` has one row per use: `service`, `person`, the key, and `moment` (seconds)."""
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
    pairs = both.join(linked, on=["person", "service", "service_other"])
    days = ((pairs["at"] - pairs["begun"]) / 86_400).median()
    pair = ["person", "service", "service_other"]
    inside = (pl.col("moment") > pl.col("begun")) & (pl.col("moment") <= pl.col("at"))
    uses = pl.concat([
        pairs.join(ordered.select("person", "moment", used="service"), left_on=["person", side],
                   right_on=["person", "used"]).select(*pair, hit=inside) for side in ("service", "service_other")
    ]).group_by(*pair).agg(pl.col("hit").sum())["hit"].median()  # fmt: skip
    return TimeToLink(Share(pairs.height, both.height), _number(days), _number(uses))


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def reidentified(ranked: pl.DataFrame, targets: int, first: int) -> Share:
    """X5 (re-identification), RR@k: the share of targets whose true person is among the first k candidates. `ranked`
    has `target`, `rank` (from 1) and `right`."""
    hits = ranked.filter((pl.col("rank") <= first) & pl.col("right"))["target"].n_unique()
    return Share(hits, targets)


def gap_entropy(seen: pl.DataFrame) -> float:
    """X12 (what the authority sees): the entropy, in bits, of the time between two uses of a handle, in doublings of an
    hour. It is what an observer of all uses learns about habits. `seen` has `shown` and `moment` (seconds)."""
    gaps = seen.sort("shown", "moment").select(
        gap=pl.when(pl.col("shown") == pl.col("shown").shift(1)).then(
            pl.col("moment").cast(pl.Int64) - pl.col("moment").cast(pl.Int64).shift(1)
        )
    )["gap"].drop_nulls()  # fmt: skip
    hours = (gaps // 3600).value_counts()
    return entropy_of_gaps(hours["gap"].to_numpy(), hours["count"].to_numpy())


def entropy_of_gaps(hours: Any, counts: Any) -> float:
    """The entropy of `gap_entropy`, from the numbers of gaps of each length in whole hours. NaN if there is no gap."""
    if not len(hours):
        return math.nan
    # A gap of h whole hours is in the bin of the doublings in h + 1.
    bins = np.frexp(hours.astype(np.float64) + 1)[1] - 1
    share = np.bincount(bins, weights=counts) / counts.sum()
    share = share[share > 0]
    return float(-(share * np.log2(share)).sum())


@dataclass(frozen=True, slots=True)
class Anonymity:
    """X6 (anonymity sets): how many people have the same attributes. `unique` is the share of people who share theirs
    with nobody. `sets` are the 5th, 25th, 50th, 75th and 95th percentile of the size of a person's set, and `median`
    its median. `least` is the min-entropy, `entropy` the Shannon entropy and `degree` its ratio to the maximum.
    `leaked` is the identifying information that the attributes reveal, on average."""

    unique: Share
    median: People
    sets: tuple[People, ...]
    least: Bits
    entropy: Bits
    degree: float
    leaked: Bits


def anonymity(people: pl.DataFrame, attributes: Sequence[str]) -> Anonymity:
    """X6 of some attributes: the sizes of classes, the Shannon entropy of the class (Serjantov and Danezis; Diaz et
    al., 2002), and the identifying bits that the attributes reveal (Eckersley, 2010)."""
    sizes = people.group_by(*attributes).len(name="size").group_by("size").len(name="classes").sort("size")
    return anonymity_of(sizes["size"].to_numpy(), sizes["classes"].to_numpy())


def anonymity_of(sizes: Any, classes: Any) -> Anonymity:
    """X6 from the ascending sizes of classes of people with the same attributes, and the number of classes of each
    size."""
    if not len(sizes):
        return Anonymity(Share(0, 0), math.nan, (math.nan,) * 5, math.nan, math.nan, math.nan, math.nan)
    sizes, classes = sizes.astype(np.int64), classes.astype(np.int64)
    people = sizes * classes
    total, upto = int(people.sum()), np.cumsum(people)
    bits = float(-(people / total * np.log2(sizes / total)).sum())

    def quantile(share: float) -> float:
        place = share * (total - 1)
        low, high = (float(sizes[np.searchsorted(upto, int(at), "right")]) for at in (place, math.ceil(place)))
        return low + (high - low) * (place - int(place))

    spread = tuple(quantile(share) for share in (0.05, 0.25, 0.5, 0.75, 0.95))
    most = math.log2(total) if total > 1 else 1.0
    alone = int(classes[sizes == 1].sum())
    # The bits that a person's attributes reveal are, on average, the entropy of the class.
    return Anonymity(
        Share(alone, total), spread[2], spread, -math.log2(float(sizes[-1]) / total), bits, bits / most, bits
    )


def advantage(right: int, trials: int) -> Estimate:
    """X8: the advantage |2 Pr - 1| in the game of telling a person's pseudonyms from a stranger's. Its interval is as
    wide as Wilson's interval of Pr, doubled."""
    if not trials:
        return UNKNOWN
    low, high = Share(right, trials).interval
    value = abs(2 * Share(right, trials).value - 1)
    return Estimate(value, max(0.0, value - (high - low)), min(1.0, value + (high - low)))


def area_under_curve(same: Sequence[float], different: Sequence[float], chance: Random) -> Estimate:
    """X8: how often a score of the same person's handles is above one of strangers' handles (AUC), with an interval
    from 500 bootstrap samples."""
    if not same or not different:
        return UNKNOWN
    ours, theirs = np.asarray(same), np.sort(np.asarray(different))

    def area(one: Any, other: Any) -> float:
        below, upto = np.searchsorted(other, one, "left"), np.searchsorted(other, one, "right")
        return float((below + upto).mean() / 2 / len(other))

    drawn = np.random.default_rng(chance.getrandbits(64))
    areas = [area(drawn.choice(ours, len(ours)), np.sort(drawn.choice(theirs, len(theirs)))) for _ in range(500)]
    return Estimate(area(ours, theirs), float(np.quantile(areas, 0.025)), float(np.quantile(areas, 0.975)))


def anonymeter(right: int, trials: int, control_right: int, control_trials: int) -> Estimate:
    """X9: the risk of an attack beyond what a control attack guesses (Giomi et al., PETS 2023)."""
    if not trials:
        return UNKNOWN

    def rate(count: int, total: int) -> tuple[float, float]:
        root = math.sqrt(count * (total - count) / total + Z95**2 / 4) if total else Z95 / 2
        return (count + Z95**2 / 2) / (total + Z95**2), Z95 / (total + Z95**2) * root

    (attack, wide), (control, other) = rate(right, trials), rate(control_right, control_trials)
    if control >= 1:
        return Estimate(0.0, -1.0, 1.0)
    risk = (attack - control) / (1 - control)
    # The error of a quotient of two independent rates.
    half = math.hypot(wide / (1 - control), other * (1 - attack) / (1 - control) ** 2)
    return Estimate(risk, risk - half, risk + half)


@dataclass(frozen=True, slots=True)
class RecordRisk:
    """X10 (record risk): the risk of a release from an attacker who knows that a person is in it (prosecutor), who does
    not know that (journalist), and who wants to identify as many people as possible (marketer)."""

    prosecutor: float
    journalist: float
    marketer: float


def record_risk(sample: pl.DataFrame, population: pl.DataFrame, attributes: Sequence[str]) -> RecordRisk:
    """X10: the prosecutor, journalist and marketer risk of a release, from the class sizes in sample and population (El
    Emam and Dankar, 2008)."""
    in_sample = sample.group_by(*attributes).len(name="f")
    in_population = population.group_by(*attributes).len(name="F")
    both = in_sample.join(in_population, on=list(attributes), how="left", nulls_equal=True)
    if not both.height:
        return RecordRisk(math.nan, math.nan, math.nan)
    marketer = float((both["f"] / both["F"]).sum()) / sample.height
    smallest_in_sample, smallest_in_population = both["f"].min(), both["F"].min()
    assert isinstance(smallest_in_sample, int)
    assert isinstance(smallest_in_population, int)
    return RecordRisk(1 / smallest_in_sample, 1 / smallest_in_population, marketer)


@dataclass(frozen=True, slots=True)
class HashCost:
    """X11 (cost of a dictionary): the guesses, bits and seconds it takes to reverse digests by trying every issued
    serial number."""

    guesses: int
    bits: Bits
    seconds: Seconds


def hash_cost(issued: int, per_second: float) -> HashCost:
    """X11: the cost of trying `issued` numbers at a rate of guesses per second."""
    return HashCost(issued, math.log2(issued) if issued else 0.0, issued / per_second)


def lifelong(per_renewal: float, renewals: int) -> float:
    """X3 (renewals): the share of people all of whose renewals are linked, if renewals are independent."""
    return per_renewal**renewals


def minimal(coalitions: Iterable[tuple[frozenset[str], float]], threshold: float = 0.95) -> list[frozenset[str]]:
    """X13 (smallest coalitions): the smallest sets of actors whose recall reaches a threshold. No set contains another
    (an antichain)."""
    enough = [who for who, recall in coalitions if recall >= threshold]
    smallest = [who for who in enough if not any(other < who for other in enough)]
    return sorted(smallest, key=lambda who: (len(who), sorted(who)))
