"""The first matching in `kazashi bench network`: records a second on one core, beside the goal, the matcher of an
earlier commit, and Splink."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.bench_worlds import Progress
from benchmarks.login_rate import BASELINE
from benchmarks.measure import Measure, at_least
from kazashi.provision_network.match_noise import PENSION_2006
from kazashi.provision_network.matching import Attributes, MatchRecord, match
from kazashi.studies.match_records import known_people, population, records_of
from kazashi.studies.splink_matching import splink_matched
from kazashi.tools.cli.checkout import checkout

GOAL = 10_000
"""Records to match a second on one core."""


def measure_matching(directory: Path, people: int, progress: Progress) -> Iterator[Measure]:
    """Measure the matching of as many records as there are people, with the preparation of the registry's attributes.
    All run on the same records, one after the other; Splink on all cores."""
    progress(f"records of {people:,} people")
    known = known_people(population("bench", people))
    made = records_of("bench", "a body", known, PENSION_2006)
    registry = {who: one.attributes for who, one in known.items()}
    count, name = len(made.records), f"first matching of {len(made.records):,} records with {people:,} people"
    progress(name)
    ours = count / _seconds(lambda: match(made.records, registry))
    yield at_least(name, "1/s", ours, GOAL, "the goal for a core", ours / GOAL, 1)
    if (before := _baseline(directory)) is not None:
        progress(f"the same records with the matcher of {BASELINE}")
        theirs = count / _seconds(_with(before, made.records, registry))
        yield at_least(name, "1/s", ours, theirs, f"the matcher of {BASELINE}", ours / theirs, 0.5)
    progress("the same records with Splink")
    theirs = count / _seconds(lambda: splink_matched(made.records, registry))
    yield at_least(name, "1/s", ours, theirs, "Splink, with its training", ours / theirs, 1)


def _seconds(action: Callable[[], object]) -> float:
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


def _baseline(directory: Path) -> ModuleType | None:
    """The matcher of the baseline, which needs nothing but Python; None if the checkout does not have that commit."""
    shown = subprocess.run(["git", "show", f"{BASELINE}:provision_network/matching.py"], cwd=checkout(),
                           capture_output=True, check=False)  # fmt: skip
    if shown.returncode:
        return None
    path = directory / "baseline_matching.py"
    path.write_bytes(shown.stdout)
    specification = importlib.util.spec_from_file_location(path.stem, path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[path.stem] = module  # its dataclasses look it up
    specification.loader.exec_module(module)
    return module


def _with(
    module: Any, records: Sequence[MatchRecord], people: Mapping[str, Attributes]
) -> Callable[[], object]:  # fmt: skip
    """The baseline's matching of the same records, converted to its own classes beforehand."""

    def converted(one: Attributes) -> Any:
        return module.Attributes(one.name, one.kana, one.birth, one.sex, one.address)

    class_of = next(getattr(module, name) for name in ("MatchRecord", "Record") if hasattr(module, name))
    theirs = [class_of(one.number, converted(one.attributes)) for one in records]
    registry = {who: converted(one) for who, one in people.items()}
    return lambda: module.match(theirs, registry)
