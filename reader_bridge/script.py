"""Scripts of commands for any reader, in the format of pcsc-tools' `scriptor`.

A line is a command in hexadecimal (with or without spaces; a backslash at the end continues it on the next line),
`reset`, or `exit`. A comment starts with `#`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from smartcard.scard import SCARD_RESET_CARD

from kazashi.card.status_word import StatusWord
from kazashi.reader_bridge.pcsc import CardHandle


class BadScript(Exception):
    """A line of the script is not a command, or the script ends in a continued line."""


@dataclass(frozen=True, slots=True)
class ScriptStep:
    """One step: send `command`, or reset the card if it is empty. `line` is its line number in the script."""

    line: int
    command: bytes


def read_script(lines: Iterable[str], name: str = "the script") -> list[ScriptStep]:
    """Return the steps of a script. Raises BadScript, which names the line."""
    steps: list[ScriptStep] = []
    continued = ""
    for number, line in enumerate(lines, start=1):
        text = line.partition("#")[0].strip()
        if text.endswith("\\"):
            continued += text[:-1] + " "
            continue
        text, continued = continued + text, ""
        keyword = text.strip().lower()
        if not keyword:
            continue
        if keyword == "exit":
            return steps
        if keyword == "reset":
            steps.append(ScriptStep(number, b""))
            continue
        digits = re.sub(r"\s", "", text)
        if not re.fullmatch(r"([0-9A-Fa-f]{2})+", digits):
            raise BadScript(f"{name} line {number} is not a command in hexadecimal: {text.strip()}")
        steps.append(ScriptStep(number, bytes.fromhex(digits)))
    if continued:
        raise BadScript(f"{name} ends with a backslash, which continues a command on the next line")
    return steps


def run_script(card: CardHandle, steps: Iterable[ScriptStep]) -> Iterator[str]:
    """Run the steps and yield one line for each command and one for each response. Raises PcscError."""
    for step in steps:
        if not step.command:
            yield "> RESET"
            card.reconnect(SCARD_RESET_CARD)
            yield f"< OK: {card.status.atr.hex(' ').upper()}"
            continue
        yield f"> {step.command.hex(' ').upper()}"
        response = card.transmit(step.command)
        meaning = StatusWord(int.from_bytes(response[-2:])).meaning if len(response) >= 2 else "no status word"
        yield f"< {response.hex(' ').upper()} : {meaning}"
