"""Commands for the issuer. The card knows them, and rejects them."""

from __future__ import annotations

from kazashi.card.apdu import CommandApdu
from kazashi.card.rejection import SecurityStatusNotSatisfied, WrongLength
from kazashi.card.rule import RuledResponse, RuleSource
from kazashi.card.session import Session


def issuer_only(session: Session, command: CommandApdu) -> RuledResponse:
    """Reject a JICSAP system command, which only an authenticated issuer may use."""
    raise SecurityStatusNotSatisfied("only the issuer may use this command", RuleSource.ISSUER_COMMANDS)


def last_command_indicator(session: Session, command: CommandApdu) -> RuledResponse:
    """`80 FC 00 00`: rejected as a wrong length, as by the plastic card; a phone accepts it."""
    raise WrongLength("only an iPhone accepts the last command indicator", RuleSource.MYNA_CARD)
