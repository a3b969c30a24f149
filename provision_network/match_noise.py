"""Records of a body as it may have written them: the registry's people with the mistakes of the body's own files.

Sources give how many records failed to match, and not why. So the kinds of mistakes have relative frequencies that are
invented, and one factor, the rate, is set so that as many records fail as in the source (`calibrated`).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import log1p
from random import Random

from kazashi.provision_network.matching import VARIANTS, Attributes, MatchRecord
from kazashi.resident_registry.birth_date import BirthDate
from kazashi.resident_registry.made_up_names import FAMILIES, GIVEN

FAILED_IN_2006 = 0.20
"""The share of some 31.8 million pension records that did not match the registry's (press of 2006-11-01)."""

FAILED_IN_1999 = 0.35
"""The share that did not match when pension and residents' files were compared for the nursing insurance in 1999: only
"60-odd %" matched, taken as 65 % (reference/systems.md, section 2.2)."""

WRONG_IN_2023 = 8_351 / 82_080_000
"""The share of wrong ties among those that were checked in 2023; in the categories of records between 0.002 and
0.380 %."""

NOBODY, TWICE = 0.01, 0.005
"""The shares of records that are of nobody in the registry, such as people who have died or left the country, and of
people of whom the body has two records (invented)."""

NAMESAKES = WRONG_IN_2023 / NOBODY
"""The share of those records of nobody that have the name, date of birth and sex of somebody in the registry. It is set
so that a matcher that errs at each of them makes as many wrong ties as were found in 2023."""


_STEPS, _NEAR = 8, 0.001
"""The number of tries of a calibration, and how near to the model's share is near enough."""


@dataclass(frozen=True, slots=True)
class KnownPerson:
    """A person of the registry: the attributes now, and what the body may know in their place: former addresses, and
    the name before it was changed (`former_name`, empty if there is none)."""

    attributes: Attributes
    former_addresses: tuple[str, ...] = ()
    former_name: str = ""


@dataclass(frozen=True, slots=True)
class NoiseModel:
    """How a body's records differ from the registry.

    `kinds` has the relative frequency of each kind of mistake, by its name in MISTAKES. `failing` is the share of
    records of which what is `compared` is not letter by letter as in the registry.
    """

    name: str
    kinds: Mapping[str, float]
    failing: float
    compared: Callable[[Attributes], Hashable]


@dataclass(frozen=True, slots=True)
class NoisyRecords:
    """A body's records, and whom each is of: an identifier of a person, or None for nobody in the registry. `rate` is
    the factor of the noise."""

    records: list[MatchRecord]
    truth: dict[str, str | None]
    rate: float


def four_attributes(one: Attributes) -> Hashable:
    """What was compared in 2006: name, date of birth, sex and address."""
    return one.name, one.birth, one.sex, one.address


def reading_and_town(one: Attributes) -> Hashable:
    """What was compared in 1999: the reading of the name, date of birth, sex and municipality."""
    town = next((end for end, letter in enumerate(one.address, 1) if end > 4 and letter in "市区町村"), 0)
    return one.kana, one.birth, one.sex, one.address[:town]


# The kinds of mistakes. Each returns the attributes unchanged if there is nothing to mistake.


def _address_notation(one: KnownPerson, now: Attributes, chance: Random) -> Attributes:
    address = now.address
    if chance.random() < 0.5:
        address = unicodedata.normalize("NFKC", address)
    for written, short in (("丁目", "－"), ("番地の", "－"), ("番地", ""), ("番", "－"), ("号", "")):
        address = address.replace(written, short)
    if chance.random() < 0.3:
        address = address[address.find("県") + 1 :] if "県" in address[:4] else address
    return replace(now, address=address.rstrip("－"))


def _no_building(one: KnownPerson, now: Attributes, chance: Random) -> Attributes:
    return replace(now, address=now.address.partition("\u3000")[0])


