"""J-LIS's notices of registry events, which the authorities and the card management receive."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Self

from kazashi.resident_registry.event import Event, event_type
from kazashi.resident_registry.number import ResidentRecordCode
from kazashi.world.outbox import Body, Message


@dataclass(frozen=True, slots=True)
class Notice:
    """An event, its day, and the person to whom it happened.

    `former_code` differs from `record_code` if the event changed the code. `details` are the fields of the event that
    J-LIS passes on.
    """

    event: type[Event]
    day: date
    record_code: ResidentRecordCode
    former_code: ResidentRecordCode
    details: Mapping[str, Any]

    @property
    def body(self) -> Body:
        """The body of the notice's message. The message's kind is the event code."""
        return {
            "day": self.day.isoformat(),
            "record_code": self.record_code,
            "former_code": self.former_code,
            **self.details,
        }

    @classmethod
    def from_message(cls, message: Message) -> Self:
        """Read the notice in a message. Raises EventRejected, KeyError or ValueError if it is malformed."""
        details = dict(message.body)
        return cls(
            event=event_type(message.kind),
            day=date.fromisoformat(details.pop("day")),
            record_code=ResidentRecordCode(details.pop("record_code")),
            former_code=ResidentRecordCode(details.pop("former_code")),
            details=details,
        )
