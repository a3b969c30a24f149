"""The registry's refusal of an event or a registration, and its reason."""

from __future__ import annotations

from enum import Enum

from kazashi.world.reasoned import ReasonedError


class RejectionReason(Enum):
    """The reason why the registry refuses an event or a registration."""

    UNKNOWN_EVENT = "unknown-event"
    UNKNOWN_FIELD = "unknown-field"
    MISSING_FIELD = "missing-field"
    WRONG_VALUE = "wrong-value"
    WRONG_STATUS = "wrong-status"
    """The person's status (resident, moving, abroad, dead, deleted) does not allow the event."""
    WRONG_NATIONALITY = "wrong-nationality"
    WRONG_DAY = "wrong-day"
    """The day is in the future, before the birth, or too far away."""
    UNCHANGED = "unchanged"
    """The event would change nothing."""
    NOT_AWAITED = "not-awaited"
    """The event meets a deadline, but none is running."""
    NUMBER_PENDING = "number-pending"
    """J-LIS has not made the individual number yet."""
    NUMBERS_USED_UP = "numbers-used-up"
    ALIAS = "alias"
    """The alias is taken, looks like a number, or does not follow the pattern of names."""
    TOO_LONG = "too-long"
    """A name, an address or a note is longer than the registry stores (`resident_registry.lengths`)."""
    BRINGS_NUMBERS = "brings-numbers"
    """A new resident already has a record code or an individual number, which the registry assigns."""


class EventRejected(ReasonedError[RejectionReason]):
    """The registry refuses an event or a registration for `reason`, which the message explains. Nothing was changed."""
