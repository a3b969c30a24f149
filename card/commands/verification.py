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
from kazashi.card.rule import RuledResponse, RuleSource, success
from kazashi.card.session import Session
from kazashi.card.status_word import SUCCESS

_VERIFIED = success("the value is the PIN, and the retry counter is full again", RuleSource.JICSAP_VERIFY)
_CHANGED = success("a verified PIN is replaced, and stays verified", RuleSource.PIN_CHANGE)


def verify(session: Session, command: CommandApdu) -> RuledResponse:
    """`00 20 00 P2 [Lc pin]`: verify a PIN.

    Without a PIN, it queries the retries left, and changes neither the counter nor the security status.
    """
    if command.p1:
        raise WrongParameters("P1 of VERIFY is 00", RuleSource.ISO_VERIFY)
    file = session.referenced(command.p2)
    unlimited = isinstance(file, InternalFile) and file.retry_query and not command.data
    if not isinstance(file, PinFile) and not unlimited:
        raise IncompatibleFile("VERIFY applies to PINs", RuleSource.MYNA_CARD)
    if command.le is not None:
        raise WrongLength("VERIFY has no Le", RuleSource.JPKI_SIGNER_ANDROID)
    if not isinstance(file, PinFile):
        raise NoRetryLimit("a key without a retry limit has no counter", RuleSource.JICSAP_VERIFY)
    if len(command.data) > MAX_LENGTH:
        raise WrongLength("a PIN has up to 16 bytes; the retry counter is not decremented", RuleSource.PIN_LENGTH)
    if not command.data:
        left = session.store.pin(session.reference(file)).tries_left
        raise TriesLeft(left, "VERIFY without a PIN asks for the retries left", RuleSource.OPENSC_RETRIES)
    _compare(session, file, command.data)
    return _VERIFIED(SUCCESS)


def _compare(session: Session, file: PinFile, offered: bytes) -> None:
    """Decrement the counter, compare, reset the counter: in this order, so that no power cut makes a guess free.

    No other holder of the card comes between: it would be told that the PIN is blocked while the last try succeeds.
    """
    store, reference = session.store, session.reference(file)
    with store.alone():
        state = store.spend_try(reference)
        if state is None:
            raise PinBlocked("the PIN is blocked, whatever the value", RuleSource.BLOCKED_PIN)
        if not state.matches(offered):
            session.happened(SessionEvent.VERIFICATION_FAILED, file.fid)
            raise TriesLeft(state.tries_left, "the value is not the PIN", RuleSource.JICSAP_VERIFY)
        store.refill(reference)
    session.facts |= {file.fid}


def change_reference_data(session: Session, command: CommandApdu) -> RuledResponse:
    """`00 24 01 P2 Lc new`: change a verified PIN. It stays verified, and its retry counter is reset."""
    if command.p1 != 1:
        raise WrongParameters("P1 is 01: the data is the new PIN alone", RuleSource.PIN_CHANGE)
    return _replace(session, command, PinChange.CHANGE_REFERENCE_DATA)


def change_key(session: Session, command: CommandApdu) -> RuledResponse:
    """`80 32 00 P2 Lc new`: change a verified PIN of the common or the juki application."""
    if command.p1:
        raise WrongParameters("P1 of CHANGE KEY is 00", RuleSource.MYNA_CARD_COMMON)
    return _replace(session, command, PinChange.CHANGE_KEY)


def _replace(session: Session, command: CommandApdu, change: PinChange) -> RuledResponse:
    file = session.referenced(command.p2)
    if not isinstance(file, PinFile):
        raise IncompatibleFile("only a PIN can be changed", RuleSource.MYNA_CARD)
    if command.le is not None or not 1 <= len(command.data) <= MAX_LENGTH:
        raise WrongLength("a new PIN has 1 to 16 bytes, and no Le follows", RuleSource.PIN_LENGTH)
    if file.change is not change or file.fid not in session.facts:
        raise SecurityStatusNotSatisfied(
            "the PIN is not verified, or this command does not change it", RuleSource.PIN_CHANGE
        )
    if not file.format.accepts(command.data):
        raise WrongData("the new PIN does not have the format of this PIN", RuleSource.PIN_CHANGE)
    if not session.store.change_pin(session.reference(file), command.data):
        raise PinBlocked("another holder of the card blocked the PIN after it was verified", RuleSource.BLOCKED_PIN)
    return _CHANGED(SUCCESS)
