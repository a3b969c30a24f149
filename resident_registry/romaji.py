"""Readings of place names in Latin letters: Hepburn without macrons, as used in directory entries and names.

A reading does not tell where a word of a name begins: the オオ of 豊岡 (トヨオカ) is two vowels, that of 大津 (オオツ)
a long one. The municipalities whose names are not what the rules make of their readings are in `place_names.csv`, each
with the reason and the sources that write the name so: GSI is the Gazetteer of Japan of the Geospatial Information
Authority (2007, supplement of 2018), PSL the geographic names under .jp in the Public Suffix List.
"""

from __future__ import annotations

import csv
import re
from functools import lru_cache
from importlib.resources import files

import jaconv

_LONG = re.compile(r"(?<=[ou])u|(?<=o)o")


def romaji(kana: str) -> str:
    """Convert a reading from katakana to one capitalised word. Long vowels are written short."""
    letters = _LONG.sub("", jaconv.kana2alphabet(jaconv.kata2hira(kana))).replace("cch", "tch")
    return re.sub("[^a-z]", "", letters).capitalize()


@lru_cache(maxsize=1)
def irregular_names() -> dict[str, str]:
    """The names of municipalities, with their levels, that `romaji` does not make of their readings; by code."""
    with (files(__package__) / "place_names.csv").open(encoding="utf-8") as file:
        return {row["code"]: row["romaji"] for row in csv.DictReader(file)}
