"""The first matching (初期突合): find the person in the registry for each record of a body, by the four attributes
alone.

In 2006, 31.8 million pension records were compared in this way, and a fifth did not match. The records here are made
from the registry's people with the noise that caused it: addresses in another notation, variant characters, moves
that the body was not told about, and mistakes in birth dates. The rate of the noise is set so that a fifth fails to
match exactly.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random

FAILED_IN_2006 = 0.20
"""The share of pension records that did not match the registry's (press of 2006-11-01)."""

_VARIANTS = {"髙": "高", "﨑": "崎", "邊": "辺", "邉": "辺", "齋": "斎", "齊": "斉", "澤": "沢", "櫻": "桜", "廣": "広",
             "濱": "浜", "德": "徳", "龍": "竜", "瀨": "瀬", "祐": "祐", "眞": "真", "國": "国"}  # fmt: skip
_OTHER_FORM = {simple: variant for variant, simple in _VARIANTS.items()}
_WORDS = (("丁目", "-"), ("番地の", "-"), ("番地", "-"), ("番", "-"), ("号", ""))


@dataclass(frozen=True, slots=True)
class Attributes:
    """The four attributes (基本4情報) of a person, and the reading of the name."""

    name: str
    kana: str
    birth: str
    sex: str
    address: str


@dataclass(frozen=True, slots=True)
class MatchRecord:
    """A record of a body: its number, and the attributes of a person as the body has written them."""

    number: str
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class Matched:
    """The result of a matching.

    `pairs` has the person for each matched record. `work_list` has the records that somebody must check, with the
    number of candidates for each.
    """

    pairs: dict[str, str]
    work_list: dict[str, int]


@dataclass(frozen=True, slots=True)
class Quality:
    """The quality of a matching against the ground truth. `by_hand` is the share of records left for manual checks."""

    precision: float
    recall: float
    by_hand: float

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0


def noisy(true: Attributes, rate: float, chance: Random) -> Attributes:
    """Return a person's attributes as a body may have written them. At `rate` 0 they are unchanged."""
    attributes = true
    kinds: Sequence[tuple[float, Callable[[Attributes, Random], Attributes]]] = (
        (1.0, _address_notation), (0.35, _variant_characters), (0.25, _old_address), (0.1, _birth_mistake),
        (0.1, _kana_mistake),
    )  # fmt: skip
    for weight, change in kinds:
        if chance.random() < rate * weight:
            attributes = change(attributes, chance)
    return attributes


def calibrated(people: Sequence[Attributes], share: float, seed: Callable[[], Random]) -> float:
    """Return the rate, to a thousandth, at which noise makes `share` of the records differ from the registry. `seed`
    returns a random generator with the same state each time."""
    low, high = 0.0, 1.0
    while high - low > 0.001:
        middle = (low + high) / 2
        chance = seed()
        failed = sum(noisy(person, middle, chance) != person for person in people) / max(1, len(people))
        low, high = (middle, high) if failed < share else (low, middle)
    return high


def match_exactly(records: Sequence[MatchRecord], people: dict[str, Attributes]) -> Matched:
    """Match records whose attributes are exactly equal to one person's."""
    return _match(records, people, lambda attributes: attributes)


def match(records: Sequence[MatchRecord], people: dict[str, Attributes]) -> Matched:
    """Match records that are equal after normalisation, or that agree in birth, sex and either the reading of the name
    or the address with exactly one person."""
    normalised = _match(records, people, _normalised)
    pairs, left = dict(normalised.pairs), [record for record in records if record.number in normalised.work_list]
    taken = set(pairs.values())
    by_birth = defaultdict(list)
    for identifier, person in people.items():
        by_birth[person.birth, person.sex].append((identifier, _normalised(person)))
    work = {}
    for record in left:
        ours = _normalised(record.attributes)
        candidates = [identifier for identifier, other in by_birth[ours.birth, ours.sex]
                      if identifier not in taken
                      and (other.kana == ours.kana or other.address == ours.address)]  # fmt: skip
        if len(candidates) == 1:
            pairs[record.number] = candidates[0]
            taken.add(candidates[0])
        else:
            work[record.number] = len(candidates)
    return Matched(pairs, work)


def quality(matched: Matched, truth: dict[str, str]) -> Quality:
    """Return the precision and recall of the pairs, and the share of records left for manual checks."""
    right = sum(truth.get(number) == identifier for number, identifier in matched.pairs.items())
    return Quality(
        right / len(matched.pairs) if matched.pairs else 1.0, right / len(truth) if truth else 1.0,
        len(matched.work_list) / len(truth) if truth else 0.0,
    )  # fmt: skip


def found_after(wrong: dict[str, str], truth: dict[str, str], use: Callable[[str], bool], most: int) -> list[int]:
    """Return the number of uses after which each wrong pair is noticed, at most `most`. `use` returns whether a use of
    the record reveals that it belongs to another person."""
    counts = []
    for number in wrong:
        if truth.get(number) == wrong[number]:
            continue
        counts.append(next((tried for tried in range(1, most + 1) if use(number)), most))
    return counts


def _match(
    records: Sequence[MatchRecord], people: dict[str, Attributes], normalise: Callable[[Attributes], Attributes]
) -> Matched:  # fmt: skip
    by_attributes = defaultdict(list)
    for identifier, person in people.items():
        by_attributes[normalise(person)].append(identifier)
    pairs, work = {}, {}
    for record in records:
        candidates = by_attributes.get(normalise(record.attributes), [])
        if len(candidates) == 1:
            pairs[record.number] = candidates[0]
        else:
            work[record.number] = len(candidates)
    return Matched(pairs, work)


def _normalised(attributes: Attributes) -> Attributes:
    """Return attributes without differences in width, variant characters and the notation of house numbers."""
    name = "".join(_VARIANTS.get(letter, letter) for letter in unicodedata.normalize("NFKC", attributes.name))
    address = unicodedata.normalize("NFKC", attributes.address).replace("ヶ", "ケ").replace("の", "ノ")
    for word, mark in _WORDS:
        address = address.replace(word.replace("の", "ノ"), mark)
    kana = unicodedata.normalize("NFKC", attributes.kana)
    return Attributes(
        name.replace(" ", ""), kana.replace(" ", ""), attributes.birth, attributes.sex,
        address.replace(" ", "").rstrip("-"),
    )  # fmt: skip


def _address_notation(attributes: Attributes, chance: Random) -> Attributes:
    address = attributes.address
    if chance.random() < 0.5:
        address = unicodedata.normalize("NFKC", address)
    for word, mark in _WORDS:
        address = address.replace(word, mark)
    return replace(attributes, address=address.rstrip("-"))


def _variant_characters(attributes: Attributes, _: Random) -> Attributes:
    name = "".join(_OTHER_FORM.get(letter, _VARIANTS.get(letter, letter)) for letter in attributes.name)
    return replace(attributes, name=name if name != attributes.name else attributes.name.replace("　", " "))


def _old_address(attributes: Attributes, chance: Random) -> Attributes:
    return replace(attributes, address=f"架空県元の市{chance.randrange(1, 9)}丁目{chance.randrange(1, 30)}番")


def _birth_mistake(attributes: Attributes, chance: Random) -> Attributes:
    birth, last = attributes.birth[:-1], int(attributes.birth[-1])
    return replace(attributes, birth=birth + str((last + chance.randrange(1, 9)) % 10))


def _kana_mistake(attributes: Attributes, _: Random) -> Attributes:
    return replace(attributes, kana=attributes.kana.translate(str.maketrans("ヅヂジズガギ", "ズジヂヅカキ")))
