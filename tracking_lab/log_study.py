"""The examination of your own logs: exact joins, unicity, and linkage by timing and by attributes.

With a column of the actual person, the results have shares: recall and precision. Without one, they have the number of
links only, and each handle counts as a person.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import polars as pl

from kazashi.tracking_lab.accounts import ATTRIBUTES
from kazashi.tracking_lab.attributes import best, candidates
from kazashi.tracking_lab.engine import DuckDb, Engine, count
from kazashi.tracking_lab.evidence import same_person
from kazashi.tracking_lab.laboratory import Laboratory
from kazashi.tracking_lab.linkers import EXACT, by_timing, exact_join, together
from kazashi.tracking_lab.logs import about, handles_look_like_digests
from kazashi.tracking_lab.metrics import Share, anonymity, gap_entropy, pairwise, record_risk
from kazashi.tracking_lab.plan import DAY, HOUR
from kazashi.tracking_lab.results import AttributeSet, LogExamination, PrivacyFinding, ThreatResult, ThreatRun
from kazashi.tracking_lab.study import singled_out_in_a_week, unicity, versions

Progress = Callable[[str], object]
_MOST = 200_000
"""The most handles that are given to linkers that compare pairs."""


def examine_logs(
    laboratory: Laboratory, progress: Progress = lambda _: None, engine: Engine | None = None
) -> LogExamination:
    """Examine imported logs on an engine (DuckDB in this process by default), which is closed afterwards. `progress` is
    called with the name of each part. Raises PopulationUnusable if the laboratory holds no imported logs."""
    logs = about(laboratory)
    opened = engine or DuckDb(spill=laboratory.directory / "spill")
    try:
        for name in ("uses", "service", "handle", "person", "account"):
            opened.table(name, laboratory.file(name))
        progress("exact joins")
        names = dict(opened.query("SELECT service, name FROM service").rows())
        joins = exact_join(opened)
        held = opened.query(
            "SELECT service, shown, person, min(moment) AS first, max(moment) AS last "
            "FROM uses GROUP BY service, shown, person"
        ).sort("service", "shown")
        truth = bool(logs["truth"])
        runs = [_shared_handles(joins, held, names, truth), _digests(opened), _questions(opened)]
        progress("timing")
        runs += [_changes_of_handle(held, truth), _same_hours(opened, held, names, truth)]
        progress("attributes")
        accounts = opened.query("SELECT * FROM account").sort("service", "person").with_row_index("id")
        accounts = accounts.with_columns(pl.col("id").cast(pl.String))
        runs.append(_what_people_told(opened, accounts, names, truth))
        progress("trajectories")
        summary = {name: logs[name] for name in ("rows", "uses", "services", "handles", "persons", "left_out", "notes")}
        return LogExamination(
            summary, truth, opened.name, tuple(_findings(joins, runs)), tuple(run for run in runs if run.results),
            unicity(opened), tuple(_anonymity(accounts)),
            sql={"exact joins": EXACT.format(handle="shown").strip(),
                 "who is singled out, within seven days": singled_out_in_a_week()},
            versions=versions("kazashi", "duckdb", "polars", "splink"),
        )  # fmt: skip
    finally:
        opened.close()


def _shared_handles(joins: pl.DataFrame, held: pl.DataFrame, names: dict[int, str], truth: bool) -> ThreatRun:
    most = joins.sort("linked", "one", "other", descending=[True, False, False]).head(5)
    results = [ThreatResult("handles-shared", "handles that two services share", int(joins["linked"].sum()))]
    results += [
        ThreatResult(f"handles-shared-{place}", f"{names[row['one']]} + {names[row['other']]}", row["linked"])
        for place, row in enumerate(most.iter_rows(named=True), 1)
    ]
    if truth:
        link = pairwise(held.head(_MOST), "shown")
        results += [
            ThreatResult("recall", "recall", link.recall),
            ThreatResult("precision", "precision", link.precision),
        ]
    return ThreatRun("T1", "any two services", "their handles", tuple(results), "tracking_lab/linkers.py: EXACT")


def _digests(engine: Engine) -> ThreatRun:
    digests = handles_look_like_digests(engine.query("SELECT handle FROM handle LIMIT 10000"))
    result = ThreatResult("handles-look-like-digests", "handles look like digests", digests)
    return ThreatRun("T2", "anyone who enumerates serial numbers", "the handles", (result,),
                     "tracking_lab/logs.py: handles_look_like_digests")  # fmt: skip


def _questions(engine: Engine) -> ThreatRun:
    requests = engine.query("SELECT u.shown, u.moment FROM uses u JOIN service s ON s.service = u.service WHERE s.asks")
    results = [ThreatResult("uses-seen", "uses seen (X12)", Share(requests.height, count(engine, "uses")))]
    if requests.height:
        results.append(ThreatResult("gap-entropy", "entropy of the gaps between uses, bits", gap_entropy(requests)))
    return ThreatRun("T4", "the authority that is asked about each use", "the requests", tuple(results),
                     "SELECT shown, moment FROM uses JOIN service USING (service) WHERE asks")  # fmt: skip


def _changes_of_handle(held: pl.DataFrame, truth: bool) -> ThreatRun:
    days = held.head(_MOST).select("service", "shown", first=pl.col("first") // DAY, last=pl.col("last") // DAY)
    pairs = by_timing(days, beside=()).unique()
    results = [ThreatResult("pairs", "a handle that ends where another begins: pairs", pairs.height)]
    if truth:
        results.append(_precision(pairs, held, held))
    return ThreatRun("T5", "one service, over changes of handle", "its own log", tuple(results),
                     "tracking_lab/linkers.py: by_timing")  # fmt: skip


def _same_hours(engine: Engine, held: pl.DataFrame, names: dict[int, str], truth: bool) -> ThreatRun:
    busy = _busiest(held)
    if len(busy) < 2:
        return ThreatRun("T11", "two observers", "the hours of use", (), "")
    one, other = busy
    first, last = engine.query("SELECT min(moment) AS first, max(moment) AS last FROM uses").row(0)
    pairs = together(engine, one, other, max(1, (last - first) // HOUR))
    results = [ThreatResult("pairs", "handles whose users come in the same hours: pairs", pairs.height)]
    if truth:
        results.append(_precision(pairs, held.filter(service=one), held.filter(service=other)))
    return ThreatRun("T11", f"{names[one]} + {names[other]}", "the hours of use only", tuple(results),
                     "tracking_lab/linkers.py: TOGETHER")  # fmt: skip


def _precision(pairs: pl.DataFrame, one: pl.DataFrame, other: pl.DataFrame) -> ThreatResult:
    return ThreatResult("precision", "precision", Share(same_person(pairs, one, other).height, pairs.height))


def _busiest(rows: pl.DataFrame) -> list[int]:
    """The numbers of the two services with the most rows, or of fewer if there are not two."""
    counted = rows.group_by("service").len().sort("len", "service", descending=[True, False])
    return [int(number) for number in counted["service"].head(2)]


def _what_people_told(engine: Engine, accounts: pl.DataFrame, names: dict[int, str], truth: bool) -> ThreatRun:
    named = accounts.filter(pl.any_horizontal(pl.col(*ATTRIBUTES).is_not_null()))
    busy = _busiest(named)
    if len(busy) < 2:
        return ThreatRun("T15", "two services", "attributes", (), "")
    left, right = (named.filter(service=service).head(_MOST) for service in busy)
    links = best(candidates(engine, left, right))
    results = [ThreatResult("accounts-linked", "accounts linked by attributes", links.height),
               ThreatResult("accounts", "of", min(left.height, right.height))]  # fmt: skip
    if truth:
        hits = same_person(links, accounts, accounts, "id").height
        both = left.join(right, on="person", how="semi").height
        results += [ThreatResult("recall", "recall", Share(hits, both)),
                    ThreatResult("precision", "precision", Share(hits, links.height))]  # fmt: skip
    return ThreatRun("T15", f"{names[busy[0]]} + {names[busy[1]]}", "attributes that people gave", tuple(results),
                     "Splink: tracking_lab/attributes.py")  # fmt: skip


def _anonymity(accounts: pl.DataFrame) -> Iterator[AttributeSet]:
    """X6 (anonymity sets) and X10 (record risk) of the attributes in the logs: of the first, the first two, and so
    on."""
    known_names = tuple(name for name in ("sex", "town", "born", "given", "family", "street") if accounts[name].count())
    for length in range(1, len(known_names) + 1):
        names = known_names[:length]
        known = accounts.drop_nulls(names).unique(subset=["person"], keep="first", maintain_order=True)
        if known.height:
            yield AttributeSet(names, anonymity(known, names), record_risk(known, known, names))


def _findings(joins: pl.DataFrame, runs: Sequence[ThreatRun]) -> Iterator[PrivacyFinding]:
    by_id = {run.id: {one.id: one.value for one in run.results} for run in runs}
    if shared := int(joins["linked"].sum()):
        words = "services hold equal handles, so their tables can be joined"
        yield PrivacyFinding(
            "high", "handles-are-shared", "Linking", words, f"X1: {shared:,} handles shared by pairs of services"
        )
    if by_id["T2"]["handles-look-like-digests"]:
        words = "anyone who enumerates the issued serial numbers can reverse digests without a key"
        yield PrivacyFinding("medium", "handles-look-like-digests", "Identifying", words, "T2")
    if linked := by_id["T15"].get("accounts-linked", 0):
        words = "attributes that people gave link accounts"
        yield PrivacyFinding("medium", "attributes-link", "Linking", words, f"T15: {linked:,} accounts")
