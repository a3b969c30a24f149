"""Commands that a reader answers itself, as patterns and templates of bytes.

A pattern is hexadecimal. In it, `??` is any byte, `{NAME}` is a byte that sets the reader's setting NAME,
`{NAME:masked}` is a byte whose bits 0 and 1 set those of the setting for which bits 2 and 3 are 1, and `{le}` is the
last byte, the expected length. In an answer, `{NAME}` is a setting, or one of READER_VALUES.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

READER_VALUES = ("pupi", "rates", "insertions")
"""Values that a reader knows: the PUPI of the card in the field (4 bytes), its bit rates (the first byte of the
protocol information of its ATQB), and how often a card was inserted at the contacts (4 bytes). The first two are
missing without a card in the field."""

_PIECE = re.compile(r"\{(?P<name>[a-z_]+)(?P<masked>:masked)?\}|(?P<any>\?\?)|(?P<byte>[0-9A-F]{2})|(?P<wrong>.)")

SUCCESS = b"\x90\x00"
_MORE_THAN_THERE_IS = b"\x62\x82"


@dataclass(frozen=True, slots=True)
class CommandPattern:
    """The bytes of a command: numbers, None for any byte, or the name of a setting, with whether it is masked."""

    pieces: tuple[int | tuple[str, bool] | None, ...]

    @classmethod
    def parse(cls, text: str) -> CommandPattern:
        """Read a pattern. Raises ValueError."""
        pieces: list[int | tuple[str, bool] | None] = []
        for match in _pieces(text):
            if match["name"]:
                pieces.append((match["name"], bool(match["masked"])))
            else:
                pieces.append(None if match["any"] else int(match["byte"], 16))
        if ("le", False) in pieces[:-1]:
            raise ValueError(f"{text!r}: {{le}} is the last byte of a command")
        return cls(tuple(pieces))

    @property
    def names(self) -> set[str]:
        """The names in the pattern."""
        return {piece[0] for piece in self.pieces if isinstance(piece, tuple)}

    def match(self, command: bytes) -> dict[str, tuple[int, bool]] | None:
        """Return the named bytes of a command with whether they are masked, or None if the command is another one."""
        if len(command) != len(self.pieces):
            return None
        named = {}
        for piece, byte in zip(self.pieces, command, strict=True):
            if isinstance(piece, tuple):
                named[piece[0]] = (byte, piece[1])
            elif piece not in (None, byte):
                return None
        return named


@dataclass(frozen=True, slots=True)
class ReaderAnswer:
    """The bytes of an answer: numbers, or names of values."""

    pieces: tuple[int | str, ...]

    @classmethod
    def parse(cls, text: str, known: set[str]) -> ReaderAnswer:
        """Read a template whose names are among `known`. Raises ValueError."""
        pieces: list[int | str] = []
        for match in _pieces(text):
            if match["any"] or match["masked"] or (match["name"] and match["name"] not in known):
                raise ValueError(f"{text!r}: {match[0]} is not a byte, a setting or one of {', '.join(READER_VALUES)}")
            pieces.append(match["name"] or int(match["byte"], 16))
        return cls(tuple(pieces))

    def fill(self, values: Mapping[str, bytes]) -> bytes:
        """Return the answer. Raises KeyError if a value is missing."""
        return b"".join(values[piece] if isinstance(piece, str) else bytes((piece,)) for piece in self.pieces)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderCommand:
    """A command and its answer.

    `whole`: the answer includes its status word. Otherwise it is data, and the command's Le decides on the status word
    (PC/SC part 3, 3.2.2.1.3). The command is sent to the card (SCardTransmit), as an escape command (SCardControl), or
    either.
    """

    pattern: CommandPattern
    answer: ReaderAnswer
    whole: bool
    through_card: bool
    through_escape: bool

    def respond(self, command: bytes, settings: dict[str, int], values: Mapping[str, bytes]) -> bytes | None:
        """Return the answer to a command, or None if it is another command. Changes the settings that it sets.

        Raises KeyError if the answer needs a value that is missing.
        """
        named = self.pattern.match(command)
        if named is None:
            return None
        le = named.pop("le", (0, False))[0]
        for name, (byte, masked) in named.items():
            mask = byte >> 2 & 3 if masked else 0xFF
            settings[name] = settings.get(name, 0) & ~mask & 0xFF | byte & mask
        answer = self.answer.fill({**values, **{name: bytes((value,)) for name, value in settings.items()}})
        if self.whole:
            return answer
        if 0 < le < len(answer):
            return bytes((0x6C, len(answer)))
        return answer + (_MORE_THAN_THERE_IS if le > len(answer) else SUCCESS)


def _pieces(text: str) -> list[re.Match[str]]:
    pieces = list(_PIECE.finditer(text))
    if not pieces or any(piece["wrong"] for piece in pieces):
        raise ValueError(f"{text!r} is not a command or answer in hexadecimal")
    return pieces
