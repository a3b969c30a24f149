"""Authentication of a terminal: a certificate in two parts (`80 A2`), and EXTERNAL AUTHENTICATE with its key.

An authenticated terminal may use the keys whose access rule names the file of its authority, without a PIN: this is how
medical terminals log in with a face instead of a PIN.
"""

from __future__ import annotations

from kazashi.card.apdu import CommandApdu
from kazashi.card.file import AuthorityFile
from kazashi.card.rejection import (
    ConditionsNotSatisfied,
    IncompatibleFile,
    NoRetryLimit,
    SecurityStatusNotSatisfied,
    WrongData,
    WrongLength,
    WrongParameters,
)
from kazashi.card.rule import RuledResponse, RuleSource, success
from kazashi.card.session import NO_TERMINAL, Session, ShownTerminal
from kazashi.card.status_word import SUCCESS
from kazashi.card.verifiable import parse_body, parse_signature, subject_key

_BODY = success("the first part of a terminal's certificate is its body", RuleSource.MYNA_CARD)
_ACCEPTED = success("the authority in the current file signed the terminal's certificate", RuleSource.MYNA_CARD)
_AUTHENTICATED = success("the terminal signed the challenge with the key in its certificate", RuleSource.TERMINALS)
_FIRST, _SECOND = 0x06, 0x00


def set_public_ic_key(session: Session, command: CommandApdu) -> RuledResponse:
    """`80 A2 06 C1 Lc body`, then `80 A2 00 C1 Lc signature`: give the card a terminal's certificate.

    The current file is that of the authority. The body's part begins with the header of the certificate.
    """
    if command.p1 not in (_FIRST, _SECOND) or command.p2 != 0xC1:
        raise WrongParameters("P1 and P2 are 06 C1 or 00 C1", RuleSource.MYNA_CARD)
    file = session.current_file()
    if not isinstance(file, AuthorityFile):
        raise IncompatibleFile("the current file is not the key of an authority", RuleSource.TERMINALS)
    if file.authority is None:
        raise SecurityStatusNotSatisfied("the card knows no authority for terminals", RuleSource.TERMINALS)
    body, session.terminal = session.terminal.body, NO_TERMINAL
    try:
        if command.p1 == _FIRST:
            session.terminal = ShownTerminal(parse_body(command.data))
            return _BODY(SUCCESS)
        signature = parse_signature(command.data)
    except ValueError:
        raise WrongData("it is not this part of a certificate", RuleSource.TERMINALS) from None
    if not body:
        raise ConditionsNotSatisfied("the certificate's body comes first", RuleSource.TERMINALS)
    if not file.authority.certifies(body, signature):
        raise SecurityStatusNotSatisfied("the authority did not sign the certificate", RuleSource.TERMINALS)
    session.terminal = ShownTerminal(key=subject_key(body))
    return _ACCEPTED(SUCCESS)


def external_authenticate(session: Session, command: CommandApdu) -> RuledResponse:
    """`00 82 00 P2 Lc signature`: authenticate a terminal by its signature of the last challenge.

    P2 names the authority's file as in VERIFY. A challenge can be used once.
    """
    if not command.data:
        raise WrongLength("EXTERNAL AUTHENTICATE has data", RuleSource.ISO_EXTERNAL_AUTHENTICATE)
    challenge, session.challenge = session.challenge, b""
    if not challenge:
        raise ConditionsNotSatisfied("a challenge comes first", RuleSource.ISO_EXTERNAL_AUTHENTICATE)
    if session.terminal.key is None:
        raise SecurityStatusNotSatisfied(
            "only a terminal whose certificate was accepted has a key", RuleSource.EXTERNAL_AUTHENTICATION
        )
    file = session.referenced(command.p2)
    if command.p1 or not isinstance(file, AuthorityFile):
        raise WrongParameters("P1 is 00, and P2 names the key of an authority", RuleSource.EXTERNAL_AUTHENTICATION)
    if not session.terminal.key.verifies(command.data, challenge):
        raise NoRetryLimit("the terminal did not sign this challenge", RuleSource.ISO_EXTERNAL_AUTHENTICATE)
    session.facts |= {file.fid}
    return _AUTHENTICATED(SUCCESS)
