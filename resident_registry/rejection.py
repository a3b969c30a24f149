"""Why the registry refuses an event or a registration."""

from __future__ import annotations

from enum import Enum


class RejectionReason(Enum):
    """Why the registry refuses an event or a registration."""

    UNKNOWN_EVENT = "unknown-event"
    UNKNOWN_FIELD = "unknown-field"
    MISSING_FIELD = "missing-field"
    WRONG_VALUE = "wrong-value"
    WRONG_STATUS = "wrong-status"
    """The person is dead, abroad or between municipalities, or is none of these where the event needs it."""
    WRONG_NATIONALITY = "wrong-nationality"
    WRONG_DAY = "wrong-day"
    """A day that has not come yet, that is before the birth, or that is too far away."""
    UNCHANGED = "unchanged"
    """Nothing would be different afterwards."""
    NOT_AWAITED = "not-awaited"
    """The event meets a deadline, and none is running."""
    NUMBER_PENDING = "number-pending"
    """J-LIS has not made the individual number yet."""
    NUMBERS_USED_UP = "numbers-used-up"
    ALIAS = "alias"
    """The alias is taken, or looks like a number."""
    BRINGS_NUMBERS = "brings-numbers"
    """A new resident comes with a record code or an individual number, which the registry gives."""


class EventRejected(Exception):
    """The registry refuses the event for `reason`; the message explains it. Nothing was changed."""

    def __init__(self, reason: RejectionReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
