"""The JPKI application (公的個人認証AP): two certificates, their keys, and their authorities' certificates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from kazashi.applets.applet import Applet, AuthorityEf, InternalEf, KeyEf, PinEf, TransparentEf, blank, filled
from kazashi.applets.holder import CardCertificates, CardData, CardSigners, Personalisation, Pins
from kazashi.card.access import FREE, NEVER, Verified
from kazashi.card.contents import ApplicationContents
from kazashi.card.file import PinChange
from kazashi.card.identifiers import Aid
from kazashi.card.pin import FOUR_DIGITS, SIGNATURE_PASSWORD

AID = Aid("D392F000260100000001")

CERTIFICATE_FILE_SIZE = 2048
"""Bytes; enough for an ordinary certificate. The file of a longer one has a multiple of 256 bytes."""

_PRESENT, _ABSENT = 0x8F, 0x00


CARD_LABEL = b"JPKIAPICCTOKEN2".ljust(32)
"""The token's label on an individual number card."""


def token_information(serial: str, label: bytes = CARD_LABEL) -> bytes:
    """Return the 160 bytes of a PKCS#11 CK_TOKEN_INFO with 32-bit big-endian numbers.

    `serial` has at most 16 ASCII characters, and the padded label 32 bytes.
    """
    unavailable = 0xFFFFFFFF
    numbers = (0x0000040D, 1, 0, 1, 0, 16, 6, *[unavailable] * 4)  # flags, sessions, PIN lengths, memory
    return b"".join(
        (
            label,
            b"1".rjust(32, b"0"),
            b"E16R01NJ".ljust(16),
            serial.encode("ascii").rjust(16, b"0"),
            *(number.to_bytes(4) for number in numbers),
            b"03" + b"01",  # hardware, firmware
            b"9" * 16,  # time
        )
    )


def _certificate_file(der: bytes | None) -> bytes:
    return filled(der or b"", CERTIFICATE_FILE_SIZE)


def _availability(data: Personalisation) -> bytes:
    certificates = (data.certificates.signature, data.certificates.authentication, None)
    return bytes(_PRESENT if certificate else _ABSENT for certificate in certificates)


def _signature_password(data: Personalisation) -> str:
    return data.pins.signature if data.certificates.signature else ""


AUTHENTICATION_PIN = PinEf(
    0x0018,
    "authentication PIN",
    FOUR_DIGITS,
    3,
    lambda data: data.pins.authentication,
    PinChange.CHANGE_REFERENCE_DATA,
    counter="authentication",
)
SIGNATURE_PIN = PinEf(
    0x001B,
    "signature password",
    SIGNATURE_PASSWORD,
    5,
    _signature_password,
    PinChange.CHANGE_REFERENCE_DATA,
    counter="signature",
)

SIGNATURE_CERTIFICATE = TransparentEf(
    0x0001,
    "signature certificate",
    Verified(SIGNATURE_PIN),
    lambda data: _certificate_file(data.certificates.signature),
)
SIGNATURE_AUTHORITY = TransparentEf(
    0x0002,
    "signature authority",
    FREE,
    lambda data: _certificate_file(data.certificates.signature_authority),
    impersonal=True,
)
TOKEN_INFORMATION = TransparentEf(
    0x0006, "token information", FREE, lambda data: token_information(data.card.serial)
)  # fmt: skip
AVAILABILITY = TransparentEf(0x0008, "certificate availability", FREE, _availability)
UNKNOWN_DATA = TransparentEf(0x0009, "unknown 0009", NEVER, blank)
AUTHENTICATION_CERTIFICATE = TransparentEf(
    0x000A,
    "authentication certificate",
    FREE,
    lambda data: _certificate_file(data.certificates.authentication),
)
AUTHENTICATION_AUTHORITY = TransparentEf(
    0x000B,
    "authentication authority",
    FREE,
    lambda data: _certificate_file(data.certificates.authentication_authority),
    impersonal=True,
)
UNKNOWN_KEY = InternalEf(0x0010, "unknown key 0010", retry_query=True)
TERMINAL_AUTHORITY = AuthorityEf(
    0x0016, "terminal certificate authority", lambda data: data.vouchers.terminal_authority
)  # fmt: skip
AUTHENTICATION_KEY = KeyEf(
    0x0017,
    "authentication key",
    lambda data: data.certificates.authentication_key,
    Verified(AUTHENTICATION_PIN, TERMINAL_AUTHORITY),
    signs=True,
)
SIGNATURE_KEY = KeyEf(
    0x001A, "signature key", lambda data: data.certificates.signature_key, Verified(SIGNATURE_PIN), signs=True
)

APPLET = Applet(
    AID,
    "JPKI",
    (
        SIGNATURE_CERTIFICATE,
        SIGNATURE_AUTHORITY,
        InternalEf(0x0005, "unknown 0005"),
        TOKEN_INFORMATION,
        AVAILABILITY,
        UNKNOWN_DATA,
        AUTHENTICATION_CERTIFICATE,
        AUTHENTICATION_AUTHORITY,
        UNKNOWN_KEY,
        TERMINAL_AUTHORITY,
        AUTHENTICATION_KEY,
        AUTHENTICATION_PIN,
        InternalEf(0x0019, "unknown 0019"),
        SIGNATURE_KEY,
        SIGNATURE_PIN,
        InternalEf(0x001C, "unknown 001C"),
        InternalEf(0x001E, "unknown 001E"),
    ),
)


@dataclass(frozen=True, slots=True)
class _Renewal:
    """The part of a personalisation that this application uses."""

    certificates: CardCertificates
    pins: Pins
    card: CardData
    vouchers: CardSigners | None


def written(
    certificates: CardCertificates, pins: Pins, card: CardData, vouchers: CardSigners | None = None,
    applet: Applet = APPLET,
) -> ApplicationContents:  # fmt: skip
    """Return the contents that a renewal writes. They are made like those of personalisation, from the part of its
    data that this application uses. `applet` is that of the device's model; `vouchers` may be None if it has no use
    for them."""
    return applet.contents(cast("Personalisation", _Renewal(certificates, pins, card, vouchers)))
