"""The host of a bench's slots: which card lies where, and what is done to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from applets.install import load
from card.access import ISO_RESET, MEASURED_RESET
from card.card import Card
from card.chip import Chip
from card.image import ImageStore
from reader_bridge.interface import ContactInterface, ContactlessInterface, Interface
from reader_bridge.slot import Endpoint, Slot, SlotBusy
from reader_bridge.trace import Decoder
from reader_bridge.vpcd import Exchange


class NoSuchSlot(Exception):
    """No slot of that number or name, or no slot in the state that is asked for."""


@dataclass(frozen=True, slots=True)
class Presentation:
    """How a card is held to a reader: by contact or not, and whether a reset keeps the security status."""

    contactless: bool = False
    reset_keeps_status: bool = False

    def interface(self, card: Card) -> Interface:
        """The card behind the interface."""
        chip = Chip(card, policy=MEASURED_RESET if self.reset_keeps_status else ISO_RESET)
        return ContactlessInterface(chip) if self.contactless else ContactInterface(chip)


@dataclass(frozen=True, slots=True, eq=False)
class Inserted:
    """A card in a slot: under which name, from which image, in which presentation."""

    name: str
    image: Path
    card: Card
    presentation: Presentation


class ReaderHost:
    """The slots of one bench, by number from 0 and by the names that PC/SC has for them."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self.slots = [Slot(endpoint) for endpoint in endpoints]
        self._inserted: dict[Slot, Inserted] = {}

    def inserted(self, slot: Slot) -> Inserted | None:
        """What lies in a slot."""
        return self._inserted.get(slot)

    def find(self, reference: str) -> Slot:
        """A slot by its number, by its reader's name or the beginning of it, or by the card that lies in it.

        Raises NoSuchSlot where there is none, or more than one.
        """
        if reference.isdigit() and int(reference) < len(self.slots):
            return self.slots[int(reference)]
        found = [slot for slot, inserted in self._inserted.items() if inserted.name == reference] or [
            slot for slot in self.slots if slot.endpoint.reader.startswith(reference)
        ]
        if len(found) == 1:
            return found[0]
        names = ", ".join(f"{number} ({slot.endpoint.reader})" for number, slot in enumerate(self.slots))
        raise NoSuchSlot(f"{reference!r} names {'no slot' if not found else 'several slots'}; the slots are {names}")

    def first_empty(self) -> Slot:
        """The first slot without a card. Raises NoSuchSlot where all are taken."""
        for slot in self.slots:
            if not slot.occupied:
                return slot
        raise NoSuchSlot("every slot holds a card; remove one, or start with more readers (kazashi up --reader NAME)")

    def insert(self, slot: Slot, name: str, image: Path, presentation: Presentation) -> None:
        """Put the card of an image into a slot. Raises SlotBusy, ImageMissing, DamagedImage."""
        for other, inserted in self._inserted.items():
            if inserted.image == image:
                raise SlotBusy(f"the card {name} lies in {other.endpoint.reader} already")
        card = load(image)
        slot.insert(presentation.interface(card))
        self._inserted[slot] = Inserted(name, image, card, presentation)

    def remove(self, slot: Slot) -> None:
        """Take the card out of a slot. Raises NoSuchSlot where there is none."""
        inserted = self._take(slot)
        if isinstance(inserted.card.store, ImageStore):
            inserted.card.store.close()

    def reset(self, slot: Slot) -> None:
        """Take the card out and put it in again: a cold start."""
        inserted = self._take(slot)
        self.insert(slot, inserted.name, inserted.image, inserted.presentation)

    def close(self) -> None:
        """Take every card out."""
        for slot in list(self._inserted):
            self.remove(slot)

    def follow(self, slot: Slot, tell: Callable[[Exchange, str], None]) -> Callable[[], None]:
        """Call `tell` with every exchange of a slot and its line of words; answers the function that ends it."""
        decoders: dict[Inserted | None, Decoder] = {}

        def observer(exchange: Exchange) -> None:
            inserted = self._inserted.get(slot)
            if inserted not in decoders:
                decoders.clear()  # another card than before
                decoders[inserted] = Decoder(inserted.card.applications if inserted else ())
            tell(exchange, decoders[inserted].line(exchange))

        slot.observe(observer)
        return lambda: slot.forget(observer)

    def _take(self, slot: Slot) -> Inserted:
        if slot not in self._inserted:
            raise NoSuchSlot(f"there is no card in {slot.endpoint.reader}")
        slot.remove()
        return self._inserted.pop(slot)
