"""The results of an examination, as values with ids, units, intervals and sources.

Nothing here is in words for people: the report has them, by id. `document.as_document` returns a result as JSON values,
whose form is `schema.json_schema`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import Enum

from kazashi.tracking_lab.coalitions import Coalition
from kazashi.tracking_lab.countermeasures import Countermeasure
from kazashi.tracking_lab.exposure import ExposureMatrix, HandlePath
from kazashi.tracking_lab.facts import StoreFact
from kazashi.tracking_lab.logs import Imported
from kazashi.tracking_lab.metrics import (
    Anonymity,
    Bytes,
    Clusters,
    Estimate,
    HashCost,
    PairCounts,
    RecordRisk,
    Share,
    TimeToLink,
)
from kazashi.tracking_lab.plan import Plan


class Unit(Enum):
    """The unit of a measurement that is a number."""

    SHARE = "share"
    """From 0 to 1."""
    PAIRS = "pairs"
    """A person, or a handle, at two services."""
    PEOPLE = "people"
    HANDLES = "handles"
    ACCOUNTS = "accounts"
    USES = "uses"
    SERVICES = "services"
    BITS = "bits"
    DAYS = "days"
    SECONDS = "seconds"
    BYTES = "bytes"
    POINTS = "points"
    """Refund points, of one yen each."""
    RECORDS = "records"
    TRUTH = "truth"
    """Yes or no."""
    ACTORS = "actors"
    """Sets of actors."""
    STEPS = "steps"
    """Conversions of one handle into another."""
    FACTS = "facts"
    """What stores show."""


Value = Share | Estimate | int | float | bool | tuple[Coalition, ...] | HandlePath | tuple[StoreFact, ...]


@dataclass(frozen=True, slots=True)
class Measurement:
    """One measured value.

    `id` names it within its run or claim, and `measure` is its definition: one of X1 to X19 (docs/tracking.md).
    `services` are the names of the services that it is about, if it is about certain services of imported logs.
    """

    id: str
    value: Value
    unit: Unit = Unit.SHARE
    measure: str = ""
    services: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """How many of a `total` were examined. `unit` says of what."""

    examined: int
    total: int
    unit: Unit


@dataclass(frozen=True, slots=True)
class ThreatRun:
    """A threat run: an attacker with certain data, and what they can link.

    `id` is one of T1 to T19 (docs/tracking.md), or X19; a second attacker of the same threat has a suffix, as in
    `T12-j-lis`. `query` is a key of the examination's queries. `services` are the names of the attacking services in
    imported logs. `sample` is None if everybody was examined. `omitted` says why there are no results, and is empty if
    there are.
    """

    id: str
    results: tuple[Measurement, ...]
    query: str
    sample: Sample | None = None
    services: tuple[str, ...] = ()
    omitted: str = ""

    def value(self, wanted: str) -> Value:
        """The value of a result. Raises KeyError."""
        return {one.id: one.value for one in self.results}[wanted]

    def share(self, wanted: str) -> Share:
        """The value of a result that is a share. Raises KeyError and TypeError."""
        value = self.value(wanted)
        if not isinstance(value, Share):
            raise TypeError(f"{wanted} of {self.id} is not a share: {value}")
        return value


@dataclass(frozen=True, slots=True)
class Claim:
    """A headline result: an id and the measured values, whose ids are those of countermeasures, reasons and so on.
    `query` is a key of the examination's queries."""

    id: str
    results: tuple[Measurement, ...]
    query: str


class Severity(Enum):
    """How much a finding matters."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class PrivacyThreat(Enum):
    """The threat types of LINDDUN (Deng et al., 2011) that findings have."""

    LINKING = "linking"
    IDENTIFYING = "identifying"
    DETECTING = "detecting"
    UNAWARENESS = "unawareness"


@dataclass(frozen=True, slots=True)
class PrivacyFinding:
    """A privacy problem that the numbers show: its severity, a code, the threat type and the measurements that are the
    evidence. `run` is the threat run or the measure from which they come."""

    severity: Severity
    code: str
    threat: PrivacyThreat
    run: str
    evidence: tuple[Measurement, ...]


@dataclass(frozen=True, slots=True)
class ExactJoins:
    """X1 (exact joins) over all people: the pairs of services, the persons that these share, the links by serial
    number, and whether the digest of the serial number gives the same links."""

    pairs: int
    persons: int
    linked: int
    digest_links_the_same: bool


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
    bytes_per_person: Bytes
    waiting: TimeToLink
    coalitions: tuple[Coalition, ...]


@dataclass(frozen=True, slots=True)
class LaterYear:
    """X3 (renewals) over the years: of the accounts of the first year (year 0) whose users returned in a later one, the
    shares recognised by the serial number and by its chain."""

    year: int
    by_equality: Share
    with_chain: Share


@dataclass(frozen=True, slots=True)
class Counterparts:
    """X4 (signature and authentication): the persons who showed both of their certificates somewhere, and the shares of
    them linked by the authority's service and by equality alone."""

    persons: int
    linked: Share
    equal: Share


