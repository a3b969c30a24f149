"""The first matching (初期突合): find the person in the registry for each record of a body, by the four attributes
alone.

Two forms of a name or of an address that mean the same are made equal first (`normal_forms`). A record is then compared
with those people only who share its date of birth and sex, or its name and address (blocking). A table of rules, the
strongest first, says which agreement ties a record to a person. If not exactly one person fits by the strongest rule
that anybody fits by, a person at the body has to decide.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Container, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from kazashi.resident_registry.resident import Resident

VARIANTS = {"髙": "高", "﨑": "崎", "邊": "辺", "邉": "辺", "齋": "斎", "齊": "斉", "澤": "沢", "櫻": "桜", "廣": "広",
            "濱": "浜", "德": "徳", "龍": "竜", "瀨": "瀬", "祐": "祐", "眞": "真", "國": "国"}  # fmt: skip
"""Variant characters, and the usual ones that are written in their place."""


@dataclass(frozen=True, slots=True)
class Attributes:
    """The four attributes (基本4情報) of a person, and the reading of the name.

    `birth` has eight digits, 00 for an unknown month or day; `sex` is the digit on the card.
    """

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

    `pairs` has the person for each matched record, and `rules` the rule that tied them. `work_list` has the records
    that a person must decide about, each with the people that may be meant.
    """

    pairs: dict[str, str]
    rules: dict[str, str]
    work_list: dict[str, tuple[str, ...]]

    def without(self, numbers: Container[str]) -> Matched:
        """Return the result with these records on the work list, also those that are matched."""
        moved = {number: (person,) for number, person in self.pairs.items() if number in numbers}
        pairs = {number: person for number, person in self.pairs.items() if number not in moved}
        rules = {number: rule for number, rule in self.rules.items() if number not in moved}
        return Matched(pairs, rules, {**self.work_list, **moved})


@dataclass(frozen=True, slots=True)
class NormalForm:
    """Attributes in the form in which they are compared.

    `names` are the name and, if it has them, those with the former surname and the common name. `place` is the address
    without the prefecture and without what follows the house number, and `town` the municipality.
    """

    names: tuple[str, ...]
    kana: str
    birth: str
    sex: str
    place: str
    town: str


@dataclass(frozen=True, slots=True)
class Agreement:
    """In what a record and a person agree."""

    names: bool
    kana: bool
    alike: bool
    """The family names are equal, and the given names differ in one character at most; in characters or in kana."""
    given: bool
    """The ends of the names, as a rule the given names, are equal; in characters or in kana."""
    birth: bool
    birth_alike: bool
    sex: bool
    place: bool
    town: bool

    @property
    def called(self) -> bool:
        """Whether the name or its reading agrees."""
        return self.names or self.kana


RULES: Mapping[str, Callable[[Agreement], bool]] = {
    "same": lambda one: one.birth and one.sex and one.place and one.called,
    "moved": lambda one: one.birth and one.sex and one.names and one.kana,
    "moved-in-town": lambda one: one.birth and one.sex and one.town and one.called,
    "name-alike": lambda one: one.birth and one.sex and one.place and one.alike,
    "family-differs": lambda one: one.birth and one.sex and one.place and one.given,
    "birth-alike": lambda one: one.birth_alike and one.sex and one.place and one.called,
    "sex-differs": lambda one: one.birth and one.place and one.names and one.kana,
    "name-only": lambda one: one.birth and one.sex and one.called,
}
"""The rules by which a record is tied to a person, the strongest first, after `exact`: all attributes are equal as they
are written."""

EXACT = "exact"

ComparedAttributes = Callable[[Attributes], Hashable]
"""Returns what is compared of attributes, as they are written."""


def attributes_of(resident: Resident) -> Attributes:
    """Return a resident's attributes as J-LIS provides them. The name has the former surname in brackets (旧氏), and a
    foreign resident's common name (通称) in parentheses."""
    name = resident.name
    return Attributes(str(name), name.kana, str(resident.birth), resident.sex.value, resident.address)


