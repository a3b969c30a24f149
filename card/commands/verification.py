"""VERIFY, CHANGE REFERENCE DATA and CHANGE KEY, the commands for PINs."""

from __future__ import annotations

from kazashi.card.access import SessionEvent
from kazashi.card.apdu import CommandApdu
from kazashi.card.file import InternalFile, PinChange, PinFile
from kazashi.card.pin import MAX_LENGTH
from kazashi.card.rejection import (
    IncompatibleFile,
    NoRetryLimit,
    PinBlocked,
    SecurityStatusNotSatisfied,
    TriesLeft,
    WrongData,
    WrongLength,
    WrongParameters,
)
from kazashi.card.session import Session


def verify(session: Session, command: CommandApdu) -> bytes:
    """`00 20 00 P2 [Lc pin]`: verify a PIN.

    Without a PIN, it queries the retries left, and changes neither the counter nor the security status.
    """
    if command.p1:
        raise WrongParameters
    file = session.referenced(command.p2)
    if isinstance(file, InternalFile) and file.retry_query and not command.data:
        raise NoRetryLimit if command.le is None else WrongLength
    if not isinstance(file, PinFile):
        raise IncompatibleFile
    if command.le is not None or len(command.data) > MAX_LENGTH:
        raise WrongLength
    if not command.data:
        raise TriesLeft(session.store.pin(session.reference(file)).tries_left)
    _compare(session, file, command.data)
    return b""


def _compare(session: Session, file: PinFile, offered: bytes) -> None:
    """Decrement the counter, compare, reset the counter: in this order, so that no power cut makes a guess free.

    No other holder of the card comes between: it would be told that the PIN is blocked while the last try succeeds.
    """
    store, reference = session.store, session.reference(file)
    with store.alone():
        state = store.spend_try(reference)
        if state is None:
            raise PinBlocked
        if not state.matches(offered):
            session.happened(SessionEvent.VERIFICATION_FAILED, file.fid)
            raise TriesLeft(state.tries_left)
        store.refill(reference)
    session.facts |= {file.fid}


def change_reference_data(session: Session, command: CommandApdu) -> bytes:
    """`00 24 01 P2 Lc new`: change a verified PIN. It stays verified, and its retry counter is reset."""
    if command.p1 != 1:
        raise WrongParameters
    return _replace(session, command, PinChange.CHANGE_REFERENCE_DATA)


def change_key(session: Session, command: CommandApdu) -> bytes:
    """`80 32 00 P2 Lc new`: change a verified PIN of the common or the juki application."""
    if command.p1:
        raise WrongParameters
    return _replace(session, command, PinChange.CHANGE_KEY)


def _replace(session: Session, command: CommandApdu, change: PinChange) -> bytes:
    file = session.referenced(command.p2)
    if not isinstance(file, PinFile):
        raise IncompatibleFile
    if command.le is not None or not 1 <= len(command.data) <= MAX_LENGTH:
        raise WrongLength
    if file.change is not change or file.fid not in session.facts:
        raise SecurityStatusNotSatisfied
    if not file.format.accepts(command.data):
        raise WrongData
    if not session.store.change_pin(session.reference(file), command.data):
        raise PinBlocked  # by another holder of the card, since this one verified it
    return b""
