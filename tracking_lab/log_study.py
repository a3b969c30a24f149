"""The examination of a reviewer's own logs: what joins, what singles out, what timing and attributes link.

With a column of who it really was, shares are told; without one, how much is linked, and a handle counts as a person.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import polars as pl

from kazashi.tracking_lab.accounts import ATTRIBUTES
from kazashi.tracking_lab.attributes import best, candidates
from kazashi.tracking_lab.engine import DuckDb, Engine
from kazashi.tracking_lab.evidence import run_row, same_person, told
from kazashi.tracking_lab.findings import Finding
from kazashi.tracking_lab.laboratory import Laboratory
from kazashi.tracking_lab.linkers import EXACT, by_timing, exact_join, singling_out, together
from kazashi.tracking_lab.logs import about, handles_look_like_digests
from kazashi.tracking_lab.metrics import Share, anonymity, gap_entropy, pairwise, record_risk
from kazashi.tracking_lab.plan import DAY, HOUR
from kazashi.tracking_lab.study import POINTS, TRIED, rounded, unicity

Progress = Callable[[str], object]
_MOST = 200_000
"""Of how many handles linkers that work pair by pair are given."""


def examine_logs(
    laboratory: Laboratory, progress: Progress = lambda _: None, engine: Engine | None = None
) -> dict[str, Any]:
    """Everything that logs alone can tell, in the shape of the report. Raises PopulationUnusable."""
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
        runs = [_t1(joins, held, names, truth), _t2(opened), _t4(opened)]
        progress("timing")
        runs += [_t5(held, truth), _t11(opened, held, names, truth)]
        progress("attributes")
        accounts = opened.query("SELECT * FROM account").sort("service", "person").with_row_index("id")
        accounts = accounts.with_columns(pl.col("id").cast(pl.String))
        runs.append(_t15(opened, accounts, names, truth))
        progress("trajectories")
        found = {
            "logs": {name: logs[name]
                     for name in ("rows", "uses", "services", "handles", "persons", "left_out", "notes")},
            "truth": truth, "engine": opened.name,
            "findings": [asdict(one) for one in _findings(joins, runs)],
            "threats": [run for run in runs if run["results"]],
            "unicity": unicity(opened),
            "anonymity": _anonymity(accounts),
            "sql": {"exact joins": EXACT.format(handle="shown").strip(),
                    "who is singled out, within seven days": singling_out(POINTS, TRIED, 7, 1).strip()},
            "versions": {name: version(name) for name in ("kazashi", "duckdb", "polars", "splink")},
        }  # fmt: skip
        result: dict[str, Any] = rounded(found)
        return result
    finally:
        opened.close()


def _t1(joins: pl.DataFrame, held: pl.DataFrame, names: dict[int, str], truth: bool) -> dict[str, Any]:
    most = joins.sort("linked", "one", "other", descending=[True, False, False]).head(5)
    results: dict[str, Any] = {"handles that two services share": int(joins["linked"].sum())}
    results |= {f"{names[row['one']]} + {names[row['other']]}": row["linked"] for row in most.iter_rows(named=True)}
    if truth:
        link = pairwise(held.head(_MOST), "shown")
        results |= {"recall": told(link.recall), "precision": told(link.precision)}
    return run_row("T1", "any two services", "their handles", results, "tracking_lab/linkers.py: EXACT")


def _t2(engine: Engine) -> dict[str, Any]:
    digests = handles_look_like_digests(engine.query("SELECT handle FROM handle LIMIT 10000"))
    return run_row("T2", "whoever counts", "the handles", {"handles look like digests": digests},
                "tracking_lab/logs.py: handles_look_like_digests")  # fmt: skip


def _t4(engine: Engine) -> dict[str, Any]:
    asked = engine.query("SELECT u.shown, u.moment FROM uses u JOIN service s ON s.service = u.service WHERE s.asks")
    total = int(engine.query("SELECT count(*) AS n FROM uses")["n"][0])
    results: dict[str, Any] = {"uses seen (X12)": told(Share(asked.height, total))}
    if asked.height:
        results["entropy of the gaps between uses, bits"] = gap_entropy(asked)
    return run_row("T4", "whoever is asked about each use", "the questions", results,
                "SELECT shown, moment FROM uses JOIN service USING (service) WHERE asks")  # fmt: skip


def _t5(held: pl.DataFrame, truth: bool) -> dict[str, Any]:
    days = held.head(_MOST).select("service", "shown", first=pl.col("first") // DAY, last=pl.col("last") // DAY)
    pairs = by_timing(days, beside=()).unique()
    results: dict[str, Any] = {"a handle that ends where another begins: pairs": pairs.height}
    if truth:
        results |= _precision(pairs, held, held)
    return run_row("T5", "one service, over changes of handle", "its own log", results,
                "tracking_lab/linkers.py: by_timing")  # fmt: skip


def _t11(engine: Engine, held: pl.DataFrame, names: dict[int, str], truth: bool) -> dict[str, Any]:
    busy = _busiest(held)
    if len(busy) < 2:
        return run_row("T11", "two observers", "hours", {}, "")
    one, other = busy
    first, last = engine.query("SELECT min(moment) AS first, max(moment) AS last FROM uses").row(0)
    pairs = together(engine, one, other, max(1, (last - first) // HOUR))
    results: dict[str, Any] = {"handles whose users come in the same hours: pairs": pairs.height}
    if truth:
        results |= _precision(pairs, held.filter(service=one), held.filter(service=other))
    return run_row("T11", f"{names[one]} + {names[other]}", "hours alone", results, "tracking_lab/linkers.py: TOGETHER")


def _precision(pairs: pl.DataFrame, one: pl.DataFrame, other: pl.DataFrame) -> dict[str, Any]:
    return {"precision": told(Share(same_person(pairs, one, other).height, pairs.height))}


def _busiest(rows: pl.DataFrame) -> list[int]:
    """The two services with the most rows, or fewer where there are no two."""
    counted = rows.group_by("service").len().sort("len", "service", descending=[True, False])
    return [int(number) for number in counted["service"].head(2)]


def _t15(engine: Engine, accounts: pl.DataFrame, names: dict[int, str], truth: bool) -> dict[str, Any]:
    named = accounts.filter(pl.any_horizontal(pl.col(*ATTRIBUTES).is_not_null()))
    busy = _busiest(named)
    if len(busy) < 2:
        return run_row("T15", "two services", "attributes", {}, "")
    left, right = (named.filter(service=service).head(_MOST) for service in busy)
    links = best(candidates(engine, left, right))
    results: dict[str, Any] = {"accounts linked by attributes": links.height, "of": min(left.height, right.height)}
    if truth:
        hits = same_person(links, accounts, accounts, "id").height
        both = left.join(right, on="person", how="semi").height
        results |= {"recall": told(Share(hits, both)), "precision": told(Share(hits, links.height))}
    return run_row("T15", f"{names[busy[0]]} + {names[busy[1]]}", "what people told of themselves", results,
                "Splink: tracking_lab/attributes.py")  # fmt: skip


def _anonymity(accounts: pl.DataFrame) -> list[dict[str, Any]]:
    """X6 and X10 of the attributes that there are, one after the other put together."""
    there = [name for name in ("sex", "town", "born", "given", "family", "street") if accounts[name].count()]
    rows = []
    for count in range(1, len(there) + 1):
        names = there[:count]
        known = accounts.drop_nulls(names).unique(subset=["person"], keep="first", maintain_order=True)
        if known.height:
            found = anonymity(known, names)
            rows.append({
                "attributes": ", ".join(names), "unique": told(found.unique), "median": found.median,
                "sets": list(found.sets), "entropy": found.entropy_bits, "leaked bits": found.leaked_bits,
                **record_risk(known, known, names),
            })  # fmt: skip
    return rows


def _findings(joins: pl.DataFrame, runs: list[dict[str, Any]]) -> Iterator[Finding]:
    by_run = {run["run"]: run["results"] for run in runs}
    if shared := int(joins["linked"].sum()):
        words = "services hold equal handles: tables join by equality"
        yield Finding("high", "handles-are-shared", "Linking", words, f"X1: {shared:,} handles of pairs of services")
    if by_run["T2"]["handles look like digests"]:
        words = "digests without a key give way to whoever counts what was issued"
        yield Finding("medium", "handles-look-like-digests", "Identifying", words, "T2")
    if linked := by_run["T15"].get("accounts linked by attributes", 0):
        words = "what people told of themselves links accounts"
        yield Finding("medium", "attributes-link", "Linking", words, f"T15: {linked:,} accounts")
