"""Command and response APDUs (ISO 7816-4, section 5)."""

from __future__ import annotations

from typing import NamedTuple

from kazashi.card.rejection import WrongLength
from kazashi.card.rule import RuleSource
from kazashi.card.status_word import StatusWord

TOO_SHORT = "a command has at least the four bytes of its header"
_new = tuple.__new__  # a third of the time of the class's own, which also fills in defaults
_LENGTHS = "the length fields do not match the number of bytes"


class CommandApdu(NamedTuple):
    """A command APDU, in any of the seven cases 1, 2S, 3S, 4S, 2E, 3E, 4E.

    `data` holds 0 to 65535 bytes. `le` is the number of bytes expected, 1 to 65536, or None if the command has no
    Le field. `extended` is true if the length fields have three bytes; otherwise `le` is at most 256.
    """

    cla: int
    ins: int
    p1: int
    p2: int
    data: bytes = b""
    le: int | None = None
    extended: bool = False

    @property
    def instruction(self) -> int:
        """The class and instruction bytes as one number, which is the value of an `Instruction` if it is known."""
        return self.cla << 8 | self.ins

    @classmethod
    def parse(cls, raw: bytes) -> CommandApdu:
        """Parse one command. Raises WrongLength if the length fields do not match the number of bytes."""
        size = len(raw)
        if size == 5:  # case 2S, by far the most frequent
            cla, ins, p1, p2, le = raw
            return _new(cls, (cla, ins, p1, p2, b"", le or 256, False))
        if size == 4:  # case 1
            cla, ins, p1, p2 = raw
            return _new(cls, (cla, ins, p1, p2, b"", None, False))
        if size < 4:
            raise WrongLength(TOO_SHORT, RuleSource.ISO_LENGTHS)
        cla, ins, p1, p2, first = raw[:5]
        if first:  # cases 3S and 4S
            end = 5 + first
            if size == end:
                return _new(cls, (cla, ins, p1, p2, raw[5:], None, False))
            if size == end + 1:
                return _new(cls, (cla, ins, p1, p2, raw[5:end], raw[end] or 256, False))
            raise WrongLength(_LENGTHS, RuleSource.ISO_LENGTHS)
        if size < 7:
            raise WrongLength(_LENGTHS, RuleSource.ISO_LENGTHS)
        length = raw[5] << 8 | raw[6]
        if size == 7:  # case 2E
            return cls(cla, ins, p1, p2, b"", length or 65536, True)
        end = 7 + length
        if length and size == end:  # case 3E
            return cls(cla, ins, p1, p2, raw[7:], None, True)
        if length and size == end + 2:  # case 4E
            return cls(cla, ins, p1, p2, raw[7:end], (raw[end] << 8 | raw[end + 1]) or 65536, True)
        raise WrongLength(_LENGTHS, RuleSource.ISO_LENGTHS)

    def encode(self) -> bytes:
        """Return the command as bytes. Raises ValueError for a length that does not fit its form, short or extended."""
        header = bytes((self.cla, self.ins, self.p1, self.p2))
        if len(self.data) > (65535 if self.extended else 255):
            raise ValueError(
                f"{len(self.data)} bytes of data do not fit; the short form carries up to 255, the extended 65535"
            )
        if self.le is not None and not 1 <= self.le <= (65536 if self.extended else 256):
            raise ValueError(f"Le {self.le} does not fit; the short form carries 1 to 256, the extended 1 to 65536")
        if not self.extended:
            data = bytes((len(self.data),)) + self.data if self.data else b""
            return header + data + (b"" if self.le is None else bytes((self.le & 0xFF,)))
        data = b"\0" + len(self.data).to_bytes(2) + self.data if self.data else b""
        if self.le is None:
            return header + data
        return header + (data or b"\0") + (self.le & 0xFFFF).to_bytes(2)

    def __str__(self) -> str:
        return self.encode().hex().upper()


class ResponseApdu(NamedTuple):
    """A response APDU: its data and its status word."""

    data: bytes
    status: StatusWord

    @classmethod
    def parse(cls, raw: bytes) -> ResponseApdu:
        """Parse one response. Raises ValueError if it is too short for a status word."""
        if len(raw) < 2:
            raise ValueError(f"a response has at least two bytes, not {len(raw)}")
        return cls(raw[:-2], StatusWord(raw[-2] << 8 | raw[-1]))

    def encode(self) -> bytes:
        """Return the response as bytes."""
        return self.data + self.status.to_bytes(2)
