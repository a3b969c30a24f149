"""Commands for the issuer and certified terminals. The card knows them, and rejects them without their keys."""

from __future__ import annotations

from kazashi.card.apdu import CommandApdu
from kazashi.card.file import SessionKeyRule
from kazashi.card.rejection import (
    FunctionNotSupported,
    SecurityStatusNotSatisfied,
    SessionKeyRejected,
    WrongLength,
    WrongParameters,
)
from kazashi.card.session import Session


def issuer_only(session: Session, command: CommandApdu) -> bytes:
    """Reject a JICSAP system command, which only an authenticated issuer may use."""
    raise SecurityStatusNotSatisfied


def set_public_ic_key(session: Session, command: CommandApdu) -> bytes:
    """`80 A2 06|00 C1`: always rejected. It takes a terminal certificate in two parts, and none are public."""
    if command.p1 not in (0x00, 0x06) or command.p2 != 0xC1:
        raise WrongParameters
    raise SecurityStatusNotSatisfied


def set_session_key(session: Session, command: CommandApdu) -> bytes:
    """`80 AE`: always rejected. It opens secure messaging in the text application, which the emulation lacks."""
    rule = session.application.session_key
    if rule is SessionKeyRule.REFUSED:
        raise SessionKeyRejected
    if rule is SessionKeyRule.ISSUER_ONLY or not session.facts:
        raise SecurityStatusNotSatisfied
    if len(command.data) != 256:
        raise WrongLength
    raise FunctionNotSupported


def last_command_indicator(session: Session, command: CommandApdu) -> bytes:
    """`80 FC 00 00`: rejected as a wrong length, as by the plastic card; a phone accepts it."""
    raise WrongLength
