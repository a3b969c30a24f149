"""Exchanges in words: which command, on which file, with which result."""

from __future__ import annotations

from applets.install import NAMES
from card.apdu import CommandApdu, ResponseApdu
from card.identifiers import MAX_AID_LENGTH, Aid
from card.refusal import WrongLength
from reader_bridge.vpcd import Control, Exchange

_INSTRUCTIONS = {
    0x0020: "VERIFY",
    0x0022: "MANAGE SECURITY ENVIRONMENT",
    0x0024: "CHANGE REFERENCE DATA",
    0x002A: "PERFORM SECURITY OPERATION",
    0x002C: "RESET RETRY COUNTER",
    0x0070: "MANAGE CHANNEL",
    0x0082: "EXTERNAL AUTHENTICATE",
    0x0084: "GET CHALLENGE",
    0x0088: "INTERNAL AUTHENTICATE",
    0x00A4: "SELECT",
    0x00B0: "READ BINARY",
    0x00B2: "READ RECORD",
    0x00C0: "GET RESPONSE",
    0x00CA: "GET DATA",
    0x802A: "COMPUTE DIGITAL SIGNATURE",
    0x8032: "CHANGE KEY",
    0x80A2: "SET PUBLIC IC KEY",
    0x80AE: "SET SESSION KEY",
    0xFFCA: "GET UID (reader)",
}
_SECRET = {0x0020, 0x0024, 0x8032}
"""Instructions whose data are a PIN."""

_CONTROLS = {Control.POWER_ON: "power on", Control.POWER_OFF: "power off", Control.RESET: "reset"}


def in_words(exchange: Exchange) -> str:
    """One line: what was asked, what was answered. PINs are masked."""
    if exchange.control is not None:
        return f"-- {_CONTROLS[exchange.control]}"
    try:
        command = CommandApdu.parse(exchange.command)
    except WrongLength:
        asked = f"malformed command {exchange.command.hex().upper()}"
    else:
        asked = command_in_words(command)
    response = ResponseApdu.parse(exchange.response)
    got = f"{len(response.data)} bytes, " if response.data else ""
    return f"{asked} -> {got}{response.status} {response.status.meaning} ({exchange.seconds * 1000:.2f} ms)"


def command_in_words(command: CommandApdu) -> str:
    """A command: its name, and what it names."""
    key = command.cla << 8 | command.ins
    name = _INSTRUCTIONS.get(key, f"unknown instruction {command.cla:02X} {command.ins:02X}")
    return " ".join(part for part in (name, _object(key, command)) if part)


def _object(key: int, command: CommandApdu) -> str:
    if key == 0x00A4:
        if command.p1 == 0x04 and 1 <= len(command.data) <= MAX_AID_LENGTH:
            known = NAMES.get(Aid(command.data))
            return f"application {known}" if known else f"application {command.data.hex().upper()}"
        return f"file {command.data.hex().upper()}" if command.data else ""
    if key == 0x00B0:
        where = f"file {command.p1 & 0x1F:02X} offset {command.p2}" if command.p1 & 0x80 else f"offset {command.p1 << 8 | command.p2}"
        return where if command.le is None else f"{where}, up to {command.le}"
    if key == 0x00CA:
        return f"{command.p1:02X}{command.p2:02X}"
    if key in _SECRET:
        named = "current file" if command.p2 == 0x80 else f"file {command.p2 & 0x1F:02X}"
        return f"{named}, {'*' * len(command.data) if command.data else 'tries left?'}"
    return command.data.hex().upper()
