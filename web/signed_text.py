"""The rule for texts that a card's holder reads before they sign: what is shown must be what is signed."""

from __future__ import annotations

import unicodedata

from kazashi.world.visible_text import first_hidden

MAX_TEXT = 4000
"""The maximum length of a text, in characters."""

MAX_LINES = 60
"""The maximum number of lines of a text. The field for the PIN follows the text, and must not hide its beginning."""

MAX_LINE = 100
"""The maximum length of a line beside the text, such as the purpose of a login."""


def check_text(text: str) -> None:
    """Raise ValueError for a text that could be shown differently from what is signed.

    A text may have line feeds, and otherwise only characters that people can see (`kazashi.world.visible_text`).
    """
    if len(text) > MAX_TEXT:
        raise ValueError(f"the text has {len(text)} characters; at most {MAX_TEXT} are allowed")
    if (lines := text.count("\n") + 1) > MAX_LINES:
        raise ValueError(f"the text has {lines} lines; at most {MAX_LINES} are allowed")
    if hidden := first_hidden(text.replace("\n", " ")):
        name = unicodedata.name(hidden, "a control, private or unassigned character")
        raise ValueError(f"the text contains U+{ord(hidden):04X} ({name}), which is not shown as it is signed")


def check_line(text: str) -> None:
    """Raise ValueError for a text that is not one short line, or that `check_text` rejects."""
    if "\n" in text or len(text) > MAX_LINE:
        raise ValueError(f"{text[:MAX_LINE]!r} must be one line of at most {MAX_LINE} characters")
    check_text(text)