def _variant_characters(one: KnownPerson, now: Attributes, chance: Random) -> Attributes:
    return replace(now, name="".join(VARIANTS.get(letter) or _OTHER_FORM.get(letter, letter) for letter in now.name))


def _missing_character(one: KnownPerson, now: Attributes, chance: Random) -> Attributes:
    """A character that the body's system does not have was entered as 〓, as systems without it do."""
    rare = [letter for letter in now.name if letter in VARIANTS or ord(letter) > 0xFFFF]
    return replace(now, name=now.name.replace(rare[0], "〓")) if rare else now


def _kana_mistake(one: KnownPerson, now: Attributes, chance: Random) -> Attributes:
    """A voiced sound is mistaken for the unvoiced one, or a sound is left out."""
    if len(now.kana) < 4:
        return now
    place = chance.randrange(1, len(now.kana))
    return replace(now, kana=now.kana.translate(_HEARD) if chance.random() < 0.7
                   else now.kana[:place] + now.kana[place + 1 :])  # fmt: skip


def _other_reading(one: KnownPerson, now: Attributes, chance: Random) -> Attributes:
    """The characters of the given name were read otherwise: no register had readings by law before 2025."""
    family, blank, _ = now.kana.partition("\u3000")
    return replace(now, kana=f"{family}{blank}{chance.choice(GIVEN)[1]}") if blank else now


def _other_character(one: KnownPerson, now: Attributes, chance: Random) -> Attributes:
    """One character of the given name is another one, which is read or written alike."""
    if "\u3000" not in now.name:
        return now
    return replace(now, name=now.name[:-1] + chance.choice(GIVEN)[0][-1])


def _former_name(one: KnownPerson, now: Attributes, chance: Random) -> Attributes:
    """The body was not told of a marriage: it has another family name. If the register does not say which, a made-up
    one."""
    if one.former_name:
        return replace(now, name=one.former_name)
    _, blank, given = now.name.partition("\u3000")
    _, _, given_kana = now.kana.partition("\u3000")
    if not blank or not given_kana:
        return now
    family, family_kana = chance.choice(FAMILIES[:200])
    return replace(now, name=f"{family}\u3000{given}", kana=f"{family_kana}\u3000{given_kana}")


def _old_address(one: KnownPerson, now: Attributes, chance: Random) -> Attributes:
    return replace(now, address=chance.choice(one.former_addresses)) if one.former_addresses else now


def _birth_mistake(one: KnownPerson, now: Attributes, chance: Random) -> Attributes:
    """The last digit is another one, month and day are exchanged, or the day is not known. It stays a date: bodies'
    systems check that."""
    year, month, day = now.birth[:4], now.birth[4:6], now.birth[6:]
    kind = chance.random()
    if kind < 0.3 and is_birth_date(year + day + month):
        return replace(now, birth=year + day + month)
    if kind < 0.4:
        return replace(now, birth=f"{year}{month}00")
    others = [other for digit in "0123456789" if is_birth_date(other := now.birth[:-1] + digit) and other != now.birth]
    return replace(now, birth=chance.choice(others)) if others else now


def is_birth_date(text: str) -> bool:
    """Whether a text can be a date of birth in a register."""
    try:
        BirthDate.parse(text)
    except ValueError:
        return False
    return True


def _sex_mistake(one: KnownPerson, now: Attributes, chance: Random) -> Attributes:
    return replace(now, sex={"1": "2", "2": "1"}.get(now.sex, now.sex))


_OTHER_FORM = {usual: variant for variant, usual in VARIANTS.items()}
_HEARD = str.maketrans("ヅヂジズガギ", "ズジヂヅカキ")

MISTAKES: Mapping[str, Callable[[KnownPerson, Attributes, Random], Attributes]] = {
    "address-notation": _address_notation, "no-building": _no_building, "variant-characters": _variant_characters,
    "missing-character": _missing_character, "kana": _kana_mistake, "other-reading": _other_reading,
    "other-character": _other_character, "former-name": _former_name, "old-address": _old_address,
    "birth": _birth_mistake, "sex": _sex_mistake,
}  # fmt: skip
"""The kinds of mistakes. Several may happen to one record, in this order."""

