"""READ BINARY, READ RECORD and GET DATA."""

from __future__ import annotations

from kazashi.card.apdu import CommandApdu
from kazashi.card.file import RecordFile, TransparentFile
from kazashi.card.rejection import (
    FunctionNotSupported,
    IncompatibleFile,
    OffsetBeyondEnd,
    RecordNotFound,
    ReferenceNotFound,
    SecurityStatusNotSatisfied,
    WrongLength,
    WrongParameters,
)
from kazashi.card.rule import RuledResponse, RuleSource, success
from kazashi.card.session import Session
from kazashi.card.status_word import SUCCESS

_READ = success(
    "READ BINARY returns the bytes from the offset on, up to Le or the file's end", RuleSource.JICSAP_READ_BINARY
)
_READ_WITHOUT_LE = success("READ BINARY without an Le is the same as with Le 00", RuleSource.READ_WITHOUT_LE)
_RECORD = success("READ RECORD returns the record with this number", RuleSource.ISO_READ_RECORD)
_OBJECT = success("GET DATA returns the data object with this tag", RuleSource.MYNA_CARD_MANAGER)
_NOT_VERIFIED = "the file's access rule is not satisfied: no PIN that it names is verified"


def read_binary(session: Session, command: CommandApdu) -> RuledResponse:
    """`00 B0`: read from a 15-bit offset in the current file, or with P1 80 + n from an 8-bit offset in file n.

    Returns 1 to Le bytes, fewer than Le at the end of the file. A missing Le counts as Le 00, because one client
    relies on it.
    """
    _, _, p1, p2, data, le, _ = command
    if data:
        raise WrongLength("READ BINARY has no data", RuleSource.ISO_READ_BINARY)
    if p1 & 0x80:
        if p1 & 0x60:
            raise WrongParameters("P1 is 80 + a short identifier, or an offset below 8000", RuleSource.ISO_READ_BINARY)
        file = session.select_short(p1 & 0x1F)
        offset = p2
    else:
        file = session.current_file()
        offset = p1 << 8 | p2
    if not isinstance(file, TransparentFile):
        raise IncompatibleFile(
            "READ BINARY applies to files of bytes, not to records, PINs or keys", RuleSource.MYNA_CARD
        )
    if not file.read.met(session.facts):
        raise SecurityStatusNotSatisfied(_NOT_VERIFIED, RuleSource.JPKI_WEB)
    content = file.content
    if offset >= len(content):
        raise OffsetBeyondEnd("the offset is at or past the end of the file", RuleSource.JICSAP_OFFSET)
    if le is None:
        return _READ_WITHOUT_LE(content[offset : offset + 256] + SUCCESS)
    return _READ(content[offset : offset + le] + SUCCESS)


def read_record(session: Session, command: CommandApdu) -> RuledResponse:
    """`00 B2 n P2`: read record n of the current file (P2 04) or of the file with short identifier P2 >> 3."""
    if command.data:
        raise WrongLength("READ RECORD has no data", RuleSource.ISO_READ_RECORD)
    short, mode = command.p2 >> 3, command.p2 & 0x07
    if mode not in (4, 5):
        raise WrongParameters("P2 asks for one record (04) or for all from it on (05)", RuleSource.ISO_READ_RECORD)
    file = session.select_short(short) if short else session.current_file()
    if not isinstance(file, RecordFile):
        raise IncompatibleFile("READ RECORD applies to files of records", RuleSource.ISO_READ_RECORD)
    if not file.read.met(session.facts):
        raise SecurityStatusNotSatisfied(_NOT_VERIFIED, RuleSource.JPKI_WEB)
    if mode == 5:  # from record n to the last
        raise FunctionNotSupported("records are read one at a time", RuleSource.RECORDS)
    if not 1 <= command.p1 <= len(file.records):
        raise RecordNotFound("the file has no record with this number", RuleSource.ISO_READ_RECORD)
    record = file.records[command.p1 - 1]
    if command.le is not None and command.le < len(record):
        raise WrongLength("Le is below the record's length", RuleSource.RECORDS)
    return _RECORD(record + SUCCESS)


def get_data(session: Session, command: CommandApdu) -> RuledResponse:
    """`00 CA`: return the data object whose tag is P1 P2. Le must be large enough for the whole object."""
    if command.data:
        raise WrongLength("GET DATA has no data", RuleSource.ISO_GET_DATA)
    value = session.application.objects.get(command.p1 << 8 | command.p2)
    if value is None:
        raise ReferenceNotFound("the application has no data object with this tag", RuleSource.MYNA_CARD_MANAGER)
    if command.le is None or command.le < len(value):
        raise WrongLength("GET DATA needs an Le for the whole data object", RuleSource.MYNA_CARD)
    return _OBJECT(value + SUCCESS)
