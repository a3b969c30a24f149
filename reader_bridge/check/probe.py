"""The card under examination: what it is taken for, and the one way by which commands reach it.

Every command goes through `Probe.transmit`, and `allowed` there is the promise that nothing which could cost a try or
change a card ever reaches one that is not ours: a list of what may pass, not of what may not.
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
"""PIV's name; nothing of an individual number card begins like it."""

_SUCCESS = Status.SUCCESS.to_bytes(2)
_STEP = 0xF0
_TOKEN_LABEL = b"JPKIAP"

UNKNOWN_INSTRUCTION = 0x1C
"""One that no standard gives a meaning, so that no card does anything at it."""

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
"""The organisation of every authority of ours. No real one is called so, and no real card holds such a certificate."""

ACCEPTED_RISK = "this card may be blocked for good and I accept that"
"""What somebody must write to have PINs sent to a card that is not ours."""


class CardType(Enum):
    """What the card is."""

    EMULATED = "an emulated individual number card"
    NUMBER_CARD = "an individual number card that is not emulated"
    OTHER = "another card"

    @property
    def is_number_card(self) -> bool:
        """Whether the individual number card's files are to be expected."""
        return self is not CardType.OTHER


class NoAnswer(Exception):
    """The card answered nothing, not even a status word: so vpcd tells of a card that has gone."""


class CommandForbidden(Exception):
    """A check asked for a command that must not reach this card: a defect of the check."""


@dataclass(frozen=True, slots=True)
class CardPins:
    """PINs that may be sent. `risk_accepted` says that they may go to a card that is not ours as well."""

    authentication: str | None = None
    signature: str | None = None
    risk_accepted: bool = False

    def may_go_to(self, kind: CardType) -> bool:
        """Whether any PIN may be sent to such a card at all."""
        return kind is CardType.EMULATED or (kind is CardType.NUMBER_CARD and self.risk_accepted)


def allowed(command: bytes, kind: CardType, secrets: CardPins) -> bool:
    """Whether a command may be sent to a card of that kind."""
    if command in (GET_UID, GET_ATTRIB_RESPONSE):
        return True
    if len(command) < 4:
        return False
    if command[0] in _READING_CLASSES and command[1] in _READING:
        return True
    instruction = int.from_bytes(command[:2])
    if instruction == Instruction.VERIFY and len(command) == 4:
        return kind.is_number_card  # the empty VERIFY costs none there; other cards may take it for a wrong PIN
    return secrets.may_go_to(kind) and instruction in _WITH_SECRETS


@dataclass
class Probe:
    """A card in a reader, connected."""

    reader: str
    card: CardHandle
    kind: CardType = CardType.OTHER
    secrets: CardPins = CardPins()

    def transmit(self, command: bytes) -> bytes:
        """One command and its answer. Raises PcscError, NoAnswer, and Refused for what must not be sent."""
        if not allowed(command, self.kind, self.secrets):
            raise CommandForbidden(f"{command.hex().upper()} must not be sent to {self.kind.value}")
        answer = self.card.transmit(command)
        if len(answer) < 2:
            raise NoAnswer(f"the card answered {len(answer)} bytes to {command[:5].hex().upper()}: it may be gone")
        return answer

    def send(self, hexadecimal: str) -> bytes:
        """The same, of a command written in hexadecimal."""
        return self.transmit(bytes.fromhex(hexadecimal))

    def cold_start(self) -> None:
        """Take the card's power and give it back."""
        self.card.reconnect(SCARD_UNPOWER_CARD)

    def identify(self) -> None:
        """Settle what the card is. A number card has the application, its token information, and not an application of
        another card's name: one that agrees to everything is none. It is ours if an authority of ours issued it, which
        every reader of the card can see."""
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
        """Select an application by its name."""
        return self.transmit(select(aid))

    def file(self, fid: int, most: int = 0x7F00) -> bytes:
        """A file of the current application from its beginning, up to `most` bytes of it, read in steps that every
        reader takes."""
        if self.transmit(select_file(fid))[-2:] != _SUCCESS:
            return b""
        content = b""
        while len(content) < most:
            wanted = min(_STEP, most - len(content))
            answer = self.transmit(read_binary(len(content), wanted))
            if answer[-2:] != _SUCCESS or len(answer) == 2:
                break
            content += answer[:-2]
            if len(answer) < wanted + 2:
                break
        return content
