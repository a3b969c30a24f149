"""The powered chip. It accepts any byte string as a command and always returns a response."""

from __future__ import annotations

import logging
import os

from kazashi.card.access import ISO_RESET, Loss, SecurityPolicy, SessionEvent
from kazashi.card.apdu import CommandApdu
from kazashi.card.card import Card
from kazashi.card.commands import HANDLERS
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
from kazashi.card.session import Chance, Session
from kazashi.card.status_word import Status
from kazashi.card.store import StoreFailure

_log = logging.getLogger(__name__)
_SUCCESS = Status.SUCCESS.to_bytes(2)
_MEMORY_FAILURE = Status.MEMORY_FAILURE.to_bytes(2)
_INTERNAL_ERROR = Status.INTERNAL_ERROR.to_bytes(2)

# Every command is looked up here, and a plain int is found twice as fast as an enum member.
_HANDLERS = {int(instruction): handler for instruction, handler in HANDLERS.items()}

_SECURE_MESSAGING: dict[int, type[CommandRejected]] = {
    CommandClass.PROPRIETARY_SECURE_MESSAGING: SecureMessagingNotSupported,
    CommandClass.SECURE_MESSAGING: NoSecureMessagingSession,
    CommandClass.SECURE_MESSAGING_WITH_HEADER: SecureMessagingObjectMissing,
}


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

    def transmit(self, raw: bytes) -> bytes:
        """Return the response to one command, at least the two bytes of a status word.

        Raises NotPowered if the chip has no power.
        """
        session = self._session
        if session is None:
            raise NotPowered("the chip has no power; power it on first")
        try:
            if len(raw) < 4:
                raise WrongLength
            handler = _HANDLERS.get(raw[0] << 8 | raw[1])
            if handler is None:
                raise _unknown(raw[0])
            return handler(session, CommandApdu.parse(raw)) + _SUCCESS
        except CommandRejected as rejection:
            return rejection.status.to_bytes(2)
        except StoreFailure:
            _log.warning("the card's durable store failed", exc_info=True)
            return _MEMORY_FAILURE
        except Exception:
            # To the client, a bug in the emulation looks like a defect of the card. The log has the traceback.
            _log.exception("command %s crashed", raw.hex())
            return _INTERNAL_ERROR


def _unknown(cla: int) -> CommandRejected:
    """Return why no handler was found: the instruction if the card supports the class, otherwise the class."""
    if cla in (CommandClass.INTERINDUSTRY, CommandClass.PROPRIETARY):
        return UnknownInstruction()
    if cla & 0x70 == 0 and cla & 0x03:
        return LogicalChannelNotSupported()
    return _SECURE_MESSAGING.get(cla, UnknownClass)()
