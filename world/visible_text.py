"""Which characters of a text people can see."""

from __future__ import annotations

import unicodedata

_SHOWN_AS_NOTHING = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\U0001d159")
"""Characters that count as letters, marks or symbols, and that fonts show as nothing."""

_SELECTORS = (range(0x180B, 0x1810), range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0))
"""Variation selectors (The Unicode Standard, 23.4). They choose a form of the character before them."""

_FIRST_IDEOGRAPH = 0x2E80
MOST_MARKS = 4
"""The number of combining marks on one character. Many of them are drawn over other lines."""


def first_hidden(text: str) -> str:
    """Return the first character that is not shown as such, or an empty string.

    These are control characters, format characters (which include those that change the direction of the text or have
    no width), line and paragraph separators, characters that have no meaning for everybody (private use, unassigned,
    half of a surrogate pair), characters that fonts show as nothing, variation selectors after anything but an
    ideograph, and combining marks beyond the fourth of a character.
    """
    previous, marks = "", 0
    for character in text:
        category = unicodedata.category(character)
        selects = any(ord(character) in selectors for selectors in _SELECTORS)
        marks = marks + 1 if category[0] == "M" else 0
        if (
            category[0] == "C"
            or category in ("Zl", "Zp")
            or character in _SHOWN_AS_NOTHING
            or marks > MOST_MARKS
            or (selects and not (previous and ord(previous) >= _FIRST_IDEOGRAPH and previous.isalpha()))
        ):
            return character
        previous = character
    return ""
