"""The commands that serve the issuer and certified terminals: the card knows them, and declines without their keys."""

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
    """The JICSAP system commands, open to an authenticated issuer alone."""
    raise SecurityStatusNotSatisfied


def set_public_ic_key(session: Session, command: CommandApdu) -> bytes:
    """`80 A2 06|00 C1`: a terminal's certificate, in two parts. No terminal certificate exists outside."""
    if command.p1 not in (0x00, 0x06) or command.p2 != 0xC1:
        raise WrongParameters
    raise SecurityStatusNotSatisfied


def set_session_key(session: Session, command: CommandApdu) -> bytes:
    """`80 AE`: would open secure messaging in the text application, which this card does not offer."""
    rule = session.application.session_key
    if rule is SessionKeyRule.REFUSED:
        raise SessionKeyRejected
    if rule is SessionKeyRule.ISSUER_ONLY or not session.facts:
        raise SecurityStatusNotSatisfied
    if len(command.data) != 256:
        raise WrongLength
    raise FunctionNotSupported


def last_command_indicator(session: Session, command: CommandApdu) -> bytes:
    """`80 FC 00 00`: a phone takes it; the plastic card calls it a wrong length."""
    raise WrongLength
