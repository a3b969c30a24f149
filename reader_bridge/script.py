"""Scripts of commands, in the form that pcsc-tools' `scriptor` reads, run on any reader.

A line is a command in hexadecimal (with blanks or without; a backslash at its end continues it), `reset`, `exit`, or a
comment after `#`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from smartcard.scard import SCARD_RESET_CARD

from kazashi.card.status_word import StatusWord
from kazashi.reader_bridge.pcsc import CardHandle


class BadScript(Exception):
    """A line is no command."""


@dataclass(frozen=True, slots=True)
class ScriptStep:
    """One thing to do: send `command`, or reset the card where it is empty. `line` is where the script says so."""

    line: int
    command: bytes


def read_script(lines: Iterable[str], name: str = "the script") -> list[ScriptStep]:
    """The steps of a script. Raises BadScript, which names the line."""
    steps: list[ScriptStep] = []
    held = ""
    for number, line in enumerate(lines, start=1):
        text = line.partition("#")[0].strip()
        if text.endswith("\\"):
            held += text[:-1] + " "
            continue
        text, held = held + text, ""
        word = text.strip().lower()
        if not word:
            continue
        if word == "exit":
            return steps
        if word == "reset":
            steps.append(ScriptStep(number, b""))
            continue
        digits = re.sub(r"\s", "", text)
        if not re.fullmatch(r"([0-9A-Fa-f]{2})+", digits):
            raise BadScript(f"{name} line {number} is no command in hexadecimal: {text.strip()}")
        steps.append(ScriptStep(number, bytes.fromhex(digits)))
    if held:
        raise BadScript(f"{name} ends in the middle of a command that a backslash continues")
    return steps


def run_script(card: CardHandle, steps: Iterable[ScriptStep]) -> Iterator[str]:
    """Carry the steps out; yields what was sent and what came, a line each. Raises PcscError."""
    for step in steps:
        if not step.command:
            yield "> RESET"
            card.reconnect(SCARD_RESET_CARD)
            yield f"< OK: {card.status.atr.hex(' ').upper()}"
            continue
        yield f"> {step.command.hex(' ').upper()}"
        answer = card.transmit(step.command)
        meaning = StatusWord(int.from_bytes(answer[-2:])).meaning if len(answer) >= 2 else "no status word"
        yield f"< {answer.hex(' ').upper()} : {meaning}"
