"""What all of the registry's events have in common."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from datetime import date
from enum import Enum
from typing import Any, ClassVar, Self

from kazashi.resident_registry.event_fields import converted
from kazashi.resident_registry.rejection import EventRejected, RejectionReason
from kazashi.resident_registry.resident import ResidencyStatus, Resident


class Channel(Enum):
    """How an event is reported, which decides when it is sent to Juki-Net."""

    COUNTER = "counter"
    """Sent at once."""
    PAPER = "paper"
    """Sent with the evening's batch."""
    CALL_CENTRE = "call-centre"
    """Sent at once, at any hour."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a person. The fields are the details that the registry needs.

    A new event needs a subclass, a line in `event.EVENTS`, and an entry in the table of each institution that acts on
    events.
    """

    code: ClassVar[str]
    """The event's name in commands, messages and logs."""
    japanese: ClassVar[str]
    """The legal term; empty if the law has none."""
    about: ClassVar[str]
    """A description for users."""
    channel: ClassVar[Channel] = Channel.COUNTER
    allowed: ClassVar[tuple[ResidencyStatus, ...]] = (ResidencyStatus.RESIDENT,)
    """The residency statuses that a person must have for the event."""
    recorded_by_registry: ClassVar[bool] = False
    """Whether only the registry itself records the event, so that nobody can report it for a person."""
    meets: ClassVar[str] = ""
    """The deadline that the event meets."""
    may_be_late: ClassVar[bool] = False
    """Whether the event is also accepted after that deadline."""

    def apply(self, resident: Resident, day: date) -> Resident:
        """Return the person as they are after the event. Raises EventRejected, and ValueError for invalid values."""
        if resident.status not in self.allowed:
            required = " or ".join(_STATUS[status] for status in self.allowed)
            raise EventRejected(
                RejectionReason.WRONG_STATUS,
                f"{resident.alias or resident.name} is {_STATUS[resident.status]}; {self.code} requires {required}",
            )
        return self._after(resident, day)

    def _after(self, resident: Resident, day: date) -> Resident:
        return resident

    def deadline(self, day: date) -> tuple[str, date] | None:
        """The name of the deadline that the event sets, and its last day; None for most events."""
        return None

    def as_dict(self) -> dict[str, object]:
        """The fields that are not empty, for JSON. Dates are in ISO format."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return {
            name: value.isoformat() if isinstance(value, date) else value
            for name, value in values.items()
            if value not in (None, "")
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Return the event with these fields. Raises EventRejected for an unknown, missing or invalid one."""
        known = {one.name: one for one in fields(cls)}
        if unknown := values.keys() - known.keys():
            raise EventRejected(
                RejectionReason.UNKNOWN_FIELD,
                f"{cls.code} does not take {', '.join(sorted(unknown))}; it takes {', '.join(known) or 'no fields'}",
            )
        missing = [name for name, one in known.items() if one.default is MISSING and values.get(name) in (None, "")]
        if missing:
            raise EventRejected(RejectionReason.MISSING_FIELD, f"{cls.code} needs {', '.join(missing)}")
        return cls(**{name: converted(str(known[name].type), name, value) for name, value in values.items()})


_STATUS = {
    ResidencyStatus.RESIDENT: "a current resident",
    ResidencyStatus.MOVING: "a person who is moving between municipalities",
    ResidencyStatus.ABROAD: "a person who lives abroad",
    ResidencyStatus.DEAD: "deceased",
    ResidencyStatus.DELETED: "deleted from the registry",
}
