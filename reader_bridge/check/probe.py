"""The card under test: its identification, and the only way to send it commands.

Every command goes through `Probe.transmit`, which calls `allowed`. This list of allowed commands guarantees that a card
that is not emulated never receives a command that could decrement a retry counter or change it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from smartcard.scard import SCARD_UNPOWER_CARD

from kazashi.applets import card_manager, jpki
from kazashi.card.identifiers import Aid
from kazashi.card.instruction import CommandClass, Instruction
from kazashi.card.request import read_binary, select, select_file
from kazashi.card.status_word import Status
from kazashi.reader_bridge.interface import GET_ATTRIB_RESPONSE, GET_UID
from kazashi.reader_bridge.pcsc import CardHandle

SELECT_JPKI = select(jpki.AID)
SELECT_CARD_MANAGER = select(card_manager.AID)
SELECT_FOREIGN = select(Aid("A00000030800001000"))
"""PIV's AID; no application of an individual number card begins like it."""

_SUCCESS = Status.SUCCESS.to_bytes(2)
_STEP = 0xF0
_TOKEN_LABEL = b"JPKIAP"

UNKNOWN_INSTRUCTION = 0x1C
"""An instruction to which no standard gives a meaning, so that no card does anything."""

_READING = {
    UNKNOWN_INSTRUCTION,
    *(
        instruction.ins
        for instruction in (
            Instruction.SELECT,
            Instruction.READ_BINARY,
            Instruction.READ_RECORD,
            Instruction.GET_DATA,
            Instruction.GET_CHALLENGE,
            Instruction.GET_RESPONSE,
        )
    ),
}
_READING_CLASSES = {CommandClass.INTERINDUSTRY, CommandClass.LOGICAL_CHANNEL_1, CommandClass.UNASSIGNED}
_WITH_SECRETS = {Instruction.VERIFY, Instruction.COMPUTE_DIGITAL_SIGNATURE}
_EMULATED = b"JPKI-EMU"
"""The organisation of every emulated authority. No real authority has this name, and no real card such a
certificate."""

ACCEPTED_RISK = "this card may be blocked for good and I accept that"
"""The text that a user must enter to have PINs sent to a card that is not emulated."""


class CardType(Enum):
    """What kind of card it is."""

    EMULATED = "an emulated individual number card"
    NUMBER_CARD = "an individual number card that is not emulated"
    OTHER = "another card"

    @property
    def is_number_card(self) -> bool:
        """Whether it is an individual number card, emulated or not."""
        return self is not CardType.OTHER


class NoAnswer(Exception):
    """The response has no status word. vpcd reports a removed card in this way."""


class CommandForbidden(Exception):
    """A check tried to send a command that this card must not receive, which is a bug in the check."""


@dataclass(frozen=True, slots=True)
class CardPins:
    """PINs that may be sent. `risk_accepted` says whether they may be sent to a card that is not emulated."""

    authentication: str | None = None
    signature: str | None = None
    risk_accepted: bool = False

    def may_go_to(self, kind: CardType) -> bool:
        """Return whether PINs may be sent to this kind of card."""
        return kind is CardType.EMULATED or (kind is CardType.NUMBER_CARD and self.risk_accepted)


def allowed(command: bytes, kind: CardType, secrets: CardPins) -> bool:
    """Return whether a command may be sent to this kind of card."""
    if command in (GET_UID, GET_ATTRIB_RESPONSE):
        return True
    if len(command) < 4:
        return False
    if command[0] in _READING_CLASSES and command[1] in _READING:
        return True
    instruction = int.from_bytes(command[:2])
    if instruction == Instruction.VERIFY and len(command) == 4:
        return kind.is_number_card  # the empty VERIFY is harmless there; other cards may count it as a wrong PIN
    return secrets.may_go_to(kind) and instruction in _WITH_SECRETS


@dataclass
class Probe:
    """A connected card in a reader."""

    reader: str
    card: CardHandle
    kind: CardType = CardType.OTHER
    secrets: CardPins = CardPins()

    def transmit(self, command: bytes) -> bytes:
        """Send one command and return its response.

        Raises PcscError, NoAnswer, and CommandForbidden for a command that must not be sent.
        """
        if not allowed(command, self.kind, self.secrets):
            raise CommandForbidden(f"{command.hex().upper()} must not be sent to {self.kind.value}")
        response = self.card.transmit(command)
        if len(response) < 2:
            raise NoAnswer(
                f"the card sent {len(response)} bytes in response to {command[:5].hex().upper()};"
                " it may have been removed"
            )
        return response

    def send(self, hexadecimal: str) -> bytes:
        """Send a command in hexadecimal and return its response. Raises as `transmit` does."""
        return self.transmit(bytes.fromhex(hexadecimal))

    def cold_start(self) -> None:
        """Power the card off and on."""
        self.card.reconnect(SCARD_UNPOWER_CARD)

    def identify(self) -> None:
        """Identify the card and set `kind`.

        An individual number card has the JPKI application and its token information, and does not have another card's
        application, so that a card which accepts every command is not one. It is emulated if an emulated authority
        issued it, which can be read without a PIN.
        """
        self.kind = CardType.OTHER
        if self.transmit(SELECT_JPKI)[-2:] != _SUCCESS or self.transmit(SELECT_FOREIGN)[-2:] == _SUCCESS:
            return
        self.transmit(SELECT_JPKI)
        if not self.file(jpki.TOKEN_INFORMATION, 16).startswith(_TOKEN_LABEL):
            return
        self.kind = CardType.NUMBER_CARD
        if _EMULATED in self.file(jpki.AUTHENTICATION_AUTHORITY, _STEP):
            self.kind = CardType.EMULATED

    def select(self, aid: Aid) -> bytes:
        """Select an application by its AID and return the response."""
        return self.transmit(select(aid))

    def file(self, fid: int, most: int = 0x7F00) -> bytes:
        """Return the first `most` bytes of a file of the current application, or nothing if it cannot be selected.

        They are read in pieces that every reader supports.
        """
        if self.transmit(select_file(fid))[-2:] != _SUCCESS:
            return b""
        content = b""
        while len(content) < most:
            wanted = min(_STEP, most - len(content))
            response = self.transmit(read_binary(len(content), wanted))
            if response[-2:] != _SUCCESS or len(response) == 2:
                break
            content += response[:-2]
            if len(response) < wanted + 2:
                break
        return content
