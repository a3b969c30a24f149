"""The examination of your own logs: exact joins, unicity, and linkage by timing and by attributes.

With a column of the actual person, the results have shares: recall and precision. Without one, they have the number of
links only, and each handle counts as a person.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from kazashi.tracking_lab.account_links import NAMED, linked_accounts
from kazashi.tracking_lab.attributes import TooFewRecords
from kazashi.tracking_lab.engine import DuckDb, Engine, OutOfMemory, count
from kazashi.tracking_lab.laboratory import Laboratory
from kazashi.tracking_lab.log_measures import (
    TooManyPairs,
    attribute_risks,
    changes_of_handle,
    known_attributes,
    linked_pairs,
    most_shared,
    requests_seen,
    right_pairs,
    same_hours,
)
from kazashi.tracking_lab.logs import Imported, about, handles_look_like_digests
from kazashi.tracking_lab.metrics import Estimate, Share
from kazashi.tracking_lab.parts import Parts
from kazashi.tracking_lab.queries import code, queries
from kazashi.tracking_lab.results import (
    AttributeSet,
    LogExamination,
    Measurement,
    PrivacyFinding,
    PrivacyThreat,
    Sample,
    Severity,
    ThreatRun,
    Unit,
)
from kazashi.tracking_lab.study import unicity, versions
from kazashi.tracking_lab.threats import handleless_measurements
from kazashi.tracking_lab.without_handles import by_key, of_log, within_a_day

_QUERIES = {
    **queries(("exact-join", "authority-requests", "by-timing", "same-hours", "attributes", "unicity", "anonymity")),
    "digest-shape": code(handles_look_like_digests),
    "without-handles": code(of_log, by_key, within_a_day),
}


def examine_logs(
    laboratory: Laboratory, parts: Parts | None = None, engine: Engine | None = None
) -> LogExamination:  # fmt: skip
    """Examine imported logs on an engine (DuckDB in this process by default), which is closed afterwards, part by part.
    Raises PopulationUnusable if the laboratory holds no imported logs."""
    parts = parts or Parts()
    logs = about(laboratory)
    opened = engine or DuckDb(spill=laboratory.spill())
    try:
        for name in ("uses", "service", "handle", "person", "account"):
            opened.table(name, laboratory.file(name))
        names = dict(opened.query("SELECT service, name FROM service").rows())
        truth = bool(logs["truth"])
        parts.total += len(_RUNS) + 2
        runs = [
            parts.run(run.id, partial(_run, run, opened, names, truth), lambda result: not result.omitted)
            for run in _RUNS
        ]
        attributes = parts.run("X6", lambda: tuple(_anonymity(opened)))
        points = parts.run("X7", lambda: unicity(opened))
        summary = Imported.of(logs)
        return LogExamination(
            summary, truth, opened.name, tuple(_findings(runs)),
            tuple(run for run in runs if run.results or run.omitted), points, attributes, _QUERIES,
            versions("kazashi", "duckdb", "polars", "splink"),
        )  # fmt: skip
    finally:
        opened.close()


Names = Mapping[int, str]


def _shared_handles(engine: Engine, names: Names, truth: bool) -> ThreatRun:
    shared, most = most_shared(engine, 5)
    results = [Measurement("handles-shared", shared, Unit.PAIRS, "X1")]
    results += [
        Measurement(
            f"handles-shared-{place}", row["linked"], Unit.PAIRS, "X1", (names[row["one"]], names[row["other"]])
        )
        for place, row in enumerate(most.iter_rows(named=True), 1)
    ]
    if truth:
        link = linked_pairs(engine)
        results += [
            Measurement("recall", link.recall, measure="X1"),
            Measurement("precision", link.precision, measure="X1"),
        ]
    return ThreatRun("T1", tuple(results), "exact-join")


def _digests(engine: Engine, _: Names, __: bool) -> ThreatRun:
    digests = handles_look_like_digests(engine.query("SELECT handle FROM handle LIMIT 10000"))
    result = Measurement("handles-look-like-digests", digests, Unit.TRUTH, "X11")
    return ThreatRun("T2", (result,), "digest-shape")


def _questions(engine: Engine, _: Names, __: bool) -> ThreatRun:
    if not engine.query("SELECT count(asks) AS known FROM service")["known"][0]:
        return ThreatRun("T4", (), "authority-requests", omitted="asks-unknown")
    seen, entropy = requests_seen(engine)
    results = [Measurement("uses-seen", seen, measure="X12")]
    if seen.count:
        results.append(Measurement("gap-entropy", entropy, Unit.BITS, "X12"))
    return ThreatRun("T4", tuple(results), "authority-requests")


def _changes_of_handle(engine: Engine, _: Names, truth: bool) -> ThreatRun:
    pairs = changes_of_handle(engine)
    results = [Measurement("pairs", pairs.height, Unit.PAIRS, "X3")]
    if truth:
        results.append(Measurement("precision", right_pairs(engine, pairs), measure="X1"))
    return ThreatRun("T5", tuple(results), "by-timing")


def _same_hours(engine: Engine, names: Names, truth: bool) -> ThreatRun:
    busy = _busiest(engine, "(SELECT DISTINCT service, shown FROM uses)")
    if len(busy) < 2:
        return ThreatRun("T11", (), "same-hours")
    met = same_hours(engine, *busy)
    results = [Measurement("pairs", _of_all(met.pairs.height, met.examined, met.handles), Unit.PAIRS, "X1")]
    if truth:
        results.append(Measurement("precision", right_pairs(engine, met.pairs, *busy), measure="X1"))
    return ThreatRun("T11", tuple(results), "same-hours", _sample(met.examined, met.handles, Unit.HANDLES),
                     tuple(names[service] for service in busy))  # fmt: skip


def _what_people_told(engine: Engine, names: Names, truth: bool) -> ThreatRun:
    busy = _busiest(engine, NAMED)
    if len(busy) < 2:
        return ThreatRun("T15", (), "attributes")
    link = linked_accounts(engine, *busy)
    results = [
        Measurement("accounts-linked", _of_all(link.linked, link.examined, link.accounts), Unit.ACCOUNTS, "X1"),
        Measurement("accounts", link.accounts, Unit.ACCOUNTS, "X1"),
    ]
    if truth:
        results += [
            Measurement("recall", Share(link.right, link.shared), measure="X1"),
            Measurement("precision", Share(link.right, link.linked), measure="X1"),
        ]
    return ThreatRun("T15", tuple(results), "attributes", _sample(link.examined, link.accounts, Unit.ACCOUNTS),
                     tuple(names[service] for service in busy))  # fmt: skip


def _without_handles(engine: Engine, _: Names, __: bool) -> ThreatRun:
    """T17, if the mapping names the address and the agent. A handle counts as a person if the log has no persons."""
    if not {"network", "agent"} <= set(engine.query("SELECT * FROM uses LIMIT 0").columns):
        return ThreatRun("T17", (), "without-handles")
    found = of_log(engine)
    sample = Sample(found.uses, count(engine, "uses"), Unit.USES)
    return ThreatRun("T17", handleless_measurements(found), "without-handles", sample)


def _of_all(found: int, examined: int, total: int) -> int | Estimate:
    """A number of a whole of which some were examined."""
    return found if examined == total else Share(found, examined).of(total)


def _sample(examined: int, total: int, unit: Unit) -> Sample | None:
    return None if examined == total else Sample(examined, total, unit)


def _busiest(engine: Engine, table: str) -> list[int]:
    """The numbers of the two services with the most rows, or of fewer if there are not two."""
    rows = engine.query(f"SELECT service, count(*) AS n FROM {table} GROUP BY service ORDER BY n DESC, service LIMIT 2")
    return [int(service) for service in rows["service"]]


@dataclass(frozen=True, slots=True)
class _Run:
    """A threat run: its id, the name of its query, and the function that runs it."""

    id: str
    query: str
    results: Callable[[Engine, Names, bool], ThreatRun]


_RUNS = (
    _Run("T1", "exact-join", _shared_handles),
    _Run("T2", "digest-shape", _digests),
    _Run("T4", "authority-requests", _questions),
    _Run("T5", "by-timing", _changes_of_handle),
    _Run("T11", "same-hours", _same_hours),
    _Run("T15", "attributes", _what_people_told),
    _Run("T17", "without-handles", _without_handles),
)


def _run(run: _Run, engine: Engine, names: Names, truth: bool) -> ThreatRun:
    """Run a threat; if it does not fit in the bounds, the result says why."""
    try:
        return run.results(engine, names, truth)
    except TooFewRecords:
        return ThreatRun(run.id, (), run.query, omitted="too-few-records")
    except TooManyPairs:
        return ThreatRun(run.id, (), run.query, omitted="too-many-pairs")
    except OutOfMemory:
        return ThreatRun(run.id, (), run.query, omitted="out-of-memory")


def _anonymity(engine: Engine) -> Iterator[AttributeSet]:
    """X6 (anonymity sets) and X10 (record risk) of the attributes in the logs: of the first, the first two, and so
    on."""
    known = known_attributes(engine, ("sex", "town", "born", "given", "family", "street"))
    for length in range(1, len(known) + 1):
        if risks := attribute_risks(engine, known[:length]):
            yield AttributeSet(known[:length], *risks)


def _findings(runs: Sequence[ThreatRun]) -> Iterator[PrivacyFinding]:
    by_id = {(run.id, one.id): one for run in runs for one in run.results}
    shared, digests = by_id.get(("T1", "handles-shared")), by_id.get(("T2", "handles-look-like-digests"))
    if shared is not None and shared.value:
        yield PrivacyFinding(Severity.HIGH, "handles-are-shared", PrivacyThreat.LINKING, "X1", (shared,))
    if digests is not None and digests.value:
        yield PrivacyFinding(
            Severity.MEDIUM, "handles-look-like-digests", PrivacyThreat.IDENTIFYING, "T2", (digests,)
        )  # fmt: skip
    linked = by_id.get(("T15", "accounts-linked"))
    if linked is not None and linked.value not in (0, Estimate(0, 0, 0)):
        yield PrivacyFinding(Severity.MEDIUM, "attributes-link", PrivacyThreat.LINKING, "T15", (linked,))
