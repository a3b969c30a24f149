"""The whole examination of one population: every number, with what it was computed from. Same plan, same numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from hashlib import sha256
from importlib.metadata import version
from textwrap import dedent
from typing import Any

import polars as pl

from kazashi.tracking_lab.coalitions import coalitions
from kazashi.tracking_lab.countermeasures import COUNTERMEASURES, Countermeasure, handles
from kazashi.tracking_lab.engine import DuckDb, Engine
from kazashi.tracking_lab.evidence import Evidence, told
from kazashi.tracking_lab.findings import findings
from kazashi.tracking_lab.laboratory import TABLES, Laboratory, PopulationUnusable
from kazashi.tracking_lab.linkers import (
    EXACT,
    OF_PERSONS,
    TOGETHER,
    dictionary,
    exact_join,
    hashed,
    shared_persons,
    singling_out,
    trajectories,
)
from kazashi.tracking_lab.metrics import (
    Share,
    advantage,
    anonymeter,
    anonymity,
    area_under_curve,
    clusters,
    hash_cost,
    lifelong,
    pairwise,
    record_risk,
    time_to_link,
)
from kazashi.tracking_lab.plan import DAY, HOUR
from kazashi.tracking_lab.threats import run_all
from kazashi.world.chance import stream

_GUESSES_PER_SECOND = 1e9
"""SHA-256 on one graphics card, an order of magnitude."""

_NATION = 125_000_000 * 3 * 2
"""Serial numbers of a nation, an order of magnitude: people, times generations, times kinds."""

SPANS, POINTS, TRIED = (1, 7, 30), 6, 1_500
"""X7: days to a span, the most points that are known, and how many people are tried."""

_SQL = {
    "exact joins (X1, T1, T2)": EXACT.format(handle="shown"),
    "persons that services share": OF_PERSONS,
    "who comes in the same hours (T11)": TOGETHER.format(one="?", other="?", hour=HOUR, least=2),
    "who is singled out, within seven days (X7)": singling_out(POINTS, TRIED, 7, 1),
    "what the authority is asked (X12, T4)":
        "SELECT shown, moment FROM uses u JOIN service s ON s.service = u.service WHERE s.asks",
}  # fmt: skip

ATTRIBUTES: tuple[tuple[str, ...], ...] = (
    ("birth_year",), ("birth_year", "sex"), ("birth_year", "sex", "town"), ("born", "sex", "town"),
)  # fmt: skip
Progress = Callable[[str], object]


def open_engine(laboratory: Laboratory, engine: Engine | None = None) -> Engine:
    """An engine with a population's tables. Raises PopulationUnusable for one that is not whole."""
    if not laboratory.whole:
        raise PopulationUnusable(
            f"the population in {laboratory.directory} is not whole; go on with: kazashi tracking populate"
        )
    found = engine or DuckDb(spill=laboratory.directory / "spill")
    for name in TABLES:
        found.table(name, laboratory.file(name))
    return found


def examine(
    laboratory: Laboratory, progress: Progress = lambda _: None, engine: Engine | None = None
) -> dict[str, Any]:
    """Everything, as plain values, on an engine (DuckDB in this process), which is closed. Raises
    PopulationUnusable."""
    plan = laboratory.plan
    if not plan.residents:
        raise PopulationUnusable("a population of nobody has nothing to link; make one with people in it")
    opened = open_engine(laboratory, engine)
    try:
        progress("what services hold")
        evidence = Evidence(opened, plan.residents, plan.days)
        found: dict[str, Any] = {
            "plan": plan.as_dict(), "engine": opened.name, "sizes": _sizes(opened),
            "people examined": len(evidence.people),
        }  # fmt: skip
        progress("exact joins")
        found["exact"] = _exact(opened)
        progress("countermeasures")
        found["countermeasures"] = [_compared(evidence, measure) for measure in COUNTERMEASURES]
        progress("years")
        found["years"] = _years(evidence, plan.years)
        progress("signature and authentication")
        found["counterparts"] = _counterparts(evidence)
        progress("dictionaries")
        found["dictionary"] = _dictionary(evidence)
        progress("trajectories")
        found["unicity"] = unicity(opened)
        progress("attributes")
        found["anonymity"] = [_anonymity(evidence.everybody, names) for names in ATTRIBUTES]
        progress("games")
        found["games"] = [_game(evidence, measure) for measure in COUNTERMEASURES if measure.people is None]
        found["threats"] = run_all(evidence, progress)
        found["findings"] = [asdict(one) for one in findings(found)]
        found["sql"] = {name: dedent(sql).strip() for name, sql in _SQL.items()}
        found["versions"] = {name: version(name) for name in ("kazashi", "duckdb", "numpy", "polars", "splink")}
        result: dict[str, Any] = rounded(found)
        return result
    finally:
        opened.close()


