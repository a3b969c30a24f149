"""Identifiers that select a card's applications and files."""

from __future__ import annotations

MAX_AID_LENGTH = 16


class Aid(bytes):
    """An application identifier, the DF name of ISO 7816-5: 1 to 16 bytes."""

    def __new__(cls, value: bytes | str) -> Aid:
        """Make an AID from bytes or hexadecimal text. Raises ValueError if it does not have 1 to 16 bytes."""
        raw = bytes.fromhex(value) if isinstance(value, str) else value
        if not 1 <= len(raw) <= MAX_AID_LENGTH:
            raise ValueError(f"an AID has 1 to {MAX_AID_LENGTH} bytes, not {len(raw)}")
        return super().__new__(cls, raw)

    def __str__(self) -> str:
        return self.hex().upper()

    __repr__ = __str__


class FileId(int):
    """The two-byte identifier of an elementary file. Its low five bits are its short EF identifier."""

    @property
    def short(self) -> int:
        """The short EF identifier, 1 to 30."""
        return self & 0x1F

    def __str__(self) -> str:
        return f"{int(self):04X}"

    __repr__ = __str__