@dataclass(frozen=True, slots=True)
class DictionaryAttack:
    """X11 (cost of a dictionary): the digests that services hold, the share that enumeration reverses, and the cost of
    that for this population and for a whole nation."""

    digests: int
    found: Share
    cost: HashCost
    nation: HashCost


@dataclass(frozen=True, slots=True)
class Unicity:
    """X7 (unicity): the share of people whom `points` uses single out, each known as a service and a span of `days`."""

    points: int
    days: int
    singled_out: Share


@dataclass(frozen=True, slots=True)
class ReleasedSample:
    """A released sample of every tenth person: the share of it that is unique in the sample, and the share of those
    that is unique in the population."""

    unique: Share
    unique_in_population: Share


@dataclass(frozen=True, slots=True)
class AttributeSet:
    """X6 (anonymity sets) and X10 (record risk) of some attributes. `sample` is None if none was drawn."""

    names: tuple[str, ...]
    anonymity: Anonymity
    risk: RecordRisk
    sample: ReleasedSample | None = None


@dataclass(frozen=True, slots=True)
class Game:
    """X8 (advantage, area under the curve) and X9 (risk beyond guessing) of the game of telling a person's handle from
    a stranger's, in a number of trials."""

    measure: Countermeasure
    trials: int
    advantage: Estimate
    area: Estimate
    risk: Estimate


@dataclass(frozen=True, slots=True)
class ShownCertificate:
    """A certificate of a timeline, by its number on it (from 1): for signatures or for authentication, on a card or a
    phone, its first day, and the day and reason of its end. Both are None if it had not ended."""

    number: int
    signature: bool
    phone: bool
    begins: date
    ended: date | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one service saw of one certificate: the number of uses and their first and last day. `certificate` is the
    number of a ShownCertificate."""

    service: str
    sector: str
    certificate: int
    first: date
    last: date
    uses: int


@dataclass(frozen=True, slots=True)
class Timeline:
    """One person's years: their certificates, and what each service saw of them, by first day."""

    begins: date
    ends: date
    certificates: tuple[ShownCertificate, ...]
    sightings: tuple[Sighting, ...]


@dataclass(frozen=True, slots=True)
class Examination:
    """The examination of one population on one engine.

    `sizes` are the numbers of rows by table. `people` is the number of people whom the linkers examined one by one.
    `timeline` is of one of them, None if nobody renewed a certificate. `queries` has the SQL or the code of what was
    run, and `versions` the versions of the packages, each by name.
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
    timeline: Timeline | None
    queries: Mapping[str, str]
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


@dataclass(frozen=True, slots=True)
class LogExamination:
    """The examination of imported logs. `logs` is the summary of the import; `truth` says whether the ground truth is
    known, that is, which person each use belongs to."""

    logs: Imported
    truth: bool
    engine: str
    findings: tuple[PrivacyFinding, ...]
    threats: tuple[ThreatRun, ...]
    unicity: tuple[Unicity, ...]
    attributes: tuple[AttributeSet, ...]
    queries: Mapping[str, str]
    versions: Mapping[str, str]

    def threat(self, wanted: str) -> ThreatRun:
        """A threat run, by its id. Raises KeyError."""
        return {one.id: one for one in self.threats}[wanted]


@dataclass(frozen=True, slots=True)
class TrackingReport:
    """The examination of a population, its threat runs including those over actors' stores; the exposure matrix; and
    the claims."""

    examination: Examination
    exposure: ExposureMatrix
    claims: tuple[Claim, ...]

    def claim(self, wanted: str) -> Claim:
        """A claim, by its id. Raises KeyError."""
        return {one.id: one for one in self.claims}[wanted]
