"""The tracking report of the commands: a population, its examination, and claims about other parts of the system: the
rules, the ruling, the refund points and the first matching."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from datetime import date
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from kazashi.provision_network.provisions import Party, Provision, cabinet_order, decide_provision
from kazashi.provision_network.rules import RuleBook, table_of_affairs
from kazashi.studies.network_matching import matched
from kazashi.studies.network_rulings import held_against_stores
from kazashi.studies.points_balance import Balance
from kazashi.studies.points_day import simulate
from kazashi.studies.tracking_stores import RUNS, exposed, exposure_as_dict, scene, unseen
from kazashi.tracking_lab.engine import Engine
from kazashi.tracking_lab.exposure import Exposure
from kazashi.tracking_lab.laboratory import Laboratory, steps
from kazashi.tracking_lab.metrics import Share
from kazashi.tracking_lab.plan import Plan
from kazashi.tracking_lab.results import Claim, Examination, ThreatResult, ThreatRun
from kazashi.tracking_lab.study import examine_population
from kazashi.tracking_lab.threats import over_stores
from kazashi.world.home import World, open_world
from kazashi.world.settings import Settings

RESIDENTS, YEARS = 1_000, 10
"""The size of the population that is generated if a world has none."""

_DAY = date(2026, 11, 24)
Progress = Callable[[str], object]


def laboratory_of(world: World, name: str = "population") -> Laboratory:
    """The laboratory of a world's population or logs, by name."""
    return Laboratory(world.directory / "tracking" / name)


def populated(
    world: World, plan: Plan, name: str = "population", progress: Callable[[int], object] = lambda _: None
) -> Laboratory:  # fmt: skip
    """Generate a world's population from a plan, or resume an interrupted run, on all cores. Raises PopulationUnusable
    and OSError, as `Laboratory.populate` does."""
    laboratory = laboratory_of(world, name)
    laboratory.populate(plan, progress, os.cpu_count() or 1 if steps(plan) > 2 else 1)
    return laboratory


@dataclass(frozen=True, slots=True)
class TrackingReport:
    """The examination of a population, its threat runs including those over actors' stores; the exposure matrix; and
    the claims."""

    examination: Examination
    exposure: dict[str, Any]
    claims: tuple[Claim, ...]

    def as_dict(self) -> dict[str, Any]:
        """The report for JSON and for the page: the examination's document, with `exposure` and `claims`."""
        claims = [claim.as_dict() for claim in self.claims]
        return {**self.examination.as_dict(), "exposure": self.exposure, "claims": claims}


def report(
    laboratory: Laboratory, progress: Progress = lambda _: None, engine: Engine | None = None
) -> TrackingReport:  # fmt: skip
    """Examine a population, and add the exposure matrix and the claims. Raises PopulationUnusable."""
    with ProcessPoolExecutor(1, get_context("spawn")) as beside:  # a fork would copy the locks of other threads
        worlds = beside.submit(_in_worlds, laboratory.plan.seed)
        examination = examine_population(laboratory, progress, engine)
        progress("a world in which cards are used everywhere, and a day of refund points")
        stores = worlds.result()
    progress("rules and matching")
    threats = sorted([*examination.threats, *stores.threats], key=lambda run: (len(run.id), run.id))
    exposure = exposure_as_dict(stores.exposure)
    claims = tuple(_claims(examination, exposure, stores.rulings, stores.balance))
    return TrackingReport(replace(examination, threats=tuple(threats)), exposure, claims)


@dataclass(frozen=True, slots=True)
class _StoreResults:
    """What the actors' stores show in two worlds of their own, in which people use their cards."""

    exposure: Exposure
    threats: list[ThreatRun]
    rulings: dict[str, list[str]]
    balance: Balance


def _in_worlds(seed: str) -> _StoreResults:
    """Make the two worlds and look at their stores. It takes as long as the population, and runs beside it."""
    with tempfile.TemporaryDirectory(prefix="kazashi-") as name:
        with scene(Path(name) / "scene") as (institutions, network):
            seen = exposed(institutions, network)
            threats = [*over_stores(seen, RUNS), _unseen(unseen(institutions, network))]
            rulings = {one.reason: one.against for one in held_against_stores(institutions.world, network)}
        day = simulate(open_world(Path(name) / "day", settings=Settings(seed)), 5, 60, _DAY)
    return _StoreResults(seen, threats, rulings, day.balance)


def _unseen(share: Share) -> ThreatRun:
    """X19 (hidden flows) as a threat run: flows outside the network, such as investigators' requests, which the portal
    shows to nobody."""
    result = ThreatResult("hidden-flows", "flows that the person is not shown", share)
    return ThreatRun("X19", "the person concerned", "what the portal shows", (result,),
                     "studies/tracking_stores.py: unseen")  # fmt: skip


