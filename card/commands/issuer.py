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
from kazashi.card.rule import RuledResponse, RuleSource
from kazashi.card.session import Session


def issuer_only(session: Session, command: CommandApdu) -> RuledResponse:
    """Reject a JICSAP system command, which only an authenticated issuer may use."""
    raise SecurityStatusNotSatisfied("only the issuer may use this command", RuleSource.ISSUER_COMMANDS)


def set_public_ic_key(session: Session, command: CommandApdu) -> RuledResponse:
    """`80 A2 06|00 C1`: always rejected. It takes a terminal certificate in two parts, and none are public."""
    if command.p1 not in (0x00, 0x06) or command.p2 != 0xC1:
        raise WrongParameters("P1 and P2 are 06 C1 or 00 C1", RuleSource.MYNA_CARD)
    raise SecurityStatusNotSatisfied("only certified terminals have a certificate", RuleSource.TERMINALS)


def set_session_key(session: Session, command: CommandApdu) -> RuledResponse:
    """`80 AE`: always rejected. It opens secure messaging in the text application, which the emulation lacks."""
    rule = session.application.session_key
    if rule is SessionKeyRule.REFUSED:
        raise SessionKeyRejected("the application has no session key", RuleSource.MYNA_CARD_SECURE_MESSAGING)
    if rule is SessionKeyRule.ISSUER_ONLY or not session.facts:
        raise SecurityStatusNotSatisfied(
            "a session key needs the text application and a verified PIN", RuleSource.MYNA_CARD_SECURE_MESSAGING
        )
    if len(command.data) != 256:
        raise WrongLength("an encrypted session key has 256 bytes", RuleSource.MYNA_CARD_SECURE_MESSAGING)
    raise FunctionNotSupported("the emulation has no secure messaging", RuleSource.SECURE_MESSAGING)


def last_command_indicator(session: Session, command: CommandApdu) -> RuledResponse:
    """`80 FC 00 00`: rejected as a wrong length, as by the plastic card; a phone accepts it."""
    raise WrongLength("only an iPhone accepts the last command indicator", RuleSource.MYNA_CARD)
