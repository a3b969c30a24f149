"""Exchanges in words: which command, on which file, with which result; and what of the bytes may be shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from kazashi.applets.disclosure import IMPERSONAL_FILES, IMPERSONAL_OBJECTS
from kazashi.card.apdu import CommandApdu, ResponseApdu
from kazashi.card.file import Application
from kazashi.card.identifiers import FileId
from kazashi.card.instruction import Instruction
from kazashi.card.rejection import WrongLength
from kazashi.card.status_word import Status
from kazashi.reader_bridge.vpcd import FORGETTING, Exchange

MASK = "**"
"""What stands for a byte that is a PIN's or says something about the holder."""

_PIN_COMMANDS = {Instruction.VERIFY, Instruction.CHANGE_REFERENCE_DATA, Instruction.CHANGE_KEY}
_NAMING_BY_P2 = {*_PIN_COMMANDS, Instruction.INTERNAL_AUTHENTICATE, Instruction.COMPUTE_DIGITAL_SIGNATURE}
_TITLES: dict[int, str] = {int(instruction): instruction.title for instruction in Instruction}


class Decoded(NamedTuple):
    """An exchange in words, and its bytes in hexadecimal with MASK for what is not shown."""

    words: str
    command: str
    response: str


class Decoder:
    """Follows one slot's exchanges. It knows the card's applications, and keeps in step with what is selected, so
    that it can name the file that a command works on, and knows whose the bytes are. Words never show a PIN; bytes
    are masked unless they are known to be nobody's."""

    def __init__(self, applications: Sequence[Application]) -> None:
        self._applications = applications
        self._application: Application | None = None
        self._file: FileId | None = None
        self._whole = False  # whether the application was selected by its whole name
        self._sure = False  # whether `_file` is what the card has selected, and not only what a command named

    def decode(self, exchange: Exchange) -> Decoded:
        """One exchange in words, its bytes masked."""
        if exchange.event:
            if exchange.event in FORGETTING:
                self._application = self._file = None
            return Decoded(f"-- {exchange.event}", "", exchange.response.hex().upper())
        command = None
        response = _response(exchange.response)
        try:
            command = CommandApdu.parse(exchange.command)
        except WrongLength:
            self._sure = False
            asked = f"malformed command {exchange.command[:4].hex().upper()}..."
        else:
            self._follow(command, response)
            asked = self._asked(command)
        got = "no answer" if not exchange.response else "an answer that breaks off"
        if response is not None:
            size = f"{len(response.data)} bytes, " if response.data else ""
            got = f"{size}{response.status} {response.status.meaning}"
        words = f"{asked} -> {got} ({exchange.seconds * 1000:.2f} ms)"
        shown = self._response_shown(command, response, exchange.response)
        return Decoded(words, _command_shown(exchange.command, command), shown)

    def line(self, exchange: Exchange) -> str:
        """One exchange in words."""
        return self.decode(exchange).words

    def _follow(self, command: CommandApdu, response: ResponseApdu | None) -> None:
        succeeded = response is not None and response.status == Status.SUCCESS
        named = self._named_file(command)
        match command.instruction, command.p1:
            case Instruction.SELECT, 0x04 if succeeded:
                # P2 02 is the next application that is called so, and nobody outside the card knows which that is.
                self._application = self._named(command.data) if command.p2 & 0x03 == 0 else None
                # The beginning of a name may be another application's on another card.
                self._whole = self._application is not None and self._application.aid == command.data
                self._file, self._sure = None, True
            case Instruction.SELECT, 0x02 if succeeded:
                self._file, self._sure = FileId(int.from_bytes(command.data[:2])), len(command.data) == 2
            case _ if named is not None:
                # A command that names a file selects it; one that fails may or may not have done so.
                self._file, self._sure = named, succeeded

    def _named_file(self, command: CommandApdu) -> FileId | None:
        """The file that a command other than SELECT names by its short identifier."""
        key = command.instruction
        if key == Instruction.READ_BINARY and command.p1 & 0x80:
            return FileId(command.p1 & 0x1F)
        if key in _NAMING_BY_P2 and command.p2 & 0x1F:
            return FileId(command.p2 & 0x1F)
        if key == Instruction.READ_RECORD and command.p2 >> 3:
            return FileId(command.p2 >> 3)
        return None

    def _named(self, name: bytes) -> Application | None:
        return next((found for found in self._applications if name and found.aid.startswith(name)), None)

    def _asked(self, command: CommandApdu) -> str:
        key = command.instruction
        words = [_TITLES.get(key, f"unknown instruction {command.cla:02X} {command.ins:02X}")]
        match key:
            case Instruction.SELECT if command.p1 == 0x04:
                found = self._named(command.data)
                words.append(f"application {found.name if found else command.data.hex().upper()}")
            case Instruction.SELECT if command.data:
                words.append(self._file_in_words(FileId(int.from_bytes(command.data[:2]))))
            case Instruction.READ_BINARY:
                offset = command.p2 if command.p1 & 0x80 else command.p1 << 8 | command.p2
                words.append(f"{self._file_in_words(self._file)} from {offset}")
                if command.le is not None:
                    words.append(f"up to {command.le}")
            case Instruction.READ_RECORD:
                words.append(f"{self._file_in_words(self._file)} record {command.p1}")
            case Instruction.GET_DATA:
                words.append(f"{command.p1:02X}{command.p2:02X}")
            case _ if key in _PIN_COMMANDS:
                words.append(self._file_in_words(self._file))
                words.append("*" * len(command.data) if command.data else "tries left?")
            case _ if key in _NAMING_BY_P2:
                words.append(f"{self._file_in_words(self._file)}, {len(command.data)} bytes")
            case _ if command.data:
                words.append(f"{len(command.data)} bytes")
        return " ".join(words)

    def _file_in_words(self, fid: FileId | None) -> str:
        if fid is None:
            return "no file"
        file = self._application.files.get(fid) if self._application else None
        return f"{file.name} ({fid})" if file else f"file {fid}"

    def _response_shown(self, command: CommandApdu | None, response: ResponseApdu | None, raw: bytes) -> str:
        if response is None:
            return MASK * len(raw)  # what is left of an answer may end in the holder's data
        shown = command is not None and self._is_nobodys(command)
        data = response.data.hex().upper() if shown else MASK * len(response.data)
        return data + raw[-2:].hex().upper()

    def _is_nobodys(self, command: CommandApdu) -> bool:
        """Whether what is answered to a command says nothing about a holder."""
        match command.instruction:
            case Instruction.GET_CHALLENGE:
                return True
            case Instruction.SELECT:
                return self._application is not None
            case Instruction.READ_BINARY if self._application is not None and self._whole and self._sure:
                return self._file in IMPERSONAL_FILES.get(self._application.aid, ())
            case Instruction.GET_DATA:
                return command.p1 << 8 | command.p2 in IMPERSONAL_OBJECTS
        return False


def _command_shown(raw: bytes, command: CommandApdu | None) -> str:
    """A command with its data masked, unless they are a name. Of what is no command, only the header is shown."""
    if command is None:
        return raw[:4].hex().upper() + MASK * len(raw[4:])
    if not command.data or command.instruction == Instruction.SELECT:
        return raw.hex().upper()
    begins = 7 if command.extended else 5
    ends = begins + len(command.data)
    return raw[:begins].hex().upper() + MASK * len(command.data) + raw[ends:].hex().upper()


def _response(raw: bytes) -> ResponseApdu | None:
    """An answer, None for what ends in no status word that is known."""
    if len(raw) < 2:
        return None
    response = ResponseApdu.parse(raw)
    alone = len(raw) == 2 and raw[0] >> 4 in (0x6, 0x9)  # a status word of another card's, or 61xx and 6Cxx
    return response if response.status.known or alone else None
