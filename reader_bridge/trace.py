"""Traces in files: what went between a reader and a card, one JSON object to a line (docs/traces.md has the format).

A line is written whole and at once, so that a trace which breaks off anywhere still has all lines but the last.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple

from kazashi.reader_bridge.decoder import MASK, Decoded, Decoder
from kazashi.reader_bridge.vpcd import Exchange

FORMAT = "kazashi-trace"
VERSION = 1

_LATEST = 2**32 - 1
"""In seconds since 1970: what a packet capture can say."""

_LONGEST = 1e6
"""In seconds. No card takes longer for an answer than a week."""

MASK_BYTE = 0x2A
"""A masked byte where a byte must be had: the asterisk."""


class BadTrace(Exception):
    """What was given is no trace, or a line of it makes no sense."""


class Recorded(NamedTuple):
    """One line of a trace. `command` and `response` are hexadecimal, with MASK for masked bytes; of an event that is no
    command, `event` says what it was, and `response` is the ATR where there is one."""

    at: float
    seconds: float
    command: str
    response: str
    words: str = ""
    event: str = ""

    @property
    def response_bytes(self) -> bytes:
        """The answer, MASK_BYTE in place of each masked byte."""
        return masked_bytes(self.response)

    @property
    def command_bytes(self) -> bytes:
        """The command, MASK_BYTE in place of each masked byte."""
        return masked_bytes(self.command)

    def is_asked_by(self, command: bytes) -> bool:
        """Whether a command is this one, whatever its masked bytes were."""
        asked = command.hex().upper()
        return len(asked) == len(self.command) and all(
            ours in (theirs, MASK[0]) for ours, theirs in zip(self.command, asked, strict=True)
        )


@dataclass(frozen=True, slots=True)
class Trace:
    """A whole trace. `cut_off` says that it ends in the middle of a line, which is left out."""

    reader: str
    masked: bool
    lines: tuple[Recorded, ...]
    cut_off: bool = False

    @property
    def atr(self) -> bytes:
        """The ATR that the card first answered with. Raises BadTrace where the trace holds none."""
        for line in self.lines:
            if line.event and line.response:
                return line.response_bytes
        raise BadTrace("the trace holds no ATR: it began after the card had got power; record it from the insertion on")


class TraceWriter:
    """Writes a trace. Bytes that say something about the holder are masked unless `unmasked`."""

    def __init__(self, path: Path, reader: str, decoder: Decoder, *, unmasked: bool = False) -> None:
        """Begin the file; its owner alone may read it. Raises FileExistsError rather than overwrite one."""
        self._decoder = decoder
        self._unmasked = unmasked
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._file: BinaryIO = os.fdopen(descriptor, "wb", buffering=0)
        self._line({"format": FORMAT, "version": VERSION, "reader": reader, "masked": not unmasked})

    def write(self, exchange: Exchange) -> Decoded:
        """Add an exchange; answers it in words."""
        decoded = self._decoder.decode(exchange)
        line: dict[str, Any] = {"at": round(exchange.at, 6), "seconds": round(exchange.seconds, 6)}
        if exchange.event:
            line |= {"event": exchange.event, "response": decoded.response}
        else:
            line |= {
                "command": exchange.command.hex().upper() if self._unmasked else decoded.command,
                "response": exchange.response.hex().upper() if self._unmasked else decoded.response,
                "words": decoded.words,
            }
        self._line(line)
        return decoded

    def close(self) -> None:
        """End the file."""
        self._file.close()

    def __enter__(self) -> TraceWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _line(self, value: dict[str, Any]) -> None:
        self._file.write(json.dumps(value, ensure_ascii=False).encode() + b"\n")


def read_trace(path: Path) -> Trace:
    """A trace from a file. Raises BadTrace, which names the line, and OSError."""
    raw = path.read_bytes()
    lines = raw.split(b"\n")
    cut_off = bool(lines.pop())  # what follows the last newline
    if not lines:
        raise BadTrace(f"{path} is not a trace: it has no first line")
    header = _parsed(path, 1, lines[0])
    if header.get("format") != FORMAT:
        raise BadTrace(f"{path} is not a trace: its first line does not name the format")
    if header.get("version") != VERSION:
        raise BadTrace(f"{path} is a trace of another version; this program reads version {VERSION}")
    recorded = []
    for number, line in enumerate(lines[1:], start=2):
        found = _parsed(path, number, line)
        try:
            one = Recorded(
                float(found["at"]), float(found["seconds"]), str(found.get("command", "")).upper(),
                str(found.get("response", "")).upper(), str(found.get("words", "")), str(found.get("event", "")),
            )  # fmt: skip
            masked_bytes(one.command)
            masked_bytes(one.response)
            if not (0 <= one.at <= _LATEST and 0 <= one.seconds <= _LONGEST):
                raise ValueError("no such time")
        except (KeyError, ValueError, TypeError, OverflowError) as error:
            raise BadTrace(f"{path} line {number} makes no sense: {error}") from error
        recorded.append(one)
    return Trace(str(header.get("reader", "")), bool(header.get("masked")), tuple(recorded), cut_off)


def masked_bytes(hexadecimal: str) -> bytes:
    """Bytes from hexadecimal, MASK_BYTE in place of each masked one. Raises ValueError."""
    return bytes.fromhex(hexadecimal.replace(MASK, f"{MASK_BYTE:02X}"))


def _parsed(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadTrace(f"{path} line {number} is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise BadTrace(f"{path} line {number} is no JSON object")
    return found
