"""Access conditions, the facts achieved in a session, and the table of which event clears which facts."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from kazashi.card.identifiers import FileId

Facts = frozenset[FileId]
"""The PIN files verified in the current application. Leaving the application clears them (JICSAP 1.1, 5.1.3)."""

NOTHING: Facts = frozenset()


class Condition(Protocol):
    """What the achieved facts must satisfy before a file may be read or a key used."""

    def met(self, facts: Set[FileId]) -> bool:
        """Return whether the facts satisfy the condition."""


@dataclass(frozen=True, slots=True)
class Free:
    """A condition that is always met."""

    def met(self, facts: Set[FileId]) -> bool:
        """Return whether the facts satisfy the condition."""
        return True


@dataclass(frozen=True, slots=True)
class Never:
    """A condition that no credential of a client can meet."""

    def met(self, facts: Set[FileId]) -> bool:
        """Return whether the facts satisfy the condition."""
        return False


@dataclass(frozen=True, slots=True)
class Verified:
    """A condition that is met once any one of the named PIN files is verified."""

    any_of: Facts

    def __init__(self, *pins: int) -> None:
        object.__setattr__(self, "any_of", frozenset(map(FileId, pins)))

    def met(self, facts: Set[FileId]) -> bool:
        """Return whether the facts satisfy the condition."""
        return not self.any_of.isdisjoint(facts)


FREE = Free()
NEVER = Never()


class SessionEvent(Enum):
    """An event in a powered card that may clear achieved facts."""

    RESET = auto()
    APPLICATION_LEFT = auto()
    VERIFICATION_FAILED = auto()


class Loss(Enum):
    """Which facts an event clears: all, only the fact that it concerns, or none."""

    ALL = auto()
    THAT_FACT = auto()
    NONE = auto()


@dataclass(frozen=True, slots=True)
class SecurityPolicy:
    """Which event clears which facts. `losses` has an entry for every event.

    Power-off has no entry: the facts are in volatile memory, so no policy can keep them.
    """

    losses: Mapping[SessionEvent, Loss]

    def after(self, event: SessionEvent, facts: Facts, concerned: FileId | None = None) -> Facts:
        """Return the facts left after an event; `concerned` is the PIN file that the event is about, if any."""
        match self.losses[event]:
            case Loss.ALL:
                return NOTHING
            case Loss.THAT_FACT if concerned is not None:
                return facts - {concerned}
            case _:
                return facts


ISO_RESET = SecurityPolicy(
    {
        SessionEvent.RESET: Loss.ALL,
        SessionEvent.APPLICATION_LEFT: Loss.ALL,
        SessionEvent.VERIFICATION_FAILED: Loss.THAT_FACT,
    }
)
"""A reset clears all facts, as in ISO 7816-4."""

MEASURED_RESET = SecurityPolicy({**ISO_RESET.losses, SessionEvent.RESET: Loss.NONE})
"""A reset clears nothing. Measured on a contactless card: it keeps its security status over SCARD_RESET_CARD and
loses it only when it loses the field."""
