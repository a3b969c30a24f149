"""Transcripts: the commands of real clients and the responses that they need, as readable text.

client: the client              source: where its commands are published  card: the card's name (hanako)
twice                           every command is transmitted twice, and the second response is compared
> READ BINARY 0 4               a command, by name (`tests.clients.steps`) or in hexadecimal; {PIN} and other
                                placeholders are the holder's secrets
< 3082 ?2 9000                  its response: bytes, ?n for any n bytes, and the status word
read FROM by STEP until 6B00    READ BINARY repeatedly with Le STEP; the last response before 6B00 may be short
read FROM by STEP to END        READ BINARY repeatedly with Le STEP, and an exact last Le
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kazashi.card.request import read_binary
from tests.clients.steps import Steps, in_hexadecimal

Transmit = Callable[[bytes], bytes]


@dataclass(frozen=True)
class Transcript:
    client: str
    source: str
    card: str
    twice: bool
    lines: tuple[tuple[int, str], ...]

    @classmethod
    def load(cls, path: Path) -> Transcript:
        head: dict[str, str] = {}
        lines: list[tuple[int, str]] = []
        twice = False
        for number, raw in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            line = raw.partition("#")[0].strip()
            key, colon, value = line.partition(": ")
            if colon and not lines:
                head[key] = value.strip()
            elif line == "twice":
                twice = True
            elif line:
                lines.append((number, line))
        return cls(head["client"], head["source"], head.get("card", "hanako"), twice, tuple(lines))

    def play(self, transmit: Transmit, secrets: dict[str, str]) -> int:
        """Send every command, compare every response, and return the number of commands sent."""
        if self.twice:
            once = transmit

            def transmit(command: bytes) -> bytes:
                once(command)
                return once(command)

        steps = Steps(secrets)
        sent, response, command = 0, None, ""
        for number, line in self.lines:
            where = f"{self.client}, line {number}: {line}"
            kind, _, rest = line.partition(" ")
            match kind:
                case ">":
                    assert response is None, f"{where}: the previous command has no expected response"
                    command = rest
                    response = transmit(steps.command(rest))
                    sent += 1
                case "<":
                    assert response is not None, where
                    assert matches(in_hexadecimal(rest, secrets), response), (
                        f"{where}: the response to {command} is {response.hex().upper()}"
                    )
                    response = None
                case "read":
                    sent += _read(transmit, rest, where)
                case _:
                    raise ValueError(where)
        assert response is None, "the last command has no expected response"
        return sent


def matches(pattern: str, response: bytes) -> bool:
    """Return whether a response matches a pattern."""
    parts = [f".{{{part[1:]}}}" if part[0] == "?" else re.escape(bytes.fromhex(part)).decode("latin-1")
             for part in pattern.split()]  # fmt: skip
    return re.fullmatch("".join(parts).encode("latin-1"), response, re.DOTALL) is not None


def _read(transmit: Transmit, rest: str, where: str) -> int:
    match = re.fullmatch(r"(\d+) by (\d+) (until|to) (\w+)", rest)
    assert match, where
    offset, step, how, end = int(match[1]), int(match[2]), match[3], match[4]
    sent = 0
    while True:
        length = step if how == "until" else min(step, int(end) - offset)
        if length == 0:
            return sent
        response = transmit(read_binary(offset, length))
        sent += 1
        if response[-2:] != b"\x90\x00":
            assert how == "until", f"{where}: the response at offset {offset} is {response.hex()}"
            assert response == bytes.fromhex(end), f"{where}: the response at the end is {response.hex()}"
            return sent
        assert len(response) > 2, f"{where}: the response at offset {offset} has no data"
        offset += len(response) - 2
