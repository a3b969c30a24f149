"""The reasons for which the card rejects a command. Card code raises them; `Chip` turns them into status words."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from kazashi.card.rule import RuledResponse, RuleSource, StatusRule, ruled
from kazashi.card.status_word import Status, StatusWord


@cache
def _response(status: StatusWord, words: str, source: RuleSource) -> RuledResponse:
    return ruled(status.to_bytes(2), StatusRule(words, source))


class CommandRejected(Exception):
    """The card rejects a command, for the reason that the subclass names. `status` is the status word it sends.

    It is raised with the rule in words, which must not depend on the card or the command, and with the rule's source.
    """

    status: StatusWord

    if TYPE_CHECKING:  # Exception keeps its arguments, faster than a method of ours could

        def __init__(self, words: str, source: RuleSource) -> None: ...

    @property
    def response(self) -> RuledResponse:
        """The response that the card sends."""
        return _response(self.status, *self.args)

    def __str__(self) -> str:
        return self.status.meaning


class SessionKeyRejected(CommandRejected):
    """SET SESSION KEY was sent to an application that has no session key."""

    status = Status.SESSION_KEY_REFUSED


class WrongLength(CommandRejected):
    """Lc or Le is not valid for the command, or does not match the number of bytes."""

    status = Status.WRONG_LENGTH


class LogicalChannelNotSupported(CommandRejected):
    """A logical channel other than 0 was named."""

    status = Status.LOGICAL_CHANNEL_NOT_SUPPORTED


class SecureMessagingNotSupported(CommandRejected):
    """The class byte asks for a kind of secure messaging that the card does not know."""

    status = Status.SECURE_MESSAGING_NOT_SUPPORTED


class IncompatibleFile(CommandRejected):
    """The command does not apply to this kind of file."""

    status = Status.INCOMPATIBLE_FILE


class SecurityStatusNotSatisfied(CommandRejected):
    """An access condition is not met."""

    status = Status.SECURITY_STATUS_NOT_SATISFIED


class PinBlocked(CommandRejected):
    """VERIFY was sent with a value for a PIN that is blocked."""

    status = Status.PIN_BLOCKED


class ConditionsNotSatisfied(CommandRejected):
    """The command is known but may not be used in this way."""

    status = Status.CONDITIONS_NOT_SATISFIED


class NoCurrentFile(CommandRejected):
    """The command applies to the current file, and none is selected."""

    status = Status.NO_CURRENT_FILE


class SecureMessagingObjectMissing(CommandRejected):
    """Secure messaging was used without the data objects it needs."""

    status = Status.SECURE_MESSAGING_OBJECT_MISSING


class SecureMessagingSessionLost(CommandRejected):
    """A command under a session key could not be decrypted, and the session has ended."""

    status = Status.SECURE_MESSAGING_SESSION_LOST


class NoSecureMessagingSession(CommandRejected):
    """Secure messaging was used before a session key was set."""

    status = Status.NO_SECURE_MESSAGING_SESSION


class WrongData(CommandRejected):
    """The data field is not valid for the command."""

    status = Status.WRONG_DATA


class FunctionNotSupported(CommandRejected):
    """The variant of the command is known but not supported."""

    status = Status.FUNCTION_NOT_SUPPORTED


class FileOrApplicationNotFound(CommandRejected):
    """No file or application has that name."""

    status = Status.FILE_OR_APPLICATION_NOT_FOUND


class RecordNotFound(CommandRejected):
    """No record has that number."""

    status = Status.RECORD_NOT_FOUND


class WrongParameters(CommandRejected):
    """P1 or P2 is not valid for the command."""

    status = Status.WRONG_PARAMETERS


class ReferenceNotFound(CommandRejected):
    """No data object or key has that reference."""

    status = Status.REFERENCE_NOT_FOUND


class OffsetBeyondEnd(CommandRejected):
    """The offset is at or past the end of the file."""

    status = Status.OFFSET_BEYOND_END


class UnknownInstruction(CommandRejected):
    """The instruction is unknown."""

    status = Status.UNKNOWN_INSTRUCTION


class UnknownClass(CommandRejected):
    """The class is unknown."""

    status = Status.UNKNOWN_CLASS


class NoRetryLimit(CommandRejected):
    """An empty VERIFY was sent for a credential that has no retry counter."""

    status = Status.NO_RETRY_LIMIT


class TriesLeft(CommandRejected):
    """The PIN did not match, or an empty VERIFY asked for its retry counter; `count` retries are left."""

    def __init__(self, count: int, words: str, source: RuleSource) -> None:
        super().__init__(words, source)
        self.count = count
        self.status = StatusWord.tries_left(count)