def rule_errors() -> tuple[int, int]:
    """X17: the numbers of wrong decisions and of decisions tried: the tuples of the table, each tuple with every single
    element altered, the fifteen items of article 19, and the matters of the cabinet order with the two next to them."""
    rows, day = table_of_affairs(), _DAY
    rules, listed = RuleBook(rows), {row.purpose for row in rows}
    wrong = tried = 0
    for row in rows:
        altered = [replace(row.purpose, **{name: "別の値"})
                   for name in ("requester", "law", "affair", "provider", "item")]  # fmt: skip
        swapped = [replace(row.purpose, item=other.purpose.item) for other in rows[:20]]
        for purpose in (row.purpose, *altered, *swapped):
            tried += 1
            wrong += rules.decide(purpose, day).allowed is not (purpose in listed)
    for item in range(0, 18):
        tried += 1
        wrong += decide_provision(Provision(item, Party.ANYBODY, Party.ANYBODY)).allowed
    case = Provision(13, Party.MUNICIPALITY, Party.INVESTIGATOR, case="1", reason="x", approved_by="x")
    for number in range(0, 28):
        tried += 1
        wrong += decide_provision(replace(case, order=number)).allowed is not (number in cabinet_order())
    return wrong, tried


def _claims(
    examination: Examination, exposure: dict[str, Any], rulings: dict[str, list[str]], balance: Balance
) -> Iterator[Claim]:  # fmt: skip
    wrong, tried = rule_errors()
    yield Claim("rules", "1. Rules: wrong decisions (X17)", f"{wrong} of {tried}", "studies/tracking.py: rule_errors")
    chosen = ("raw-serial", "plain-hash", "keyed-pairwise", "sector-bpk", "restricted-chip-key")
    rows = [examination.comparison(measure) for measure in chosen]
    yield Claim(
        "linked-services", "2. Recall of links between services, on one stream of uses (X1)",
        "; ".join(f"{row.measure.name}: {_digits(row.linkage.recall)}" for row in rows),
        "tracking_lab/metrics.py: pairwise",
    )  # fmt: skip
    renewals = examination.threat("T5")
    chain, equal, timing = (
        _digits(renewals.share(name)) for name in ("chain", "equality", "timing-and-attributes")
    )  # fmt: skip
    yield Claim(
        "linked-renewals", "3. Renewals linked with and without the chain (X3)",
        f"with: {chain}; without: {equal}; by timing and year of birth: {timing}", "tracking_lab/threats.py: T5",
    )  # fmt: skip
    coalitions = "; ".join(
        f"{row.measure.name}: {' or '.join(map(str, row.coalitions)) or 'none'}" for row in examination.comparisons
    )
    yield Claim("coalitions", "4. Smallest coalitions (X13)", coalitions, "tracking_lab/coalitions.py")
    yield Claim(
        "ways", "5. Shortest paths from a handle to a code (X14)", "; ".join(_shortest(exposure["ways"])) or "none",
        "tracking_lab/exposure.py",
    )  # fmt: skip
    yield Claim(
        "ruling-of-2008", "6. Rows that contradict reasons (iii) and (v) of the ruling of 2008",
        "; ".join([*rulings["iii"], *rulings["v"]]) or "none", "kazashi network rulings",
    )  # fmt: skip
    yield Claim(
        "refund-points", "7. A day of refund points",
        f"{balance.granted:,} points granted, {balance.found:,} in the ledger, {len(balance.waiting)} late, "
        f"balance {'good' if balance.good else 'BROKEN'}", "kazashi points simulate",
    )  # fmt: skip
    match = matched(examination.plan.seed, 2_000, 0.2)
    yield Claim(
        "first-matching", "8. First matching at 20 % failure (X18)",
        f"exact fails {match['exact match fails']:.3f}; matcher precision {match['matcher precision']:.3f}, "
        f"recall {match['matcher recall']:.3f}, {match['left to people']} for manual review", "kazashi network match",
    )  # fmt: skip


def _digits(share: Share) -> float | None:
    """The value of a share, rounded as in the JSON document; None if the total is 0."""
    return round(share.value, 9) if share.total else None


def _shortest(ways: list[dict[str, Any]]) -> list[str]:
    """For each handle that an actor other than an issuer holds: the shortest path to a code, and its actors."""
    lines = []
    for handle in dict.fromkeys(way["handle"] for way in ways):
        paths = [way for way in ways if way["handle"] == handle and way["steps"]]
        if not paths:
            lines.append(f"{handle}: no path")
            continue
        path = min(paths, key=lambda way: len(way["steps"]))
        actors = " and ".join(dict.fromkeys(step.partition(":")[0] for step in path["steps"]))
        plural = "s" if len(path["steps"]) > 1 else ""
        lines.append(f"{handle} -> {path['target']}: {len(path['steps'])} step{plural} by {actors}")
    return lines
