"""The slots of an instance: which card is in which slot, and the operations on them."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from kazashi.applets.install import load_card
from kazashi.card.access import ISO_RESET, MEASURED_RESET
from kazashi.card.card import Card
from kazashi.card.chip import Chip
from kazashi.card.image import DamagedImage, ImageMissing, ImageStore, ImageUnreadable, image_digest
from kazashi.reader_bridge.driver.slot import DriverSlot
from kazashi.reader_bridge.emulated_reader import EmulatedReader
from kazashi.reader_bridge.endpoint import AnyEndpoint, DriverEndpoint
from kazashi.reader_bridge.fault import FaultPlan
from kazashi.reader_bridge.fault_script import BadFaultScript
from kazashi.reader_bridge.image_watch import ImageWatch
from kazashi.reader_bridge.interface import ContactInterface, ContactlessInterface, Interface
from kazashi.reader_bridge.journal import Journal
from kazashi.reader_bridge.pin_entry import PinEntries
from kazashi.reader_bridge.profile import ReaderProfile
from kazashi.reader_bridge.replay import ReplayedCard
from kazashi.reader_bridge.slot import Slot, SlotBusy
from kazashi.reader_bridge.vpcd import INSERTED, REMOVED, Exchange, Observer
from kazashi.reader_bridge.vpcd_slot import VpcdSlot

_log = logging.getLogger(__name__)


def slot_at(endpoint: AnyEndpoint, *observers: Observer, reader: EmulatedReader | None = None) -> Slot:
    """Return an empty slot at an endpoint. Raises OSError if a socket for the driver cannot be made."""
    if isinstance(endpoint, DriverEndpoint):
        return DriverSlot(endpoint, *observers, reader=reader)
    return VpcdSlot(endpoint, *observers)


class NoSuchSlot(Exception):
    """No slot has the given number or name, or no slot is in the required state."""


class NotOurReader(Exception):
    """The reader is not one of our own driver, and cannot do what was asked."""


@dataclass(frozen=True, slots=True)
class Presentation:
    """How a card is presented to a reader: by contact or contactless, whether a reset keeps the security status, and
    with which faults. A phone, which has no contacts, is contactless always."""

    contactless: bool = False
    reset_keeps_status: bool = False
    faults: FaultPlan | None = None

    def interface(self, card: Card) -> Interface:
        """Return an interface to a card, without the faults."""
        chip = self.chip(card)
        return ContactlessInterface(chip) if self.contactless or not card.contact_atr else ContactInterface(chip)

    def chip(self, card: Card) -> Chip:
        """Return the chip of a card."""
        return Chip(card, policy=MEASURED_RESET if self.reset_keeps_status else ISO_RESET)


@dataclass(frozen=True, slots=True, eq=False)
class Inserted:
    """The card in a slot, and its name. A relayed or replayed card has no image, and its presentation is not used."""

    name: str
    interface: Interface
    image: Path | None = None
    card: Card | None = None
    presentation: Presentation = field(default_factory=Presentation)

    @property
    def store(self) -> ImageStore | None:
        """The image's store, or None for a card without one."""
        return self.card.store if self.card is not None and isinstance(self.card.store, ImageStore) else None


