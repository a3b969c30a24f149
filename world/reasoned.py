"""Exceptions that say why in a value, beside the message: programs and tests decide by the value."""

from __future__ import annotations

from enum import Enum
from typing import Generic, TypeVar

ReasonType = TypeVar("ReasonType", bound=Enum)


class ReasonedError(Exception, Generic[ReasonType]):
    """An error with a `reason`, a member of an enum, and a message for people."""

    def __init__(self, reason: ReasonType, message: str) -> None:
        super().__init__(message)
        self.reason = reason
