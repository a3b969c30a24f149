"""Texts that people enter, such as names and addresses."""

from __future__ import annotations

import unicodedata

from kazashi.world.voiced_kana import compose_voiced_kana

_CATEGORIES = ("Cc", "Cs", "Zl", "Zp")
_DIRECTIONS = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")


def entered_text(text: str) -> str:
    """Return a text with its voiced kana composed. Raises ValueError for control characters, line breaks and characters
    that change the direction of the text: a name with one could pass for another line, or for another name."""
    for character in text:
        if unicodedata.category(character) in _CATEGORIES or unicodedata.bidirectional(character) in _DIRECTIONS:
            raise ValueError(f"{text!r} contains U+{ord(character):04X}, which no name or address can have")
    return compose_voiced_kana(text)
