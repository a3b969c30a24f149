"""Names that users choose: of cards, readers, tenants, callers and clients, and aliases of residents."""

from __future__ import annotations

import unicodedata

from kazashi.world.visible_text import first_hidden

MAX_NAME = 64
"""The maximum length of a name, in characters."""

_BLANKS = " \u3000"
_NEVER = '"\\<>'
PATTERN = (
    f"1 to {MAX_NAME} visible characters of any script and spaces, without {' '.join(_NEVER)}; it may begin neither"
    " with a space nor with a dot, and may not end with a space"
)
"""The pattern of a name, in words."""


class BadName(ValueError):
    """A name does not follow the pattern; the message has both."""


def checked_name(name: str, what: str, never: str = "") -> str:
    """Return a name that follows the pattern. `what` is the named thing in the error's message, such as "card", and
    `never` are further characters that its name may not have. Raises BadName."""
    return _checked(name, f"{what} name", never)


def certified_name(name: str, what: str) -> str:
    """Return a name that follows the pattern and fits into the subject of a certificate: the X.509 library counts the
    octets of UTF-8, of which a Japanese character has three. Raises BadName."""
    checked_name(name, what)
    if len(name.encode()) > MAX_NAME:
        raise BadName(f"{name!r} is too long for the certificates of a {what}, which have at most {MAX_NAME} octets of"
                      " UTF-8 for a name, such as 21 Japanese characters")  # fmt: skip
    return name


def checked_alias(alias: str) -> str:
    """Return a resident's alias that follows the pattern of names of cards, because a card is named after it unless
    the user says otherwise. Raises BadName."""
    return _checked(alias, "alias", "/")


def _checked(name: str, what: str, never: str) -> str:
    if (
        not 1 <= len(name) <= MAX_NAME
        or name != name.strip(_BLANKS)
        or name.startswith(".")
        or any(character in _NEVER + never for character in name)
        or any(unicodedata.category(character)[0] == "Z" and character not in _BLANKS for character in name)
        or first_hidden(name)
    ):
        also = f" and {' '.join(never)}" if never else ""
        raise BadName(f"{name!r} is not a valid {what}; use {PATTERN.replace(';', f'{also};', 1)}")
    return name
