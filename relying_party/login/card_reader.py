"""A card in a PC/SC reader, as a relying party's own program uses it: certificate out, PIN in, signature out."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from smartcard.Exceptions import CardConnectionException, NoCardException, SmartcardException
from smartcard.scard import (
    SCARD_LEAVE_CARD,
    SCARD_S_SUCCESS,
    SCARD_SCOPE_SYSTEM,
    SCARD_SHARE_SHARED,
    SCARD_STATE_PRESENT,
    SCARD_STATE_UNAWARE,
    SCardBeginTransaction,
    SCardEndTransaction,
    SCardEstablishContext,
    SCardGetStatusChange,
    SCardReleaseContext,
)
from smartcard.System import readers

from kazashi.jpki.profile import CertificateType

_APPLICATION = bytes.fromhex("D392F000260100000001")
_SELECT_APPLICATION = bytes((0x00, 0xA4, 0x04, 0x0C, len(_APPLICATION))) + _APPLICATION
_SHA256 = bytes.fromhex("3031300D060960864801650304020105000420")
"""What PKCS #1 v1.5 has before a SHA-256 digest (RFC 8017, 9.2)."""

_OK, _BLOCKED, _NOT_FOUND = 0x9000, 0x6984, 0x6A82

Transmit = Callable[[bytes], tuple[bytes, int]]


class CardMissing(Exception):
    """There is no JPKI card in any reader, or it was taken out."""


class MalformedPin(Exception):
    """What was typed cannot be the PIN; the card was not asked."""


class PinWrong(Exception):
    """The card does not take the PIN. `left` is how many tries are left, 0 where it is blocked."""

    def __init__(self, left: int) -> None:
        super().__init__(f"the PIN is wrong, {left} tries are left" if left else "the PIN is blocked")
        self.left = left


@dataclass(frozen=True, slots=True)
class _Files:
    certificate: int
    key: int
    pin: int
    shape: re.Pattern[str]


_FILES = {
    CertificateType.AUTHENTICATION: _Files(0x000A, 0x0017, 0x0018, re.compile(r"[0-9]{4}")),
    CertificateType.SIGNATURE: _Files(0x0001, 0x001A, 0x001B, re.compile(r"[A-Z0-9]{6,16}")),
}


@dataclass(frozen=True, slots=True)
class Signed:
    """A card's signature over a message, and the certificate that goes with it, as DER."""

    signature: bytes
    certificate: bytes


def sign_with_card(kind: CertificateType, pin: str, message: bytes) -> Signed:
    """Have the first JPKI card in any reader sign a message, with SHA-256. Raises CardMissing, MalformedPin,
    PinWrong."""
    files = _FILES[kind]
    pin = pin.strip().upper()
    if not files.shape.fullmatch(pin):
        raise MalformedPin(
            "four digits" if kind is CertificateType.AUTHENTICATION else "six to sixteen letters and digits"
        )
    with _card() as transmit:
        _verify(transmit, files, pin)
        certificate = _read(transmit, files.certificate)
        _select(transmit, files.key)
        digest = _SHA256 + hashlib.sha256(message).digest()
        signature = _ok(transmit(bytes((0x80, 0x2A, 0x00, 0x80, len(digest))) + digest + b"\x00"))
        return Signed(signature, certificate)


def certificates_at_hand(reader: str = "") -> list[bytes]:
    """The authentication certificate (DER) of every JPKI card in any reader whose name begins so; no PIN is needed for
    it. Raises CardMissing where PC/SC or a card fails."""
    with _failures_told():
        return [_read(transmit, _FILES[CertificateType.AUTHENTICATION].certificate) for transmit in _cards(reader)]


def tries_left(kind: CertificateType) -> int:
    """How many tries the PIN has left. Raises CardMissing."""
    with _card() as transmit:
        _select(transmit, _FILES[kind].pin)
        _, status = transmit(bytes((0x00, 0x20, 0x00, 0x80)))
        return status & 0x0F if status >> 4 == 0x63C else 0


def _verify(transmit: Transmit, files: _Files, pin: str) -> None:
    _select(transmit, files.pin)
    _, status = transmit(bytes((0x00, 0x20, 0x00, 0x80, len(pin))) + pin.encode("ascii"))
    if status != _OK:
        raise PinWrong(status & 0x0F if status >> 4 == 0x63C else 0)


def _read(transmit: Transmit, file: int) -> bytes:
    """A file that holds one DER value."""
    _select(transmit, file)
    head = _ok(transmit(bytes((0x00, 0xB0, 0x00, 0x00, 0x04))))
    size = 4 + int.from_bytes(head[2:4])
    data = b""
    while len(data) < size:
        part = min(size - len(data), 0xE0)
        data += _ok(transmit(bytes((0x00, 0xB0, len(data) >> 8, len(data) & 0xFF, part))))
    return data


def _select(transmit: Transmit, file: int) -> None:
    _ok(transmit(bytes((0x00, 0xA4, 0x02, 0x0C, 0x02)) + file.to_bytes(2)))


def _ok(answer: tuple[bytes, int]) -> bytes:
    data, status = answer
    if status != _OK:
        raise CardMissing(f"the card answered {status:04X}")
    return data


@contextmanager
def _card() -> Iterator[Transmit]:
    """The first card with a JPKI application, in a transaction of its own."""
    with _failures_told():
        for transmit in _cards():
            yield transmit
            return
    raise CardMissing("there is no individual number card in any reader")


def _cards(named: str = "") -> Iterator[Transmit]:
    """Every card with a JPKI application, selected, each in a transaction of its own for as long as it is looked at."""
    for reader in readers():
        if not (str(reader).startswith(named) and card_answers(str(reader))):
            continue
        connection = reader.createConnection()
        try:
            connection.connect(mode=SCARD_SHARE_SHARED, disposition=SCARD_LEAVE_CARD)
        except (NoCardException, CardConnectionException):
            connection.release()
            continue
        try:
            with _transaction(connection) as transmit:
                if transmit(_SELECT_APPLICATION)[1] == _OK:
                    yield transmit
        finally:
            connection.disconnect()
            connection.release()


def card_answers(reader: str) -> bool:
    """Whether a card lies in a reader and has told who it is. One that is still coming in must not be spoken to: its
    answers would be taken for answers to something else."""
    code, context = SCardEstablishContext(SCARD_SCOPE_SYSTEM)
    if code != SCARD_S_SUCCESS:
        return False
    try:
        code, found = SCardGetStatusChange(context, 0, [(reader, SCARD_STATE_UNAWARE)])
        return code == SCARD_S_SUCCESS and any(state & SCARD_STATE_PRESENT and atr for _, state, atr in found)
    finally:
        SCardReleaseContext(context)


@contextmanager
def _failures_told() -> Iterator[None]:
    try:
        yield
    except SmartcardException as error:
        raise CardMissing(f"the card was taken out, or the reader is away: {error}") from error


@contextmanager
def _transaction(connection: object) -> Iterator[Transmit]:
    handle = connection.component.hcard  # type: ignore[attr-defined]
    if SCardBeginTransaction(handle) != SCARD_S_SUCCESS:
        raise CardMissing("the card is not there any more")

    def transmit(command: bytes) -> tuple[bytes, int]:
        data, first, second = connection.transmit(list(command))  # type: ignore[attr-defined]
        return bytes(data), first << 8 | second

    try:
        yield transmit
    finally:
        SCardEndTransaction(handle, SCARD_LEAVE_CARD)
