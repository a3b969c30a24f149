"""A client of the card in a PC/SC reader: reads the certificate, sends the PIN, and gets a signature."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.x509 import load_der_x509_certificate
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
"""The DigestInfo prefix of a SHA-256 digest in PKCS #1 v1.5 (RFC 8017, 9.2)."""

_OK, _PIN_WANTED, _BLOCKED, _NOT_FOUND = 0x9000, 0x6982, 0x6984, 0x6A82

Transmit = Callable[[bytes], tuple[bytes, int]]


class CardMissing(Exception):
    """There is no JPKI card in any reader, or it was removed, or it failed."""


class CardsAmbiguous(CardMissing):
    """There are several JPKI cards in the readers, so it is unclear whose is meant."""


class CertificateAbsent(CardMissing):
    """The card has no certificate of that type. A Juki card has a signature certificate only."""


class _SecurityStatusMissing(CardMissing):
    """The card wants a PIN first."""


class MalformedPin(Exception):
    """The text cannot be a PIN; it was not sent to the card."""


class PinWrong(Exception):
    """The card rejected the PIN. `left` is the retry counter, 0 if the PIN is blocked."""

    def __init__(self, left: int) -> None:
        super().__init__(f"the PIN is wrong; retries left: {left}" if left else "the PIN is blocked")
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
    """A card's signature over a message, and the certificate of its key as DER. That of an EC key is an ECDSA-Sig-Value
    (RFC 3279, 2.2.3), as in certificates and CMS."""

    signature: bytes
    certificate: bytes


class CardAtHand:
    """A card with its JPKI application selected, in a transaction of its own, for programs that do each step
    themselves. Every method raises CardMissing."""

    def __init__(self, transmit: Transmit) -> None:
        self.transmit = transmit

    def certificate(self) -> bytes:
        """Return the authentication certificate (DER)."""
        return _read(self.transmit, _FILES[CertificateType.AUTHENTICATION].certificate)

    def verify_pin(self, pin: str) -> None:
        """Send the authentication PIN. Raises MalformedPin and PinWrong."""
        files = _FILES[CertificateType.AUTHENTICATION]
        _verify(self.transmit, files, _checked_pin(CertificateType.AUTHENTICATION, pin))

    def sign(self, message: bytes, certificate: bytes) -> bytes:
        """Sign with the authentication key, which is that of the certificate, and needs the PIN or what stands in for
        it."""
        _select(self.transmit, _FILES[CertificateType.AUTHENTICATION].key)
        return _signature(self.transmit, message, load_der_x509_certificate(certificate).public_key())


@contextmanager
def only_card(reader: str = "") -> Iterator[CardAtHand]:
    """Yield the only JPKI card in a reader whose name starts with `reader`. Raises CardsAmbiguous, and CardMissing."""
    with _failures_as_card_missing():
        present = [str(one) for one in readers() if str(one).startswith(reader) and card_answers(str(one))]
        if len(present) > 1:
            present = [name for name in present for _ in _cards(name)]
        if len(present) > 1:
            raise CardsAmbiguous("there are several cards in the readers; leave only one")
        for transmit in _cards(present[0]) if present else ():
            yield CardAtHand(transmit)
            return
    raise CardMissing("there is no individual number card in any reader")


def check_pin_shape(pin: str) -> None:
    """Raise MalformedPin if a text cannot be an authentication PIN."""
    _checked_pin(CertificateType.AUTHENTICATION, pin)


def sign_with_card(kind: CertificateType, pin: str, message: bytes) -> Signed:
    """Sign a message on the first JPKI card in any reader: by RSA with SHA-256, on the next card by ECDSA with SHA-384.

    Raises CardMissing, MalformedPin, PinWrong.
    """
    files = _FILES[kind]
    pin = _checked_pin(kind, pin)
    with _card() as transmit:
        _verify(transmit, files, pin)
        certificate = _read(transmit, files.certificate)
        _select(transmit, files.key)
        return Signed(_signature(transmit, message, load_der_x509_certificate(certificate).public_key()), certificate)


def certificates_at_hand(reader: str = "") -> list[bytes]:
    """Return the authentication certificate (DER) of every JPKI card in a reader whose name starts with `reader`. This
    needs no PIN, except on a phone, which is left out. Raises CardMissing if PC/SC or a card fails, or if there are
    only phones."""
    certificates, phones = [], 0
    with _failures_as_card_missing():
        for transmit in _cards(reader):
            try:
                certificates.append(_read(transmit, _FILES[CertificateType.AUTHENTICATION].certificate))
            except _SecurityStatusMissing:
                phones += 1
    if phones and not certificates:
        raise CardMissing("the device in the reader is a phone, which shows its certificate only after the PIN")
    return certificates


