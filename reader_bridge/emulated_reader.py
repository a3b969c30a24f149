"""A reader with a profile: what it answers to a PC/SC client itself, and how it passes commands to its cards.

It answers as the CCID driver 1.8.2 of pcsc-lite does with such a reader (github.com/LudovicRousseau/CCID,
src/ifdhandler.c and src/commands.c); the profile says what the reader itself does.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from hashlib import sha256

from kazashi.card.chip import Chip
from kazashi.card.instruction import CommandClass
from kazashi.card.rule import RuleSource, StatusRule, ruled
from kazashi.reader_bridge.interface import (
    ContactInterface,
    ContactlessInterface,
    Interface,
    NotSupportedByReader,
    ReaderFailed,
    atr_with_pupi,
)
from kazashi.reader_bridge.layer import ChainedResponses, Layer, T0Commands
from kazashi.reader_bridge.pin_pad import PinPad, PinSource, no_pin_source
from kazashi.reader_bridge.profile import ContactlessAtr, ExchangeLevel, PinProcedure, ReaderProfile, SlotProfile
from kazashi.reader_bridge.reader_command import SUCCESS

VENDOR_NAME = 0x00010100
"""Attributes as PC/SC numbers them (SCARD_ATTR_*)."""
VENDOR_IFD_VERSION = 0x00010102
ICC_PRESENCE = 0x00090300
ICC_INTERFACE_STATUS = 0x00090301
ATR_STRING = 0x00090303
MAXINPUT = 0x0007A007

_CONTROL = 0x42000000
ESCAPE = _CONTROL + 1
"""The control code of escape commands."""
GET_FEATURE_REQUEST = _CONTROL + 3400
GET_FEATURE_REQUEST_OF_WINDOWS = 0x313520
"""The same control code as Windows numbers it; remote desktops pass it on."""
_FEATURE = _CONTROL + 0x330000

_IFD_PIN_PROPERTIES, _GET_TLV_PROPERTIES, _CCID_ESC_COMMAND = 0x0A, 0x12, 0x13
_LONGEST_APDU = 4 + 3 + 65536 + 3
_OWN_ANSWER = StatusRule("the reader handles this command itself, as its profile says", RuleSource.READERS)

T0, T1 = 1, 2
"""Protocols as PC/SC numbers them (SCARD_PROTOCOL_T0 and SCARD_PROTOCOL_T1)."""

Exchanged = Callable[[int, bytes, bytes], None]
"""Called with the slot, command and response of each command that the reader itself sends to a card."""


class EmulatedReader:
    """A reader with a profile. Slots are numbered from 0. Thread-safe, except that a slot has one client at a time.

    `pin_source` gets a PIN from a person; without one, every entry of a PIN is cancelled. It is told the number of the
    slot plus `first_slot`.
    """

    def __init__(
        self,
        profile: ReaderProfile,
        pin_source: PinSource = no_pin_source,
        exchanged: Exchanged = lambda *_: None,
        first_slot: int = 0,
    ) -> None:
        self.profile = profile
        self._exchanged = exchanged
        self._lock = threading.Lock()
        self._settings = dict(profile.settings)
        self._insertions = 0
        self._slots = [_ReaderSlot(self, number, slot) for number, slot in enumerate(profile.slots)]
        self._pin_pads = [
            None if slot.pin_pad is None else PinPad(slot.pin_pad, first_slot + number, pin_source)
            for number, slot in enumerate(profile.slots)
        ]

    def card(self, slot: int, chip: Chip, atqb: bytes = b"") -> ContactInterface:
        """Return an interface to a chip: contactless or by contact, as the slot is."""
        contactless = self.profile.slots[slot].contactless
        if contactless is None:
            return ContactInterface(chip)
        # A phone has a random identifier at every reader.
        fixed = contactless.fixed_pupi and bool(chip.card.contact_atr)
        return ContactlessInterface(chip, atqb, fixed_pupi=_pupi_of(chip) if fixed else None)

    def insert(self, slot: int, interface: Interface) -> Interface:
        """Put a card into a slot and return its interface as a client of the reader sees it, whose `transmit` may raise
        ReaderFailed. `interface` may be what `card` returned, that in layers, or another card."""
        if self.profile.slots[slot].contactless is None:
            self._insertions += 1
        return self._slots[slot].insert(interface)

    def remove(self, slot: int) -> None:
        """Take the card out of a slot."""
        self._slots[slot].card = None

    def protocol(self, slot: int, number: int) -> None:
        """Agree on a protocol with the card in a slot, T0 or T1. Raises NotSupportedByReader if the reader lacks it."""
        if number - T0 not in self.profile.slots[slot].protocols:
            raise NotSupportedByReader(f"the reader has no protocol {number} in slot {slot}")
        self._slots[slot].t0 = number == T0

    def attribute(self, slot: int, tag: int) -> bytes:
        """Return an attribute (SCARD_ATTR_*). Raises NotSupportedByReader if the reader does not have it."""
        card = self._slots[slot].card
        present = card is not None and card.present
        vendor, version = self.profile.vendor, self.profile.version
        attributes = {
            VENDOR_NAME: None if vendor is None else vendor.encode() + b"\0",
            VENDOR_IFD_VERSION: None if version is None else (version << 16).to_bytes(4, "little"),
            ICC_PRESENCE: bytes((2 if present else 0,)),
            ICC_INTERFACE_STATUS: bytes((present,)),
            ATR_STRING: card.atr if card is not None and self._slots[slot].powered else b"",
            MAXINPUT: self.profile.slots[slot].longest_command.to_bytes(4, "little"),
        }
        value = attributes.get(tag)
        if value is None:
            raise NotSupportedByReader(f"the reader has no attribute {tag:08X}")
        return value

    def set_attribute(self, slot: int, tag: int, value: bytes) -> None:
        """Raise NotSupportedByReader: no attribute of these readers can be set."""
        raise NotSupportedByReader(f"attribute {tag:08X} of slot {slot} cannot be set to {value.hex()}")

    def control(self, slot: int, code: int, data: bytes) -> bytes:
        """Return the answer to a control code.

        Raises NotSupportedByReader and ReaderFailed, and CardGone if a PIN command finds that the card has left.
        """
        if code in (GET_FEATURE_REQUEST, GET_FEATURE_REQUEST_OF_WINDOWS):
            return b"".join(
                bytes((feature, 4)) + self._code_of(feature).to_bytes(4) for feature in self._features(slot)
            )
        if code == ESCAPE:
            answer = self.escape(slot, data) if self.profile.escape_allowed else None
            if answer is None:
                raise ReaderFailed(f"the escape command {data.hex()} is not for this reader")
            return answer
        feature = code - _FEATURE
        if feature not in self._features(slot):
            raise NotSupportedByReader(f"the reader has no control code {code:08X}")
        if feature == _GET_TLV_PROPERTIES:
            return self._tlv_properties(slot)
        pad = self._pin_pads[slot]
        assert pad is not None
        if feature == _IFD_PIN_PROPERTIES:
            return pad.properties()
        return self._pin_command(slot, pad, PinProcedure(feature), data)

    def escape(self, slot: int, command: bytes) -> bytes | None:
        """Return the answer to an escape command, or None if the reader does not know it."""
        return self._own_answer(slot, command, escape=True)

    def _own_answer(self, slot: int, command: bytes, *, escape: bool) -> bytes | None:
        with self._lock:
            for entry in self.profile.commands:
                if entry.through_escape if escape else entry.through_card:
                    try:
                        answer = entry.respond(command, self._settings, self._values(slot))
                    except KeyError:  # the answer needs a card in the field
                        return None
                    if answer is not None:
                        return answer
        return None

    def _values(self, slot: int) -> Mapping[str, bytes]:
        """The values that answers can contain. A contact slot has those of the reader's contactless slot."""
        values = {"insertions": self._insertions.to_bytes(4)}
        slots = [self._slots[slot], *self._slots] if self.profile.slots[slot].contactless else self._slots
        for candidate in slots:
            if isinstance(candidate.field, ContactlessInterface):
                return {**values, "pupi": candidate.field.pupi, "rates": candidate.field.atqb[4:5]}
        return values

    def _features(self, slot: int) -> list[int]:
        pad = self.profile.slots[slot].pin_pad
        features = [] if pad is None else [*(step.value for step in pad.procedures), _IFD_PIN_PROPERTIES]
        return [*features, _GET_TLV_PROPERTIES, *([_CCID_ESC_COMMAND] if self.profile.escape_allowed else [])]

    @staticmethod
    def _code_of(feature: int) -> int:
        return ESCAPE if feature == _CCID_ESC_COMMAND else _FEATURE + feature

    def _tlv_properties(self, slot: int) -> bytes:
        """The properties of PC/SC part 10, 2.6.14. Numbers of several bytes are little-endian."""
        profile, pad = self.profile.slots[slot], self.profile.slots[slot].pin_pad
        lines, columns = pad.display if pad is not None else (0, 0)
        long = profile.exchange is not ExchangeLevel.SHORT
        properties = [(1, bytes((columns, lines)))]
        if lines:
            properties += [(4, columns.to_bytes(2, "little")), (5, lines.to_bytes(2, "little"))]
        properties.append((3, b"\0"))
        if pad is not None and pad.limits_told:
            properties += [(6, bytes((pad.shortest,))), (7, bytes((pad.longest,))), (2, bytes((pad.validation,)))]
        properties.append((9, bytes((self.profile.escape_allowed,))))
        if self.profile.vendor_id is not None and self.profile.product_id is not None:
            properties.append((11, self.profile.vendor_id.to_bytes(2, "little")))
            properties.append((12, self.profile.product_id.to_bytes(2, "little")))
        properties.append((10, (0x10000 if long else 0).to_bytes(4, "little")))
        return b"".join(bytes((tag, len(value))) + value for tag, value in properties)

    def _pin_command(self, slot: int, pad: PinPad, procedure: PinProcedure, data: bytes) -> bytes:
        card = self._slots[slot].card
        if card is None or not self._slots[slot].powered:
            raise ReaderFailed("there is no powered card for the PIN command")

        def send(command: bytes) -> bytes:
            response = card.transmit(command)
            self._exchanged(slot, command, response)
            return response

        answer = pad.run(procedure, data, send)
        if answer is None:
            raise NotSupportedByReader("the lengths in the structure of the PIN command do not match")
        return answer


