"""The fields of events: their descriptions for users, and their values from commands and messages."""

from __future__ import annotations

from dataclasses import MISSING, field
from datetime import date
from typing import Any

from kazashi.resident_registry.rejection import EventRejected, RejectionReason
from kazashi.world.entered_text import entered_text


def described(help_text: str, default: Any = MISSING) -> Any:
    """Declare a field of an event, with its description for users."""
    return field(default=default, metadata={"words": help_text})


def converted(kind: str, name: str, value: Any) -> Any:
    """Return the value of a field as its type, which is given as it is written in the class. Raises EventRejected."""
    if kind.startswith("date") and isinstance(value, str):
        try:
            return date.fromisoformat(value)
        except ValueError:
            detail = f"{name}: {value!r} is not a date; write 2027-01-31"
            raise EventRejected(RejectionReason.WRONG_VALUE, detail) from None
    if kind.startswith(("str", "date")) and not isinstance(value, date if kind.startswith("date") else str):
        raise EventRejected(RejectionReason.WRONG_VALUE, f"{name}: {value!r} has the wrong type; write it as text")
    if kind == "bool" and not isinstance(value, bool):
        if value not in ("yes", "no"):
            raise EventRejected(RejectionReason.WRONG_VALUE, f"{name}: {value!r} is not valid; write yes or no")
        return value == "yes"
    try:
        return entered_text(value) if isinstance(value, str) else value
    except ValueError as error:
        raise EventRejected(RejectionReason.WRONG_VALUE, f"{name}: {error}") from None
