"""The chip's durable state, which survives a power loss, and the interface to the place where it is kept."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import NamedTuple, Protocol

from kazashi.card.identifiers import Aid, FileId
from kazashi.card.pin import PinState


class Reference(NamedTuple):
    """A file of an application."""

    application: Aid
    file: FileId


class StoreFailure(Exception):
    """A write to the store failed. The stored state has not changed."""


class CardStore(Protocol):
    """The interface to the PINs and their retry counters.

    Every write is atomic, and durable when its method returns. Every method raises StoreFailure if the medium fails,
    and KeyError for a PIN that the card does not have.
    """

    def pin(self, reference: Reference) -> PinState:
        """Return the current state of a PIN."""

    def alone(self) -> AbstractContextManager[object]:
        """Exclude every other holder of the card that enters this context, until the context ends."""

    def spend_try(self, reference: Reference) -> PinState | None:
        """Decrement a PIN's retry counter and return the new state, or return None if there was no try left."""

    def refill(self, reference: Reference) -> None:
        """Reset a PIN's retry counter to its maximum."""

    def change_pin(self, reference: Reference, value: bytes) -> bool:
        """Replace a PIN's value and reset its retry counter to its maximum, unless the PIN is blocked. Returns whether
        it did."""


class MemoryStore:
    """A store in memory only: for benchmarks, fuzzing, and cards that exist for one test."""

    def __init__(self, pins: dict[Reference, PinState]) -> None:
        self._pins = dict(pins)

    def pin(self, reference: Reference) -> PinState:
        """Return the current state of a PIN."""
        return self._pins[reference]

    def alone(self) -> AbstractContextManager[object]:
        """Do nothing: a card in memory has one holder."""
        return nullcontext()

    def spend_try(self, reference: Reference) -> PinState | None:
        """Decrement a PIN's retry counter and return the new state, or return None if there was no try left."""
        state = self._pins[reference]
        if state.tries_left == 0:
            return None
        self._pins[reference] = state = replace(state, tries_left=state.tries_left - 1)
        return state

    def refill(self, reference: Reference) -> None:
        """Reset a PIN's retry counter to its maximum."""
        state = self._pins[reference]
        self._pins[reference] = replace(state, tries_left=state.tries)

    def change_pin(self, reference: Reference, value: bytes) -> bool:
        """Replace a PIN's value and reset its retry counter, unless the PIN is blocked. Returns whether it did."""
        state = self._pins[reference]
        if state.tries_left == 0:
            return False
        self._pins[reference] = PinState(value, state.tries, state.tries)
        return True
