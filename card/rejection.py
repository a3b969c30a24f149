"""Why the card declines a command. Card code raises these; the chip alone sends their status words."""

from __future__ import annotations

from kazashi.card.status_word import Status, StatusWord


class CommandRejected(Exception):
    """The card declines a command, for the reason that the subclass names. `status` is the word that it sends."""

    status: StatusWord

    def __str__(self) -> str:
        return self.status.meaning


class SessionKeyRejected(CommandRejected):
    """SET SESSION KEY came to an application that has no session key."""

    status = Status.SESSION_KEY_REFUSED


class WrongLength(CommandRejected):
    """Lc or Le is not what the command takes."""

    status = Status.WRONG_LENGTH


class LogicalChannelNotSupported(CommandRejected):
    """A logical channel other than 0 was named."""

    status = Status.LOGICAL_CHANNEL_NOT_SUPPORTED


class SecureMessagingNotSupported(CommandRejected):
    """The class byte asks for a kind of secure messaging that the card does not know."""

    status = Status.SECURE_MESSAGING_NOT_SUPPORTED


class IncompatibleFile(CommandRejected):
    """The command does not fit the kind of the file it names."""

    status = Status.INCOMPATIBLE_FILE


class SecurityStatusNotSatisfied(CommandRejected):
    """An access condition is not met."""

    status = Status.SECURITY_STATUS_NOT_SATISFIED


class PinBlocked(CommandRejected):
    """A PIN without tries left was offered a value."""

    status = Status.PIN_BLOCKED


class ConditionsNotSatisfied(CommandRejected):
    """The command is known but may not be used in this way."""

    status = Status.CONDITIONS_NOT_SATISFIED


class NoCurrentFile(CommandRejected):
    """The command works on the current file, and none is selected."""

    status = Status.NO_CURRENT_FILE


class SecureMessagingObjectMissing(CommandRejected):
    """Secure messaging was used without the data objects it needs."""

    status = Status.SECURE_MESSAGING_OBJECT_MISSING


class NoSecureMessagingSession(CommandRejected):
    """Secure messaging was used before a session key was set."""

    status = Status.NO_SECURE_MESSAGING_SESSION


class WrongData(CommandRejected):
    """The data field holds something that the command cannot take."""

    status = Status.WRONG_DATA


class FunctionNotSupported(CommandRejected):
    """The variant of the command is known but not offered."""

    status = Status.FUNCTION_NOT_SUPPORTED


class FileOrApplicationNotFound(CommandRejected):
    """No file or application of that name."""

    status = Status.FILE_OR_APPLICATION_NOT_FOUND


class RecordNotFound(CommandRejected):
    """No record of that number."""

    status = Status.RECORD_NOT_FOUND


class WrongParameters(CommandRejected):
    """P1 or P2 has no meaning here."""

    status = Status.WRONG_PARAMETERS


class ReferenceNotFound(CommandRejected):
    """No data object or key of that reference."""

    status = Status.REFERENCE_NOT_FOUND


class OffsetBeyondEnd(CommandRejected):
    """The offset is at or past the end of the file."""

    status = Status.OFFSET_BEYOND_END


class UnknownInstruction(CommandRejected):
    """No such instruction."""

    status = Status.UNKNOWN_INSTRUCTION


class UnknownClass(CommandRejected):
    """No such class."""

    status = Status.UNKNOWN_CLASS


class NoRetryLimit(CommandRejected):
    """The retry counter of a credential without one was asked for."""

    status = Status.NO_RETRY_LIMIT


class TriesLeft(CommandRejected):
    """The PIN did not match, or its counter was asked for; `count` tries are left."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.count = count
        self.status = StatusWord.tries_left(count)
