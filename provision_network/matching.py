"""The first matching (初期突合): which record of a body is which person of the registry, by the four attributes alone.

In 2006 some 31.8 million pension records were compared so, and a fifth did not match. Records are made here from the
registry's people with the noise that did it: addresses written otherwise, characters in another form, moves that nobody
told the body of, slips in birth dates. How often that happens is set so that a fifth fails to match exactly.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random

FAILED_IN_2006 = 0.20
"""What share did not match when pension records were compared with the registry's (press of 2006-11-01)."""

_VARIANTS = {"髙": "高", "﨑": "崎", "邊": "辺", "邉": "辺", "齋": "斎", "齊": "斉", "澤": "沢", "櫻": "桜", "廣": "広",
             "濱": "浜", "德": "徳", "龍": "竜", "瀨": "瀬", "祐": "祐", "眞": "真", "國": "国"}  # fmt: skip
_OTHER_FORM = {simple: variant for variant, simple in _VARIANTS.items()}
_WORDS = (("丁目", "-"), ("番地の", "-"), ("番地", "-"), ("番", "-"), ("号", ""))


@dataclass(frozen=True, slots=True)
class Attributes:
    """The four attributes (基本4情報), and the reading."""

    name: str
    kana: str
    birth: str
    sex: str
    address: str


@dataclass(frozen=True, slots=True)
class MatchRecord:
    """A record of a body: its own number, and what it has written down of a person."""

    number: str
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class Matched:
    """What a matcher has made of records: pairs of record and person, and the numbers of those that somebody must look
    at, with how many persons each could be."""

    pairs: dict[str, str]
    work_list: dict[str, int]


@dataclass(frozen=True, slots=True)
class Quality:
    """How good a matching is, against the truth."""

    precision: float
    recall: float
    by_hand: float

    @property
    def f1(self) -> float:
        """Both in one."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0


def noisy(true: Attributes, rate: float, chance: Random) -> Attributes:
    """What a body may have written down of a person; at `rate` 0 the same."""
    found = true
    kinds: Sequence[tuple[float, Callable[[Attributes, Random], Attributes]]] = (
        (1.0, _address_otherwise), (0.35, _other_characters), (0.25, _unmoved), (0.1, _slip), (0.1, _kana_slip),
    )  # fmt: skip
    for weight, change in kinds:
        if chance.random() < rate * weight:
            found = change(found, chance)
    return found


def calibrated(people: Sequence[Attributes], share: float, seed: Callable[[], Random]) -> float:
    """The rate at which noise makes that share of records differ from the registry; `seed` begins the same chance anew
    each time. To a thousandth."""
    low, high = 0.0, 1.0
    while high - low > 0.001:
        middle = (low + high) / 2
        chance = seed()
        failed = sum(noisy(person, middle, chance) != person for person in people) / max(1, len(people))
        low, high = (middle, high) if failed < share else (low, middle)
    return high


def match_exactly(records: Sequence[MatchRecord], people: dict[str, Attributes]) -> Matched:
    """Pairs whose four attributes are the same, letter for letter; the others are work."""
    return _match(records, people, lambda found: found)


def match(records: Sequence[MatchRecord], people: dict[str, Attributes]) -> Matched:
    """Pairs that are the same once writing is evened out, or agree in birth, sex and either the reading of the name or
    the address, with nobody else to confuse them with."""
    evened = _match(records, people, _evened)
    pairs, left = dict(evened.pairs), [record for record in records if record.number in evened.work_list]
    taken = set(pairs.values())
    by_birth = defaultdict(list)
    for identifier, person in people.items():
        by_birth[person.birth, person.sex].append((identifier, _evened(person)))
    work = {}
    for record in left:
        ours = _evened(record.attributes)
        near = [identifier for identifier, other in by_birth[ours.birth, ours.sex]
                if identifier not in taken and (other.kana == ours.kana or other.address == ours.address)]  # fmt: skip
        if len(near) == 1:
            pairs[record.number] = near[0]
            taken.add(near[0])
        else:
            work[record.number] = len(near)
    return Matched(pairs, work)


def quality(found: Matched, truth: dict[str, str]) -> Quality:
    """Precision and recall of the pairs, and the share that is left to people."""
    right = sum(truth.get(number) == identifier for number, identifier in found.pairs.items())
    return Quality(
        right / len(found.pairs) if found.pairs else 1.0, right / len(truth) if truth else 1.0,
        len(found.work_list) / len(truth) if truth else 0.0,
    )  # fmt: skip


def found_after(wrong: dict[str, str], truth: dict[str, str], use: Callable[[str], bool], most: int) -> list[int]:
    """After how many uses each wrong tie is noticed, at most `most`: `use` says whether a use shows that the person
    behind a number is another one (N2)."""
    found = []
    for number in wrong:
        if truth.get(number) == wrong[number]:
            continue
        count = next((tried for tried in range(1, most + 1) if use(number)), most)
        found.append(count)
    return found


def _match(
    records: Sequence[MatchRecord], people: dict[str, Attributes], evened: Callable[[Attributes], Attributes]
) -> Matched:  # fmt: skip
    by_attributes = defaultdict(list)
    for identifier, person in people.items():
        by_attributes[evened(person)].append(identifier)
    pairs, work = {}, {}
    for record in records:
        near = by_attributes.get(evened(record.attributes), [])
        if len(near) == 1:
            pairs[record.number] = near[0]
        else:
            work[record.number] = len(near)
    return Matched(pairs, work)


def _evened(found: Attributes) -> Attributes:
    """The same, however it is written: widths, variants of characters, ways to write a house number."""
    name = "".join(_VARIANTS.get(letter, letter) for letter in unicodedata.normalize("NFKC", found.name))
    address = unicodedata.normalize("NFKC", found.address).replace("ヶ", "ケ").replace("の", "ノ")
    for word, mark in _WORDS:
        address = address.replace(word.replace("の", "ノ"), mark)
    kana = unicodedata.normalize("NFKC", found.kana)
    return Attributes(
        name.replace(" ", ""), kana.replace(" ", ""), found.birth, found.sex, address.replace(" ", "").rstrip("-")
    )  # fmt: skip


def _address_otherwise(found: Attributes, chance: Random) -> Attributes:
    address = found.address
    if chance.random() < 0.5:
        address = unicodedata.normalize("NFKC", address)
    for word, mark in _WORDS:
        address = address.replace(word, mark)
    return replace(found, address=address.rstrip("-"))


def _other_characters(found: Attributes, _: Random) -> Attributes:
    name = "".join(_OTHER_FORM.get(letter, _VARIANTS.get(letter, letter)) for letter in found.name)
    return replace(found, name=name if name != found.name else found.name.replace("　", " "))


def _unmoved(found: Attributes, chance: Random) -> Attributes:
    return replace(found, address=f"架空県元の市{chance.randrange(1, 9)}丁目{chance.randrange(1, 30)}番")


def _slip(found: Attributes, chance: Random) -> Attributes:
    place = len(found.birth) - 1
    return replace(found, birth=found.birth[:place] + str((int(found.birth[place]) + chance.randrange(1, 9)) % 10))


def _kana_slip(found: Attributes, _: Random) -> Attributes:
    return replace(found, kana=found.kana.translate(str.maketrans("ヅヂジズガギ", "ズジヂヅカキ")))
