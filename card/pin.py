"""PINs: format, comparison, and retry counter."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hmac import compare_digest

MAX_LENGTH = 16
"""A longer value is rejected as a wrong length and does not decrement the counter; no PIN of this card is longer."""


@dataclass(frozen=True, slots=True)
class PinFormat:
    """The format of a new PIN. `pattern` must match the whole value in ASCII; `words` describes it to people."""

    pattern: str
    words: str

    def accepts(self, value: bytes) -> bool:
        """Return whether a new value has this format."""
        return re.fullmatch(self.pattern.encode(), value) is not None


FOUR_DIGITS = PinFormat(r"[0-9]{4}", "4 digits")
SIX_DIGITS = PinFormat(r"[0-9]{6}", "6 digits")
TWELVE_DIGITS = PinFormat(r"[0-9]{12}", "12 digits")
FOURTEEN_DIGITS = PinFormat(r"[0-9]{14}", "14 digits")
SIGNATURE_PASSWORD = PinFormat(r"[A-Z0-9]{6,16}", "6 to 16 capital letters and digits")


@dataclass(frozen=True, slots=True)
class PinState:
    """A PIN in the durable store. `tries` is the maximum of its retry counter; a PIN with `tries_left` 0 is blocked."""

    value: bytes
    tries: int
    tries_left: int

    def matches(self, offered: bytes) -> bool:
        """Return whether a value is the PIN, compared in a time that does not depend on how much of it matches."""
        # Both are padded to the same length, so that the time does not depend on the lengths either.
        return compare_digest(self.value.ljust(MAX_LENGTH, b"\0"), offered.ljust(MAX_LENGTH, b"\0")) and len(
            self.value
        ) == len(offered)
