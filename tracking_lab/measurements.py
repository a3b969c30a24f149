"""Every number of a result as one flat row: for CSV, for comparing two results, and for looking a number up."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass, fields

from kazashi.tracking_lab.exposure import HandlePath
from kazashi.tracking_lab.metrics import Estimate, Share
from kazashi.tracking_lab.results import (
    AttributeSet,
    CountermeasureResult,
    Examination,
    Game,
    LogExamination,
    Measurement,
    TrackingReport,
    Unicity,
    Unit,
    Value,
)


@dataclass(frozen=True, slots=True)
class FlatMeasurement:
    """One number. `part` is the part of the examination (threats, countermeasures, unicity and so on), `subject` the
    run, the countermeasure or the setting, and `id` the result. The three together are unique. `low` and `high` are the
    bounds of its interval at 95 %, `count` and `total` the counts behind a share; None if it has none. `query` is a key
    of the examination's queries."""

    part: str
    subject: str
    id: str
    measure: str
    unit: str
    value: float | None
    low: float | None
    high: float | None
    count: int | None
    total: int | None
    query: str


Result = Examination | LogExamination | TrackingReport


def measurements(result: Result) -> Iterator[FlatMeasurement]:
    """Every number of a result. Sets of actors are counted, and so are the steps of paths and the rows of stores."""
    if isinstance(result, TrackingReport):
        for claim in result.claims:
            yield from _flat("claims", claim.id, claim.query, *claim.results)
        yield from measurements(result.examination)
        return
    for run in result.threats:
        yield from _flat("threats", run.id, run.query, *run.results)
    if isinstance(result, Examination):
        yield from _of_everybody(result)
        for compared in result.comparisons:
            yield from _compared(compared)
        for game in result.games:
            yield from _game(game)
    for one in result.unicity:
        yield from _unicity(one)
    for attributes in result.attributes:
        yield from _attributes(attributes)


def as_csv(result: Result) -> str:
    """Every number of a result as CSV, one line each, with the fields of FlatMeasurement as columns."""
    output = io.StringIO()
    writer = csv.writer(output, lineterminator="\n")
    names = [field.name for field in fields(FlatMeasurement)]
    writer.writerow(names)
    for one in measurements(result):
        writer.writerow(["" if (value := getattr(one, name)) is None else value for name in names])
    return output.getvalue()


def _of_everybody(result: Examination) -> Iterator[FlatMeasurement]:
    exact, attack, both = result.exact, result.dictionary, result.counterparts
    yield from _flat(
        "exact-joins", "everybody", "exact-join",
        Measurement("persons", exact.persons, Unit.PAIRS, "X1"), Measurement("linked", exact.linked, Unit.PAIRS, "X1"),
        Measurement("digest-links-the-same", exact.digest_links_the_same, Unit.TRUTH, "X1"),
    )  # fmt: skip
    yield from _flat(
        "counterparts", "everybody", "pairwise", Measurement("persons", both.persons, Unit.PEOPLE, "X4"),
        Measurement("linked", both.linked, measure="X4"), Measurement("equal", both.equal, measure="X4"),
    )  # fmt: skip
    yield from _flat(
        "dictionary", "everybody", "dictionary", Measurement("found", attack.found, measure="X11"),
        Measurement("bits", attack.cost.bits, Unit.BITS, "X11"),
        Measurement("nation-bits", attack.nation.bits, Unit.BITS, "X11"),
        Measurement("nation-seconds", attack.nation.seconds, Unit.SECONDS, "X11"),
    )  # fmt: skip
    for year in result.years:
        yield from _flat(
            "years", str(year.year), "pairwise", Measurement("by-equality", year.by_equality, measure="X3"),
            Measurement("with-chain", year.with_chain, measure="X3"),
        )  # fmt: skip


def _compared(one: CountermeasureResult) -> Iterator[FlatMeasurement]:
    clusters, waiting = one.clusters, one.waiting
    who = ("countermeasures", one.measure.id)
    yield from _flat(
        *who, "pairwise", Measurement("recall", one.linkage.recall, measure="X1"),
        Measurement("precision", one.linkage.precision, measure="X1"), Measurement("kept", one.kept, measure="X16"),
        Measurement("seen-by-authority", one.seen_by_authority, measure="X12"),
        Measurement("bytes-per-person", one.bytes_per_person, Unit.BYTES),
    )  # fmt: skip
    yield from _flat(
        *who, "clusters", Measurement("b-cubed-precision", clusters.precision, measure="X2"),
        Measurement("b-cubed-recall", clusters.recall, measure="X2"),
        Measurement("adjusted-rand", clusters.rand, measure="X2"),
        Measurement("variation-of-information", clusters.information, Unit.BITS, "X2"),
        Measurement("completeness", clusters.completeness.mean, measure="X2"),
    )  # fmt: skip
    yield from _flat(
        *who, "time-to-link", Measurement("ever-linked", waiting.linked, measure="X15"),
        Measurement("days-to-link", waiting.median_days, Unit.DAYS, "X15"),
        Measurement("uses-to-link", waiting.median_uses, Unit.USES, "X15"),
    )  # fmt: skip
    yield from _flat(*who, "coalitions", Measurement("coalitions", one.coalitions, Unit.ACTORS, "X13"))


def _game(game: Game) -> Iterator[FlatMeasurement]:
    yield from _flat(
        "games", game.measure.id, "games", Measurement("advantage", game.advantage, measure="X8"),
        Measurement("area", game.area, measure="X8"), Measurement("risk", game.risk, measure="X9"),
    )  # fmt: skip


def _unicity(one: Unicity) -> Iterator[FlatMeasurement]:
    singled_out = Measurement("singled-out", one.singled_out, measure="X7")
    yield from _flat("unicity", f"{one.points}-points-{one.days}-days", "unicity", singled_out)


def _attributes(one: AttributeSet) -> Iterator[FlatMeasurement]:
    sets, risk = one.anonymity, one.risk
    yield from _flat(
        "attributes", "+".join(one.names), "anonymity", Measurement("unique", sets.unique, measure="X6"),
        Measurement("median", sets.median, Unit.PEOPLE, "X6"), Measurement("entropy", sets.entropy, Unit.BITS, "X6"),
        Measurement("leaked", sets.leaked, Unit.BITS, "X6"), Measurement("prosecutor", risk.prosecutor, measure="X10"),
        Measurement("journalist", risk.journalist, measure="X10"),
        Measurement("marketer", risk.marketer, measure="X10"),
    )  # fmt: skip


def _flat(part: str, subject: str, query: str, *results: Measurement) -> Iterator[FlatMeasurement]:
    for one in results:
        value, low, high = (None if number is None or math.isnan(number) else round(number, 9)
                            for number in _interval(one.value))  # fmt: skip
        count, total = (one.value.count, one.value.total) if isinstance(one.value, Share) else (None, None)
        yield FlatMeasurement(part, subject, one.id, one.measure, one.unit.value, value, low, high, count, total, query)


def _interval(value: Value) -> tuple[float | None, float | None, float | None]:
    """The value and the bounds of its interval."""
    match value:
        case Share():
            return (value.value, *value.interval)
        case Estimate(middle, low, high):
            return middle, low, high
        case HandlePath(steps=steps):
            return len(steps), None, None
        case tuple():
            return len(value), None, None
    return value, None, None