def rounded(found: Any) -> Any:
    """The same with nine digits: sums of fractions depend on the order in which threads add them up. What is not a
    number is None."""
    if isinstance(found, dict):
        return {name: rounded(value) for name, value in found.items()}
    if isinstance(found, list | tuple):
        return [rounded(value) for value in found]
    if isinstance(found, float):
        return round(found, 9) if math.isfinite(found) else None
    return found


def _sizes(engine: Engine) -> dict[str, int]:
    return {name: int(engine.query(f"SELECT count(*) AS n FROM {name}")["n"][0]) for name in TABLES}


def _exact(engine: Engine) -> dict[str, Any]:
    """X1 over everybody, of what is shown and of its digest: the same, because a digest hides nothing from equality."""
    belongs = shared_persons(engine)
    plain, digest = exact_join(engine), exact_join(engine, hashed(engine))
    total = int(belongs["belong"].sum())
    return {
        "pairs of services": belongs.height, "persons shared": total,
        "linked by serial number": int(plain["linked"].sum()), "the digest links the same": plain.equals(digest),
    }  # fmt: skip


def _compared(evidence: Evidence, measure: Countermeasure) -> dict[str, Any]:
    """One countermeasure on the same stream: X1, X2, X3, X12, X13, X15, X16."""
    held = handles(evidence.logins, measure)
    link, cluster = pairwise(held, "handle"), clusters(held, "handle")
    kept = _kept(held)
    moments = evidence.moments.filter(~pl.col("signature")).join(
        held.select("service", "shown", "handle"), on=["service", "shown"]
    )
    asked = moments.filter("asks") if measure.online else moments.clear()
    waiting = time_to_link(moments, "handle")
    mean, high, most = cluster.completeness
    return {
        "name": measure.name, "source": measure.source, "cost": measure.cost, "people": held["person"].n_unique(),
        "precision": told(link.precision), "recall": told(link.recall), "f1": link.f1,
        "b3 precision": cluster.precision, "b3 recall": cluster.recall, "adjusted rand": cluster.rand,
        "variation of information": cluster.information, "completeness": mean, "completeness 95th percentile": high,
        "completeness most": most, "renewals kept": told(kept),
        "all renewals of ten years kept": lifelong(kept.value, 2), "false merges": link.wrong,
        "false merges per million": 1e6 * link.wrong / (link.right + link.wrong) if link.right + link.wrong else 0.0,
        "seen by the authority": told(Share(asked.height, moments.height)),
        "bytes per person": held.select(pl.col("handle").unique().str.len_bytes().sum()).item()
        / max(1, held["person"].n_unique()),
        "days to link": waiting.median_days, "uses to link": waiting.median_uses, "ever linked": told(waiting.linked),
        "smallest coalitions": [str(who) for who in coalitions(held, measure)],
    }  # fmt: skip


def _kept(held: pl.DataFrame) -> Share:
    """X3 and X16: at one service, how many changes of certificate leave the handle as it was."""
    ordered = held.sort("service", "person", "first").with_columns(
        former=pl.col("handle").shift(1).over("service", "person"),
        before=pl.col("shown").shift(1).over("service", "person"),
    )
    changes = ordered.filter(pl.col("before").is_not_null() & (pl.col("before") != pl.col("shown")))
    return Share(changes.filter(pl.col("former") == pl.col("handle")).height, changes.height)


