"""The tracking report of the commands: a population, its examination, and claims about other parts of the system: the
rules, the ruling, the refund points and the first matching."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass, fields, replace
from datetime import date
from pathlib import Path

from kazashi.provision_network.law.provisions import INVESTIGATIONS, Party, Provision, decide_provision
from kazashi.provision_network.law.rules import RuleBook
from kazashi.provision_network.law.tables import Purpose, printed_table
from kazashi.provision_network.law.versions import ProvisionItem
from kazashi.studies.handle_exposure import exposed, matrix
from kazashi.studies.handle_sightings import sightings
from kazashi.studies.network_matching import matched
from kazashi.studies.network_rulings import held_against_stores
from kazashi.studies.points_balance import Balance
from kazashi.studies.points_day import simulate
from kazashi.studies.rule_oracle import published_table
from kazashi.studies.tracking_stores import RUNS, scene, unseen
from kazashi.tracking_lab.engine import DuckDb, Engine
from kazashi.tracking_lab.exposure import Exposure, ExposureMatrix, HandlePath
from kazashi.tracking_lab.facts import StoreFact
from kazashi.tracking_lab.laboratory import (
    CHUNK_MEMORY,
    Laboratory,
    PopulationUnusable,
    PopulationUnusableReason,
    steps,
)
from kazashi.tracking_lab.memory import DEFAULT, LEAST, MemoryLimit, MemoryUnusable, MemoryUnusableReason
from kazashi.tracking_lab.metrics import Share
from kazashi.tracking_lab.parts import Parts
from kazashi.tracking_lab.people import CHUNK
from kazashi.tracking_lab.plan import Plan
from kazashi.tracking_lab.queries import code
from kazashi.tracking_lab.results import Claim, Examination, Measurement, ThreatRun, TrackingReport, Unit
from kazashi.tracking_lab.study import checked, examine_population
from kazashi.tracking_lab.threats import over_stores
from kazashi.world.home import World, open_world
from kazashi.world.process_pool import process_pool
from kazashi.world.settings import Settings

RESIDENTS, YEARS = 1_000, 10
"""The size of the population that is generated if a world has none."""

_NAME = re.compile(r"\w[\w.-]{0,99}")
_DAY = date(2026, 11, 24)
_TEXT_DAY = date(2018, 4, 1)
"""A day on which the text of the tables applied."""

_MATTERS = 26
"""The number of the cabinet order's matters (slides of 2016)."""
_BESIDE = 200 * 1000**2
"""Resident bytes of the process that makes the small worlds, or that starts others (measured)."""


def laboratory_of(world: World, name: str = "population") -> Laboratory:
    """The laboratory of a world's population or logs, by name. Raises PopulationUnusable if the name is not letters,
    digits, `-`, `_` and `.`, or begins with a dot: an import replaces the folder of that name."""
    if not _NAME.fullmatch(name):
        raise PopulationUnusable(
            PopulationUnusableReason.BAD_NAME,
            f"{name!r} cannot be the name of a population or of logs; use letters, digits, -, _ and .",
        )
    return Laboratory(world.directory / "tracking" / name)


