"""Made-up residents in any number: households with the registry's usual variety, for worlds that need many people.

Nobody here exists. Names are combined from lists, streets are of made-up quarters in real municipalities. The
frequencies are those of the sources named beside them; the others are invented, and say so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from functools import lru_cache
from itertools import accumulate
from random import Random
from typing import Any, TypeVar

from kazashi.resident_registry.made_up_names import FAMILIES, GIVEN, VARIANTS
from kazashi.resident_registry.municipality import municipalities, municipality
from kazashi.world.rng import stream

AGES = (*[1.0] * 15, *[1.1] * 10, *[1.2] * 15, *[1.6] * 15, *[1.35] * 20, *[0.8] * 10, *[0.35] * 10)
"""Relative numbers of people by year of age (人口推計 2023, by fifteen years)."""

PER_HOUSEHOLD = 2.2
"""People per household (国勢調査 2020)."""

TWINS = 0.02
"""The share of people who are twins: one delivery in a hundred (人口動態統計)."""

FOREIGN = 0.026
"""The share of foreign residents (在留外国人統計 2023)."""

_VARIANT, _MOVED, _FORMER_SURNAME, _FLAT, _READING = 0.5, 0.35, 0.01, 0.3, 0.97
"""Shares of families that write a character in a variant form, of households with a former address in the register, of
people with a former surname in it, of dwellings in a building with a name, and of people with a reading (invented)."""

_QUARTERS = (
    "架空町",
    "架空本町",
    "見本台",
    "見本ヶ丘",
    "模擬町",
    "模擬ノ内",
    "緑ケ見本",
    "大字架空",
    "字見本",
    "架空橋",
)
_BUILDINGS = ("架空ハイツ", "見本コーポ", "メゾン模擬", "模擬マンション")
_LETTERS = (
    "ＭＯＣＫ", "ＥＸＡＭＰＬＥ", "ＤＵＭＭＹ", "ＳＡＭＰＬＥ", "ＴＥＳＴ", "ＰＲＯＢＥ", "ＭＵＳＴＥＲ",
    "ＥＳＥＭＰＩＯ", "ＭＡＵ", "ＣＯＮＴＯＨ", "ＧＩＡ", "ＦＩＣＴＩＯＮ", "ＰＲＥＴＥＮＤ", "ＶＩＲＴＵＡＬ",
    "ＮＯＢＯＤＹ", "ＮＩＥＭＡＮＤ",
)  # fmt: skip
_COUNTRIES = ("CN", "VN", "KR", "PH", "BR", "NP", "ID", "US")

_WIDE = str.maketrans("0123456789", "０１２３４５６７８９")
_DAYS_A_YEAR = 365.2425
_Kind = TypeVar("_Kind")


def made_up_residents(
    seed: str, count: int, today: date, towns: Sequence[str] | None = None
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """Documents of `count` made-up residents as they are in a file to import, with aliases `made-up-1` and so on.

    `today` is the day from which ages are counted, and `towns` are the codes of the municipalities in which they live,
    the largest first (default: all). The same arguments give the same people, of which fewer are the first of more.
    """
    chance, number = stream(seed, "registry", "made-up residents"), 0
    while number < count:
        for document in _household(chance, today, number + 1, towns or _codes()):
            if number == count:
                return
            number += 1
            yield {**document, "alias": f"made-up-{number}"}


def _household(chance: Random, today: date, first: int, towns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the documents of a household's members, the first of whom has the number `first`."""
    (family, family_kana), place, street = _drawn(chance, FAMILIES), _drawn(chance, towns), _street(chance)
    if chance.random() < _VARIANT:
        family = "".join(VARIANTS.get(letter, letter) for letter in family)
    common = {"municipality": place, "street": street, "household": f"made-up-{first}"}
    moved: tuple[date, dict[str, Any]] = (today, {})
    if chance.random() < _MOVED:
        left, before = today - timedelta(days=chance.randrange(30, 3650)), _drawn(chance, _codes())
        town = municipality(before)
        address = f"{town.prefecture}{town.name}{_street(chance)}"
        moved = left, {"residences": [[before, address, left.isoformat()]], "since": left.isoformat()}
    foreign = chance.random() < FOREIGN
    while True:
        born = today - timedelta(days=round((_age(chance) + chance.random()) * _DAYS_A_YEAR))
        for _ in range(2 if chance.random() < TWINS / (2 - TWINS) else 1):
            yield {**common, **(moved[1] if born < moved[0] else {}),
                   "birth": born.isoformat(), "sex": chance.choice("12"),
                   **(_foreign_name(chance) if foreign else _japanese_name(chance, family, family_kana))}  # fmt: skip
        if chance.random() < 1 / PER_HOUSEHOLD:
            return


def _japanese_name(chance: Random, family: str, family_kana: str) -> dict[str, str]:
    given, given_kana = _drawn(chance, GIVEN)
    names = {"family": family, "given": given}
    if chance.random() < _READING:
        names["kana"] = f"{family_kana}　{given_kana}"
    if chance.random() < _FORMER_SURNAME:
        names["former_surname"], names["former_surname_kana"] = _drawn(chance, FAMILIES)
    return names


def _foreign_name(chance: Random) -> dict[str, str]:
    return {"family": chance.choice(_LETTERS), "given": "　".join(chance.sample(_LETTERS, chance.randrange(1, 3))),
            "nationality": chance.choice(_COUNTRIES), "residence_status": "permanent resident"}  # fmt: skip


def _street(chance: Random) -> str:
    quarter = chance.choice(_QUARTERS)
    if quarter.startswith(("大字", "字")):
        place = f"{quarter}{chance.randrange(100, 3000)}番地" + (f"の{chance.randrange(1, 20)}" * chance.randrange(2))
    else:
        place = f"{quarter}{chance.randrange(1, 9)}丁目{chance.randrange(1, 40)}番{chance.randrange(1, 30)}号"
    if chance.random() < _FLAT:
        place += f"　{chance.choice(_BUILDINGS)}{chance.randrange(1, 9)}0{chance.randrange(1, 9)}号室"
    return place.translate(_WIDE)


def _age(chance: Random) -> int:
    return chance.choices(range(len(AGES)), cum_weights=_AGES_UP_TO)[0]


def _drawn(chance: Random, kinds: Sequence[_Kind]) -> _Kind:
    """Draw by Zipf's law: the first kind is the most frequent."""
    return chance.choices(kinds, cum_weights=_zipf(len(kinds)))[0]


@lru_cache(maxsize=1)
def _codes() -> list[str]:
    """The codes of all municipalities. Which are the large ones is invented: every seventh comes first."""
    codes = list(municipalities())
    return [code for first in range(7) for code in codes[first::7]]


@lru_cache
def _zipf(kinds: int) -> list[float]:
    return list(accumulate(1 / place for place in range(1, kinds + 1)))


_AGES_UP_TO = list(accumulate(AGES))
