"""The rule for texts that a card's holder reads before they sign: what is shown must be what is signed."""

from __future__ import annotations

import unicodedata

MAX_TEXT = 4000
"""The maximum length of a text, in characters."""

MAX_LINES = 60
"""The maximum number of lines of a text. The field for the PIN follows the text, and must not hide its beginning."""

MAX_LINE = 100
"""The maximum length of a line beside the text, such as the purpose of a login."""

_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Characters that count as letters, marks or symbols, and that fonts show as nothing."""


def check_text(text: str) -> None:
    """Raise ValueError for a text that could be shown differently from what is signed.

    A text may have line feeds but no other control characters; no format characters, which include those that change
    the direction of the text or have no width; and no characters that have no meaning for everybody (private use,
    unassigned, half of a surrogate pair).
    """
    if len(text) > MAX_TEXT:
        raise ValueError(f"the text has {len(text)} characters; at most {MAX_TEXT} are allowed")
    if (lines := text.count("\n") + 1) > MAX_LINES:
        raise ValueError(f"the text has {lines} lines; at most {MAX_LINES} are allowed")
    for character in text.replace("\n", ""):
        category = unicodedata.category(character)
        if category[0] == "C" or category in ("Zl", "Zp") or character in _INVISIBLE:
            name = unicodedata.name(character, "a control, private or unassigned character")
            raise ValueError(f"the text contains U+{ord(character):04X} ({name}), which is not shown as it is signed")


def check_line(text: str) -> None:
    """Raise ValueError for a text that is not one short line, or that `check_text` rejects."""
    if "\n" in text or len(text) > MAX_LINE:
        raise ValueError(f"{text[:MAX_LINE]!r} must be one line of at most {MAX_LINE} characters")
    check_text(text)
