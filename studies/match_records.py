"""The records of a body for the first matching, made from the registry's own people with noise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import islice

from kazashi.provision_network.match_noise import (
    NOBODY,
    PENSION_2006,
    KnownPerson,
    NoiseModel,
    NoisyRecords,
    calibrated,
    noisy_records,
)
from kazashi.provision_network.matching import Attributes, Matched, attributes_of, match, match_exactly
from kazashi.resident_registry.made_up_residents import made_up_residents
from kazashi.resident_registry.resident import FULL_WIDTH_SPACE, Resident, from_document
from kazashi.resident_registry.sample_residents import SAMPLE_RESIDENTS
from kazashi.world.rng import stream

TODAY = date(2026, 11, 24)
"""The day from which the ages of people are counted who are in no world."""


def population(seed: str, count: int) -> list[Resident]:
    """The sample residents and made-up ones, `count` in all, as the registry would have them. They are in no world."""
    return topped_up(seed, list(SAMPLE_RESIDENTS.values())[:count], count)


def topped_up(seed: str, residents: Sequence[Resident], count: int) -> list[Resident]:
    """The first `count` residents, and made-up ones if there are fewer."""
    some = residents[:count]
    known = {one.alias for one in some}
    further = map(from_document, made_up_residents(seed, count + len(some), TODAY))
    return [*some, *islice((one for one in further if one.alias not in known), count - len(some))]


def known_people(residents: Iterable[Resident]) -> dict[str, KnownPerson]:
    """What bodies may know of residents, by alias or record code."""
    known = {}
    for one in residents:
        name = one.name
        former = FULL_WIDTH_SPACE.join((name.former_surname, name.given)) if name.former_surname and name.given else ""
        places = tuple(residence.address for residence in one.residences)
        known[one.alias or str(one.code)] = KnownPerson(attributes_of(one), places, former)
    return known


def records_of(
    seed: str, body: str, people: Mapping[str, KnownPerson], model: NoiseModel, share: float = 1.0,
    failing: float | None = None,
) -> NoisyRecords:  # fmt: skip
    """Return a body's records of a share of people, and of some whom the registry does not have. The noise is set so
    that the model's share of records, or `failing`, does not match exactly. The same seed and body give the same."""
    if failing is not None:
        model = replace(model, failing=failing)
    chance = stream(seed, "matching", body, "people")
    chosen = {who: one for who, one in people.items() if chance.random() < share}
    made_up = made_up_residents(f"{seed} strangers", round(len(chosen) * NOBODY / (1 - NOBODY)), TODAY)
    strangers = list(known_people(map(from_document, made_up)).values())

    def made(rate: float) -> NoisyRecords:
        return noisy_records(chosen, strangers, model, rate, stream(seed, "matching", body, "noise"))

    return calibrated(made, people, model)


@dataclass(frozen=True, slots=True)
class MatchTrial:
    """A trial of the first matching: the registry's attributes by person, the noisy records, and what exact comparison
    and the matcher make of them."""

    registry: Mapping[str, Attributes]
    records: NoisyRecords
    exact: Matched
    found: Matched


def tried(
    seed: str, people: Mapping[str, KnownPerson], model: NoiseModel = PENSION_2006, failing: float | None = None
) -> MatchTrial:  # fmt: skip
    """Match noisy records of all these people in both ways. The same seed gives the same trial."""
    records = records_of(seed, "first matching", people, model, failing=failing)
    registry = {who: one.attributes for who, one in people.items()}
    exact = match_exactly(records.records, registry, model.compared)
    return MatchTrial(registry, records, exact, match(records.records, registry))
