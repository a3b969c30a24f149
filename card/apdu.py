"""Command and response APDUs (ISO 7816-4, section 5), parsed once where bytes enter."""

from __future__ import annotations

from typing import NamedTuple

from kazashi.card.rejection import WrongLength
from kazashi.card.status_word import StatusWord


class CommandApdu(NamedTuple):
    """One command, in any of the seven cases 1, 2S, 3S, 4S, 2E, 3E, 4E.

    `data` holds 0 to 65535 bytes. `le` is the number of bytes expected, 1 to 65536, or None where the command has no
    Le field. `extended` says that the length fields are the three-byte ones (without it `le` is at most 256).
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
        """Class and instruction as one number; an `Instruction` where it is a known one."""
        return self.cla << 8 | self.ins

    @classmethod
    def parse(cls, raw: bytes) -> CommandApdu:
        """Read one command. Raises WrongLength where the length fields and the bytes disagree."""
        size = len(raw)
        if size == 5:  # case 2S, by far the most frequent
            return cls(raw[0], raw[1], raw[2], raw[3], b"", raw[4] or 256)
        if size == 4:  # case 1
            return cls(raw[0], raw[1], raw[2], raw[3])
        if size < 4:
            raise WrongLength
        cla, ins, p1, p2, first = raw[:5]
        if first:  # cases 3S and 4S
            end = 5 + first
            if size == end:
                return cls(cla, ins, p1, p2, raw[5:])
            if size == end + 1:
                return cls(cla, ins, p1, p2, raw[5:end], raw[end] or 256)
            raise WrongLength
        if size < 7:
            raise WrongLength
        length = raw[5] << 8 | raw[6]
        if size == 7:  # case 2E
            return cls(cla, ins, p1, p2, b"", length or 65536, True)
        end = 7 + length
        if length and size == end:  # case 3E
            return cls(cla, ins, p1, p2, raw[7:], None, True)
        if length and size == end + 2:  # case 4E
            return cls(cla, ins, p1, p2, raw[7:end], (raw[end] << 8 | raw[end + 1]) or 65536, True)
        raise WrongLength

    def encode(self) -> bytes:
        """Write the command; the inverse of `parse`. Raises ValueError for a length that its form cannot carry."""
        header = bytes((self.cla, self.ins, self.p1, self.p2))
        if len(self.data) > (65535 if self.extended else 255):
            raise ValueError(f"{len(self.data)} bytes of data do not fit; the extended form carries up to 65535")
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
    """One answer: its data and its status word."""

    data: bytes
    status: StatusWord

    @classmethod
    def parse(cls, raw: bytes) -> ResponseApdu:
        """Read one answer. Raises ValueError where there is not even a status word."""
        if len(raw) < 2:
            raise ValueError(f"an answer has at least two bytes, not {len(raw)}")
        return cls(raw[:-2], StatusWord(raw[-2] << 8 | raw[-1]))

    def encode(self) -> bytes:
        """Write the answer; the inverse of `parse`."""
        return self.data + self.status.to_bytes(2)
