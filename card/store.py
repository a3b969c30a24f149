"""The chip's durable state: what must survive the card being torn out, and the interface to wherever it is kept."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple, Protocol

from kazashi.card.identifiers import Aid, FileId
from kazashi.card.pin import PinState


class Reference(NamedTuple):
    """One file of one application."""

    application: Aid
    file: FileId


class StoreFailure(Exception):
    """The store did not take a write; what it holds is what it held before."""


class CardStore(Protocol):
    """Where the PINs and their retry counters live.

    Every write is durable when its method answers, and is all or nothing. Every method raises StoreFailure where the
    medium fails, and KeyError for a PIN that the card does not have.
    """

    def pin(self, reference: Reference) -> PinState:
        """The PIN as it is now."""

    def spend_try(self, reference: Reference) -> PinState:
        """Take one try from a PIN that has any; answers the PIN as it is after that."""

    def refill(self, reference: Reference) -> None:
        """Give a PIN its full count of tries."""

    def change_pin(self, reference: Reference, value: bytes) -> None:
        """Replace a PIN's value and give it its full count of tries."""


class MemoryStore:
    """A store that forgets with the process: for measuring, fuzzing, and cards that live for one test."""

    def __init__(self, pins: dict[Reference, PinState]) -> None:
        self._pins = dict(pins)

    def pin(self, reference: Reference) -> PinState:
        """The PIN as it is now."""
        return self._pins[reference]

    def spend_try(self, reference: Reference) -> PinState:
        """Take one try from a PIN that has any; answers the PIN as it is after that."""
        state = self._pins[reference]
        self._pins[reference] = state = replace(state, tries_left=max(0, state.tries_left - 1))
        return state

    def refill(self, reference: Reference) -> None:
        """Give a PIN its full count of tries."""
        state = self._pins[reference]
        self._pins[reference] = replace(state, tries_left=state.tries)

    def change_pin(self, reference: Reference, value: bytes) -> None:
        """Replace a PIN's value and give it its full count of tries."""
        state = self._pins[reference]
        self._pins[reference] = PinState(value, state.tries, state.tries)
