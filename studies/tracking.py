"""What the commands put together for the tracking laboratory: a population, its examination, and the claims that come
from elsewhere: the rules, the ruling, the refund points, the first matching."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from kazashi.provision_network.provisions import Party, Provision, cabinet_order, decide_provision
from kazashi.provision_network.rules import RuleBook, table_of_affairs
from kazashi.studies.network_matching import matched
from kazashi.studies.network_rulings import held_against_stores
from kazashi.studies.points_day import simulate
from kazashi.studies.tracking_scene import RUNS, exposed, scene, told, unseen
from kazashi.tracking_lab.engine import Engine
from kazashi.tracking_lab.evidence import told as told_share
from kazashi.tracking_lab.laboratory import Laboratory, steps
from kazashi.tracking_lab.metrics import Share
from kazashi.tracking_lab.plan import Plan
from kazashi.tracking_lab.study import examine
from kazashi.tracking_lab.threats import over_stores
from kazashi.world.home import World, open_world
from kazashi.world.settings import Settings

RESIDENTS, YEARS = 1_000, 10
"""Of a population that is made because there is none yet."""

_DAY = date(2026, 11, 24)
Progress = Callable[[str], object]


def laboratory_of(world: World, name: str = "population") -> Laboratory:
    """Where a world's population is."""
    return Laboratory(world.directory / "tracking" / name)


def populated(
    world: World, plan: Plan, name: str = "population", progress: Callable[[int], object] = lambda _: None
) -> Laboratory:  # fmt: skip
    """A population after a plan, made or gone on with, on all cores. Raises PopulationUnusable."""
    found = laboratory_of(world, name)
    found.populate(plan, progress, os.cpu_count() or 1 if steps(plan) > 2 else 1)
    return found


def report(
    laboratory: Laboratory, progress: Progress = lambda _: None, engine: Engine | None = None
) -> dict[str, Any]:  # fmt: skip
    """The examination of a population, with the claims of systems that a laboratory should be able to print. Raises
    PopulationUnusable."""
    found = examine(laboratory, progress, engine)
    progress("a world in which cards are used everywhere")
    with tempfile.TemporaryDirectory(prefix="kazashi-") as name:
        with scene(Path(name) / "scene") as (institutions, network):
            seen = exposed(institutions, network)
            found["exposure"] = told(seen)
            more = [*over_stores(seen, RUNS), _unseen(unseen(institutions, network))]
            found["threats"] = sorted([*found["threats"], *more], key=lambda run: (len(run["run"]), run["run"]))
            rulings = {one.reason: one.against for one in held_against_stores(institutions.world, network)}
        progress("a day of refund points")
        day = simulate(open_world(Path(name) / "day", settings=Settings(laboratory.plan.seed)), 5, 60, _DAY)
    progress("rules and matching")
    found["claims"] = _claims(found, rulings, day, laboratory.plan.seed)
    return found


def _unseen(share: Share) -> dict[str, Any]:
    """X19, beside the runs: what goes past the network, investigators' questions among it, the portal shows nobody."""
    return {
        "run": "X19", "who": "the person concerned", "holding": "what the portal shows",
        "results": {"flows that the person is not shown": told_share(share)},
        "how": "studies/tracking_scene.py: unseen",
    }  # fmt: skip


def rule_errors() -> tuple[int, int]:
    """X17: wrong decisions, and decisions tried: the table's tuples, each with every single element altered, the
    fifteen items of article 19, and the cabinet order's matters with the two beside them."""
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


def _claims(found: dict[str, Any], rulings: dict[str, list[str]], day: Any, seed: str) -> list[dict[str, Any]]:
    wrong, tried = rule_errors()
    by_name = {row["name"]: row for row in found["countermeasures"]}
    chosen = ("raw serial number", "SHA-256 of the serial number", "HMAC by a platform", "sector's identifier (bPK)",
              "restricted identification, chip's key")  # fmt: skip
    recall = "; ".join(f"{name}: {by_name[name]['recall']['value']}" for name in chosen)
    renewals = next(run["results"] for run in found["threats"] if run["run"] == "T5")
    coalitions = "; ".join(
        f"{row['name']}: {' or '.join(row['smallest coalitions']) or 'none'}" for row in found["countermeasures"]
    )
    paths = _shortest(found["exposure"]["ways"])
    balance, match = day.balance, matched(seed, 2_000, 0.2)
    return [
        _claim("1. Rules: wrong decisions (X17)", f"{wrong} of {tried}", "studies/tracking.py: rule_errors"),
        _claim("2. Linked between services on one stream (X1)", recall, "tracking_lab/metrics.py: pairwise"),
        _claim("3. Renewals linked with and without the chain (X3)",
               f"with: {renewals['with the chain told']['value']}; without: {renewals['by equality alone']['value']}; "
               f"by timing and year of birth: {renewals['by timing, birth year']['value']}",
               "tracking_lab/threats.py: T5"),
        _claim("4. Smallest coalitions (X13)", coalitions, "tracking_lab/coalitions.py"),
        _claim("5. Ways from a service's handle to a code (X14)", "; ".join(paths) or "none",
               "tracking_lab/exposure.py"),
        _claim("6. The ruling of 2008, (iii) and (v): rows against them",
               "; ".join([*rulings["iii"], *rulings["v"]]) or "none", "kazashi network rulings"),
        _claim("7. Refund points of a day", f"{balance.granted:,} points granted, {balance.found:,} in the ledger, "
               f"{len(balance.waiting)} late, balance {'good' if balance.good else 'BROKEN'}",
               "kazashi points simulate"),
        _claim("8. First matching at 20 % failure (X18)",
               f"exact fails {match['exact match fails']:.3f}; matcher precision {match['matcher precision']:.3f}, "
               f"recall {match['matcher recall']:.3f}, {match['left to people']} left to people",
               "kazashi network match"),
    ]  # fmt: skip


def _shortest(ways: list[dict[str, Any]]) -> list[str]:
    """For each handle that somebody beside the state has: the shortest way to a code, and whom it crosses."""
    found = []
    for handle in dict.fromkeys(way["handle"] for way in ways):
        open_ = [way for way in ways if way["handle"] == handle and way["steps"]]
        if not open_:
            found.append(f"{handle}: no way")
            continue
        way = min(open_, key=lambda one: len(one["steps"]))
        crossed = " and ".join(dict.fromkeys(step.partition(":")[0] for step in way["steps"]))
        found.append(f"{handle} -> {way['target']}: {len(way['steps'])} over {crossed}")
    return found


def _claim(claim: str, words: str, how: str) -> dict[str, str]:
    return {"claim": claim, "words": words, "how": how}
