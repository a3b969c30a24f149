"""The pattern of the names that people give to things: cards, readers, tenants and clients."""

from __future__ import annotations

import re
import unicodedata

_LONGEST = 64


def checked_name(name: str, what: str) -> str:
    """Return the name if it follows the pattern; otherwise raise ValueError, which says `what` was to be named.

    A name is 1 to 64 characters. Each is a letter, digit or mark of any script (Unicode categories L, N and M), or one
    of ` .-_@`. It neither begins nor ends with a blank, and does not begin with a dot.
    """
    plain = all(unicodedata.category(one)[0] in "LNM" or one in " .-_@" for one in name)
    if not plain or not 1 <= len(name) <= _LONGEST or re.search(r"^[ .]| \Z", name):
        raise ValueError(
            f"{name!r} cannot be the name of {what}: use 1 to {_LONGEST} letters, digits and characters of ' .-_@',"
            " no blank at either end and no dot in front"
        )
    return name
