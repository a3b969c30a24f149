"""The results of an examination. Programs use the ids and fields; `as_dict` returns the JSON document, whose keys are
words for people."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from kazashi.tracking_lab.coalitions import Coalition
from kazashi.tracking_lab.countermeasures import Countermeasure
from kazashi.tracking_lab.metrics import (
    Anonymity,
    Clusters,
    HashCost,
    PairCounts,
    RecordRisk,
    Share,
    TimeToLink,
    lifelong,
)
from kazashi.tracking_lab.plan import Plan

Value = Share | int | float | bool | str


@dataclass(frozen=True, slots=True)
class ThreatResult:
    """One result of a threat run: an id, a label, and a share, a number, a truth value or a text."""

    id: str
    words: str
    value: Value


@dataclass(frozen=True, slots=True)
class ThreatRun:
    """A threat run: who attacks, what data they hold, the results, and where the code is. Two runs over actors' stores
    may have the same id."""

    id: str
    who: str
    holding: str
    results: tuple[ThreatResult, ...]
    how: str

    def value(self, wanted: str) -> Value:
        """The value of a result. Raises KeyError."""
        return {one.id: one.value for one in self.results}[wanted]

    def share(self, wanted: str) -> Share:
        """The value of a result that is a share. Raises KeyError and TypeError."""
        value = self.value(wanted)
        if not isinstance(value, Share):
            raise TypeError(f"{wanted} of {self.id} is not a share: {value}")
        return value

    def as_dict(self) -> dict[str, Any]:
        """The run for JSON, its results by label."""
        results = {
            one.words: share_as_dict(one.value) if isinstance(one.value, Share) else one.value for one in self.results
        }
        return {"run": self.id, "who": self.who, "holding": self.holding, "results": results, "how": self.how}


@dataclass(frozen=True, slots=True)
class Claim:
    """A headline result: an id, a title, what was measured, and where the code is."""

    id: str
    claim: str
    words: str
    how: str

    def as_dict(self) -> dict[str, Any]:
        """The claim for JSON, without its id."""
        return {"claim": self.claim, "words": self.words, "how": self.how}


@dataclass(frozen=True, slots=True)
class PrivacyFinding:
    """A privacy problem: its severity (high, medium, low), a code, a description and the evidence. `heading` is the
    LINDDUN threat type."""

    severity: str
    code: str
    heading: str
    words: str
    evidence: str


@dataclass(frozen=True, slots=True)
class ExactJoins:
    """X1 (exact joins) over all people: the pairs of services, the persons that these share, the links by serial
    number, and whether the digest of the serial number gives the same links."""

    pairs: int
    persons: int
    linked: int
    digest_links_the_same: bool

    def as_dict(self) -> dict[str, Any]:
        """The counts for JSON."""
        return {
            "pairs of services": self.pairs, "persons shared": self.persons, "linked by serial number": self.linked,
            "the digest links the same": self.digest_links_the_same,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class CountermeasureResult:
    """One countermeasure, measured on the common stream of uses.

    `linkage` is X1 (precision and recall of pairs), `clusters` X2, `kept` X3 and X16 (renewals that keep the account),
    `seen_by_authority` X12 (uses that the authority sees), `waiting` X15 (time to link), `coalitions` X13 (smallest
    coalitions).
    """

    measure: Countermeasure
    people: int
    linkage: PairCounts
    clusters: Clusters
    kept: Share
    seen_by_authority: Share
    bytes_per_person: float
    waiting: TimeToLink
    coalitions: tuple[Coalition, ...]

    def as_dict(self) -> dict[str, Any]:
        """The measures for JSON, with values derived from them."""
        measure, link, cluster, waiting = self.measure, self.linkage, self.clusters, self.waiting
        mean, high, most = cluster.completeness
        linked = link.right + link.wrong
        return {
            "name": measure.name, "source": measure.source, "cost": measure.cost, "people": self.people,
            "precision": share_as_dict(link.precision), "recall": share_as_dict(link.recall), "f1": link.f1,
            "b3 precision": cluster.precision, "b3 recall": cluster.recall, "adjusted rand": cluster.rand,
            "variation of information": cluster.information, "completeness": mean,
            "completeness 95th percentile": high, "completeness most": most, "renewals kept": share_as_dict(self.kept),
            "all renewals of ten years kept": lifelong(self.kept.value, 2), "false merges": link.wrong,
            "false merges per million": 1e6 * link.wrong / linked if linked else 0.0,
            "seen by the authority": share_as_dict(self.seen_by_authority), "bytes per person": self.bytes_per_person,
            "days to link": waiting.median_days, "uses to link": waiting.median_uses,
            "ever linked": share_as_dict(waiting.linked), "smallest coalitions": [str(who) for who in self.coalitions],
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class LaterYear:
    """X3 (renewals) over the years: of the accounts of the first year (year 0) whose users returned in a later one, the
    shares recognised by the serial number and by its chain."""

    year: int
    by_equality: Share
    with_chain: Share

    def as_dict(self) -> dict[str, Any]:
        """The year and its shares, for JSON."""
        return {
            "year": self.year,
            "by equality": share_as_dict(self.by_equality),
            "with the chain": share_as_dict(self.with_chain),
        }


@dataclass(frozen=True, slots=True)
class Counterparts:
    """X4 (signature and authentication): the persons who showed both of their certificates somewhere, and the shares of
    them linked by the authority's service and by equality alone."""

    persons: int
    linked: Share
    equal: Share

    def as_dict(self) -> dict[str, Any]:
        """The number and the shares, for JSON."""
        return {"persons with both": self.persons, "link service on": share_as_dict(self.linked),
                "link service off": share_as_dict(self.equal)}  # fmt: skip


