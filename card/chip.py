"""The chip under power: it takes any byte string for a command, and answers every one."""

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

# Keys that are plain numbers are found twice as fast as members of an enumeration, and this is every command's way.
_HANDLERS = {int(instruction): handler for instruction, handler in HANDLERS.items()}

_SECURE_MESSAGING: dict[int, type[CommandRejected]] = {
    CommandClass.PROPRIETARY_SECURE_MESSAGING: SecureMessagingNotSupported,
    CommandClass.SECURE_MESSAGING: NoSecureMessagingSession,
    CommandClass.SECURE_MESSAGING_WITH_HEADER: SecureMessagingObjectMissing,
}


class NotPowered(RuntimeError):
    """A command came to a chip that has no power."""


class Chip:
    """A card with contacts to power, reset and talk to.

    `chance` gives the chip its random bytes, `policy` says which event clears which achieved fact. Not safe for use
    by several threads at once: a card has one interface.
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
        """Give power; answers the ATR. A chip under power stays as it is."""
        if self._session is None:
            self._session = Session(self.card, self._chance, self._policy)
        return self.card.contact_atr

    def power_off(self) -> None:
        """Take power away: everything that is not durable is gone."""
        self._session = None

    def reset(self) -> bytes:
        """A warm reset; answers the ATR. Where the policy has a reset clear nothing, the selection stays too."""
        if self._session is None:
            return self.power_on()
        self._session.happened(SessionEvent.RESET)
        if self._policy.losses[SessionEvent.RESET] is not Loss.NONE:
            self._session = Session(self.card, self._chance, self._policy)
        return self.card.contact_atr

    def transmit(self, raw: bytes) -> bytes:
        """Answer one command; always at least the two bytes of a status word. Raises NotPowered without power."""
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
        except CommandRejected as refusal:
            return refusal.status.to_bytes(2)
        except StoreFailure:
            _log.warning("the card's durable store failed", exc_info=True)
            return _MEMORY_FAILURE
        except Exception:
            # A defect of ours must look to the client as a defect of a card does, and be seen in the log.
            _log.exception("command %s crashed", raw.hex())
            return _INTERNAL_ERROR


def _unknown(cla: int) -> CommandRejected:
    """Why no handler was found: the class is at fault unless it is one of the two that the card speaks."""
    if cla in (CommandClass.INTERINDUSTRY, CommandClass.PROPRIETARY):
        return UnknownInstruction()
    if cla & 0x70 == 0 and cla & 0x03:
        return LogicalChannelNotSupported()
    return _SECURE_MESSAGING.get(cla, UnknownClass)()