def _years(evidence: Evidence, years: int) -> list[dict[str, Any]]:
    """X3 over time: of accounts at services in the first year those whose users, back in a later one, are recognised
    by the serial number, by the chain of it, and by the authority's list of holders."""
    year = (pl.col("moment") // (365 * DAY)).clip(0, years - 1)
    seen = evidence.moments.filter(~pl.col("signature")).select(
        "service", "person", "shown", "chain", year=year
    ).unique()  # fmt: skip
    first = seen.filter(year=0)
    account = ["service", "person"]
    rows = []
    for later in range(1, years):
        back = seen.filter(year=later).join(first.select(account).unique(), on=account, how="semi")
        total = back.select(account).unique().height
        known = {
            words: back.join(first.select(*account, key).unique(), on=[*account, key]).select(account).unique().height
            for words, key in (("by equality", "shown"), ("with the chain", "chain"))
        }
        rows.append({"year": later, **{words: told(Share(count, total)) for words, count in known.items()}})
    return rows


def _counterparts(evidence: Evidence) -> dict[str, Any]:
    """X4: persons both of whose certificates were shown somewhere, linked by the authority's service or by nothing."""
    signs = evidence.seen.filter("signature").select("person", "medium", "shown").unique()
    logs_in = evidence.logins.select("person", "medium", "shown").unique()
    both = signs.select("person").unique().join(logs_in.select("person").unique(), on="person").height
    # The service tells the other certificate on the same card or phone, and nothing of other media.
    linked = signs.join(logs_in, on=["person", "medium"])["person"].n_unique()
    equal = signs.join(logs_in, on="shown").height
    return {"persons with both": both, "link service on": told(Share(linked, both)),
            "link service off": told(Share(equal, both))}  # fmt: skip


def _dictionary(evidence: Evidence) -> dict[str, Any]:
    """X11: digests without a key give way to whoever counts."""

    def digest(number: int) -> str:
        return sha256(number.to_bytes(8)).hexdigest()

    shown = evidence.logins.select("shown").unique()
    kept = shown.with_columns(handle=pl.Series([digest(number) for number in shown["shown"]], dtype=pl.String))
    issued = evidence.certificates.filter(~pl.col("kind"))
    found = dictionary(kept, issued, digest).height
    cost, nation = hash_cost(issued.height, _GUESSES_PER_SECOND), hash_cost(_NATION, _GUESSES_PER_SECOND)
    return {"digests": kept.height, "found": told(Share(found, kept.height)), "bits": cost.bits,
            "bits for a nation": nation.bits, "seconds for a nation": nation.seconds}  # fmt: skip


def unicity(engine: Engine) -> list[dict[str, Any]]:
    """X7 for each span of days and number of points."""
    return [{"points": points, "days": span, "singled out": told(Share(alone, tried))}
            for span in SPANS
            for points, (alone, tried) in enumerate(trajectories(engine, POINTS, TRIED, span, 1), 1)]  # fmt: skip


def _anonymity(people: pl.DataFrame, names: tuple[str, ...]) -> dict[str, Any]:
    """X6 and X10 of some attributes; the release is every tenth person."""
    found = anonymity(people, names)
    tenth = people.filter(pl.col("person") % 10 == 0)
    alone = tenth.filter(pl.len().over(names) == 1)
    still = alone.select("person").join(people.filter(pl.len().over(names) == 1), on="person", how="semi")
    return {"attributes": ", ".join(names), "unique": told(found.unique), "median": found.median,
            "sets": list(found.sets), "entropy": found.entropy_bits, "least": found.least, "degree": found.degree,
            "leaked bits": found.leaked_bits, "alone in a tenth": told(Share(alone.height, tenth.height)),
            "and in all": told(Share(still.height, alone.height)), **record_risk(tenth, people, names)}  # fmt: skip


def _game(evidence: Evidence, measure: Countermeasure) -> dict[str, Any]:
    """X8, X9: told a person's handle at one service and either hers or a stranger's at another, tell which. The control
    attack throws a coin."""
    held = handles(evidence.logins, measure)
    last = held.sort("last").unique(subset=["service", "person"], keep="last", maintain_order=True)
    pairs = last.join(last, on="person", suffix="_other").filter(pl.col("service") < pl.col("service_other"))
    pairs = pairs.sort("service", "service_other", "person")
    chance = stream("game", measure.name)
    right = control = trials = 0
    scores: dict[bool, list[float]] = {True: [], False: []}
    for rows in pairs.partition_by("service", "service_other", maintain_order=True):
        one, other = rows["handle"].to_list(), rows["handle_other"].to_list()
        if len(one) < 2:
            continue
        for place in range(min(len(one), 40)):
            same = chance.random() < 0.5
            shown = other[place] if same else other[(place + 1 + chance.randrange(len(one) - 1)) % len(one)]
            guess = True if shown == one[place] else False if _equals_when_same(measure) else chance.random() < 0.5
            right += guess == same
            control += (chance.random() < 0.5) == same
            trials += 1
            scores[same].append(float(shown == one[place]))
    found, half = advantage(right, trials) if trials else (math.nan, math.nan)
    area, low, high = area_under_curve(scores[True], scores[False], stream("bootstrap", measure.name))
    risk, wide = anonymeter(right, trials, control, trials) if trials else (math.nan, math.nan)
    return {"name": measure.name, "trials": trials, "advantage": found, "within": half, "area": area, "area low": low,
            "area high": high, "risk beyond guessing": risk, "risk within": wide}  # fmt: skip


def _equals_when_same(measure: Countermeasure) -> bool:
    """Whether handles at two services are equal where the person is the same: then a difference tells, too."""
    return "service" not in measure.of
