"""GET CHALLENGE and INTERNAL AUTHENTICATE."""

from __future__ import annotations

from kazashi.card.apdu import CommandApdu
from kazashi.card.file import KeyFile
from kazashi.card.rejection import (
    ConditionsNotSatisfied,
    IncompatibleFile,
    ReferenceNotFound,
    WrongLength,
    WrongParameters,
)
from kazashi.card.rule import RuledResponse, RuleSource, success
from kazashi.card.session import Session
from kazashi.card.status_word import SUCCESS

_CHALLENGE = success("GET CHALLENGE returns as many random bytes as Le asks for", RuleSource.ISO_GET_CHALLENGE)
_SIGNED = success("the key signs the challenge without a PIN", RuleSource.MYNA_CARD_COMMON)


def get_challenge(session: Session, command: CommandApdu) -> RuledResponse:
    """`00 84 00 00 Le`: return 1 to 256 random bytes. Real cards were measured to reject the extended form."""
    if command.p1 or command.p2:
        raise WrongParameters("P1 and P2 of GET CHALLENGE are 00", RuleSource.ISO_GET_CHALLENGE)
    if command.data or command.le is None:
        raise WrongLength("GET CHALLENGE has an Le and no data", RuleSource.ISO_GET_CHALLENGE)
    if command.extended:
        raise ConditionsNotSatisfied("GET CHALLENGE has a short Le", RuleSource.MYNA_CARD)
    session.challenge = session.chance(command.le)
    return _CHALLENGE(session.challenge + SUCCESS)


def internal_authenticate(session: Session, command: CommandApdu) -> RuledResponse:
    """`00 88 00 P2 Lc challenge Le`: sign a challenge of 1 to 255 bytes (RSA PKCS#1 v1.5 with SHA-256, or ECDSA with
    SHA-384) without a PIN."""
    if command.p1:
        raise WrongParameters("P1 of INTERNAL AUTHENTICATE is 00", RuleSource.ISO_INTERNAL_AUTHENTICATE)
    file = session.referenced(command.p2)
    if not isinstance(file, KeyFile):
        raise IncompatibleFile("the file is not a key", RuleSource.ISO_INTERNAL_AUTHENTICATE)
    if not file.authenticates:
        raise file.authentication_refusal()
    if file.key is None:
        raise ReferenceNotFound("the file holds no key", RuleSource.MISSING_KEY)
    if not 1 <= len(command.data) <= 255 or command.le is None or command.le < file.key.signature_length:
        raise WrongLength(
            "a challenge has 1 to 255 bytes, and Le is for the whole signature", RuleSource.MYNA_CARD_COMMON
        )
    return _SIGNED(file.key.sign(command.data) + SUCCESS)
