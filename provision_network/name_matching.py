"""Name matching (名寄せ): find the person on a body's own roll for a record from elsewhere, by the individual number
where the record has one, and by name, birth, sex and address where it has none.

A number is believed only if the birth or the name agrees too, because people write a family member's number on a form.
Without a number, a person is found if exactly one agrees in name, birth, sex and address, or else in birth, sex and the
name or its reading, or else in name, reading and address. Whatever is not found goes to a work list.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from kazashi.provision_network.matching import Attributes

_VARIANTS = str.maketrans("髙﨑邊邉齋齊澤櫻廣濱德瀨眞國靜惠", "高崎辺辺斎斉沢桜広浜徳瀬真国静恵")
"""Variant characters of names, each with the usual one."""

_KANA = str.maketrans("ヅヂズジガギ", "ズジズジカキ")
"""Kana that are mistaken for each other, made equal."""

_HOUSE_NUMBERS = re.compile(r"丁目|番地の|番地ノ|番地|番|号|(?<=\d)[ノの−‐―ー](?=\d)")
_DASHES = re.compile(r"-+")
_SPACES = str.maketrans("", "", " \u3000")


class Found(Enum):
    """How a person was found, or why not."""

    NUMBER = "number"
    ATTRIBUTES = "attributes"
    OTHER_PERSON = "number of another person"
    """The record has the number of a person whose birth and name are others."""
    UNKNOWN_NUMBER = "unknown number"
    """Nobody on the roll has the number."""
    SEVERAL = "several people"
    """Several people agree equally well."""
    NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class NameMatch:
    """The result for a record: the person on the roll, or None for the work list, and how many candidates there
    were."""

    person: str | None
    how: Found
    candidates: int


class Roll:
    """The people on a body's roll, indexed for matching. It does not change."""

    def __init__(self, people: Mapping[str, Attributes], numbers: Mapping[str, str]) -> None:
        """`people` has each person's attributes by the body's own number, and `numbers` those own numbers by individual
        number."""
        self._numbers = dict(numbers)
        self._people = {person: normalised(attributes) for person, attributes in people.items()}
        self._by: tuple[dict[tuple[str, ...], list[str]], ...] = tuple(defaultdict(list) for _ in range(4))
        for person, known in self._people.items():
            for index, key in zip(self._by, _keys(known), strict=True):
                index[key].append(person)

    def match(self, number: str, attributes: Attributes) -> NameMatch:
        """Return the person for a record. `number` is empty if the record has none."""
        return self.by_number(number, attributes) if number else self.by_attributes(attributes)

    def by_number(self, number: str, attributes: Attributes) -> NameMatch:
        """Return the person who has the number, if birth or name agrees."""
        person = self._numbers.get(number)
        known = None if person is None else self._people.get(person)
        if known is None:
            return NameMatch(None, Found.UNKNOWN_NUMBER, 0)
        ours = normalised(attributes)
        if ours.birth == known.birth or ours.name == known.name or ours.kana == known.kana:
            return NameMatch(person, Found.NUMBER, 1)
        return NameMatch(None, Found.OTHER_PERSON, 1)

    def by_attributes(self, attributes: Attributes) -> NameMatch:
        """Return the person by the four attributes and the reading of the name alone."""
        whole, name, reading, place = _keys(normalised(attributes))
        everything, by_name, by_reading, by_place = self._by
        candidates = everything.get(whole, [])
        if not candidates:
            candidates = [*dict.fromkeys([*by_name.get(name, []), *by_reading.get(reading, [])])]
        if not candidates:
            candidates = by_place.get(place, [])
        if len(candidates) == 1:
            return NameMatch(candidates[0], Found.ATTRIBUTES, 1)
        return NameMatch(None, Found.SEVERAL if candidates else Found.NOBODY, len(candidates))


def normalised(attributes: Attributes) -> Attributes:
    """Return attributes without differences in width, variant characters, spaces and the notation of house numbers."""
    address = _plain(attributes.address).replace("ヶ", "ケ")
    address = _DASHES.sub("-", _HOUSE_NUMBERS.sub("-", address)).rstrip("-")
    name, kana = _plain(attributes.name).translate(_VARIANTS), _plain(attributes.kana).translate(_KANA)
    return Attributes(name, kana, attributes.birth, attributes.sex, address)


def right(pairs: Iterable[tuple[str | None, str | None]]) -> tuple[int, int, int]:
    """Return how many records were matched rightly, how many were matched, and how many could be.

    Each pair is the person who was found and the true one, None if the person is not on the roll. Precision is the
    first number over the second, and recall the first over the third.
    """
    listed = list(pairs)
    good = sum(found is not None and found == true for found, true in listed)
    return good, sum(found is not None for found, _ in listed), sum(true is not None for _, true in listed)


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).translate(_SPACES)


def _keys(known: Attributes) -> tuple[tuple[str, ...], ...]:
    return (
        (known.name, known.birth, known.sex, known.address), (known.name, known.birth, known.sex),
        (known.kana, known.birth, known.sex), (known.name, known.kana, known.address),
    )  # fmt: skip
