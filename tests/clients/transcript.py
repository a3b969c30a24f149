"""Transcripts: what real clients send, and what the card must answer, as text that a reviewer can read.

client: who sends this          source: where that is known from          card: whose card (hanako)
twice                           every command is transmitted twice, and the second answer is the one that counts
> READ BINARY 0 4               a command, by name (`tests.clients.steps`) or in hexadecimal; {PIN} and the like stand
                                for the holder's secrets
< 3082 ?2 9000                  its answer: bytes, ?n for n bytes whatever they are, and the status word
read FROM by STEP until 6B00    READ BINARY again and again with that Le; the last answer before may be short
read FROM by STEP to END        the same with an exact last Le
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
        """Send every command and compare every answer; answers how many commands were sent."""
        if self.twice:
            once = transmit

            def transmit(command: bytes) -> bytes:
                once(command)
                return once(command)

        steps = Steps(secrets)
        sent, answer, asked = 0, None, ""
        for number, line in self.lines:
            where = f"{self.client}, line {number}: {line}"
            kind, _, rest = line.partition(" ")
            match kind:
                case ">":
                    assert answer is None, f"{where}: the command before has no expected answer"
                    asked = rest
                    answer = transmit(steps.command(rest))
                    sent += 1
                case "<":
                    assert answer is not None, where
                    assert matches(in_hexadecimal(rest, secrets), answer), (
                        f"{where}: {asked} was answered {answer.hex().upper()}"
                    )
                    answer = None
                case "read":
                    sent += _read(transmit, rest, where)
                case _:
                    raise ValueError(where)
        assert answer is None, "the last command has no expected answer"
        return sent


def matches(pattern: str, answer: bytes) -> bool:
    """Whether an answer is what a pattern says."""
    parts = [f".{{{part[1:]}}}" if part[0] == "?" else re.escape(bytes.fromhex(part)).decode("latin-1")
             for part in pattern.split()]  # fmt: skip
    return re.fullmatch("".join(parts).encode("latin-1"), answer, re.DOTALL) is not None


def _read(transmit: Transmit, rest: str, where: str) -> int:
    found = re.fullmatch(r"(\d+) by (\d+) (until|to) (\w+)", rest)
    assert found, where
    offset, step, how, end = int(found[1]), int(found[2]), found[3], found[4]
    sent = 0
    while True:
        length = step if how == "until" else min(step, int(end) - offset)
        if length == 0:
            return sent
        answer = transmit(read_binary(offset, length))
        sent += 1
        if answer[-2:] != b"\x90\x00":
            assert how == "until", f"{where}: offset {offset} was answered {answer.hex()}"
            assert answer == bytes.fromhex(end), f"{where}: the end was told by {answer.hex()}"
            return sent
        assert len(answer) > 2, f"{where}: nothing but 9000 at offset {offset}"
        offset += len(answer) - 2