class _ReaderSlot:
    """A slot: its card as a client sees it, and the contactless interface in it."""

    def __init__(self, reader: EmulatedReader, number: int, profile: SlotProfile) -> None:
        self.reader, self.number, self.profile = reader, number, profile
        self.card: Interface | None = None
        self.field: Interface | None = None
        self.powered = False
        self.t0 = profile.protocols == (0,)

    def insert(self, interface: Interface) -> Interface:
        """Make a card the one in this slot, behind the reader's layers."""
        self.powered, self.t0 = False, self.profile.protocols == (0,)
        self.field = _innermost(interface)
        self.card = _ReaderLayer(interface, self)
        return self.card


class _ReaderLayer(Layer):
    """What a reader does with a card's ATR and commands."""

    def __init__(self, inner: Interface, slot: _ReaderSlot) -> None:
        super().__init__(inner)
        self._slot = slot
        self._in_t0 = ChainedResponses(T0Commands(inner))

    @property
    def atr(self) -> bytes:
        field, profile = self._slot.field, self._slot.profile
        if profile.card_atr is not None and self.inner.atr:
            return profile.card_atr
        if (
            isinstance(field, ContactlessInterface)
            and profile.contactless is not None
            and profile.contactless.atr is ContactlessAtr.WITH_PUPI
            and self.inner.atr == field.atr  # no layer has replaced it
        ):
            return atr_with_pupi(field.pupi, field.atqb)
        return self.inner.atr

    def power_on(self) -> None:
        self._in_t0.power_on()
        self._slot.powered = True

    def power_off(self) -> None:
        super().power_off()
        self._slot.powered = False

    def reset(self) -> None:
        self._in_t0.reset()

    def transmit(self, command: bytes) -> bytes:
        self._check_length(command)
        contactless = self._slot.profile.contactless
        if contactless is not None and command[:1] == CommandClass.READER.to_bytes(1):
            return ruled(self._own(command) or contactless.unknown, _OWN_ANSWER)
        if contactless is None and command[:4] == self._slot.reader.profile.escape_apdu:
            own = self._own(command)
            return self.inner.transmit(command) if own is None else ruled(own, _OWN_ANSWER)
        if contactless is not None or not self._slot.t0:
            return self.inner.transmit(command)
        if self._slot.profile.exchange is not ExchangeLevel.TPDU:  # the reader fetches the response data itself
            return self.inner.transmit(command)
        if len(command) > 5 and len(command) != 5 + command[4]:
            raise ReaderFailed("a command in T=0 has data or an expected length, not both (ISO 7816-3, 10.3.2)")
        return self._in_t0.transmit(command)

    def _own(self, command: bytes) -> bytes | None:
        """The reader's own answer to a command of class FF, which may carry an escape command."""
        reader, number = self._slot.reader, self._slot.number
        if command[:4] == reader.profile.escape_apdu and len(command) > 5:
            answer = reader.escape(number, command[5 : 5 + command[4]])
            return None if answer is None else answer + SUCCESS
        return reader._own_answer(number, command, escape=False)

    def _check_length(self, command: bytes) -> None:
        """Raise ReaderFailed if the command is too long for the reader, or extended where only short ones pass."""
        profile = self._slot.profile
        whole = profile.exchange is ExchangeLevel.SHORT or (profile.exchange is ExchangeLevel.TPDU and self._slot.t0)
        longest = profile.longest_command if whole else _LONGEST_APDU
        extended = len(command) >= 7 and command[4] == 0
        if len(command) > longest or (whole and extended):
            raise ReaderFailed(f"a command of {len(command)} bytes does not fit; the longest has {longest}")


def _innermost(interface: Interface) -> Interface:
    while isinstance(interface, Layer):
        interface = interface.inner
    return interface


def _pupi_of(chip: Chip) -> bytes:
    """A PUPI that the card always has, from what the card manager tells everybody."""
    objects = chip.card.applications[0].objects
    return sha256(b"".join(value for _, value in sorted(objects.items()))).digest()[:4]
