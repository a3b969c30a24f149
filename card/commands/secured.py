"""SET SESSION KEY, and the commands that a secure channel protects (class 08)."""

from __future__ import annotations

from collections.abc import Callable

from kazashi.card.apdu import CommandApdu
from kazashi.card.file import InternalFile, SessionKeyRule
from kazashi.card.rejection import (
    NoSecureMessagingSession,
    ReferenceNotFound,
    SecureMessagingSessionLost,
    SecurityStatusNotSatisfied,
    SessionKeyRejected,
    WrongData,
    WrongLength,
)
from kazashi.card.rule import RuledResponse, RuleSource, ruled, success
from kazashi.card.secure_messaging import ENCRYPTION_KEY, KEY_DELIVERY, SEED_LENGTH, SecureChannel
from kazashi.card.session import Session
from kazashi.card.status_word import SUCCESS
from kazashi.card.tlv import Tlv

_SESSION = success("the session key is set, and the counter of commands begins", RuleSource.MYNA_CARD_SECURE_MESSAGING)
Handler = Callable[[Session, CommandApdu], RuledResponse]


def set_session_key(session: Session, command: CommandApdu) -> RuledResponse:
    """`80 AE 00 00 Lc data`: set a session key, encrypted with RSA-OAEP (SHA-256) for the application's key.

    The plain text is `A0 22 { 80 20 seed }`. A later key replaces an earlier one.
    """
    rule = session.application.session_key
    if rule is SessionKeyRule.REFUSED:
        raise SessionKeyRejected("the application has no session key", RuleSource.MYNA_CARD_SECURE_MESSAGING)
    if rule is SessionKeyRule.ISSUER_ONLY or not rule.use.met(session.facts):
        raise SecurityStatusNotSatisfied(
            "a session key needs the text application and its PIN", RuleSource.MYNA_CARD_SECURE_MESSAGING
        )
    if len(command.data) != 256:
        raise WrongLength("an encrypted session key has 256 bytes", RuleSource.MYNA_CARD_SECURE_MESSAGING)
    file = session.application.files[rule.file]
    if not isinstance(file, InternalFile) or file.key is None:
        raise ReferenceNotFound("the file holds no key", RuleSource.MISSING_KEY)
    session.channel = SecureChannel(_seed(file.key.decrypt_oaep(command.data)))
    return _SESSION(SUCCESS)


def _seed(delivered: bytes | None) -> bytes:
    prefix = Tlv(KEY_DELIVERY, Tlv(ENCRYPTION_KEY, bytes(SEED_LENGTH)).encode()).encode()[:-SEED_LENGTH]
    if delivered is None or len(delivered) != len(prefix) + SEED_LENGTH or not delivered.startswith(prefix):
        raise WrongData("the application takes one encryption key", RuleSource.MYNA_CARD_SECURE_MESSAGING)
    return delivered[len(prefix) :]


def secured(handler: Handler) -> Handler:
    """Return the handler of a command of class 08, which decrypts the command, and encrypts the data of its response.

    Every such command counts, even one that is rejected. One that cannot be decrypted ends the session.
    """

    def handle(session: Session, command: CommandApdu) -> RuledResponse:
        channel = session.channel
        if channel is None:
            raise NoSecureMessagingSession("no session key was set", RuleSource.MYNA_CARD_SECURE_MESSAGING)
        try:
            plain = channel.opened(command)
        except ValueError:
            session.channel = None
            raise SecureMessagingSessionLost(
                "the command cannot be decrypted under this counter, which ends the session",
                RuleSource.MYNA_CARD_SECURE_MESSAGING,
            ) from None
        response = handler(session, plain)
        return ruled(channel.closed(response[:-2]) + response[-2:], response.rule)

    return handle
