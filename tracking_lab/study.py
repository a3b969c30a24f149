"""The examination of a generated population. The same plan gives the same numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from hashlib import sha256
from importlib.metadata import version

import polars as pl

from kazashi.tracking_lab.coalitions import coalitions
from kazashi.tracking_lab.countermeasures import COUNTERMEASURES, Countermeasure
from kazashi.tracking_lab.engine import DuckDb, Engine, count
from kazashi.tracking_lab.evidence import PopulationTables
from kazashi.tracking_lab.findings import findings
from kazashi.tracking_lab.laboratory import TABLES, Laboratory, PopulationUnusable, PopulationUnusableReason
from kazashi.tracking_lab.linkers import (
    dictionary,
    shared_persons,
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
    pairwise,
    record_risk,
    time_to_link,
)
from kazashi.tracking_lab.parts import Parts
from kazashi.tracking_lab.plan import DAY, Plan
from kazashi.tracking_lab.queries import POINTS, QUERIES, SEED, SPANS, TRIED
from kazashi.tracking_lab.results import (
    AttributeSet,
    CountermeasureResult,
    Counterparts,
    DictionaryAttack,
    ExactJoins,
    Examination,
    Game,
    LaterYear,
    ReleasedSample,
    Unicity,
)
from kazashi.tracking_lab.revocation_checks import requests
from kazashi.tracking_lab.threats import RUNS, run_all
from kazashi.tracking_lab.timeline import timeline_of
from kazashi.world.rng import stream

_GUESSES_PER_SECOND = 1e9
"""SHA-256 digests that one graphics card computes per second, an order of magnitude."""

_NATION = 125_000_000 * 3 * 2
"""Serial numbers of a whole nation, an order of magnitude: people, times generations, times kinds of certificate."""


ATTRIBUTES: tuple[tuple[str, ...], ...] = (
    ("birth_year",), ("birth_year", "sex"), ("birth_year", "sex", "town"), ("born", "sex", "town"),
)  # fmt: skip


def checked(laboratory: Laboratory) -> Plan:
    """Return the plan of a population that can be examined. Raises PopulationUnusable if there is no population, if it
    is incomplete or if it has no residents."""
    plan = laboratory.plan
    if not plan.residents:
        raise PopulationUnusable(
            PopulationUnusableReason.NO_RESIDENTS,
            "the population has no residents; generate one with: kazashi tracking populate --residents 1000",
        )
    _refuse_incomplete(laboratory)
    return plan


def _refuse_incomplete(laboratory: Laboratory) -> None:
    if not laboratory.whole:
        raise PopulationUnusable(
            PopulationUnusableReason.INCOMPLETE,
            f"the population in {laboratory.directory} is incomplete; resume with: kazashi tracking populate",
        )


def open_engine(laboratory: Laboratory, engine: Engine | None = None) -> Engine:
    """Return the engine (DuckDB in this process by default) with a population's tables loaded. Raises
    PopulationUnusable if the population is incomplete."""
    _refuse_incomplete(laboratory)
    opened = engine or DuckDb(spill=laboratory.spill())
    for name in TABLES:
        opened.table(name, laboratory.file(name))
    return opened


def examine_population(
    laboratory: Laboratory, parts: Parts | None = None, engine: Engine | None = None
) -> Examination:  # fmt: skip
    """Examine a population on an engine (DuckDB in this process by default), which is closed afterwards, part by part.
    Raises PopulationUnusable, as `checked` does."""
    plan, opened = checked(laboratory), open_engine(laboratory, engine)
    try:
        examination = _examined(opened, plan, parts or Parts())
    finally:
        opened.close()
    return replace(examination, findings=tuple(findings(examination)))


def _examined(engine: Engine, plan: Plan, parts: Parts) -> Examination:
    evidence = PopulationTables(engine, plan.residents, plan.days, plan.seed)
    games = [measure for measure in COUNTERMEASURES if measure.people is None]
    parts.total += 9 + len(COUNTERMEASURES) + len(games) + len(RUNS)
    sizes = parts.run("sizes", lambda: {name: count(engine, name) for name in TABLES})
    people = parts.run("people", lambda: len(evidence.people))
    exact = parts.run("X1", lambda: _exact(evidence))
    comparisons = [parts.run(f"X1-{measure.id}", partial(_compared, evidence, measure)) for measure in COUNTERMEASURES]
    return Examination(
        plan, engine.name, sizes, people, exact, tuple(comparisons),
        parts.run("X3", lambda: tuple(_years(evidence, plan.years))),
        parts.run("X4", lambda: _counterparts(evidence)),
        parts.run("X11", lambda: _dictionary(evidence)),
        parts.run("X7", lambda: unicity(engine)),
        parts.run("X6", lambda: tuple(_attributes(evidence.everybody, names) for names in ATTRIBUTES)),
        tuple(parts.run(f"X8-{measure.id}", partial(_game, evidence, measure)) for measure in games),
        tuple(run_all(evidence, parts)),
        parts.run("timeline", lambda: timeline_of(evidence)),
        QUERIES, versions("kazashi", "duckdb", "numpy", "polars", "splink"),
    )  # fmt: skip


def versions(*names: str) -> dict[str, str]:
    """The versions of installed distributions, by name."""
    return {name: version(name) for name in names}


def _exact(evidence: PopulationTables) -> ExactJoins:
    """X1 (exact joins) over all people, by serial number and by its digest. Both give the same links, because equal
    numbers have equal digests."""
    belongs, plain, digest = shared_persons(evidence.engine), evidence.joins, evidence.digest_joins
    return ExactJoins(
        belongs.height, int(belongs["belong"].sum()), int(plain["linked"].sum()), plain.equals(digest)
    )  # fmt: skip


def _compared(evidence: PopulationTables, measure: Countermeasure) -> CountermeasureResult:
    """One countermeasure, measured on the common stream of uses."""
    holdings = evidence.under(measure)
    held, moments = holdings.rows, holdings.moments
    people = held["person"].n_unique()
    kept_bytes = held.select(pl.col("handle").unique().str.len_bytes().sum()).item()
    return CountermeasureResult(
        measure, people, pairwise(held, "handle"), clusters(held, "handle"), _kept(held),
        Share(requests(moments, measure.check).height, moments.height), kept_bytes / max(1, people),
        time_to_link(moments, "handle"), tuple(coalitions(held, measure)),
    )  # fmt: skip


def _kept(held: pl.DataFrame) -> Share:
    """X3 (renewals) and X16 (accounts kept): the share of certificate changes at one service that do not change the
    handle."""
    ordered = held.sort("service", "person", "first").with_columns(
        former=pl.col("handle").shift(1).over("service", "person"),
        before=pl.col("shown").shift(1).over("service", "person"),
    )
    changes = ordered.filter(pl.col("before").is_not_null() & (pl.col("before") != pl.col("shown")))
    return Share(changes.filter(pl.col("former") == pl.col("handle")).height, changes.height)


def _years(evidence: PopulationTables, years: int) -> Iterator[LaterYear]:
    """X3 (renewals) over the years: of the accounts of the first year whose users return in a later one, the shares
    that the service recognises by the serial number and by its chain."""
    year = (pl.col("moment") // (365 * DAY)).clip(0, years - 1)
    seen = evidence.moments.filter(~pl.col("signature")).select(
        "service", "person", "shown", "chain", year=year
    ).unique()  # fmt: skip
    first = seen.filter(year=0)
    account = ["service", "person"]
    for later in range(1, years):
        returned = seen.filter(year=later).join(first.select(account).unique(), on=account, how="semi")
        total = returned.select(account).unique().height
        equal, chained = (
            returned.join(first.select(*account, key).unique(), on=[*account, key]).select(account).unique().height
            for key in ("shown", "chain")
        )
        yield LaterYear(later, Share(equal, total), Share(chained, total))


def _counterparts(evidence: PopulationTables) -> Counterparts:
    signs = evidence.seen.filter("signature").select("person", "shown").unique()
    logs_in = evidence.logins.select("person", "shown").unique()
    both = signs.select("person").unique().join(logs_in.select("person").unique(), on="person").height
    # The authority's service reveals the certificates of both types on all cards and phones of the holder.
    linked = signs.join(logs_in, on="person")["person"].n_unique()
    equal = signs.join(logs_in, on="shown").height
    return Counterparts(both, Share(linked, both), Share(equal, both))


def _dictionary(evidence: PopulationTables) -> DictionaryAttack:
    """X11: digests without a key are reversed by trying all issued serial numbers."""

    def digest(number: int) -> str:
        return sha256(number.to_bytes(8)).hexdigest()

    shown = evidence.logins.select("shown").unique()
    kept = shown.with_columns(handle=pl.Series([digest(number) for number in shown["shown"]], dtype=pl.String))
    issued = evidence.certificates.filter(~pl.col("kind"))
    reversed_digests = dictionary(kept, issued, digest).height
    cost, nation = hash_cost(issued.height, _GUESSES_PER_SECOND), hash_cost(_NATION, _GUESSES_PER_SECOND)
    return DictionaryAttack(kept.height, Share(reversed_digests, kept.height), cost, nation)


def unicity(engine: Engine) -> tuple[Unicity, ...]:
    """X7 (unicity) for each time span and number of points."""
    return tuple(
        Unicity(points, span, Share(alone, tried))
        for span in SPANS
        for points, (alone, tried) in enumerate(trajectories(engine, POINTS, TRIED, span, SEED), 1)
    )


def _attributes(people: pl.DataFrame, names: tuple[str, ...]) -> AttributeSet:
    """X6 (anonymity sets) and X10 (record risk) of some attributes; the released sample is every tenth person."""
    tenth = people.filter(pl.col("person") % 10 == 0)
    alone = tenth.filter(pl.len().over(names) == 1)
    still = alone.select("person").join(people.filter(pl.len().over(names) == 1), on="person", how="semi")
    sample = ReleasedSample(Share(alone.height, tenth.height), Share(still.height, alone.height))
    return AttributeSet(names, anonymity(people, names), record_risk(tenth, people, names), sample)


def _game(evidence: PopulationTables, measure: Countermeasure) -> Game:
    """X8 and X9: the attacker gets a person's handle at one service, and either the same person's or a stranger's
    handle at another, and decides which it is. The control attack tosses a coin."""
    held = evidence.under(measure).rows
    last = held.sort("last").unique(subset=["service", "person"], keep="last", maintain_order=True)
    pairs = last.join(last, on="person", suffix="_other").filter(pl.col("service") < pl.col("service_other"))
    pairs = pairs.sort("service", "service_other", "person")
    chance = stream("game")  # the same trials for each countermeasure
    right = control = trials = 0
    scores: dict[bool, list[float]] = {True: [], False: []}
    for rows in pairs.partition_by("service", "service_other", maintain_order=True):
        one, other = rows["handle"].to_list(), rows["handle_other"].to_list()
        if len(one) < 2:
            continue
        for place in range(min(len(one), 40)):
            same = chance.random() < 0.5
            shown = other[place] if same else other[(place + 1 + chance.randrange(len(one) - 1)) % len(one)]
            guess = True if shown == one[place] else False if measure.joins_services else chance.random() < 0.5
            right += guess == same
            control += (chance.random() < 0.5) == same
            trials += 1
            scores[same].append(float(shown == one[place]))
    area = area_under_curve(scores[True], scores[False], stream("bootstrap"))
    return Game(measure, trials, advantage(right, trials), area, anonymeter(right, trials, control, trials))