def match_exactly(
    records: Iterable[MatchRecord], people: Mapping[str, Attributes],
    compared: ComparedAttributes = lambda attributes: attributes,
) -> Matched:  # fmt: skip
    """Match records of which what is `compared` is letter by letter equal to exactly one person's."""
    by_attributes: dict[Hashable, list[str]] = defaultdict(list)
    for identifier, person in people.items():
        by_attributes[compared(person)].append(identifier)
    pairs: dict[str, str] = {}
    work: dict[str, tuple[str, ...]] = {}
    for record in records:
        found = by_attributes.get(compared(record.attributes), [])
        if len(found) == 1:
            pairs[record.number] = found[0]
        else:
            work[record.number] = tuple(found)
    return Matched(pairs, dict.fromkeys(pairs, EXACT), work)


def match(
    records: Sequence[MatchRecord], people: Mapping[str, Attributes], taken: Iterable[str] = ()
) -> Matched:  # fmt: skip
    """Match records to people by RULES. A record whose person is tied to another one, by a stronger rule or as one of
    the `taken`, goes to the work list, and so do two records that fit one person by the same rule."""
    registry = _Registry(people)
    fits = [(record.number, *registry.fitting(record.attributes)) for record in records]
    claims: dict[str, list[int]] = defaultdict(list)
    for _, strength, found in fits:
        if len(found) == 1:
            claims[found[0]].append(strength)
    held = set(taken)
    pairs: dict[str, str] = {}
    rules: dict[str, str] = {}
    work: dict[str, tuple[str, ...]] = {}
    names = (EXACT, *RULES)
    for number, strength, found in fits:
        alone = len(found) == 1 and found[0] not in held
        if alone and min(claims[found[0]]) == strength and claims[found[0]].count(strength) == 1:
            pairs[number], rules[number] = found[0], names[strength]
        else:
            work[number] = tuple(found)
    return Matched(pairs, rules, work)


def blocks(form: NormalForm) -> Iterator[Hashable]:
    """Yield the keys of the blocking: date of birth and sex; name and address; reading and address."""
    yield form.birth, form.sex
    for name in form.names:
        yield name, form.place
    if form.kana:
        yield form.kana, form.place


def agreement(record: NormalForm, person: NormalForm) -> Agreement:
    """Compare a record with a person."""
    names = not set(record.names).isdisjoint(person.names)
    kana = bool(record.kana) and record.kana == person.kana
    birth = record.birth == person.birth
    return Agreement(
        names=names, kana=kana, alike=names or kana or _names_alike(record, person),
        given=names or kana or _given_equal(record, person), birth=birth,
        birth_alike=birth or births_alike(record.birth, person.birth), sex=record.sex == person.sex,
        place=record.place == person.place, town=record.town == person.town,
    )  # fmt: skip


class _Registry:
    """The people in normal form, by what is written and by block."""

    def __init__(self, people: Mapping[str, Attributes]) -> None:
        self._as_written: dict[Attributes, list[str]] = defaultdict(list)
        self._forms: dict[str, NormalForm] = {}
        self._blocks: dict[Hashable, list[str]] = defaultdict(list)
        for identifier, person in people.items():
            self._as_written[person].append(identifier)
            form = self._forms[identifier] = normal_form(person)
            for key in blocks(form):
                self._blocks[key].append(identifier)

    def fitting(self, attributes: Attributes) -> tuple[int, list[str]]:
        """Return the place of the strongest rule by which somebody fits, and everybody who does. Nobody fits by the
        last place."""
        if written := self._as_written.get(attributes):
            return 0, written
        form, strongest, found = normal_form(attributes), len(RULES) + 1, list[str]()
        for identifier in dict.fromkeys(one for key in blocks(form) for one in self._blocks.get(key, ())):
            strength = _strength(agreement(form, self._forms[identifier]))
            if strength < strongest:
                strongest, found = strength, [identifier]
            elif strength == strongest <= len(RULES):
                found.append(identifier)
        return strongest, found


def _strength(agreed: Agreement) -> int:
    return next((place for place, fits in enumerate(RULES.values(), 1) if fits(agreed)), len(RULES) + 1)


# Normal forms

