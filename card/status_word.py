"""Status words and their meanings."""

from __future__ import annotations

from enum import Enum


class StatusWord(int):
    """The two bytes at the end of every response (ISO 7816-4, section 5.6)."""

    @classmethod
    def tries_left(cls, count: int) -> StatusWord:
        """Return 63Cn: the comparison failed, or the counter was queried, and `count` retries are left.

        Raises ValueError unless `count` is 0 to 15.
        """
        if not 0 <= count <= 15:
            raise ValueError(f"63Cn can express 0 to 15 retries, not {count}")
        return cls(0x63C0 | count)

    @property
    def meaning(self) -> str:
        """The meaning of the status word in words."""
        if self & 0xFFF0 == 0x63C0:
            count = self & 0xF
            return f"{count} {'retry' if count == 1 else 'retries'} left"
        status = _BY_VALUE.get(self)
        return "a status word that this card never sends" if status is None else status.words

    @property
    def known(self) -> bool:
        """Whether it is a `Status` or 63C0 to 63CF."""
        return self & 0xFFF0 == 0x63C0 or int(self) in _BY_VALUE

    def __str__(self) -> str:
        return f"{int(self):04X}"

    __repr__ = __str__


class Status(StatusWord, Enum):
    """The known status words except 63C0 to 63CF (`StatusWord.tries_left`).

    `words` is the meaning. `sent` says when this card sends the status word; it is None if the card never does.
    """

    words: str
    sent: str | None

    def __new__(cls, value: int, words: str, sent: str | None) -> Status:
        """Make a member from its value, meaning and condition."""
        member = StatusWord.__new__(cls, value)
        member._value_ = value
        member.words = words
        member.sent = sent
        return member

    SUCCESS = 0x9000, "success", "the command succeeded"
    DATA_CORRUPT = 0x6281, "part of the data may be corrupt", None
    APPLICATION_LOCKED = 0x6283, "the selected application is locked", None
    NO_RETRY_LIMIT = (
        0x6300, "verification failed, or this credential has no retry limit",
        "the empty VERIFY of a key that has no retry limit",
    )  # fmt: skip
    MEMORY_FAILURE = 0x6581, "memory failure", "a write to the durable store failed, and nothing was changed"
    SESSION_KEY_REFUSED = (
        0x66F1, "no session key can be set in this application",
        "SET SESSION KEY in the common or the visual application",
    )  # fmt: skip
    WRONG_LENGTH = (
        0x6700, "wrong length",
        "Lc or Le is not valid for the command, or the length fields do not match the number of bytes",
    )  # fmt: skip
    LOGICAL_CHANNEL_NOT_SUPPORTED = 0x6881, "logical channel not supported", "a logical channel other than 0"
    SECURE_MESSAGING_NOT_SUPPORTED = (
        0x6882, "secure messaging not supported", "a kind of secure messaging that the card does not know"
    )  # fmt: skip
    INCOMPATIBLE_FILE = (
        0x6981, "command does not apply to this kind of file", "the command does not apply to the kind of file it names"
    )  # fmt: skip
    SECURITY_STATUS_NOT_SATISFIED = (
        0x6982, "security status not satisfied: verify the PIN first",
        "a PIN must be verified first, or the command is for the issuer only",
    )  # fmt: skip
    PIN_BLOCKED = 0x6984, "PIN blocked", "VERIFY with a value on a blocked PIN"
    CONDITIONS_NOT_SATISFIED = (
        0x6985, "conditions of use not satisfied",
        "a hash of the wrong size, the extended form of GET CHALLENGE, or a key that cannot authenticate",
    )  # fmt: skip
    NO_CURRENT_FILE = 0x6986, "no file selected", "the command applies to the current file, and none is selected"
    SECURE_MESSAGING_OBJECT_MISSING = (
        0x6987, "secure messaging data objects missing", "secure messaging without its data objects"
    )  # fmt: skip
    SECURE_MESSAGING_SESSION_LOST = (
        0x6988, "secure messaging session lost", "a command under a session key that cannot be decrypted"
    )  # fmt: skip
    NO_SECURE_MESSAGING_SESSION = 0x69FC, "no secure messaging session", "secure messaging without a session key"
    WRONG_DATA = 0x6A80, "wrong data", "a new PIN of the wrong format"
    FUNCTION_NOT_SUPPORTED = (
        0x6A81, "function not supported",
        "READ RECORD of several records",
    )  # fmt: skip
    FILE_OR_APPLICATION_NOT_FOUND = (
        0x6A82, "application or file not found", "no application or file has that name"
    )  # fmt: skip
    RECORD_NOT_FOUND = 0x6A83, "record not found", "no record has that number"
    WRONG_PARAMETERS = 0x6A86, "wrong P1 or P2", "P1 or P2 is not valid for the command"
    REFERENCE_NOT_FOUND = (
        0x6A88, "referenced data or key not found", "no data object has that tag, or no key has that reference"
    )  # fmt: skip
    OFFSET_BEYOND_END = (
        0x6B00, "offset beyond the end of the file", "the offset is at or past the end of the file"
    )  # fmt: skip
    UNKNOWN_INSTRUCTION = 0x6D00, "instruction not supported", "unknown instruction"
    UNKNOWN_CLASS = 0x6E00, "class not supported", "unknown class"
    INTERNAL_ERROR = 0x6F00, "internal error", "a bug in the emulation; see the log"

    __str__ = StatusWord.__str__
    __repr__ = StatusWord.__repr__


_BY_VALUE: dict[int, Status] = {int(status): status for status in Status}

SUCCESS = Status.SUCCESS.to_bytes(2)
"""The end of the response to a command that succeeds."""
