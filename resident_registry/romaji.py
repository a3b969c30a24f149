"""Readings of place names in Latin letters: Hepburn without macrons, as directory entries and names have them."""

from __future__ import annotations

import re

import jaconv

_WORDS_OF_THEIR_OWN = {"浦": "うら", "上": "うえ", "内": "うち", "海": "うみ"}
"""An ウ that begins one of these words does not lengthen the vowel before it: Katsuura, Setouchi, Koumi."""

_LONG = re.compile(r"(?<=[ou])u|(?<=o)o")


def romaji(kana: str, written: str) -> str:
    """A reading in katakana of a name as it is written, as one capitalised word. Long vowels are written short."""
    hiragana = jaconv.kata2hira(kana)
    for character, reading in _WORDS_OF_THEIR_OWN.items():
        if character in written:
            hiragana = hiragana.replace(reading, f"|{reading}")
    parts = [_LONG.sub("", jaconv.kana2alphabet(part)) for part in hiragana.split("|")]
    return re.sub("[^a-z]", "", "".join(parts)).capitalize()
