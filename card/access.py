"""Access conditions on one side, achieved facts on the other, and the one table of what clears a fact."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from kazashi.card.identifiers import FileId

Facts = frozenset[FileId]
"""The PIN files verified in the current application. A fact never outlives its application (JICSAP 1.1, 5.1.3)."""

NOTHING: Facts = frozenset()


class Condition(Protocol):
    """What must be true of the achieved facts before a file may be read or a key used."""

    def met(self, facts: Set[FileId]) -> bool:
        """Whether the facts satisfy the condition."""


@dataclass(frozen=True, slots=True)
class Free:
    """Always met."""

    def met(self, facts: Set[FileId]) -> bool:
        """Whether the facts satisfy the condition."""
        return True


@dataclass(frozen=True, slots=True)
class Never:
    """Met by no credential that a client could have."""

    def met(self, facts: Set[FileId]) -> bool:
        """Whether the facts satisfy the condition."""
        return False


@dataclass(frozen=True, slots=True)
class Verified:
    """Met once any one of the PIN files named is verified."""

    any_of: Facts

    def __init__(self, *pins: int) -> None:
        object.__setattr__(self, "any_of", frozenset(map(FileId, pins)))

    def met(self, facts: Set[FileId]) -> bool:
        """Whether the facts satisfy the condition."""
        return not self.any_of.isdisjoint(facts)


FREE = Free()
NEVER = Never()


class SessionEvent(Enum):
    """What happens to a card under power that may cost it achieved facts."""

    RESET = auto()
    APPLICATION_LEFT = auto()
    VERIFICATION_FAILED = auto()


class Loss(Enum):
    """How much an event clears."""

    ALL = auto()
    THAT_FACT = auto()
    NONE = auto()


@dataclass(frozen=True, slots=True)
class SecurityPolicy:
    """Which event clears which facts. `losses` has an entry for every event.

    Power-off has none: the facts are volatile memory, so no policy could keep them.
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
"""A reset clears everything, as in ISO 7816-4."""

MEASURED_RESET = SecurityPolicy({**ISO_RESET.losses, SessionEvent.RESET: Loss.NONE})
"""A contactless card was measured to keep its status over SCARD_RESET_CARD and to lose it only with the field."""
