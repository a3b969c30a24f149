"""Why the card declines a command. Card code raises these; `status_of` alone turns them into status words."""

from __future__ import annotations

from kazashi.card.status_word import StatusWord


class Refusal(Exception):
    """The card declines a command, for the reason that the subclass names."""


class SessionKeyRefused(Refusal):
    """SET SESSION KEY came to an application that has no session key."""


class MemoryFailure(Refusal):
    """The durable store did not take a write, so nothing was changed."""


class WrongLength(Refusal):
    """Lc or Le is not what the command takes."""


class LogicalChannelNotSupported(Refusal):
    """A logical channel other than 0 was named."""


class SecureMessagingNotSupported(Refusal):
    """The class byte asks for a kind of secure messaging that the card does not know."""


class IncompatibleFile(Refusal):
    """The command does not fit the kind of the file it names."""


class SecurityStatusNotSatisfied(Refusal):
    """An access condition is not met."""


class PinBlocked(Refusal):
    """A PIN without tries left was offered a value."""


class ConditionsNotSatisfied(Refusal):
    """The command is known but may not be used in this way."""


class NoCurrentFile(Refusal):
    """The command works on the current file, and none is selected."""


class SecureMessagingObjectMissing(Refusal):
    """Secure messaging was used without the data objects it needs."""


class NoSecureMessagingSession(Refusal):
    """Secure messaging was used before a session key was set."""


class WrongData(Refusal):
    """The data field holds something that the command cannot take."""


class FunctionNotSupported(Refusal):
    """The variant of the command is known but not offered."""


class FileOrApplicationNotFound(Refusal):
    """No file or application of that name."""


class RecordNotFound(Refusal):
    """No record of that number."""


class WrongParameters(Refusal):
    """P1 or P2 has no meaning here."""


class ReferenceNotFound(Refusal):
    """No data object or key of that reference."""


class OffsetBeyondEnd(Refusal):
    """The offset is at or past the end of the file."""


class UnknownInstruction(Refusal):
    """No such instruction."""


class UnknownClass(Refusal):
    """No such class."""


class TriesLeft(Refusal):
    """The PIN did not match, or its counter was asked for; `count` tries are left."""

    def __init__(self, count: int) -> None:
        super().__init__(f"{count} tries left")
        self.count = count


class NoRetryLimit(Refusal):
    """The retry counter of a credential without one was asked for."""


_STATUS: dict[type[Refusal], StatusWord] = {
    refusal: StatusWord(status)
    for refusal, status in (
        (NoRetryLimit, 0x6300),
        (MemoryFailure, 0x6581),
        (SessionKeyRefused, 0x66F1),
        (WrongLength, 0x6700),
        (LogicalChannelNotSupported, 0x6881),
        (SecureMessagingNotSupported, 0x6882),
        (IncompatibleFile, 0x6981),
        (SecurityStatusNotSatisfied, 0x6982),
        (PinBlocked, 0x6984),
        (ConditionsNotSatisfied, 0x6985),
        (NoCurrentFile, 0x6986),
        (SecureMessagingObjectMissing, 0x6987),
        (NoSecureMessagingSession, 0x69FC),
        (WrongData, 0x6A80),
        (FunctionNotSupported, 0x6A81),
        (FileOrApplicationNotFound, 0x6A82),
        (RecordNotFound, 0x6A83),
        (WrongParameters, 0x6A86),
        (ReferenceNotFound, 0x6A88),
        (OffsetBeyondEnd, 0x6B00),
        (UnknownInstruction, 0x6D00),
        (UnknownClass, 0x6E00),
    )
}


def status_of(refusal: Refusal) -> StatusWord:
    """The status word that a refusal becomes."""
    if isinstance(refusal, TriesLeft):
        return StatusWord.tries_left(refusal.count)
    return _STATUS[type(refusal)]
