"""The powered chip. It accepts any byte string as a command and always returns a response."""

from __future__ import annotations

import logging
import os

from kazashi.card.access import ISO_RESET, Loss, SecurityPolicy, SessionEvent
from kazashi.card.apdu import TOO_SHORT, CommandApdu
from kazashi.card.card import Card
from kazashi.card.commands import ELLIPTIC_HANDLERS, HANDLERS
from kazashi.card.instruction import CommandClass
from kazashi.card.rejection import (
    CommandRejected,
    LogicalChannelNotSupported,
    NoSecureMessagingSession,
    SecureMessagingNotSupported,
    SecureMessagingObjectMissing,
    UnknownClass,
    UnknownInstruction,
    WrongLength,
)
from kazashi.card.rule import RuledResponse, RuleSource, StatusRule, ruled
from kazashi.card.session import Chance, Session
from kazashi.card.status_word import Status
from kazashi.card.store import StoreFailure

_log = logging.getLogger(__name__)
_MEMORY_FAILURE = ruled(
    Status.MEMORY_FAILURE.to_bytes(2), StatusRule("a write to the durable store failed", RuleSource.ISO_STATUS)
)
_INTERNAL_ERROR = ruled(
    Status.INTERNAL_ERROR.to_bytes(2), StatusRule("a bug in the emulation; see the log", RuleSource.EMULATION)
)

# Every command is looked up here, and a plain int is found twice as fast as an enum member.
_HANDLERS = {int(instruction): handler for instruction, handler in HANDLERS.items()}
_ELLIPTIC_HANDLERS = {int(instruction): handler for instruction, handler in ELLIPTIC_HANDLERS.items()}


class NotPowered(RuntimeError):
    """A command was sent to a chip that has no power."""


class Chip:
    """A card that can be powered, reset and sent commands.

    `chance` is the chip's source of random bytes. `policy` says which event clears which achieved fact. Not
    thread-safe: a card has one interface.
    """

    def __init__(self, card: Card, chance: Chance = os.urandom, policy: SecurityPolicy = ISO_RESET) -> None:
        self.card = card
        self._chance = chance
        self._policy = policy
        self._session: Session | None = None
        self._handlers = _ELLIPTIC_HANDLERS if card.is_elliptic else _HANDLERS

    @property
    def powered(self) -> bool:
        """Whether the chip has power."""
        return self._session is not None

    def power_on(self) -> bytes:
        """Power the chip on and return its ATR. A chip that has power already keeps its state."""
        if self._session is None:
            self._session = Session(self.card, self._chance, self._policy)
        return self.card.contact_atr

    def power_off(self) -> None:
        """Power the chip off. Everything that is not durable is lost."""
        self._session = None

    def reset(self) -> bytes:
        """Warm-reset the chip and return its ATR.

        If a reset clears no facts under the policy, the selected application and file are kept too.
        """
        if self._session is None:
            return self.power_on()
        self._session.happened(SessionEvent.RESET)
        if self._policy.losses[SessionEvent.RESET] is not Loss.NONE:
            self._session = Session(self.card, self._chance, self._policy)
        return self.card.contact_atr

    def transmit(self, raw: bytes) -> RuledResponse:
        """Return the response to one command, at least the two bytes of a status word, with the rule behind that.

        Raises NotPowered if the chip has no power.
        """
        session = self._session
        if session is None:
            raise NotPowered("the chip has no power; power it on first")
        try:
            if len(raw) < 4:
                raise WrongLength(TOO_SHORT, RuleSource.ISO_LENGTHS)
            handler = self._handlers.get(raw[0] << 8 | raw[1])
            if handler is None:
                return _UNKNOWN[raw[0]]
            return handler(session, CommandApdu.parse(raw))
        except CommandRejected as rejection:
            return rejection.response
        except StoreFailure as failure:
            _log.warning("the card's durable store failed: %s", failure)
            return _MEMORY_FAILURE
        except Exception:
            # To the client, a bug in the emulation looks like a defect of the card. The log has the traceback.
            _log.exception("command %s crashed", raw.hex())
            return _INTERNAL_ERROR


def _unknown(cla: int) -> CommandRejected:
    """Return why no handler was found: the instruction if the card supports the class, otherwise the class."""
    if cla in (CommandClass.INTERINDUSTRY, CommandClass.PROPRIETARY):
        return UnknownInstruction("the card has no such command in this class", RuleSource.ISO_INSTRUCTION)
    if cla & 0x70 == 0 and cla & 0x03:
        return LogicalChannelNotSupported("the card has logical channel 0 only", RuleSource.MYNA_CARD)
    match cla:
        case CommandClass.PROPRIETARY_SECURE_MESSAGING:
            return SecureMessagingNotSupported("the card has no proprietary secure messaging", RuleSource.ISO_CLASS)
        case CommandClass.SECURE_MESSAGING:
            return NoSecureMessagingSession("no session key was set", RuleSource.MYNA_CARD_SECURE_MESSAGING)
        case CommandClass.SECURE_MESSAGING_WITH_HEADER:
            return SecureMessagingObjectMissing(
                "a command in secure messaging consists of data objects", RuleSource.MYNA_CARD_SECURE_MESSAGING
            )
    return UnknownClass("the card has no commands of this class", RuleSource.ISO_CLASS)


_UNKNOWN = [_unknown(cla).response for cla in range(0x100)]
"""The response to a command without a handler, by its class."""
