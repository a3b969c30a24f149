"""The commands for signatures: COMPUTE DIGITAL SIGNATURE of class 80, with the six values of P1 that were measured, and
PERFORM SECURITY OPERATION of ISO 7816-8 for EC keys."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

from kazashi.card.apdu import CommandApdu
from kazashi.card.file import ElementaryFile, KeyFile
from kazashi.card.key import PrivateKey
from kazashi.card.rejection import (
    ConditionsNotSatisfied,
    IncompatibleFile,
    ReferenceNotFound,
    SecurityStatusNotSatisfied,
    WrongData,
    WrongLength,
    WrongParameters,
)
from kazashi.card.rule import RuledResponse, RuleSource, success
from kazashi.card.session import Session
from kazashi.card.status_word import SUCCESS

_SIGNED = success("the key signs the data in the way that P1 names", RuleSource.MYNA_CARD_JPKI)
_SIGNED_HASH = success("the current key signs the hash", RuleSource.ISO_SIGNATURE)

_HASH_TO_SIGNATURE = (0x9E, 0x9A)
"""P1 and P2 of COMPUTE DIGITAL SIGNATURE in ISO 7816-8: tags of the response, a signature, and of the input, a hash."""
_HASH_SIZE = 48


def _digest(data: bytes) -> bytes:
    if len(data) != 32:
        raise ConditionsNotSatisfied("a SHA-256 hash has 32 bytes", RuleSource.MYNA_CARD_JPKI)
    return data


def _verbatim(key: PrivateKey, data: bytes) -> bytes:
    # Clients pass a DigestInfo. The card does not parse it: a malformed one is signed like any other bytes.
    if len(data) > key.max_verbatim:
        raise WrongLength("a key of 2048 bits signs up to 245 bytes as they are", RuleSource.MYNA_CARD_JPKI)
    return key.sign_verbatim(data)


_WAYS: dict[int, Callable[[PrivateKey, bytes], bytes]] = {
    0x00: _verbatim,
    0x01: lambda key, data: key.sign_verbatim(sha256(data).digest()),
    0x02: lambda key, data: key.sign_digest(_digest(data)),
    0x03: lambda key, data: key.sign_digest(sha256(data).digest()),
    0x04: lambda key, data: key.sign_digest_pss(_digest(data)),
    0x05: lambda key, data: key.sign_digest_pss(sha256(data).digest()),
}
"""What is signed, by P1: 00 the bytes as they are, 01 a message's hash without DigestInfo, 02 a SHA-256 hash and 03 a
message with DigestInfo, 04 a hash and 05 a message with PSS."""


def compute_digital_signature(session: Session, command: CommandApdu) -> RuledResponse:
    """`80 2A P1 P2 Lc data Le`: sign data. P2 names the key as in VERIFY; 00 is the application's default key."""
    way = _WAYS.get(command.p1)
    if way is None:
        raise WrongParameters("P1 is one of the six ways to sign, 00 to 05", RuleSource.MYNA_CARD_JPKI)
    key = _usable_key(session, _key_file(session, command.p2))
    if not command.data or command.le is None or command.le < 256:
        raise WrongLength(
            "a signature command has data, and an Le for the whole signature", RuleSource.SIGNATURE_LENGTH
        )
    return _SIGNED(way(key, command.data) + SUCCESS)


def perform_security_operation(session: Session, command: CommandApdu) -> RuledResponse:
    """`00 2A 9E 9A Lc hash Le`: sign a SHA-384 hash with the current file, an EC key (ISO 7816-8). Returns r and s.

    No other operation is supported, nor is MANAGE SECURITY ENVIRONMENT, which would choose the key in another way.
    """
    if (command.p1, command.p2) != _HASH_TO_SIGNATURE:
        raise WrongParameters("the only operation takes a hash and returns a signature", RuleSource.ISO_SIGNATURE)
    key = _usable_key(session, session.current_file())
    if len(command.data) != _HASH_SIZE:
        raise WrongData("the key signs SHA-384 hashes of 48 bytes", RuleSource.NEXT_CARD_SIGNATURE)
    if command.le is None or command.le < key.signature_length:
        raise WrongLength("Le is for the whole signature", RuleSource.NEXT_CARD_SIGNATURE)
    return _SIGNED_HASH(key.sign_hash(command.data) + SUCCESS)


def _usable_key(session: Session, file: ElementaryFile) -> PrivateKey:
    """Return the key in a file. Raises CommandRejected if it does not sign, or if its PIN is not verified."""
    if not isinstance(file, KeyFile) or not file.signs:
        raise IncompatibleFile("the file is not a key that signs", RuleSource.MYNA_CARD_JPKI)
    if not file.use.met(session.facts):
        raise SecurityStatusNotSatisfied("the PIN of the key is not verified", RuleSource.JPKI_WEB)
    if file.key is None:
        raise ReferenceNotFound("the file holds no key", RuleSource.MISSING_KEY)
    return file.key


def _key_file(session: Session, p2: int) -> ElementaryFile:
    if p2:
        return session.referenced(p2)
    default = session.application.default_key
    if default is None:
        raise WrongParameters("P2 00 names a default key, and the application has none", RuleSource.MYNA_CARD_JPKI)
    return session.application.files[default]
