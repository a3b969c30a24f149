"""Status words, and what each says in words."""

from __future__ import annotations

_MEANINGS = {
    0x9000: "success",
    0x6281: "part of the data may be corrupt",
    0x6283: "the selected application is locked",
    0x6300: "verification failed, or this credential has no retry limit",
    0x6581: "memory failure",
    0x6700: "wrong length",
    0x66F1: "no session key can be set in this application",
    0x6881: "logical channel not supported",
    0x6882: "secure messaging not supported",
    0x6981: "command does not fit this kind of file",
    0x6982: "security status not satisfied: verify the PIN first",
    0x6984: "PIN blocked",
    0x6985: "conditions of use not satisfied",
    0x6986: "no file selected",
    0x6987: "secure messaging data objects missing",
    0x6988: "secure messaging session lost",
    0x69FC: "no secure messaging session",
    0x6A80: "wrong data",
    0x6A81: "function not supported",
    0x6A82: "application or file not found",
    0x6A83: "record not found",
    0x6A86: "wrong P1 or P2",
    0x6A88: "referenced data or key not found",
    0x6B00: "offset beyond the end of the file",
    0x6D00: "instruction not supported",
    0x6E00: "class not supported",
    0x6F00: "internal error",
}


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
        return _MEANINGS.get(self, "a status word that this card never sends")

    @property
    def known(self) -> bool:
        """Whether it is one that has a meaning here."""
        return self & 0xFFF0 == 0x63C0 or int(self) in _MEANINGS

    def __str__(self) -> str:
        return f"{int(self):04X}"

    __repr__ = __str__


SUCCESS = StatusWord(0x9000)
