"""Names that users choose: of cards, readers, tenants, callers and clients."""

from __future__ import annotations

import unicodedata

MAX_NAME = 64
"""The maximum length of a name, in characters."""

_OTHERS = " .-_@+()[]"
PATTERN = (
    f"1 to {MAX_NAME} letters and digits of any script, blanks, and the characters . - _ @ + ( ) [ ]; it may begin"
    " neither with a blank nor with a dot, and may not end with a blank"
)
"""The pattern of a name, in words."""


def checked_name(name: str, what: str) -> str:
    """Return a name that follows the pattern. `what` is the named thing in the error's message, such as "card".

    Raises ValueError.
    """
    if (
        not 1 <= len(name) <= MAX_NAME
        or name != name.strip(" ")
        or name.startswith(".")
        or not all(character in _OTHERS or unicodedata.category(character)[0] in "LMN" for character in name)
    ):
        raise ValueError(f"{name!r} is not a valid {what} name; use {PATTERN}")
    return name
