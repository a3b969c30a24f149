"""X18: the first matching of a body's records against the registry, with two matchers, and beside Splink."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kazashi.provision_network.match_noise import MODELS, PENSION_2006, KnownPerson, NoiseModel, NoisyRecords
from kazashi.provision_network.matching import Matched, MatchRecord
from kazashi.studies.match_quality import BlockingQuality, LinkQuality, blocking_quality, quality
from kazashi.studies.match_records import known_people, population, tried
from kazashi.tracking_lab.metrics import Share


@dataclass(frozen=True, slots=True)
class FirstMatching:
    """The first matching (X18): the people of the registry, the records, the rate of the noise, the share of records
    that exact matching leaves to people, the quality of exact matching, of the matcher and, if it ran, of Splink, and
    the blocking."""

    people: int
    records: int
    noise_rate: float
    exact: LinkQuality
    matcher: LinkQuality
    splink: LinkQuality | None
    blocking: BlockingQuality
    rules: Mapping[str, int]

    @property
    def exact_match_fails(self) -> Share:
        """The share of records that do not match letter by letter."""
        return self.exact.by_hand

    @property
    def left_to_people(self) -> int:
        """The number of records that the matcher leaves to people."""
        return self.matcher.by_hand.count

    def as_dict(self) -> dict[str, Any]:
        """Return the measures for JSON."""
        ways = {"exact": self.exact, "matcher": self.matcher, "splink": self.splink}
        fails, blocking = self.exact_match_fails, self.blocking
        return {
            "people": self.people, "records": self.records, "noise_rate": self.noise_rate,
            "exact_match_fails": {"value": fails.value, "low": fails.interval[0], "high": fails.interval[1]},
            "left_to_people": self.left_to_people,
            **{name: one.as_dict() for name, one in ways.items() if one is not None},
            "blocking": {
                "pairs_completeness": blocking.completeness.value, "reduction_ratio": blocking.reduction,
                "pairs_quality": blocking.quality.value,
            },
            "rules": dict(self.rules),
        }  # fmt: skip


def matched(seed: str, count: int, failing: float, work_list: Path | None = None) -> FirstMatching:
    """Match noisy records of `count` people as the registry would have them: the sample residents and made-up ones. The
    noise is set so that the share `failing` of the records does not match letter by letter. `work_list` is the CSV file
    for records that need manual review."""
    return examined(seed, known_people(population(seed, count)), PENSION_2006, failing, work_list=work_list)


def examined(
    seed: str, people: Mapping[str, KnownPerson], model: NoiseModel = MODELS["2006"], failing: float | None = None,
    *, work_list: Path | None = None, beside_splink: bool = False,
) -> FirstMatching:  # fmt: skip
    """Match noisy records of people in both ways, and by Splink if wanted. Returns the quality of each."""
    trial = tried(seed, people, model, failing)
    records, registry, found = trial.records, trial.registry, trial.found
    if work_list is not None:
        _write(work_list, records, found)
    rules: dict[str, int] = {}
    for rule in found.rules.values():
        rules[rule] = rules.get(rule, 0) + 1
    theirs = None
    if beside_splink:
        from kazashi.studies.splink_matching import splink_matched

        theirs = quality(splink_matched(records.records, registry), records.truth)
    return FirstMatching(
        len(registry), len(records.records), records.rate, quality(trial.exact, records.truth),
        quality(found, records.truth), theirs, blocking_quality(records.records, registry, records.truth), rules,
    )  # fmt: skip


def _write(path: Path, records: NoisyRecords, found: Matched) -> None:
    written: dict[str, MatchRecord] = {one.number: one for one in records.records}
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("record", "name", "kana", "birth", "sex", "address", "candidates"))
        for number, candidates in found.work_list.items():
            person = written[number].attributes
            writer.writerow((number, person.name, person.kana, person.birth, person.sex, person.address,
                             len(candidates)))  # fmt: skip
