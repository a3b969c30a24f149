"""The rules behind status words. Every response of the chip carries the rule that decided its status word.

A rule is stated where the status word is decided: a rejection is raised with it, and a handler returns its data in a
response of a class that `success` made. A response is a bytes object like any other, so that only a trace looks at the
rule.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

_CHOSEN = "docs/differences.md: "


class RuleSource(StrEnum):
    """Where a rule comes from: a clause of a standard, a client or survey whose source shows it, or, where nothing is
    known, the row of docs/differences.md that states the choice.

    ISO 7816-4 is the edition of 2020. myna-card is a survey of real and test cards.
    """

    __hash__ = str.__hash__  # a rejection is looked up by it, and that of Enum is slower

    ISO_LENGTHS = "ISO 7816-4, 5.2"
    ISO_CLASS = "ISO 7816-4, 5.4"
    ISO_INSTRUCTION = "ISO 7816-4, 5.5"
    ISO_STATUS = "ISO 7816-4, 5.6"
    ISO_SHORT_IDENTIFIER = "ISO 7816-4, 7.4.4"
    ISO_SELECT = "ISO 7816-4, 11.2.2"
    ISO_READ_BINARY = "ISO 7816-4, 11.3.3"
    ISO_READ_RECORD = "ISO 7816-4, 11.4"
    ISO_GET_DATA = "ISO 7816-4, 11.5"
    ISO_INTERNAL_AUTHENTICATE = "ISO 7816-4, 11.6.2"
    ISO_GET_CHALLENGE = "ISO 7816-4, 11.6.3"
    ISO_EXTERNAL_AUTHENTICATE = "ISO 7816-4, 11.6.4"
    ISO_VERIFY = "ISO 7816-4, 11.6.6"
    ISO_SIGNATURE = "ISO 7816-8, COMPUTE DIGITAL SIGNATURE operation"
    ISO_T0 = "ISO 7816-3, 12.2"
    PCSC_READER_COMMANDS = "PC/SC part 3, 3.2.2.1"

    JICSAP_NAMES = "JICSAP 1.1, 4.2"
    JICSAP_READ_BINARY = "JICSAP 1.1, 6.4.1"
    JICSAP_VERIFY = "JICSAP 1.1, 6.4.9"
    JICSAP_OFFSET = "JICSAP 1.1, 7.3.1"

    MYNA_CARD = "soltia48/myna-card, src/card.rs"
    MYNA_CARD_MANAGER = "soltia48/myna-card, src/mf.rs"
    MYNA_CARD_JPKI = "soltia48/myna-card, src/ap/jpki.rs"
    MYNA_CARD_COMMON = "soltia48/myna-card, src/ap/common.rs"
    MYNA_CARD_SECURE_MESSAGING = "soltia48/myna-card, src/sm.rs"
    OPENSC_RETRIES = "OpenSC, pull request 959"
    JPKI_WEB = "highdefinitionaudiodriver/jpki-web, app/jpki_signer/jpki/session.py"
    JPKI_SIGNER_ANDROID = "lulitech-dev/jpki-signer-android, JpkiSession.kt"

    BLOCKED_PIN = _CHOSEN + "a blocked PIN"
    PIN_LENGTH = _CHOSEN + "a PIN of the wrong length"
    PIN_CHANGE = _CHOSEN + "CHANGE REFERENCE DATA"
    SELECT_FORMS = _CHOSEN + "SELECT with P1 00 and an identifier; SELECT by path"
    EMPTY_AID = _CHOSEN + "an empty AID in SELECT"
    MISSING_REFERENCE = _CHOSEN + "a key or PIN reference that does not exist"
    SIGNATURE_LENGTH = _CHOSEN + "a signature command with Le below 256, or without Le"
    READ_WITHOUT_LE = _CHOSEN + "READ BINARY without Le"
    RECORDS = _CHOSEN + "READ RECORD of several records, or with an Le below the record's length"
    MISSING_KEY = _CHOSEN + "a key file without a key"
    EXTERNAL_AUTHENTICATION = _CHOSEN + "EXTERNAL AUTHENTICATE"
    ISSUER_COMMANDS = _CHOSEN + "the issuer's system commands (`80 06`, `80 50`, `80 52`, `80 54`, `80 8A`)"
    NEXT_CARD_SIGNATURE = _CHOSEN + "the next card's command for signatures"
    TERMINALS = _CHOSEN + "PIN-less authentication at medical terminals (`80 A2`)"

    EMULATION = "docs/errors.md, Status words"
    FAULTS = "docs/faults.md"
    READERS = "docs/readers.md"


class StatusRule(NamedTuple):
    """A rule in words, which never depend on the card or the command, and its source."""

    words: str
    source: str

    def __str__(self) -> str:
        return f"{self.words} ({self.source})"


class RuledResponse(bytes):
    """A response APDU with the rule that decided its status word. A part of it, or a longer one, has no rule."""

    __slots__ = ()
    rule: StatusRule

    def __reduce__(self) -> tuple[Callable[[bytes, StatusRule], RuledResponse], tuple[bytes, StatusRule]]:
        """Let a response be sent to another process with its rule, whatever its class."""
        return ruled, (bytes(self), self.rule)


class _Ruled(RuledResponse):
    """A response with a rule of its own."""


def ruled(raw: bytes, rule: StatusRule) -> RuledResponse:
    """Return a response with a rule."""
    response = _Ruled(raw)
    response.rule = rule
    return response


def success(words: str, source: RuleSource) -> type[RuledResponse]:
    """Return the class of the responses to a command that succeeds under a rule. It takes the whole response.

    The rule is the class's, because a READ BINARY would take a fifth longer if each response had one.
    """

    class _Success(RuledResponse):
        __slots__ = ()
        rule = StatusRule(words, source)

    return _Success


def under(rule: StatusRule | None, response: bytes) -> bytes:
    """Return a response whose status word was decided by the rule of another one, if that had one."""
    return response if rule is None else ruled(response, rule)


def rule_of(response: bytes) -> StatusRule | None:
    """Return the rule that decided a response's status word, or None for a response that is not the chip's."""
    return response.rule if isinstance(response, RuledResponse) else None