def tries_left(kind: CertificateType) -> int:
    """Return the PIN's retry counter. Raises CardMissing."""
    with _card() as transmit:
        _select(transmit, _FILES[kind].pin)
        _, status = transmit(bytes((0x00, 0x20, 0x00, 0x80)))
        return status & 0x0F if status >> 4 == 0x63C else 0


def _checked_pin(kind: CertificateType, pin: str) -> str:
    pin = pin.strip().upper()
    if not _FILES[kind].shape.fullmatch(pin):
        raise MalformedPin(
            "the PIN has four digits"
            if kind is CertificateType.AUTHENTICATION
            else "the password has six to sixteen letters and digits"
        )
    return pin


def _verify(transmit: Transmit, files: _Files, pin: str) -> None:
    _select(transmit, files.pin)
    _, status = transmit(bytes((0x00, 0x20, 0x00, 0x80, len(pin))) + pin.encode("ascii"))
    if status != _OK:
        raise PinWrong(status & 0x0F if status >> 4 == 0x63C else 0)


def _signature(transmit: Transmit, message: bytes, public_key: object) -> bytes:
    """Sign a message with the current key: PKCS #1 v1.5 with SHA-256, or an ECDSA-Sig-Value with SHA-384."""
    if not isinstance(public_key, ec.EllipticCurvePublicKey):
        digest = _SHA256 + hashlib.sha256(message).digest()
        return _ok(transmit(bytes((0x80, 0x2A, 0x00, 0x80, len(digest))) + digest + b"\x00"))
    digest = hashlib.sha384(message).digest()
    numbers = _ok(transmit(bytes((0x00, 0x2A, 0x9E, 0x9A, len(digest))) + digest + b"\x00"))
    half = len(numbers) // 2
    return encode_dss_signature(int.from_bytes(numbers[:half]), int.from_bytes(numbers[half:]))


def _read(transmit: Transmit, file: int) -> bytes:
    """Read a file that contains one DER value."""
    _select(transmit, file)
    head = _ok(transmit(bytes((0x00, 0xB0, 0x00, 0x00, 0x04))))
    size = 4 + int.from_bytes(head[2:4])
    data = b""
    while len(data) < size:
        part = min(size - len(data), 0xE0)
        data += _ok(transmit(bytes((0x00, 0xB0, len(data) >> 8, len(data) & 0xFF, part))))
    return data


def _select(transmit: Transmit, file: int) -> None:
    response = transmit(bytes((0x00, 0xA4, 0x02, 0x0C, 0x02)) + file.to_bytes(2))
    if response[1] == _NOT_FOUND:
        raise CertificateAbsent("the card has no certificate of that type; a Juki card is for signatures only")
    _ok(response)


def _ok(response: tuple[bytes, int]) -> bytes:
    data, status = response
    if status == _PIN_WANTED:
        raise _SecurityStatusMissing("the card wants its PIN first")
    if status != _OK:
        raise CardMissing(f"the card returned the status word {status:04X}")
    return data


@contextmanager
def _card() -> Iterator[Transmit]:
    """Yield the first card with a JPKI application, in its own transaction."""
    with _failures_as_card_missing():
        for transmit in _cards():
            yield transmit
            return
    raise CardMissing("there is no individual number card in any reader")


def _cards(prefix: str = "") -> Iterator[Transmit]:
    """Yield every card with a JPKI application, which is selected. Each has its own transaction while it is used."""
    for reader in readers():
        if not (str(reader).startswith(prefix) and card_answers(str(reader))):
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
    """Whether there is a card in a reader and it has sent its ATR. A card that is still being inserted must not get
    commands: its responses would be matched with the wrong commands."""
    code, context = SCardEstablishContext(SCARD_SCOPE_SYSTEM)
    if code != SCARD_S_SUCCESS:
        return False
    try:
        code, states = SCardGetStatusChange(context, 0, [(reader, SCARD_STATE_UNAWARE)])
        return code == SCARD_S_SUCCESS and any(state & SCARD_STATE_PRESENT and atr for _, state, atr in states)
    finally:
        SCardReleaseContext(context)


@contextmanager
def _failures_as_card_missing() -> Iterator[None]:
    try:
        yield
    except SmartcardException as error:
        raise CardMissing(f"the card was removed, or the reader is unavailable: {error}") from error


@contextmanager
def _transaction(connection: object) -> Iterator[Transmit]:
    handle = connection.component.hcard  # type: ignore[attr-defined]
    if SCardBeginTransaction(handle) != SCARD_S_SUCCESS:
        raise CardMissing("the card was removed")

    def transmit(command: bytes) -> tuple[bytes, int]:
        data, first, second = connection.transmit(list(command))  # type: ignore[attr-defined]
        return bytes(data), first << 8 | second

    try:
        yield transmit
    finally:
        SCardEndTransaction(handle, SCARD_LEAVE_CARD)
