"""Romaji of all municipalities, compared with the geographic names of the Public Suffix List, which is not ours.

Until 2012 every municipality could have a name under its prefecture's, such as toyooka.hyogo.jp, and the list has those
of that time.
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from difflib import get_close_matches
from pathlib import Path

import publicsuffixlist
import pytest

from kazashi.resident_registry import romaji
from kazashi.resident_registry.municipality import Municipality, municipalities, municipality

pytestmark = pytest.mark.unit

CITIES = ("kawasaki", "kitakyushu", "kobe", "nagoya", "sapporo", "sendai", "yokohama")
"""The cities that are directly under .jp in the list, with everything below them."""

DECIDED = {
    # ん is n before every letter, as in the Gazetteer of Japan.
    "01219": "mombetsu", "01465": "kembuchi", "01486": "embetsu", "01513": "nakatombetsu", "05215": "semboku",
    "22215": "gotemba", "26407": "kyotamba", "28223": "tamba",
    # Long vowels are short, as in the Gazetteer of Japan.
    "01454": "tohma", "01563": "oumu", "05349": "happou", "06365": "ohkura", "09210": "ohtawara", "11217": "kounosu",
    "12349": "tohnosho", "13364": "kouzushima", "18483": "ohi", "20417": "ooshika", "20430": "ookuwa",
    "25384": "ryuoh", "32205": "ohda", "41424": "kouhoku",
    # The two cities' own spellings of Mooka and Minoo.
    "09209": "moka", "27220": "minoh",
    # Other places: a town before it merged, neighbours, and a village that Koge is now.
    "09215": "karasuyama", "21503": "kawaue", "35305": "oshima", "40642": "shinyoshitomi",
}  # fmt: skip
"""By code, the name in the list that is most like that of a municipality that is not in it."""


def names_in_list() -> dict[str, set[str]]:
    """The names under each prefecture's name (`hyogo`), and the cities under `jp` itself."""
    listed = Path(publicsuffixlist.__file__).with_name("public_suffix_list.dat").read_text(encoding="utf-8")
    names: dict[str, set[str]] = defaultdict(set)
    for name, prefecture in re.findall(r"^([a-z-]+)\.([a-z]+)\.jp$", listed, re.MULTILINE):
        names[prefecture].add(name)
    names["jp"] = set(re.findall(r"^\*\.([a-z]+)\.jp$", listed, re.MULTILINE))
    return names


def own_name(place: Municipality) -> str:
    """A municipality's name without district and level; the city's for a ward."""
    words = re.sub("^[a-z]+-gun-", "", place.romaji.lower())
    return words.partition("-shi-")[0] if words.count("-") > 1 and words.endswith("-ku") else words.rpartition("-")[0]


def prefecture(place: Municipality) -> str:
    """The prefecture's name in the list."""
    name = place.prefecture_romaji.lower().rpartition("-")[0]
    return {"hokkai": "hokkaido"}.get(name, name)


def test_names_are_those_of_the_public_suffix_list_but_for_decided_differences() -> None:
    listed, found, other = names_in_list(), defaultdict(set), []
    assert listed["jp"] == set(CITIES)
    for place in municipalities().values():
        if own_name(place) in listed[prefecture(place)] | listed["jp"]:
            found[prefecture(place)].add(own_name(place))
        else:
            other.append(place)
    assert len(other) < 350, "most are in the list; the others were founded after 2012, or had no such name"
    likely = {
        place.code: get_close_matches(own_name(place), listed[prefecture(place)] - found[prefecture(place)], 1, 0.8)
        for place in other
    }
    assert {code: names[0] for code, names in likely.items() if names} == DECIDED


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("01400", "Kutchan-cho"), ("01642", "Hiroo-cho"), ("07301", "Koori-machi"), ("09209", "Mooka-shi"),
        ("13381", "Miyake-mura"), ("13401", "Hachijo-machi"), ("15222", "Joetsu-shi"), ("19208", "Minami-alps-shi"),
        ("20416", "Toyooka-mura"), ("27220", "Minoo-shi"), ("28209", "Toyooka-shi"), ("36321", "Sanagochi-son"),
        ("44212", "Bungoono-shi"), ("46213", "Nishinoomote-shi"), ("46217", "Soo-shi"), ("33212", "Setouchi-shi"),
        ("42208", "Matsuura-shi"), ("39405", "Yusuhara-cho"),
    ],
)  # fmt: skip
def test_names_as_in_the_gazetteer_of_japan(code: str, words: str) -> None:
    """Yusuhara is a machi in the gazetteer of 2007, and a cho in Japan Post's and the ministry's readings."""
    assert municipality(code).romaji == words


def test_every_irregular_name_has_its_reason_and_sources() -> None:
    with (Path(romaji.__file__).with_name("place_names.csv")).open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        place = municipality(row["code"])
        assert place.name.endswith(row["name"])
        assert place.romaji == row["romaji"]
        assert row["reason"]
        assert set(row["sources"].split()) <= {"GSI", "PSL"}
        if "PSL" in row["sources"]:
            assert own_name(place) in names_in_list()[prefecture(place)], row
    assert [row["code"] for row in rows] == sorted({row["code"] for row in rows})
