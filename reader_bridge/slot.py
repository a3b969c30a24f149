"""A slot of a reader. It may be empty or hold a card, and may or may not be connected to a reader."""

from __future__ import annotations

from abc import ABC, abstractmethod

from kazashi.reader_bridge.endpoint import AnyEndpoint
from kazashi.reader_bridge.interface import Interface


class SlotBusy(Exception):
    """The slot holds a card already, or the card is already in another slot."""


class Slot(ABC):
    """One slot. Its card stays inserted when pcscd restarts: the slot reconnects by itself. Thread-safe."""

    unplugged = False
    """Whether the reader is unplugged, which only a reader of our own driver can be."""

    def __init__(self, endpoint: AnyEndpoint) -> None:
        self.endpoint = endpoint

    @property
    @abstractmethod
    def occupied(self) -> bool:
        """Whether there is a card in the slot."""

    @abstractmethod
    def insert(self, interface: Interface) -> None:
        """Insert a card. Raises SlotBusy if the slot holds one already."""

    @abstractmethod
    def remove(self) -> None:
        """Remove the card, if there is one, even in the middle of a command."""

    @abstractmethod
    def wait_until_powered(self, seconds: float) -> bool:
        """Wait until PC/SC clients can see the inserted card. Return False after a timeout of `seconds`."""

    def close(self) -> None:
        """Remove the card and end the connection to the reader."""
        self.remove()

    def _refuse_second_card(self) -> None:
        if self.occupied:
            raise SlotBusy(f"there is a card in {self.endpoint.reader}; remove it first")
