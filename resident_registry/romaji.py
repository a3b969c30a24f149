"""Readings of place names in Latin letters: Hepburn without macrons, as used in directory entries and names."""

from __future__ import annotations

import re

import jaconv

_WORDS_OF_THEIR_OWN = {"浦": "うら", "上": "うえ", "内": "うち", "海": "うみ"}
"""A ウ at the beginning of one of these words does not lengthen the vowel before it: Katsuura, Setouchi, Koumi."""

_LONG = re.compile(r"(?<=[ou])u|(?<=o)o")


def romaji(kana: str, written: str) -> str:
    """Convert the reading of a written name from katakana to one capitalised word. Long vowels are written short."""
    hiragana = jaconv.kata2hira(kana)
    for character, reading in _WORDS_OF_THEIR_OWN.items():
        if character in written:
            hiragana = hiragana.replace(reading, f"|{reading}")
    parts = [_LONG.sub("", jaconv.kana2alphabet(part)) for part in hiragana.split("|")]
    return re.sub("[^a-z]", "", "".join(parts)).capitalize()
