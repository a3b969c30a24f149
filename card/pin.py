"""PINs: their format, their comparison, and their retry counter."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hmac import compare_digest

MAX_LENGTH = 16
"""A longer value is a wrong length and costs no try; no PIN of this card is longer."""


@dataclass(frozen=True, slots=True)
class PinFormat:
    """What a new PIN must look like; `pattern` is matched against the whole value as ASCII."""

    pattern: str
    words: str

    def accepts(self, value: bytes) -> bool:
        """Whether a new value has this format."""
        return re.fullmatch(self.pattern.encode(), value) is not None


FOUR_DIGITS = PinFormat(r"[0-9]{4}", "4 digits")
SIX_DIGITS = PinFormat(r"[0-9]{6}", "6 digits")
TWELVE_DIGITS = PinFormat(r"[0-9]{12}", "12 digits")
FOURTEEN_DIGITS = PinFormat(r"[0-9]{14}", "14 digits")
SIGNATURE_PASSWORD = PinFormat(r"[A-Z0-9]{6,16}", "6 to 16 capital letters and digits")


@dataclass(frozen=True, slots=True)
class PinState:
    """A PIN as the durable store holds it. `tries_left` 0 is a blocked PIN; `tries` is the full count."""

    value: bytes
    tries: int
    tries_left: int

    def matches(self, offered: bytes) -> bool:
        """Compare in a time that does not tell how far the two agree."""
        # Both are brought to one length, so that the comparison's length tells nothing either.
        return compare_digest(self.value.ljust(MAX_LENGTH, b"\0"), offered.ljust(MAX_LENGTH, b"\0")) and len(
            self.value
        ) == len(offered)
