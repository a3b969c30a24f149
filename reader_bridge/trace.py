"""Exchanges in words: which command, on which file, with which result."""

from __future__ import annotations

from collections.abc import Sequence

from card.apdu import CommandApdu, ResponseApdu
from card.file import Application
from card.identifiers import FileId
from card.refusal import WrongLength
from card.status_word import SUCCESS
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
_PIN_COMMANDS = {0x0020, 0x0024, 0x8032}
_NAMING_BY_P2 = {*_PIN_COMMANDS, 0x0088, 0x802A}
_CONTROLS = {Control.POWER_ON: "power on", Control.POWER_OFF: "power off", Control.RESET: "reset"}


class Decoder:
    """Follows one slot's exchanges and puts each in a line. It knows the card's applications, and keeps in step with
    what is selected, so that it can name the file that a command works on. PINs are masked."""

    def __init__(self, applications: Sequence[Application]) -> None:
        self._applications = applications
        self._application: Application | None = None
        self._file: FileId | None = None

    def line(self, exchange: Exchange) -> str:
        """One exchange in words."""
        if exchange.control is not None:
            self._application = self._file = None
            return f"-- {_CONTROLS[exchange.control]}"
        response = ResponseApdu.parse(exchange.response)
        try:
            command = CommandApdu.parse(exchange.command)
        except WrongLength:
            asked = f"malformed command {exchange.command.hex().upper()}"
        else:
            self._follow(command, response)
            asked = self._asked(command)
        got = f"{len(response.data)} bytes, " if response.data else ""
        return f"{asked} -> {got}{response.status} {response.status.meaning} ({exchange.seconds * 1000:.2f} ms)"

    def _follow(self, command: CommandApdu, response: ResponseApdu) -> None:
        match command.cla << 8 | command.ins, command.p1:
            case 0x00A4, 0x04 if response.status == SUCCESS:
                self._application = self._named(command.data)
                self._file = None
            case 0x00A4, 0x02 if response.status == SUCCESS:
                self._file = FileId(int.from_bytes(command.data))
            case 0x00B0, p1 if p1 & 0x80:
                self._file = FileId(p1 & 0x1F)
            case key, _ if key in _NAMING_BY_P2 and command.p2 & 0x1F:
                self._file = FileId(command.p2 & 0x1F)
            case 0x00B2, _ if command.p2 >> 3:
                self._file = FileId(command.p2 >> 3)

    def _named(self, name: bytes) -> Application | None:
        return next((found for found in self._applications if name and found.aid.startswith(name)), None)

    def _asked(self, command: CommandApdu) -> str:
        key = command.cla << 8 | command.ins
        words = [_INSTRUCTIONS.get(key, f"unknown instruction {command.cla:02X} {command.ins:02X}")]
        match key:
            case 0x00A4 if command.p1 == 0x04:
                found = self._named(command.data)
                words.append(f"application {found.name if found else command.data.hex().upper()}")
            case 0x00A4 if command.data:
                words.append(self._file_in_words(FileId(int.from_bytes(command.data))))
            case 0x00B0:
                offset = command.p2 if command.p1 & 0x80 else command.p1 << 8 | command.p2
                words.append(f"{self._file_in_words(self._file)} from {offset}")
                if command.le is not None:
                    words.append(f"up to {command.le}")
            case 0x00B2:
                words.append(f"{self._file_in_words(self._file)} record {command.p1}")
            case 0x00CA:
                words.append(f"{command.p1:02X}{command.p2:02X}")
            case _ if key in _PIN_COMMANDS:
                words.append(self._file_in_words(self._file))
                words.append("*" * len(command.data) if command.data else "tries left?")
            case _ if key in _NAMING_BY_P2:
                words.append(f"{self._file_in_words(self._file)}, {len(command.data)} bytes")
            case _ if command.data:
                words.append(command.data.hex().upper())
        return " ".join(words)

    def _file_in_words(self, fid: FileId | None) -> str:
        if fid is None:
            return "no file"
        file = self._application.files.get(fid) if self._application else None
        return f"{file.name} ({fid})" if file else f"file {fid}"