@dataclass(frozen=True, slots=True)
class DictionaryAttack:
    """X11 (cost of a dictionary): the digests that services hold, the share that enumeration reverses, and the cost of
    that for this population and for a whole nation."""

    digests: int
    found: Share
    cost: HashCost
    nation: HashCost

    def as_dict(self) -> dict[str, Any]:
        """The attack for JSON, with the nation's cost in bits and seconds."""
        return {"digests": self.digests, "found": share_as_dict(self.found), "bits": self.cost.bits,
                "bits for a nation": self.nation.bits, "seconds for a nation": self.nation.seconds}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Unicity:
    """X7 (unicity): the share of people whom `points` uses single out, each known as a service and a span of `days`."""

    points: int
    days: int
    singled_out: Share

    def as_dict(self) -> dict[str, Any]:
        """The share for JSON, with its points and days."""
        return {"points": self.points, "days": self.days, "singled out": share_as_dict(self.singled_out)}


@dataclass(frozen=True, slots=True)
class AttributeSet:
    """X6 (anonymity sets) and X10 (record risk) of some attributes. `sample` is about a released sample of every tenth
    person: the share of it that is unique in the sample, and the share of those that is unique in the population. It is
    None if there is no sample."""

    names: tuple[str, ...]
    anonymity: Anonymity
    risk: RecordRisk
    sample: tuple[Share, Share] | None = None

    def as_dict(self) -> dict[str, Any]:
        """The measures for JSON; those of the sample are left out if there is none."""
        sets = self.anonymity
        document = {
            "attributes": ", ".join(self.names), "unique": share_as_dict(sets.unique), "median": sets.median,
            "sets": list(sets.sets), "entropy": sets.entropy_bits, "leaked bits": sets.leaked_bits,
            **asdict(self.risk),
        }  # fmt: skip
        if self.sample is None:
            return document
        alone, still = self.sample
        return {**document, "least": sets.least, "degree": sets.degree, "alone in a tenth": share_as_dict(alone),
                "and in all": share_as_dict(still)}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Game:
    """X8 (area under the curve) and X9 (risk beyond guessing) of the game of telling a person's handle from a
    stranger's. `within` and `risk_within` are half the widths of the intervals of `advantage` and `risk`. `area` is the
    area under the curve and the bounds of its interval."""

    measure: Countermeasure
    trials: int
    advantage: float
    within: float
    area: tuple[float, float, float]
    risk: float
    risk_within: float

    def as_dict(self) -> dict[str, Any]:
        """The game for JSON, by the countermeasure's name."""
        area, low, high = self.area
        return {
            "name": self.measure.name, "trials": self.trials, "advantage": self.advantage, "within": self.within,
            "area": area, "area low": low, "area high": high, "risk beyond guessing": self.risk,
            "risk within": self.risk_within,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Examination:
    """The examination of one population on one engine.

    `sizes` are the numbers of rows by table. `people` is the number of people whom the linkers examined one by one.
    `sql` has the queries that were run and `versions` the versions of the packages, each by name.
    """

    plan: Plan
    engine: str
    sizes: Mapping[str, int]
    people: int
    exact: ExactJoins
    comparisons: tuple[CountermeasureResult, ...]
    years: tuple[LaterYear, ...]
    counterparts: Counterparts
    dictionary: DictionaryAttack
    unicity: tuple[Unicity, ...]
    attributes: tuple[AttributeSet, ...]
    games: tuple[Game, ...]
    threats: tuple[ThreatRun, ...]
    sql: Mapping[str, str]
    versions: Mapping[str, str]
    findings: tuple[PrivacyFinding, ...] = ()

    def comparison(self, wanted: str) -> CountermeasureResult:
        """The comparison of a countermeasure, by the countermeasure's id. Raises KeyError."""
        return {one.measure.id: one for one in self.comparisons}[wanted]

    def game(self, wanted: str) -> Game:
        """The game of a countermeasure, by the countermeasure's id. Raises KeyError."""
        return {one.measure.id: one for one in self.games}[wanted]

    def threat(self, wanted: str) -> ThreatRun:
        """A threat run, by its id. Raises KeyError."""
        return {one.id: one for one in self.threats}[wanted]

    def as_dict(self) -> dict[str, Any]:
        """The examination for JSON, its numbers rounded to nine digits."""
        return rounded({
            "plan": self.plan.as_dict(), "engine": self.engine, "sizes": self.sizes, "people examined": self.people,
            "exact": self.exact.as_dict(), "countermeasures": [one.as_dict() for one in self.comparisons],
            "years": [one.as_dict() for one in self.years], "counterparts": self.counterparts.as_dict(),
            "dictionary": self.dictionary.as_dict(), "unicity": [one.as_dict() for one in self.unicity],
            "anonymity": [one.as_dict() for one in self.attributes], "games": [one.as_dict() for one in self.games],
            "threats": [one.as_dict() for one in self.threats], "findings": [asdict(one) for one in self.findings],
            "sql": self.sql, "versions": self.versions,
        })  # fmt: skip


@dataclass(frozen=True, slots=True)
class LogExamination:
    """The examination of imported logs. `logs` is the summary of the import; `truth` says whether the ground truth is
    known, that is, which person each use belongs to."""

    logs: Mapping[str, Any]
    truth: bool
    engine: str
    findings: tuple[PrivacyFinding, ...]
    threats: tuple[ThreatRun, ...]
    unicity: tuple[Unicity, ...]
    attributes: tuple[AttributeSet, ...]
    sql: Mapping[str, str]
    versions: Mapping[str, str]

    def as_dict(self) -> dict[str, Any]:
        """The examination for JSON, its numbers rounded to nine digits."""
        return rounded({
            "logs": self.logs, "truth": self.truth, "engine": self.engine,
            "findings": [asdict(one) for one in self.findings], "threats": [one.as_dict() for one in self.threats],
            "unicity": [one.as_dict() for one in self.unicity],
            "anonymity": [one.as_dict() for one in self.attributes], "sql": self.sql, "versions": self.versions,
        })  # fmt: skip


def share_as_dict(share: Share) -> dict[str, Any]:
    """A share for JSON: `value`, the interval's `low` and `high`, `count` and `total`. The value is None if the total
    is 0."""
    low, high = share.interval
    return {"value": share.value if share.total else None, "low": low, "high": high, "count": share.count,
            "total": share.total}  # fmt: skip


def rounded(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document with floats rounded to nine digits, because sums of fractions depend on the order in which threads
    add them up. NaN and infinity become None."""
    return {name: _rounded(value) for name, value in document.items()}


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return rounded(value)
    if isinstance(value, list | tuple):
        return [_rounded(one) for one in value]
    if isinstance(value, float):
        return round(value, 9) if math.isfinite(value) else None
    return value
