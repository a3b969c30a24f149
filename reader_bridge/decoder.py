"""Decodes exchanges: describes command, file and result in words, and masks bytes that may concern the holder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from kazashi.applets.disclosure import IMPERSONAL_FILES, IMPERSONAL_OBJECTS
from kazashi.card.apdu import CommandApdu, ResponseApdu
from kazashi.card.file import Application
from kazashi.card.identifiers import FileId
from kazashi.card.instruction import CommandClass, Instruction
from kazashi.card.rejection import WrongLength
from kazashi.card.rule import rule_of
from kazashi.card.status_word import Status
from kazashi.reader_bridge.vpcd import FORGETTING, Exchange

MASK = "**"
"""Replaces a byte that belongs to a PIN or may say something about the holder."""

_PIN_COMMANDS = {Instruction.VERIFY, Instruction.CHANGE_REFERENCE_DATA, Instruction.CHANGE_KEY}
_NAMING_BY_P2 = {*_PIN_COMMANDS, Instruction.INTERNAL_AUTHENTICATE, Instruction.COMPUTE_DIGITAL_SIGNATURE}
_TITLES: dict[int, str] = {int(instruction): instruction.title for instruction in Instruction}


class Decoded(NamedTuple):
    """An exchange in words, and its bytes in hexadecimal with MASK for each masked byte.

    `rule` is the rule that decided the status word, and `source` where that comes from; both are empty if the response
    is not an emulated card's.
    """

    words: str
    command: str
    response: str
    rule: str = ""
    source: str = ""


class Decoder:
    """Decodes the exchanges of one slot, in order.

    It tracks what is selected on the card, so that it can name the file that a command applies to and decide what to
    mask. The words never contain a PIN. Bytes are masked unless they are known to say nothing about a holder.
    """

    def __init__(self, applications: Sequence[Application]) -> None:
        self._applications = applications
        self._application: Application | None = None
        self._file: FileId | None = None
        self._followed = False  # whether `_file` is known; a trace may begin after the card selected one
        self._whole = False  # whether the application was selected by its full AID
        self._sure = False  # whether `_file` is certainly selected on the card, not only named by a command

    def decode(self, exchange: Exchange) -> Decoded:
        """Return an exchange in words and with masked bytes."""
        if exchange.event:
            if exchange.event in FORGETTING:
                self._application = self._file = None
                self._followed = True
            return Decoded(f"-- {exchange.event}", "", exchange.response.hex().upper())
        command = None
        response = _response(exchange.response)
        try:
            command = CommandApdu.parse(exchange.command)
        except WrongLength:
            self._sure = False
            request = f"malformed command {exchange.command[:4].hex().upper()}..."
        else:
            self._follow(command, response)
            request = self._request(command)
        result = "no response" if not exchange.response else "a truncated response"
        if response is not None:
            size = f"{len(response.data)} bytes, " if response.data else ""
            result = f"{size}{response.status} {response.status.meaning}"
        words = f"{request} -> {result} ({exchange.seconds * 1000:.2f} ms)"
        shown = self._response_shown(command, response, exchange.response)
        rule, source = rule_of(exchange.response) or ("", "")
        return Decoded(words, _command_shown(exchange.command, command), shown, rule, source)

    def line(self, exchange: Exchange) -> str:
        """Return an exchange in words, on one line."""
        return self.decode(exchange).words

    def _follow(self, command: CommandApdu, response: ResponseApdu | None) -> None:
        succeeded = response is not None and response.status == Status.SUCCESS
        named = self._named_file(command)
        match command.instruction, command.p1:
            case Instruction.SELECT, 0x04 if succeeded:
                # P2 02 selects the next application with this partial AID, which only the card knows.
                self._application = self._named(command.data) if command.p2 & 0x03 == 0 else None
                # On another card, a partial AID may belong to another application.
                self._whole = self._application is not None and self._application.aid == command.data
                self._file, self._sure, self._followed = None, True, True
            case Instruction.SELECT, 0x02 if succeeded:
                self._file, self._sure = FileId(int.from_bytes(command.data[:2])), len(command.data) == 2
            case _ if named is not None:
                # A command that names a file selects it; if the command fails, it may or may not have done so.
                self._file, self._sure = named, succeeded

    def _named_file(self, command: CommandApdu) -> FileId | None:
        """Return the file that a command other than SELECT names by its short identifier."""
        key = command.instruction
        if key == Instruction.READ_BINARY and command.p1 & 0x80:
            return FileId(command.p1 & 0x1F)
        if key in _NAMING_BY_P2 and command.p2 & 0x1F:
            return FileId(command.p2 & 0x1F)
        if key == Instruction.READ_RECORD and command.p2 >> 3:
            return FileId(command.p2 >> 3)
        return None

    def _named(self, name: bytes) -> Application | None:
        return next((candidate for candidate in self._applications if name and candidate.aid.startswith(name)), None)

    def _request(self, command: CommandApdu) -> str:
        key = command.instruction
        unknown = "command to the reader" if command.cla == CommandClass.READER else "unknown instruction"
        words = [_TITLES.get(key, f"{unknown} {command.cla:02X} {command.ins:02X}")]
        match key:
            case Instruction.SELECT if command.p1 == 0x04:
                application = self._named(command.data)
                words.append(f"application {application.name if application else command.data.hex().upper()}")
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
                words.append("*" * len(command.data) if command.data else "retries left?")
            case _ if key in _NAMING_BY_P2:
                words.append(f"{self._file_in_words(self._file)}, {len(command.data)} bytes")
            case _ if command.data:
                words.append(f"{len(command.data)} bytes")
        return " ".join(words)

    def _file_in_words(self, fid: FileId | None) -> str:
        if fid is None:
            return "no file" if self._followed else "the current file"
        file = self._application.files.get(fid) if self._application else None
        return f"{file.name} ({fid})" if file else f"file {fid}"

    def _response_shown(self, command: CommandApdu | None, response: ResponseApdu | None, raw: bytes) -> str:
        if response is None:
            return MASK * len(raw)  # a truncated response may end in the holder's data
        shown = command is not None and self._is_impersonal(command)
        data = response.data.hex().upper() if shown else MASK * len(response.data)
        return data + raw[-2:].hex().upper()

    def _is_impersonal(self, command: CommandApdu) -> bool:
        """Return whether the response to a command says nothing about a holder."""
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
    """Return a command with its data masked, except the name in a SELECT. Of a malformed command, show the header."""
    if command is None:
        return raw[:4].hex().upper() + MASK * len(raw[4:])
    if not command.data or command.instruction == Instruction.SELECT:
        return raw.hex().upper()
    begins = 7 if command.extended else 5
    ends = begins + len(command.data)
    return raw[:begins].hex().upper() + MASK * len(command.data) + raw[ends:].hex().upper()


def _response(raw: bytes) -> ResponseApdu | None:
    """Parse a response. Return None unless it ends in a known status word, or consists of a plausible one."""
    if len(raw) < 2:
        return None
    response = ResponseApdu.parse(raw)
    alone = len(raw) == 2 and raw[0] >> 4 in (0x6, 0x9)  # a status word of another kind of card, or 61xx and 6Cxx
    return response if response.status.known or alone else None
