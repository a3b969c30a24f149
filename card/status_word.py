"""Status words, and what each says in words."""

from __future__ import annotations

from enum import Enum


class StatusWord(int):
    """The two bytes that end every answer (ISO 7816-4, section 5.6)."""

    @classmethod
    def tries_left(cls, count: int) -> StatusWord:
        """63Cn: the comparison failed, or was only asked about, and `count` (0 to 15) tries are left."""
        if not 0 <= count <= 15:
            raise ValueError(f"63Cn carries 0 to 15 tries, not {count}")
        return cls(0x63C0 | count)

    @property
    def meaning(self) -> str:
        """What the status word says, in words."""
        if self & 0xFFF0 == 0x63C0:
            count = self & 0xF
            return f"{count} {'try' if count == 1 else 'tries'} left"
        status = _BY_VALUE.get(self)
        return "a status word that this card never sends" if status is None else status.words

    @property
    def known(self) -> bool:
        """Whether it is one that has a meaning here."""
        return self & 0xFFF0 == 0x63C0 or int(self) in _BY_VALUE

    def __str__(self) -> str:
        return f"{int(self):04X}"

    __repr__ = __str__


class Status(StatusWord, Enum):
    """The status words that have a meaning here, all but 63C0 to 63CF (`StatusWord.tries_left`).

    `words` is what each says. `sent` is when this card sends it, or None for one that it never sends.
    """

    words: str
    sent: str | None

    def __new__(cls, value: int, words: str, sent: str | None) -> Status:
        """A member from its row below."""
        member = StatusWord.__new__(cls, value)
        member._value_ = value
        member.words = words
        member.sent = sent
        return member

    SUCCESS = 0x9000, "success", "the command was carried out"
    DATA_CORRUPT = 0x6281, "part of the data may be corrupt", None
    APPLICATION_LOCKED = 0x6283, "the selected application is locked", None
    NO_RETRY_LIMIT = (
        0x6300, "verification failed, or this credential has no retry limit",
        "the empty VERIFY of a key that has no retry limit",
    )  # fmt: skip
    MEMORY_FAILURE = 0x6581, "memory failure", "the durable store did not take a write, and nothing was changed"
    SESSION_KEY_REFUSED = (
        0x66F1, "no session key can be set in this application",
        "SET SESSION KEY in the common or the visual application",
    )  # fmt: skip
    WRONG_LENGTH = (
        0x6700, "wrong length",
        "Lc or Le is not what the command takes, or the bytes and the length fields disagree",
    )  # fmt: skip
    LOGICAL_CHANNEL_NOT_SUPPORTED = 0x6881, "logical channel not supported", "a logical channel other than 0"
    SECURE_MESSAGING_NOT_SUPPORTED = (
        0x6882, "secure messaging not supported", "a kind of secure messaging that the card does not know"
    )  # fmt: skip
    INCOMPATIBLE_FILE = (
        0x6981, "command does not fit this kind of file", "the command does not fit the kind of the file it names"
    )  # fmt: skip
    SECURITY_STATUS_NOT_SATISFIED = (
        0x6982, "security status not satisfied: verify the PIN first",
        "a PIN must be verified first, or the command is the issuer's",
    )  # fmt: skip
    PIN_BLOCKED = 0x6984, "PIN blocked", "VERIFY with a value on a blocked PIN"
    CONDITIONS_NOT_SATISFIED = (
        0x6985, "conditions of use not satisfied",
        "wrong input size for a hash, the extended form of GET CHALLENGE, a key that does not authenticate",
    )  # fmt: skip
    NO_CURRENT_FILE = 0x6986, "no file selected", "the command works on the current file, and none is selected"
    SECURE_MESSAGING_OBJECT_MISSING = (
        0x6987, "secure messaging data objects missing", "secure messaging without its data objects"
    )  # fmt: skip
    SECURE_MESSAGING_SESSION_LOST = 0x6988, "secure messaging session lost", None
    NO_SECURE_MESSAGING_SESSION = 0x69FC, "no secure messaging session", "secure messaging without a session key"
    WRONG_DATA = 0x6A80, "wrong data", "a new PIN of the wrong format"
    FUNCTION_NOT_SUPPORTED = (
        0x6A81, "function not supported",
        "READ RECORD of several records; SET SESSION KEY where a real card would take it",
    )  # fmt: skip
    FILE_OR_APPLICATION_NOT_FOUND = (
        0x6A82, "application or file not found", "no application or file of that name"
    )  # fmt: skip
    RECORD_NOT_FOUND = 0x6A83, "record not found", "no record of that number"
    WRONG_PARAMETERS = 0x6A86, "wrong P1 or P2", "P1 or P2 has no meaning"
    REFERENCE_NOT_FOUND = (
        0x6A88, "referenced data or key not found", "no data object of that tag, no key of that reference"
    )  # fmt: skip
    OFFSET_BEYOND_END = (
        0x6B00, "offset beyond the end of the file", "the offset is at or behind the end of the file"
    )  # fmt: skip
    UNKNOWN_INSTRUCTION = 0x6D00, "instruction not supported", "unknown instruction"
    UNKNOWN_CLASS = 0x6E00, "class not supported", "unknown class"
    INTERNAL_ERROR = 0x6F00, "internal error", "a defect of the emulation; the log has the rest"

    __str__ = StatusWord.__str__
    __repr__ = StatusWord.__repr__


_BY_VALUE: dict[int, Status] = {int(status): status for status in Status}
