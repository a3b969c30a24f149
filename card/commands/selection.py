"""SELECT: applications by full or partial name, files by identifier (JICSAP 1.1, 4.2; ISO 7816-4, 11.2.2)."""

from __future__ import annotations

from kazashi.card.apdu import CommandApdu
from kazashi.card.file import Application
from kazashi.card.rejection import FileOrApplicationNotFound, WrongLength, WrongParameters
from kazashi.card.rule import RuledResponse, RuleSource, success
from kazashi.card.session import Session
from kazashi.card.status_word import SUCCESS
from kazashi.card.tlv import Tlv

FCI_TEMPLATE = 0x6F
DF_NAME = 0x84
FILE_ID = 0x83
_APPLICATION = success("SELECT takes the first application whose AID begins with this name", RuleSource.JICSAP_NAMES)
_FILE = success("SELECT takes the application's file with this identifier", RuleSource.ISO_SELECT)
_NOTHING = success("P1 00 without an identifier changes nothing while an application is current", RuleSource.MYNA_CARD)
_P2 = "P2 asks for the first or the next name, with or without control information"

_FIRST_WITH_FCI, _NEXT_WITH_FCI, _FIRST_SILENT, _NEXT_SILENT = 0x00, 0x02, 0x0C, 0x0E


def select(session: Session, command: CommandApdu) -> RuledResponse:
    """`00 A4 P1 P2`: with P1 04 select an application by its AID, with 02 a file of the current application.

    P1 00 is for a master file, which this card lacks.
    """
    match command.p1:
        case 0x04:
            return _application(session, command)
        case 0x02:
            return _file(session, command)
        case 0x00:
            return _master_file(session, command)
    raise WrongParameters("P1 is 04 for an application, 02 for a file, or 00", RuleSource.SELECT_FORMS)


def _application(session: Session, command: CommandApdu) -> RuledResponse:
    if command.p2 not in (_FIRST_WITH_FCI, _NEXT_WITH_FCI, _FIRST_SILENT, _NEXT_SILENT):
        raise WrongParameters(_P2, RuleSource.ISO_SELECT)
    if not command.data:
        raise FileOrApplicationNotFound("an empty AID names no application", RuleSource.EMPTY_AID)
    application = _match(session, command.data, after_current=command.p2 in (_NEXT_WITH_FCI, _NEXT_SILENT))
    session.enter(application)
    return _APPLICATION(_fci(command, Tlv(DF_NAME, application.aid)) + SUCCESS)


def _match(session: Session, name: bytes, *, after_current: bool) -> Application:
    """Return the first application whose AID begins with `name`; with `after_current`, the first after the current."""
    candidates = session.card.applications
    if after_current:
        candidates = candidates[candidates.index(session.application) + 1 :]
    for application in candidates:
        if application.aid.startswith(name):
            return application
    raise FileOrApplicationNotFound("no application's AID begins with this name", RuleSource.ISO_SELECT)


def _file(session: Session, command: CommandApdu) -> RuledResponse:
    if command.p2 not in (_FIRST_WITH_FCI, _FIRST_SILENT):
        raise WrongParameters(_P2, RuleSource.ISO_SELECT)
    if len(command.data) != 2:
        raise WrongLength("a file identifier has two bytes", RuleSource.ISO_SELECT)
    file = session.application.files.get(int.from_bytes(command.data))
    if file is None:
        raise FileOrApplicationNotFound("the application has no file with this identifier", RuleSource.ISO_SELECT)
    session.file = file
    return _FILE(_fci(command, Tlv(FILE_ID, command.data)) + SUCCESS)


def _master_file(session: Session, command: CommandApdu) -> RuledResponse:
    # Measured: no identifier is found with P1 00. Without an identifier, the command does nothing; it is accepted only
    # while an application other than the card manager is current.
    if command.p2 not in (_FIRST_WITH_FCI, _FIRST_SILENT):
        raise WrongParameters(_P2, RuleSource.ISO_SELECT)
    if command.data:
        raise FileOrApplicationNotFound("P1 00 finds no file: the card has no master file", RuleSource.SELECT_FORMS)
    if session.application.is_card_manager:
        raise WrongParameters("P1 00 is not accepted in the card manager", RuleSource.MYNA_CARD)
    return _NOTHING(SUCCESS)


def _fci(command: CommandApdu, content: Tlv) -> bytes:
    """Return file control information if both P2 and an Le request it, otherwise nothing."""
    if command.p2 in (_FIRST_SILENT, _NEXT_SILENT) or command.le is None:
        return b""
    return Tlv.of(FCI_TEMPLATE, [content]).encode()[: command.le]
