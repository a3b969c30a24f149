"""Results of the tracking laboratory in which every free text is a given one."""

from __future__ import annotations

import math
from datetime import date

from kazashi.tracking_lab.coalitions import Coalition, Selection
from kazashi.tracking_lab.countermeasures import AUTHORITY, COUNTERMEASURES
from kazashi.tracking_lab.exposure import Cell, Conversion, ExposureMatrix, HandlePath, Holding
from kazashi.tracking_lab.facts import StoreFact
from kazashi.tracking_lab.logs import Imported
from kazashi.tracking_lab.metrics import (
    UNKNOWN,
    Anonymity,
    Clusters,
    Completeness,
    Estimate,
    HashCost,
    PairCounts,
    RecordRisk,
    Share,
    TimeToLink,
)
from kazashi.tracking_lab.plan import Plan
from kazashi.tracking_lab.results import (
    AttributeSet,
    Claim,
    CountermeasureResult,
    Counterparts,
    DictionaryAttack,
    ExactJoins,
    Examination,
    Game,
    LaterYear,
    LogExamination,
    Measurement,
    PrivacyFinding,
    PrivacyThreat,
    Severity,
    ShownCertificate,
    Sighting,
    ThreatRun,
    Timeline,
    TrackingReport,
    Unicity,
    Unit,
)

SOME, NONE = Share(5, 10), Share(0, 0)
FIRST, LAST = date(2026, 4, 1), date(2028, 4, 1)
TYPED = Measurement("login-library-recall", SOME, measure="X1")
RECALL = Measurement("recall", SOME, measure="X1")
UNICITY = tuple(Unicity(points, 7, share) for points, share in ((1, SOME), (2, NONE)))


def tracking_report(text: str) -> TrackingReport:
    """A report on a population. Seeds, actors, handles, tables, services and rows of stores are `text`."""
    steps = (Conversion(text, text, text, text),)
    paths = (HandlePath(text, text, text, steps), HandlePath(text, text, text, ()))
    cells = (Cell(text, text, Holding.STORED, text, text, 3),)
    values: dict[str, str | int] = {"who": text, "handle": text, "form": text, "place": text, "rows": 3}
    fact = StoreFact("card-data-stored", values)
    claims = (
        Claim("rules", (Measurement("wrong-decisions", Share(0, 10), measure="X17"),), text),
        Claim("paths", (Measurement(text, paths[0], Unit.STEPS, "X14"),), text),
        Claim(
            "ruling-of-2008",
            (Measurement("reason-v", (fact,), Unit.FACTS), Measurement("reason-i", (), Unit.FACTS)),
            text,
        ),
    )
    return TrackingReport(_examination(text), ExposureMatrix((text,), (text,), cells, paths, text), claims)


def _examination(text: str) -> Examination:
    several = (Coalition(2, Selection.ANY, 1, 1, (AUTHORITY,)), Coalition(0, Selection.NONE, 1, 1, (AUTHORITY,)))
    clusters = Clusters(1.0, 0.5, math.nan, 0.25, Completeness(math.nan, math.nan, math.nan))
    compared = [
        CountermeasureResult(
            one, 10, PairCounts(9_999, 0, 1), clusters, NONE, SOME, 8.0, TimeToLink(SOME, 1.5, math.nan), coalitions
        )
        for one, coalitions in zip(COUNTERMEASURES, [several, *[()] * len(COUNTERMEASURES)], strict=False)
    ]
    attributes = AttributeSet(("born", "sex"), Anonymity(SOME, 20.0, (1.0,) * 5, 1.0, 3.0, 0.5, 1.0),
                              RecordRisk(1.0, 0.5, 0.25))  # fmt: skip
    seen = Timeline(
        FIRST, LAST, (ShownCertificate(1, False, False, FIRST, LAST, "expired"),),
        (Sighting(text, text, 1, FIRST, LAST, 3),),
    )  # fmt: skip
    game = Game(COUNTERMEASURES[0], 1_000, Estimate(0.5, 0.4, 0.6), Estimate(0.75, 0.7, 0.8), UNKNOWN)
    return Examination(
        Plan(10, 2, text), text, {"uses": 1_000, "service": 5}, 10, ExactJoins(1, 10, 5, True), tuple(compared),
        tuple(LaterYear(year, SOME, NONE) for year in (1, 2)), Counterparts(10, SOME, NONE),
        DictionaryAttack(10, SOME, HashCost(2, 1.0, 0.5), HashCost(4, 2.0, 1.0)), UNICITY, (attributes,), (game,),
        (ThreatRun("T1", (RECALL,), text), ThreatRun("T15", (TYPED,), text)), seen, {text: text}, {text: text},
        (PrivacyFinding(Severity.HIGH, "serial-links-services", PrivacyThreat.LINKING, "X1", (RECALL,)),),
    )  # fmt: skip


def examined_logs(text: str) -> LogExamination:
    """An examination of logs whose services, notes and reasons are `text`."""
    shared = Measurement("handles-shared", 3, Unit.PAIRS, "X1")
    of_two = Measurement("handles-shared-1", 3, Unit.PAIRS, "X1", (text, text))
    return LogExamination(
        Imported(12, 10, 2, 3, 4, 3, ["serial"], True, 0, 0, "+09:00", 0, 0, False, {text: 2}, [], [text]), True, text,
        (PrivacyFinding(Severity.HIGH, "handles-are-shared", PrivacyThreat.LINKING, "X1", (shared,)),),
        (ThreatRun("T1", (shared, of_two), text),), UNICITY, (), {text: text}, {text: text},
    )  # fmt: skip
