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
from kazashi.card.session import Session


def read_binary(session: Session, command: CommandApdu) -> bytes:
    """`00 B0`: read from a 15-bit offset in the current file, or with P1 80 + n from an 8-bit offset in file n.

    Returns 1 to Le bytes, fewer than Le at the end of the file. A missing Le counts as Le 00, because one client
    relies on it.
    """
    _, _, p1, p2, data, le, _ = command
    if data:
        raise WrongLength
    if p1 & 0x80:
        if p1 & 0x60:
            raise WrongParameters
        file = session.select_short(p1 & 0x1F)
        offset = p2
    else:
        file = session.current_file()
        offset = p1 << 8 | p2
    if not isinstance(file, TransparentFile):
        raise IncompatibleFile
    if not file.read.met(session.facts):
        raise SecurityStatusNotSatisfied
    content = file.content
    if offset >= len(content):
        raise OffsetBeyondEnd
    return content[offset : offset + (le or 256)]


def read_record(session: Session, command: CommandApdu) -> bytes:
    """`00 B2 n P2`: read record n of the current file (P2 04) or of the file with short identifier P2 >> 3."""
    if command.data:
        raise WrongLength
    short, mode = command.p2 >> 3, command.p2 & 0x07
    if mode not in (4, 5):
        raise WrongParameters
    file = session.select_short(short) if short else session.current_file()
    if not isinstance(file, RecordFile):
        raise IncompatibleFile
    if not file.read.met(session.facts):
        raise SecurityStatusNotSatisfied
    if mode == 5:  # from record n to the last
        raise FunctionNotSupported
    if not 1 <= command.p1 <= len(file.records):
        raise RecordNotFound
    record = file.records[command.p1 - 1]
    if command.le is not None and command.le < len(record):
        raise WrongLength
    return record


def get_data(session: Session, command: CommandApdu) -> bytes:
    """`00 CA`: return the data object whose tag is P1 P2. Le must be large enough for the whole object."""
    if command.data:
        raise WrongLength
    value = session.application.objects.get(command.p1 << 8 | command.p2)
    if value is None:
        raise ReferenceNotFound
    if command.le is None or command.le < len(value):
        raise WrongLength
    return value
