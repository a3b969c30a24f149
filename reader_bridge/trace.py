"""APDU trace files: the exchanges between a reader and a card, one JSON object per line (format: docs/traces.md).

Each line is written at once, so that a trace that was cut off loses only its last line.
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
from kazashi.world.input_file import LARGE, read_input
from kazashi.world.place_in_file import place_of

FORMAT = "kazashi-trace"
VERSION = 1

_LATEST = 2**32 - 1
"""The latest time in a packet capture, in seconds since 1970."""

_LONGEST = 1e6
"""In seconds, about 11.6 days. No response takes longer."""

MASK_BYTE = 0x2A
"""The byte that replaces a masked byte, an asterisk."""


class BadTrace(Exception):
    """The file is not a trace, or a line of it is not valid."""


class Recorded(NamedTuple):
    """One line of a trace.

    `command` and `response` are hexadecimal, with MASK for masked bytes. For an event that is not a command, `event`
    names it, and `response` is the ATR if there is one. `at` is in seconds since 1970. `rule` and `source` are those of
    the status word, if an emulated card sent it; traces of earlier programs do not have them.
    """

    at: float
    seconds: float
    command: str
    response: str
    words: str = ""
    event: str = ""
    rule: str = ""
    source: str = ""

    @property
    def response_bytes(self) -> bytes:
        """The response, with MASK_BYTE for each masked byte."""
        return masked_bytes(self.response)

    @property
    def command_bytes(self) -> bytes:
        """The command, with MASK_BYTE for each masked byte."""
        return masked_bytes(self.command)

    def is_asked_by(self, command: bytes) -> bool:
        """Return whether a command matches this one; a masked byte matches any byte."""
        asked = command.hex().upper()
        return len(asked) == len(self.command) and all(
            ours in (theirs, MASK[0]) for ours, theirs in zip(self.command, asked, strict=True)
        )


@dataclass(frozen=True, slots=True)
class Trace:
    """A trace. `cut_off` says that the file ends in the middle of a line, which is left out."""

    reader: str
    masked: bool
    lines: tuple[Recorded, ...]
    cut_off: bool = False

    @property
    def atr(self) -> bytes:
        """The first ATR in the trace. Raises BadTrace if there is none."""
        for line in self.lines:
            if line.event and line.response:
                return line.response_bytes
        raise BadTrace(
            "the trace has no ATR, because it starts after the card was powered; start recording before the insertion"
        )


class TraceWriter:
    """Writes a trace. Bytes that may say something about the holder are masked unless `unmasked` is true."""

    def __init__(self, path: Path, reader: str, decoder: Decoder, *, unmasked: bool = False) -> None:
        """Create the file, readable by its owner only. Raises FileExistsError if it exists."""
        self._decoder = decoder
        self._unmasked = unmasked
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._file: BinaryIO = os.fdopen(descriptor, "wb", buffering=0)
        self._line({"format": FORMAT, "version": VERSION, "reader": reader, "masked": not unmasked})

    def write(self, exchange: Exchange) -> Decoded:
        """Write an exchange, and return it decoded."""
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
            if decoded.rule:
                line |= {"rule": decoded.rule, "source": decoded.source}
        self._line(line)
        return decoded

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> TraceWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _line(self, value: dict[str, Any]) -> None:
        self._file.write(json.dumps(value, ensure_ascii=False).encode() + b"\n")


def read_trace(path: Path) -> Trace:
    """Read a trace from a file. Raises BadTrace, which names the line, FileUnusable and OSError."""
    raw = read_input(path, LARGE)
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
        fields = _parsed(path, number, line)
        try:
            entry = Recorded(
                float(fields["at"]), float(fields["seconds"]), str(fields.get("command", "")).upper(),
                str(fields.get("response", "")).upper(), str(fields.get("words", "")), str(fields.get("event", "")),
                str(fields.get("rule", "")), str(fields.get("source", "")),
            )  # fmt: skip
            masked_bytes(entry.command)
            masked_bytes(entry.response)
            if not (0 <= entry.at <= _LATEST and 0 <= entry.seconds <= _LONGEST):
                raise ValueError("the time is out of range")
        except (KeyError, ValueError, TypeError, OverflowError) as error:
            raise BadTrace(f"{path} line {number} is not a valid trace line") from error
        recorded.append(entry)
    return Trace(str(header.get("reader", "")), bool(header.get("masked")), tuple(recorded), cut_off)


def masked_bytes(hexadecimal: str) -> bytes:
    """Return bytes from hexadecimal, with MASK_BYTE for each masked byte. Raises ValueError."""
    return bytes.fromhex(hexadecimal.replace(MASK, f"{MASK_BYTE:02X}"))


def _parsed(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadTrace(f"{path} line {number} is not valid JSON{place_of(error)}") from error
    if not isinstance(value, dict):
        raise BadTrace(f"{path} line {number} is not a JSON object")
    return value
