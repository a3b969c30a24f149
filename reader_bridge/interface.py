"""A chip as a reader sees it: at its contacts, or contactless as a Type B card (PC/SC part 3)."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Protocol

from kazashi.card.chip import Chip
from kazashi.card.instruction import CommandClass, Instruction
from kazashi.card.rule import RuleSource, StatusRule, ruled
from kazashi.card.status_word import Status

_SUCCESS = Status.SUCCESS.to_bytes(2)
_READER_ANSWERS = StatusRule("the reader handles this command itself", RuleSource.PCSC_READER_COMMANDS)
_UNKNOWN_CLASS = ruled(
    Status.UNKNOWN_CLASS.to_bytes(2),
    StatusRule("the reader has no other command of class FF", RuleSource.PCSC_READER_COMMANDS),
)
_READER_CLASS = CommandClass.READER.to_bytes(1)
GET_UID = Instruction.GET_UID.to_bytes(2) + b"\0\0\0"
GET_ATTRIB_RESPONSE = Instruction.GET_UID.to_bytes(2) + b"\1\0\0"
"""The two commands that a contactless reader handles itself (PC/SC part 3, section 3.2.2.1.3)."""

CONTACTLESS_ATQBS = {
    "plain": bytes.fromhex("000005E0B381A1"),
    "second": bytes.fromhex("000041E0B381A1"),
    "third": bytes.fromhex("004B51FF0081D1"),
    "fourth": bytes.fromhex("004B51FFB381D1"),
}
"""Answers to the Type B request seen from cards: four bytes of application data, three of protocol information."""

DEFAULT_ATQB = CONTACTLESS_ATQBS["plain"]


class CardGone(Exception):
    """The card left the reader while it was in use."""


class NotSupportedByReader(Exception):
    """The reader does not have the attribute, control code or protocol."""


class ReaderFailed(Exception):
    """The reader does not take the command, or failed; PC/SC clients get SCARD_E_NOT_TRANSACTED."""


class ProtocolRefused(Exception):
    """The card does not take the protocol."""


class Interface(Protocol):
    """A card in a reader.

    Every method except `present` may raise CardGone. The slot then removes the card, and inserts it again once it is
    `present`.
    """

    @property
    def present(self) -> bool:
        """Whether the card is in the reader. The emulated chip always is."""

    @property
    def changes_in(self) -> float | None:
        """The seconds after which `present` may have changed by itself, so that the slot has to look again, or None."""

    @property
    def atr(self) -> bytes:
        """The ATR that the reader reports."""

    def power_on(self) -> None:
        """Power the card on (cold start)."""

    def power_off(self) -> None:
        """Power the card off."""

    def reset(self) -> None:
        """Reset the card (warm reset)."""

    def negotiate(self, protocol: int) -> None:
        """Choose a protocol, 1 for T=0 and 2 for T=1. Raises ProtocolRefused and ReaderFailed."""

    def transmit(self, command: bytes) -> bytes:
        """Return the response to one command APDU. Raises ReaderFailed."""


class ContactInterface:
    """A chip in a contact reader. It receives every command, even those of class FF, which it does not know."""

    present = True
    changes_in = None

    def __init__(self, chip: Chip) -> None:
        self.chip = chip

    @property
    def atr(self) -> bytes:
        """The ATR that the reader reports."""
        return self.chip.card.contact_atr

    def power_on(self) -> None:
        """Power the card on (cold start)."""
        self.chip.power_on()

    def power_off(self) -> None:
        """Power the card off."""
        self.chip.power_off()

    def reset(self) -> None:
        """Reset the card (warm reset)."""
        self.chip.reset()

    def negotiate(self, protocol: int) -> None:
        """Take any protocol: the chip's commands are the same in all."""

    def transmit(self, command: bytes) -> bytes:
        """Return the response to one command APDU."""
        return self.chip.transmit(command)


class ContactlessInterface(ContactInterface):
    """A chip on a contactless reader, which builds the ATR and handles the commands of class FF itself.

    `pupi` is the card's pseudo-unique identifier, 4 bytes. It is new each time the card enters the field, unless
    `fixed_pupi` is given (ISO 14443-3, 7.9.2, allows both). `atqb` replaces the card's own.
    """

    def __init__(
        self,
        chip: Chip,
        atqb: bytes = b"",
        chance: Callable[[int], bytes] = os.urandom,
        fixed_pupi: bytes | None = None,
    ) -> None:
        super().__init__(chip)
        self._chance = chance
        self._fixed_pupi = fixed_pupi
        self.atqb = atqb or chip.card.atqb or DEFAULT_ATQB
        self.pupi = fixed_pupi or chance(4)

    @property
    def atr(self) -> bytes:
        """The ATR that the reader reports."""
        return contactless_atr(self.atqb)

    def power_on(self) -> None:
        """Power the card on (cold start)."""
        if not self.chip.powered:
            self.pupi = self._fixed_pupi or self._chance(4)
        super().power_on()

    def transmit(self, command: bytes) -> bytes:
        """Return the response to one command APDU."""
        if command[:1] != _READER_CLASS:
            return self.chip.transmit(command)
        if command == GET_UID:
            return ruled(self.pupi + _SUCCESS, _READER_ANSWERS)
        if command == GET_ATTRIB_RESPONSE:
            return ruled(b"\0" + _SUCCESS, _READER_ANSWERS)
        return _UNKNOWN_CLASS


def is_contactless_atr(atr: bytes) -> bool:
    """Return whether a contactless reader made this ATR (PC/SC part 3, section 3.1.3.2.3)."""
    return len(atr) >= 4 and atr[0] == 0x3B and atr[1] & 0xF0 == 0x80 and atr[2:4] == b"\x80\x01"


def contactless_atr(atqb: bytes) -> bytes:
    """Return the ATR of a Type B card. Its historical bytes are the seven bytes of the ATQB and an empty nibble (PC/SC
    part 3, 3.1.3.2.3)."""
    return _with_check(bytes.fromhex("888001") + atqb + b"\0")


def atr_with_pupi(pupi: bytes, atqb: bytes) -> bytes:
    """Return the ATR that some readers build of a Type B card: its historical bytes are the whole answer to the
    request, 50, the PUPI and the seven bytes of `atqb`."""
    return _with_check(bytes.fromhex("8C800150") + pupi + atqb)


def _with_check(body: bytes) -> bytes:
    """Return an ATR with its check byte TCK, the exclusive or of all bytes after TS (ISO 7816-3, 8.2.5)."""
    check = 0
    for byte in body:
        check ^= byte
    return b"\x3b" + body + bytes((check,))