PENSION_2006 = NoiseModel("2006", {
    "address-notation": 0.5, "no-building": 0.5, "variant-characters": 0.5, "missing-character": 0.2, "kana": 0.3,
    "other-reading": 0.1, "other-character": 0.1, "former-name": 0.15, "old-address": 1.0, "birth": 0.2, "sex": 0.02,
}, FAILED_IN_2006, four_attributes)  # fmt: skip
NURSING_1999 = NoiseModel("1999", {
    "address-notation": 0.5, "no-building": 0.5, "variant-characters": 0.5, "kana": 0.6, "other-reading": 1.0,
    "former-name": 0.3, "old-address": 1.0, "birth": 0.3, "sex": 0.02,
}, FAILED_IN_1999, reading_and_town)  # fmt: skip
MODELS: Mapping[str, NoiseModel] = {one.name: one for one in (PENSION_2006, NURSING_1999)}
"""The noise models by the year of their source. The frequencies of the kinds are invented."""


def namesake(person: KnownPerson, stranger: KnownPerson) -> KnownPerson:
    """Return a stranger with the name, date of birth and sex of a person (同姓同名・同生年月日)."""
    return KnownPerson(replace(person.attributes, address=stranger.attributes.address))


def noisy(person: KnownPerson, model: NoiseModel, rate: float, chance: Random) -> Attributes:
    """Return a person's attributes as a body may have written them. At `rate` 0 they are unchanged."""
    attributes = person.attributes
    for kind, frequency in model.kinds.items():
        if chance.random() < rate * frequency:
            attributes = MISTAKES[kind](person, attributes, chance)
    return attributes


def calibrated(
    make: Callable[[float], NoisyRecords], people: Mapping[str, KnownPerson], model: NoiseModel
) -> NoisyRecords:
    """Return a body's records with the rate at which the model's share of them fails, as nearly as _STEPS tries come.
    `make` makes them at a rate.

    The share that does not fail falls about exponentially with the rate, so that each try is closer.
    """
    rate, most, best, least = 0.1, 1 / min(model.kinds.values()), make(0.0), 1.0
    if model.failing <= NOBODY:
        return best
    for _ in range(_STEPS):
        made = make(rate)
        failed = sum(person is None or model.compared(record.attributes) != model.compared(people[person].attributes)
                     for record, person in zip(made.records, made.truth.values(), strict=True))  # fmt: skip
        share = failed / max(1, len(made.records))
        if abs(share - model.failing) < least:
            best, least = made, abs(share - model.failing)
        if least < _NEAR or not 0 < share < 1:
            break
        rate = min(most, rate * log1p(-model.failing) / log1p(-share))
    return best


def noisy_records(
    people: Mapping[str, KnownPerson], strangers: Sequence[KnownPerson], model: NoiseModel, rate: float, chance: Random
) -> NoisyRecords:  # fmt: skip
    """Return a body's records of all these people, in random order under random numbers of nine digits: some people
    have two, and some records are of `strangers`, whom the registry does not have, or of their namesakes."""
    everybody = list(people.values())
    of: list[tuple[str | None, KnownPerson]] = []
    for identifier, person in people.items():
        of += [(identifier, person)] * (2 if chance.random() < TWICE else 1)
    for person in strangers:
        if everybody and chance.random() < NAMESAKES:
            person = namesake(chance.choice(everybody), person)
        of.append((None, person))
    chance.shuffle(of)
    numbers = [f"{number:09d}" for number in chance.sample(range(10**9), len(of))]
    records = [MatchRecord(number, noisy(person, model, rate, chance))
               for number, (_, person) in zip(numbers, of, strict=True)]  # fmt: skip
    truth = {number: identifier for number, (identifier, _) in zip(numbers, of, strict=True)}
    return NoisyRecords(records, truth, rate)