_USUAL = str.maketrans({**VARIANTS, " ": None, "\u3000": None})
_SOUNDS = str.maketrans("ヅヂァィゥェォッャュョヮ", "ズジアイウエオツヤユヨワ", " \u3000・ー")
_KANJI_DIGITS = str.maketrans("一二三四五六七八九〇", "1234567890")
_BESIDE = re.compile(r"^(.*?)[\[［](.*)[\]］](.*)$")
_COMMON = re.compile(r"^(.*?)[(（](.*)[)）]$")
_PREFECTURE = re.compile(r"^(?:北海道|東京都|京都府|大阪府|..県|...県)")
_COUNTY = re.compile(r"^[^市区町村]+?郡(?=.+[町村])")
_TOWN = re.compile(r"^.[^市区町村]*[市区町村]+")
_CHOME = re.compile(r"([一二三四五六七八九〇]+)(?=丁目|番|号)")
_HOUSE = re.compile(r"^(\D*\d+(?:-\d+)*)")
_SEPARATORS = re.compile(r"丁目|番地ノ|番地|番ノ|番|号|[‐‑–—―−ー－]")
_ERAS = (44, 14, 63, 30)
"""The years between the first years of two successive eras, from Meiji to Reiwa."""


def normal_form(attributes: Attributes) -> NormalForm:
    """Return attributes without differences in width, variant characters, former notations and house names."""
    place = _place(attributes.address)
    town = _TOWN.match(place)
    return NormalForm(
        _names(attributes.name), _reading(attributes.kana), attributes.birth, attributes.sex, place,
        town.group() if town else place,
    )  # fmt: skip


@lru_cache(maxsize=1 << 15)
def _names(name: str) -> tuple[str, ...]:
    text = unicodedata.normalize("NFKC", name).upper()
    others: list[str] = []
    if common := _COMMON.match(text):
        text, other = common.groups()
        others.append(other)
    if former := _BESIDE.match(text):
        family, surname, given = former.groups()
        text = family + given
        others.append(surname + given)
    return tuple(dict.fromkeys(one.translate(_USUAL) for one in (text, *others)))


@lru_cache(maxsize=1 << 15)
def _reading(kana: str) -> str:
    return unicodedata.normalize("NFKC", kana).translate(_SOUNDS)


@lru_cache(maxsize=1 << 15)
def _place(address: str) -> str:
    text = unicodedata.normalize("NFKC", address).replace(" ", "").translate(_USUAL)
    text = text.replace("ヶ", "ケ").replace("ヵ", "ケ").replace("の", "ノ").replace("大字", "").replace("字", "")
    text = _CHOME.sub(lambda found: found.group().translate(_KANJI_DIGITS), _COUNTY.sub("", _PREFECTURE.sub("", text)))
    text = re.sub(r"-+", "-", _SEPARATORS.sub("-", text))
    house = _HOUSE.match(text)
    return (house.group() if house else text).rstrip("-")


def _names_alike(record: NormalForm, person: NormalForm) -> bool:
    """Whether one character of the name, or one sound of its reading, is different, missing or too many. The first two
    characters of a name, as a rule the family name, must be equal."""
    if any(one[:2] == other[:2] and within_one_edit(one, other) for one in record.names for other in person.names):
        return True
    kana, other = record.kana, person.kana
    return bool(kana and other) and kana[:2] == other[:2] and within_one_edit(kana, other)


def _given_equal(record: NormalForm, person: NormalForm) -> bool:
    """Whether the last two characters of a name, or the last three sounds of its reading, are equal."""
    ends = {name[-2:] for name in record.names if len(name) > 2}
    if not ends.isdisjoint({name[-2:] for name in person.names}):
        return True
    return len(record.kana) > 3 and record.kana[-3:] == person.kana[-3:]


def within_one_edit(one: str, other: str) -> bool:
    """Whether two texts differ in one character at most: another one, one more, or one less."""
    if abs(len(one) - len(other)) > 1:
        return False
    same = next(
        (place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )
    rest, others = one[same:], other[same:]
    return rest[1:] == others[1:] or rest == others[1:] or rest[1:] == others


def births_alike(one: str, other: str) -> bool:
    """Whether two dates of birth differ as mistakes do: in one digit, in exchanged month and day, in an unknown month
    or day, or by the years between two eras."""
    if sum(a != b for a, b in zip(one, other, strict=True)) <= 1 or one == other[:4] + other[6:] + other[4:6]:
        return True
    if one[:4] == other[:4] and "00" in (one[4:6], one[6:], other[4:6], other[6:]):
        return one[4:6] == other[4:6] or "00" in (one[4:6], other[4:6])
    return one[4:] == other[4:] and abs(int(one[:4]) - int(other[:4])) in _ERAS