class ReaderHost:
    """The slots of one instance, by number from 0 and by their names in PC/SC. Thread-safe.

    A card whose image another program changes while it is in a slot is removed and inserted again, so that clients
    notice it. `journal` holds the slots' exchanges. `environment` is the environment in which a second client finds the
    same readers.
    `profiles` are those of the readers of our own driver, in the order of their endpoints; None is a plain reader, as
    is every further one. `pins` are the entries of their PIN pads.
    """

    def __init__(
        self,
        endpoints: Sequence[AnyEndpoint],
        environment: Mapping[str, str] | None = None,
        profiles: Sequence[ReaderProfile | None] = (),
    ) -> None:
        self.journal = Journal()
        self.pins = PinEntries()
        self._readers = self._emulated(endpoints, profiles)
        self.slots = [
            slot_at(endpoint, partial(self.journal.add, number), reader=self._readers.get(number))
            for number, endpoint in enumerate(endpoints)
        ]
        self._inserted: dict[Slot, Inserted] = {}
        self._environment = environment
        self._contending: list[subprocess.Popen[bytes]] = []
        self._changing = threading.RLock()  # held while cards are inserted and removed
        self._watch = ImageWatch(self._written)

    def inserted(self, slot: Slot) -> Inserted | None:
        """Return what is in a slot, or None if it is empty."""
        return self._inserted.get(slot)

    def profile(self, slot: Slot) -> str | None:
        """Return the name of the profile of a slot's reader, or None if it has none."""
        reader, _ = self._reader_of(slot)
        return reader.profile.name if reader is not None else None

    def find(self, reference: str) -> Slot:
        """Return a slot by its number, by the name of its reader or the beginning of it, or by the card in it.

        Raises NoSuchSlot if there is no such slot, or more than one.
        """
        if reference.isdigit() and int(reference) < len(self.slots):
            return self.slots[int(reference)]
        matches = [slot for slot, inserted in self._inserted.items() if inserted.name == reference] or [
            slot for slot in self.slots if slot.endpoint.reader.startswith(reference)
        ]
        if len(matches) == 1:
            return matches[0]
        names = ", ".join(f"{number} ({slot.endpoint.reader})" for number, slot in enumerate(self.slots))
        raise NoSuchSlot(f"{reference!r} names {'no slot' if not matches else 'several slots'}; the slots are {names}")

    def first_empty(self) -> Slot:
        """Return the first slot without a card. Raises NoSuchSlot if every slot holds one."""
        for slot in self.slots:
            if not slot.occupied:
                return slot
        raise NoSuchSlot("every slot holds a card; remove one, or start with more readers (kazashi up --reader NAME)")

    def insert(self, slot: Slot, name: str, image: Path, presentation: Presentation) -> None:
        """Insert the card of an image into a slot.

        Raises SlotBusy, ImageMissing, DamagedImage, NoSuchSlot for a reader of other cards, and BadFaultScript if it
        cannot show the faults.
        """
        with self._changing:
            for other, inserted in self._inserted.items():
                if inserted.image == image:
                    raise SlotBusy(f"the card {name} is in {other.endpoint.reader} already; remove it there first")
            self._watch.add(image)  # first, so that no change is missed
            self._put(slot, self._loaded(slot, name, image, presentation))

    def hold(self, slot: Slot, name: str, interface: Interface) -> None:
        """Insert any card interface into a slot. Raises SlotBusy."""
        with self._changing:
            self._put(slot, Inserted(name, interface))

    def remove(self, slot: Slot) -> None:
        """Remove the card from a slot. Raises NoSuchSlot if the slot is empty."""
        with self._changing:
            inserted = self._take(slot)
            if inserted.image is not None:
                self._watch.discard(inserted.image)
            _close_image(inserted)

    def reset(self, slot: Slot) -> None:
        """Remove the card and insert it again: a cold start. Raises NoSuchSlot if the slot is empty."""
        with self._changing:
            inserted = self._take(slot)
            if inserted.image is None:
                if isinstance(inserted.interface, ReplayedCard):
                    inserted.interface.rewind()
                self._put(slot, inserted)
            else:
                _close_image(inserted)
                self.insert(slot, inserted.name, inserted.image, inserted.presentation)

    def unplug(self, slot: Slot) -> None:
        """Unplug the reader to which a slot belongs; its cards stay in it. Raises NotOurReader."""
        for each in self._of_the_same_reader(slot):
            each.unplug()

    def plug(self, slot: Slot) -> None:
        """Plug in again the reader to which a slot belongs. Raises NotOurReader."""
        for each in self._of_the_same_reader(slot):
            each.plug()

    def _of_the_same_reader(self, slot: Slot) -> list[DriverSlot]:
        if not isinstance(slot, DriverSlot):
            raise NotOurReader(
                f"{slot.endpoint.reader} cannot be unplugged: only a reader of our own driver can (not with --vpcd)"
            )
        directory = slot.endpoint.directory
        return [each for each in self.slots if isinstance(each, DriverSlot) and each.endpoint.directory == directory]

    def close(self) -> None:
        """Remove all cards and end the second client, if there is one."""
        self._watch.close()
        for slot in self.slots:
            slot.close()
            if (inserted := self._inserted.pop(slot, None)) is not None:
                self._tell(slot, REMOVED)
                _close_image(inserted)
        for process in self._contending:
            process.kill()
            process.wait()

    def _written(self, image: Path) -> None:
        """Replace a card whose image was changed. PINs do not matter: the chip reads them from the image each time."""
        with self._changing:
            slot = next((slot for slot, inserted in self._inserted.items() if inserted.image == image), None)
            if slot is None:
                return
            inserted = self._inserted[slot]
            digest = inserted.store.digest if inserted.store is not None else None
            if image_digest(image) == digest:
                return
            try:
                changed = self._loaded(slot, inserted.name, image, inserted.presentation)
            except (ImageMissing, DamagedImage, ImageUnreadable) as error:
                _log.error("%s: the card stays as it was: %s", slot.endpoint.reader, error)
                return
            if changed.store is not None and changed.store.digest == digest:
                return  # its digest could not be read at that moment
            self._tell(slot, "the card's image was changed")
            _close_image(self._take(slot))
            self._put(slot, changed)

    def _loaded(self, slot: Slot, name: str, image: Path, presentation: Presentation) -> Inserted:
        names = presentation.faults.of_our_driver if presentation.faults is not None else ()
        if names and not isinstance(slot, DriverSlot):
            raise BadFaultScript(
                f"{slot.endpoint.reader} cannot show the faults {', '.join(names)}: only a reader of our own driver can"
            )
        card = load_card(image)
        if not card.contact_atr:
            presentation = replace(presentation, contactless=True)
        reader, number = self._reader_of(slot)
        hold = presentation.interface
        if reader is not None:
            contactless = reader.profile.slots[number].contactless is not None
            if presentation.contactless and not contactless:
                raise NoSuchSlot(f"{slot.endpoint.reader} reads cards at their contacts, not contactless ones")
            presentation = replace(presentation, contactless=contactless)

            def hold(card: Card) -> Interface:
                return reader.card(number, presentation.chip(card))

        if presentation.faults is None:
            interface = hold(card)
        else:
            interface = presentation.faults.around(card, hold, partial(self._tell, slot), partial(self._steal, slot))
        return Inserted(name, interface, image, card, presentation)

    def _emulated(
        self, endpoints: Sequence[AnyEndpoint], profiles: Sequence[ReaderProfile | None]
    ) -> dict[int, EmulatedReader]:
        """Make the readers that have a profile. Return them by the numbers of their slots."""
        directories = list(dict.fromkeys(e.directory for e in endpoints if isinstance(e, DriverEndpoint)))
        readers: dict[int, EmulatedReader] = {}
        for directory, profile in zip(directories, profiles, strict=False):
            numbers = [n for n, e in enumerate(endpoints) if isinstance(e, DriverEndpoint) and e.directory == directory]
            if profile is not None:
                reader = EmulatedReader(profile, self.pins, partial(self._exchanged, numbers[0]), numbers[0])
                readers.update(dict.fromkeys(numbers, reader))
        return readers

    def _reader_of(self, slot: Slot) -> tuple[EmulatedReader | None, int]:
        """Return the reader with a profile to which a slot belongs, if it does, and the slot's number in its reader."""
        reader = self._readers.get(self.slots.index(slot))
        return reader, slot.endpoint.number if isinstance(slot.endpoint, DriverEndpoint) else 0

    def _exchanged(self, first: int, number: int, command: bytes, response: bytes) -> None:
        """Add a command that a reader itself sent to a card."""
        self.journal.add(first + number, Exchange(time.time(), 0.0, command, response))

    def _put(self, slot: Slot, inserted: Inserted) -> None:
        reader, number = self._reader_of(slot)
        slot.insert(inserted.interface if reader is None else reader.insert(number, inserted.interface))
        self._inserted[slot] = inserted
        self._tell(slot, INSERTED)

    def _take(self, slot: Slot) -> Inserted:
        if slot not in self._inserted:
            raise NoSuchSlot(f"there is no card in {slot.endpoint.reader}")
        self.pins.cancel_all(self.slots.index(slot))
        slot.remove()
        reader, number = self._reader_of(slot)
        if reader is not None:
            reader.remove(number)
        self._tell(slot, REMOVED)
        return self._inserted.pop(slot)

    def _tell(self, slot: Slot, event: str) -> None:
        self.journal.add(self.slots.index(slot), Exchange(time.time(), 0.0, b"", b"", event))

    def _steal(self, slot: Slot, seconds: float) -> bool:
        """Start a second client that takes a reader. Return False if one runs, whose commands would start more."""
        if any(process.poll() is None for process in self._contending):
            return False
        command = [
            sys.executable,
            "-P",
            "-m",
            "kazashi.reader_bridge.contending_client",
            slot.endpoint.reader,
            str(seconds),
        ]
        environment = dict(self._environment) if self._environment is not None else None
        self._contending = [subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL)]
        return True


def _close_image(inserted: Inserted) -> None:
    if inserted.store is not None:
        inserted.store.close()
