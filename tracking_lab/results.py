"""What an examination finds, as values. Programs go by their ids and fields; `as_dict` is the JSON document, whose keys
are words for people."""

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
    """One thing that a threat run comes to: an id, words, and a share, a number, yes or no, or a text."""

    id: str
    words: str
    value: Value


@dataclass(frozen=True, slots=True)
class ThreatRun:
    """Who, holding what, what it comes to, and where to look how. Two runs over stores may have one id."""

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
        found = self.value(wanted)
        if not isinstance(found, Share):
            raise TypeError(f"{wanted} of {self.id} is not a share: {found}")
        return found

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        results = {one.words: told(one.value) if isinstance(one.value, Share) else one.value for one in self.results}
        return {"run": self.id, "who": self.who, "holding": self.holding, "results": results, "how": self.how}


@dataclass(frozen=True, slots=True)
class Claim:
    """What every such laboratory should be able to say: an id, a title, what was seen, and where to look how."""

    id: str
    claim: str
    words: str
    how: str

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"claim": self.claim, "words": self.words, "how": self.how}


@dataclass(frozen=True, slots=True)
class PrivacyFinding:
    """How bad, a code, words, and what proves it. `heading` is LINDDUN's."""

    severity: str
    code: str
    heading: str
    words: str
    evidence: str


@dataclass(frozen=True, slots=True)
class ExactJoins:
    """X1 over everybody: pairs of services, persons whom they share, links by serial number, and whether its digest
    links the same."""

    pairs: int
    persons: int
    linked: int
    digest_links_the_same: bool

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "pairs of services": self.pairs, "persons shared": self.persons, "linked by serial number": self.linked,
            "the digest links the same": self.digest_links_the_same,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class CountermeasureResult:
    """One countermeasure on the same stream: X1, X2, X3 and X16 (`kept`), X12 (`seen_by_authority`), X15 (`waiting`),
    X13."""

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
        """For JSON."""
        measure, link, cluster, waiting = self.measure, self.linkage, self.clusters, self.waiting
        mean, high, most = cluster.completeness
        linked = link.right + link.wrong
        return {
            "name": measure.name, "source": measure.source, "cost": measure.cost, "people": self.people,
            "precision": told(link.precision), "recall": told(link.recall), "f1": link.f1,
            "b3 precision": cluster.precision, "b3 recall": cluster.recall, "adjusted rand": cluster.rand,
            "variation of information": cluster.information, "completeness": mean,
            "completeness 95th percentile": high, "completeness most": most, "renewals kept": told(self.kept),
            "all renewals of ten years kept": lifelong(self.kept.value, 2), "false merges": link.wrong,
            "false merges per million": 1e6 * link.wrong / linked if linked else 0.0,
            "seen by the authority": told(self.seen_by_authority), "bytes per person": self.bytes_per_person,
            "days to link": waiting.median_days, "uses to link": waiting.median_uses,
            "ever linked": told(waiting.linked), "smallest coalitions": [str(who) for who in self.coalitions],
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class LaterYear:
    """X3 over time: of accounts of the first year (year 0) whose users came back in a later one, those recognised by
    the serial number and by the chain of it."""

    year: int
    by_equality: Share
    with_chain: Share

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"year": self.year, "by equality": told(self.by_equality), "with the chain": told(self.with_chain)}


@dataclass(frozen=True, slots=True)
class Counterparts:
    """X4: persons both of whose certificates were shown somewhere, and those linked by the authority's service or by
    equality alone."""

    persons: int
    linked: Share
    equal: Share

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"persons with both": self.persons, "link service on": told(self.linked),
                "link service off": told(self.equal)}  # fmt: skip


@dataclass(frozen=True, slots=True)
class DictionaryAttack:
    """X11: digests that were kept, those that counting finds, and what that costs here and for a nation."""

    digests: int
    found: Share
    cost: HashCost
    nation: HashCost

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"digests": self.digests, "found": told(self.found), "bits": self.cost.bits,
                "bits for a nation": self.nation.bits, "seconds for a nation": self.nation.seconds}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Unicity:
    """X7: people whom so many uses single out, a use being known as a service and a span of days."""

    points: int
    days: int
    singled_out: Share

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"points": self.points, "days": self.days, "singled out": told(self.singled_out)}


@dataclass(frozen=True, slots=True)
class AttributeSet:
    """X6 and X10 of some attributes. `sample` has, of a release of every tenth person, those who are alone in it, and
    of these those who are alone in all; None where nothing was released."""

    names: tuple[str, ...]
    anonymity: Anonymity
    risk: RecordRisk
    sample: tuple[Share, Share] | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        found = self.anonymity
        document = {
            "attributes": ", ".join(self.names), "unique": told(found.unique), "median": found.median,
            "sets": list(found.sets), "entropy": found.entropy_bits, "leaked bits": found.leaked_bits,
            **asdict(self.risk),
        }  # fmt: skip
        if self.sample is None:
            return document
        alone, still = self.sample
        return {**document, "least": found.least, "degree": found.degree, "alone in a tenth": told(alone),
                "and in all": told(still)}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Game:
    """X8, X9: the game of telling a person's handle from a stranger's. `within` and `risk_within` are halves of
    intervals, `area` has the area under the curve and its interval."""

    measure: Countermeasure
    trials: int
    advantage: float
    within: float
    area: tuple[float, float, float]
    risk: float
    risk_within: float

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        area, low, high = self.area
        return {
            "name": self.measure.name, "trials": self.trials, "advantage": self.advantage, "within": self.within,
            "area": area, "area low": low, "area high": high, "risk beyond guessing": self.risk,
            "risk within": self.risk_within,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Examination:
    """Everything about one population, on one engine. `people` is how many were examined one by one."""

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
        """That of a countermeasure, by its id. Raises KeyError."""
        return {one.measure.id: one for one in self.comparisons}[wanted]

    def game(self, wanted: str) -> Game:
        """That of a countermeasure, by its id. Raises KeyError."""
        return {one.measure.id: one for one in self.games}[wanted]

    def threat(self, wanted: str) -> ThreatRun:
        """A threat run, by its id. Raises KeyError."""
        return {one.id: one for one in self.threats}[wanted]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
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
    """What somebody's own logs tell. `logs` is what was said when they were read; with `truth` it is known who was
    who."""

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
        """For JSON."""
        return rounded({
            "logs": self.logs, "truth": self.truth, "engine": self.engine,
            "findings": [asdict(one) for one in self.findings], "threats": [one.as_dict() for one in self.threats],
            "unicity": [one.as_dict() for one in self.unicity],
            "anonymity": [one.as_dict() for one in self.attributes], "sql": self.sql, "versions": self.versions,
        })  # fmt: skip


def told(share: Share) -> dict[str, Any]:
    """A share for JSON; its value is None where there was nothing to share."""
    low, high = share.interval
    return {"value": share.value if share.total else None, "low": low, "high": high, "count": share.count,
            "total": share.total}  # fmt: skip


def rounded(document: Mapping[str, Any]) -> dict[str, Any]:
    """The same with nine digits: sums of fractions depend on the order in which threads add them up. What is not a
    number is None."""
    return {name: _rounded(value) for name, value in document.items()}


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return rounded(value)
    if isinstance(value, list | tuple):
        return [_rounded(one) for one in value]
    if isinstance(value, float):
        return round(value, 9) if math.isfinite(value) else None
    return value
