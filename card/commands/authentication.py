"""GET CHALLENGE, INTERNAL AUTHENTICATE and EXTERNAL AUTHENTICATE."""

from __future__ import annotations

from hashlib import sha256

from kazashi.card.apdu import CommandApdu
from kazashi.card.file import KeyFile
from kazashi.card.rejection import (
    ConditionsNotSatisfied,
    IncompatibleFile,
    ReferenceNotFound,
    SecurityStatusNotSatisfied,
    WrongLength,
    WrongParameters,
)
from kazashi.card.session import Session


def get_challenge(session: Session, command: CommandApdu) -> bytes:
    """`00 84 00 00 Le`: return 1 to 256 random bytes. Real cards were measured to reject the extended form."""
    if command.p1 or command.p2:
        raise WrongParameters
    if command.data or command.le is None:
        raise WrongLength
    if command.extended:
        raise ConditionsNotSatisfied
    session.challenge_given = True
    return session.chance(command.le)


def internal_authenticate(session: Session, command: CommandApdu) -> bytes:
    """`00 88 00 P2 Lc challenge Le`: sign a challenge of 1 to 255 bytes (SHA-256, PKCS#1 v1.5) without a PIN."""
    if command.p1:
        raise WrongParameters
    file = session.referenced(command.p2)
    if not isinstance(file, KeyFile):
        raise IncompatibleFile
    if not file.authenticates:
        raise file.authentication_refusal
    if file.key is None:
        raise ReferenceNotFound
    if not 1 <= len(command.data) <= 255 or command.le is None or command.le < 256:
        raise WrongLength
    return file.key.sign_digest(sha256(command.data).digest())


def external_authenticate(session: Session, command: CommandApdu) -> bytes:
    """`00 82`: always rejected. It is for the issuer's terminals, whose keys are not public."""
    if not command.data:
        raise WrongLength
    if not session.challenge_given:
        raise ConditionsNotSatisfied
    session.challenge_given = False
    raise SecurityStatusNotSatisfied