def populated(
    world: World, plan: Plan, name: str = "population", progress: Callable[[int], object] = lambda _: None,
    memory: MemoryLimit = DEFAULT,
) -> Laboratory:  # fmt: skip
    """Generate a world's population from a plan, or resume an interrupted run, on as many cores as the memory allows.
    Raises MemoryUnusable if it allows none, and PopulationUnusable and OSError, as `Laboratory.populate` does."""
    laboratory = laboratory_of(world, name)
    chunk = CHUNK_MEMORY * min(plan.residents, CHUNK) // CHUNK
    if memory.bytes < _BESIDE + chunk:
        raise MemoryUnusable(
            MemoryUnusableReason.TOO_SMALL,
            f"generating this population needs at least {(_BESIDE + chunk) // 1000**2}MB; write a larger --memory",
        )
    processes = min(os.cpu_count() or 1, (memory.bytes - _BESIDE) // max(1, chunk))
    laboratory.populate(plan, progress, processes if steps(plan) > 2 else 1)
    return laboratory


def report(
    laboratory: Laboratory, parts: Parts | None = None, memory: MemoryLimit = DEFAULT, engine: Engine | None = None
) -> TrackingReport:  # fmt: skip
    """Examine a population on an engine (DuckDB in this process by default), and add the exposure matrix and the
    claims. Raises PopulationUnusable."""
    parts = parts or Parts()
    parts.total += 1
    seed = checked(laboratory).seed
    with process_pool(1) as other:
        worlds = other.submit(_in_worlds, seed)
        left = MemoryLimit(memory.bytes - _BESIDE)
        if left.bytes < LEAST:
            worlds.result()
            left = memory
        examination = examine_population(laboratory, parts, engine or DuckDb(left, laboratory.spill()))
        stores = parts.run("stores", worlds.result, keep=lambda _: False)
    threats = sorted([*examination.threats, *stores.threats], key=_order)
    examination = replace(examination, threats=tuple(threats), queries={**examination.queries, **_queries()})
    exposure = matrix(stores.exposure)
    claims = tuple(_claims(examination, exposure, stores.rulings, stores.balance))
    return TrackingReport(examination, exposure, claims)


def _queries() -> dict[str, str]:
    return {
        "rules": code(rule_errors), "hidden-flows": code(unseen), "rulings": code(held_against_stores),
        "refund-points": code(simulate), "first-matching": code(matched),
    }  # fmt: skip


def _order(run: ThreatRun) -> tuple[str, int, str]:
    """T2 comes before T10, and X19 last."""
    number, _, other = run.id[1:].partition("-")
    return run.id[0], int(number), other


@dataclass(frozen=True, slots=True)
class _StoreResults:
    """What the actors' stores show in two worlds of their own, in which people use their cards."""

    exposure: Exposure
    threats: list[ThreatRun]
    rulings: dict[str, tuple[StoreFact, ...]]
    balance: Balance


def _in_worlds(seed: str) -> _StoreResults:
    """Make the two worlds and look at their stores. It takes as long as the population, and runs beside it."""
    with tempfile.TemporaryDirectory(prefix="kazashi-") as name:
        with scene(Path(name) / "scene") as (institutions, network):
            found = sightings(institutions.world, leaves=True)
            seen = exposed(institutions.world, found)
            threats = [*over_stores(seen, RUNS), _unseen(unseen(institutions, network))]
            findings = held_against_stores(institutions.world, network, found)
            rulings = {one.reason.value: one.against for one in findings}
        day = simulate(open_world(Path(name) / "day", settings=Settings(seed)), 5, 60, _DAY)
    return _StoreResults(seen, threats, rulings, day.balance)


def _unseen(share: Share) -> ThreatRun:
    """X19 (hidden flows) as a threat run: flows outside the network, such as investigators' requests, which the portal
    shows to nobody."""
    return ThreatRun("X19", (Measurement("hidden-flows", share, measure="X19"),), "hidden-flows")


def rule_errors() -> tuple[int, int]:
    """X17: the numbers of wrong decisions and of decisions tried, with all and altered tuples of a table that was made
    apart from the network's (`rule_oracle.py`), the items of article 19, denied purposes, and the cabinet order.

    The day is one on which the tables' text applied. Each tuple is tried with each element replaced by a value of its
    own and by that of another tuple. Altering more is a test, because it takes minutes.
    """
    rules, listed = RuleBook(printed_table()), published_table().tuples
    tuples = sorted(listed, key=astuple)
    wrong = tried = 0
    for place, purpose in enumerate(tuples):
        other = tuples[(place + len(tuples) // 2) % len(tuples)]
        altered = [replace(purpose, **{field.name: value}) for field in fields(Purpose)
                   for value in ("別の値", getattr(other, field.name))]  # fmt: skip
        for one in (purpose, *altered):
            tried += 1
            wrong += rules.decide(one, _TEXT_DAY, consent=True).allowed is not (one in listed)
    case = Provision(ProvisionItem.INVESTIGATION, Party.MUNICIPALITY, Party.INVESTIGATOR, INVESTIGATIONS[3], case="1",
                     reason="x", approved_by="x")  # fmt: skip
    refused = [Provision(item, Party.ANYBODY, Party.ANYBODY, "x") for item in ProvisionItem]
    refused += [replace(case, purpose=purpose) for purpose in ("自衛官募集", "特定秘密保護法の適性評価", "統計", "")]
    allowed = [case]
    for number in range(0, 28):
        (allowed if 1 <= number <= _MATTERS else refused).append(replace(case, purpose="照会", order=number))
    for expected, provisions in ((True, allowed), (False, refused)):
        tried += len(provisions)
        wrong += sum(decide_provision(one, _TEXT_DAY).allowed is not expected for one in provisions)
    return wrong, tried


def _claims(
    examination: Examination, exposure: ExposureMatrix, rulings: dict[str, tuple[StoreFact, ...]], balance: Balance
) -> Iterator[Claim]:  # fmt: skip
    published = published_table()
    rules = [Measurement("rows-compared", Share(published.rows, published.of_rows), measure="X17")]
    if 2 * published.rows >= published.of_rows:  # with less, it would not be shown
        rules.append(Measurement("wrong-decisions", Share(*rule_errors()), measure="X17"))
    yield Claim("rules", tuple(rules), "rules")
    chosen = ("raw-serial", "plain-hash", "keyed-pairwise", "sector-bpk", "restricted-chip-key")
    recalls = [Measurement(one, examination.comparison(one).linkage.recall, measure="X1") for one in chosen]
    yield Claim("linked-services", tuple(recalls), "pairwise")
    renewals = [one for one in examination.threat("T5").results
                if one.id in ("chain", "equality", "timing-and-attributes")]  # fmt: skip
    yield Claim("linked-renewals", tuple(renewals), "by-timing")
    coalitions = [Measurement(one.measure.id, one.coalitions, Unit.ACTORS, "X13") for one in examination.comparisons]
    yield Claim("coalitions", tuple(coalitions), "coalitions")
    paths = [Measurement(path.handle, path, Unit.STEPS, "X14") for path in _shortest(exposure)]
    yield Claim("paths", tuple(paths), "exposure-path")
    against = [Measurement(f"reason-{reason}", facts, Unit.FACTS) for reason, facts in rulings.items()]
    yield Claim("ruling-of-2008", tuple(against), "rulings")
    points = [
        Measurement("granted", balance.granted, Unit.POINTS), Measurement("found", balance.found, Unit.POINTS),
        Measurement("late", len(balance.waiting), Unit.RECORDS), Measurement("balanced", balance.good, Unit.TRUTH),
    ]  # fmt: skip
    yield Claim("refund-points", tuple(points), "refund-points")
    match = matched(examination.plan.seed, 2_000, 0.2)
    quality = [
        Measurement("exact-match-fails", match.exact_match_fails, measure="X18"),
        Measurement("matcher-precision", match.matcher.precision, measure="X18"),
        Measurement("matcher-recall", match.matcher.recall, measure="X18"),
        Measurement("left-to-people", match.left_to_people, Unit.RECORDS, "X18"),
    ]
    yield Claim("first-matching", tuple(quality), "first-matching")


def _shortest(exposure: ExposureMatrix) -> Iterator[HandlePath]:
    """For each handle that an actor other than an issuer holds: the shortest path to a code."""
    for handle in dict.fromkeys(path.handle for path in exposure.paths):
        paths = [path for path in exposure.paths if path.handle == handle]
        yield min(paths, key=lambda path: len(path.steps) or len(exposure.cells))
