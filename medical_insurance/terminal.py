"""A clinic's terminal: it waits for the card, has it sign the joint body's challenge, and asks the joint body.

The holder is verified by the PIN; or by a face that staff compares with the photograph on the card, and then the card
signs because the terminal authenticates itself (EXTERNAL AUTHENTICATE; docs/card.md). Nothing here recognises faces.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from time import monotonic
from typing import Any

from smartcard.scard import (
    SCARD_S_SUCCESS,
    SCARD_SCOPE_SYSTEM,
    SCARD_STATE_PRESENT,
    SCARD_STATE_UNAWARE,
    SCardEstablishContext,
    SCardGetStatusChange,
    SCardListReaders,
    SCardReleaseContext,
)

from kazashi.card.request import external_authenticate, get_challenge, select_file
from kazashi.medical_insurance.clinic import CardTerminal, Clinic, JointBodyLine, JointBodyUnreachable
from kazashi.medical_insurance.eligibility import EligibilityResult, HolderCheck
from kazashi.relying_party.login.card_reader import (
    CardAtHand,
    CardMissing,
    CardsAmbiguous,
    CertificateAbsent,
    MalformedPin,
    PinWrong,
    check_pin_shape,
    only_card,
)
from kazashi.relying_party.verify.authentication import Challenge

_AUTHORITY_FILE = 0x0016
_CHALLENGE_BYTES = 16
_OK = 0x9000
_LOOK_MS = 250
"""How long the terminal waits for the readers to report a change before it looks again by itself."""

_TURN_SECONDS = 5.0
"""How long a check waits for another one that has a card, and talks to the joint body."""


class TerminalTrouble(Enum):
    """Why the terminal has no result of the joint body."""

    NO_CARD = "no-card"
    TWO_CARDS = "two-cards"
    CARD_FAILED = "card-failed"
    NOT_FOR_LOGINS = "no-certificate"
    """The card has no authentication certificate: a Juki card."""
    PIN_MALFORMED = "pin-malformed"
    PIN_WRONG = "pin-wrong"
    PIN_BLOCKED = "pin-blocked"
    TERMINAL_REFUSED = "terminal-refused"
    """The card does not accept the terminal's certificate."""
    UNREACHABLE = "joint-body-unreachable"
    BUSY = "busy"


@dataclass(frozen=True, slots=True)
class Troubled:
    """A check that ended at the terminal: why, how many tries the PIN has left if it was wrong, and details."""

    trouble: TerminalTrouble
    left: int = 0
    words: str = ""


class TerminalRefused(Exception):
    """The card does not accept the terminal's certificate or signature."""


class ClinicTerminal:
    """A clinic's terminal with its reader: any reader whose name starts with `reader`."""

    def __init__(self, clinic: Clinic, reader: str = "", seconds: float = 20.0) -> None:
        """`seconds` is how long a check waits for a card."""
        self._clinic = clinic
        self._line = JointBodyLine(clinic)
        self._reader = reader
        self._seconds = seconds
        self._turn = threading.Lock()
        self._latest = 0

    def check(self, how: HolderCheck, pin: str = "", *, register: bool = False) -> EligibilityResult | Troubled:
        """Wait for the card, and return the entitlement of its holder, or why there is no result.

        The challenge is requested before the card is there, so that nobody waits for it with the card in hand. A check
        that waits for a card gives way to a newer one: staff may have chosen another way.
        """
        self._latest = mine = self._latest + 1
        if not self._turn.acquire(timeout=_TURN_SECONDS):
            return Troubled(TerminalTrouble.BUSY)
        try:
            return self._checked(how, pin, register, mine)
        except JointBodyUnreachable as error:
            return Troubled(TerminalTrouble.UNREACHABLE, words=str(error))
        except MalformedPin as error:
            return Troubled(TerminalTrouble.PIN_MALFORMED, words=str(error))
        except PinWrong as error:
            return Troubled(TerminalTrouble.PIN_WRONG if error.left else TerminalTrouble.PIN_BLOCKED, error.left)
        except TerminalRefused as error:
            return Troubled(TerminalTrouble.TERMINAL_REFUSED, words=str(error))
        except CardsAmbiguous as error:
            return Troubled(TerminalTrouble.TWO_CARDS, words=str(error))
        except CertificateAbsent as error:
            return Troubled(TerminalTrouble.NOT_FOR_LOGINS, words=str(error))
        except CardMissing as error:
            return Troubled(TerminalTrouble.CARD_FAILED, words=str(error))
        finally:
            self._turn.release()

    def close(self) -> None:
        """Close the connection to the joint body."""
        self._line.close()

    def _checked(self, how: HolderCheck, pin: str, register: bool, mine: int) -> EligibilityResult | Troubled:
        if how is HolderCheck.PIN:
            check_pin_shape(pin)
        challenge = self._line.challenge()
        if not self._wait_for_card(mine):
            return Troubled(TerminalTrouble.NO_CARD if self._latest == mine else TerminalTrouble.BUSY)
        signature, certificate = self._signed(how, pin, challenge)
        return self._line.check(challenge, signature, certificate, how, register=register)

    def _signed(self, how: HolderCheck, pin: str, challenge: Challenge) -> tuple[bytes, bytes]:
        with only_card(self._reader) as card:
            if how is HolderCheck.PIN:
                card.verify_pin(pin)
            else:
                authenticate(card, self._clinic.terminal)
            certificate = card.certificate()  # a phone shows it only after the PIN
            return card.sign(challenge.message, certificate), certificate

    def _wait_for_card(self, mine: int) -> bool:
        """Wait until a card is in a reader. Returns False if none comes in time, or a newer check than `mine` has come.
        Raises CardMissing."""
        until = monotonic() + self._seconds
        with _readers_context() as context:
            while True:
                _, names = SCardListReaders(context, [])
                watched = [(name, SCARD_STATE_UNAWARE) for name in names or () if name.startswith(self._reader)]
                if not watched:
                    raise CardMissing("PC/SC has no reader, or none of that name")
                code, states = SCardGetStatusChange(context, 0, watched)
                if code == SCARD_S_SUCCESS and any(state & SCARD_STATE_PRESENT and atr for _, state, atr in states):
                    return True
                if monotonic() >= until or self._latest != mine:
                    return False
                SCardGetStatusChange(context, _LOOK_MS, [(name, state) for name, state, _ in states])


def authenticate(card: CardAtHand, terminal: CardTerminal) -> None:
    """Let a card know the terminal, so that its authentication key signs without the PIN. Raises TerminalRefused, and
    CardMissing."""
    for command in (select_file(_AUTHORITY_FILE), *terminal.certificate):
        _, status = card.transmit(command)
        if status != _OK:
            raise TerminalRefused(f"the card does not accept the terminal's certificate (status word {status:04X})")
    challenge, status = card.transmit(get_challenge(_CHALLENGE_BYTES))
    if status == _OK:
        _, status = card.transmit(external_authenticate(_AUTHORITY_FILE, terminal.sign(challenge)))
    if status != _OK:
        raise TerminalRefused(f"the card does not accept the terminal's signature (status word {status:04X})")


@contextmanager
def _readers_context() -> Iterator[Any]:
    code, context = SCardEstablishContext(SCARD_SCOPE_SYSTEM)
    if code != SCARD_S_SUCCESS:
        raise CardMissing("PC/SC is not available")
    try:
        yield context
    finally:
        SCardReleaseContext(context)
