"""The JPKI application (公的個人認証AP): two certificates, their keys, their authorities."""

from __future__ import annotations

from kazashi.applets.card_manager import atr_object
from kazashi.applets.holder import CardData, Certificates, Personalisation, Pins
from kazashi.card.access import FREE, NEVER, Verified
from kazashi.card.contents import ApplicationContents
from kazashi.card.file import Application, InternalFile, KeyFile, PinChange, PinFile, TransparentFile, by_id
from kazashi.card.identifiers import Aid, FileId
from kazashi.card.pin import FOUR_DIGITS, SIGNATURE_PASSWORD, PinState

AID = Aid("D392F000260100000001")

SIGNATURE_CERTIFICATE = FileId(0x0001)
SIGNATURE_AUTHORITY = FileId(0x0002)
TOKEN_INFORMATION = FileId(0x0006)
AVAILABILITY = FileId(0x0008)
UNKNOWN_DATA = FileId(0x0009)
AUTHENTICATION_CERTIFICATE = FileId(0x000A)
AUTHENTICATION_AUTHORITY = FileId(0x000B)
UNKNOWN_KEY = FileId(0x0010)
TERMINAL_AUTHORITY_KEY = FileId(0x0016)
AUTHENTICATION_KEY = FileId(0x0017)
AUTHENTICATION_PIN = FileId(0x0018)
SIGNATURE_KEY = FileId(0x001A)
SIGNATURE_PIN = FileId(0x001B)

AUTHENTICATION_TRIES = 3
SIGNATURE_TRIES = 5
CERTIFICATE_FILE_SIZE = 2048
"""Room for any ordinary certificate; a longer one gets the next multiple of 256."""

_PRESENT, _ABSENT = 0x8F, 0x00


def token_information(serial: str) -> bytes:
    """The 160 bytes of a PKCS#11 CK_TOKEN_INFO with 32-bit big-endian numbers; `serial` has at most 16 characters."""
    unavailable = 0xFFFFFFFF
    numbers = (0x0000040D, 1, 0, 1, 0, 16, 6, *[unavailable] * 4)  # flags, sessions, PIN lengths, memory
    return b"".join(
        (
            b"JPKIAPICCTOKEN2".ljust(32),
            b"1".rjust(32, b"0"),
            b"E16R01NJ".ljust(16),
            serial.encode("ascii").rjust(16, b"0"),
            *(number.to_bytes(4) for number in numbers),
            b"03" + b"01",  # hardware, firmware
            b"9" * 16,  # time
        )
    )


def contents(data: Personalisation) -> ApplicationContents:
    """What personalisation writes."""
    return written(data.certificates, data.pins, data.card)


def written(certificates: Certificates, pins: Pins, card: CardData) -> ApplicationContents:
    """What is written of certificates and their keys, at personalisation and again at a renewal."""
    signature_pin = pins.signature if certificates.signature else ""
    files = {
        SIGNATURE_CERTIFICATE: certificates.signature or b"",
        SIGNATURE_AUTHORITY: certificates.signature_authority,
        AUTHENTICATION_CERTIFICATE: certificates.authentication or b"",
        AUTHENTICATION_AUTHORITY: certificates.authentication_authority,
    }
    keys = {AUTHENTICATION_KEY: certificates.authentication_key, SIGNATURE_KEY: certificates.signature_key}
    return ApplicationContents(
        data={
            **{fid: filled(der, CERTIFICATE_FILE_SIZE) for fid, der in files.items()},
            TOKEN_INFORMATION: token_information(card.serial),
            AVAILABILITY: bytes(
                _PRESENT if present else _ABSENT
                for present in (certificates.signature, certificates.authentication, None)
            ),
            UNKNOWN_DATA: b"\xff" * 16,
        },
        keys={fid: key for fid, key in keys.items() if key is not None},
        pins={
            AUTHENTICATION_PIN: pin_state(pins.authentication, AUTHENTICATION_TRIES, pins.tries_left, "authentication"),
            # Without a signature certificate the password was never set, and its counter stands at nothing.
            SIGNATURE_PIN: pin_state(signature_pin, SIGNATURE_TRIES, pins.tries_left, "signature")
            if signature_pin
            else PinState(b"", SIGNATURE_TRIES, 0),
        },
        objects=atr_object(card.contact_atr),
    )


def application(contents: ApplicationContents) -> Application:
    """The application around its contents."""
    data = contents.data
    authenticated, signed_in = Verified(AUTHENTICATION_PIN), Verified(SIGNATURE_PIN)
    return Application(
        AID,
        "JPKI",
        by_id(
            (
                TransparentFile(SIGNATURE_CERTIFICATE, "signature certificate", data[SIGNATURE_CERTIFICATE], signed_in),
                TransparentFile(SIGNATURE_AUTHORITY, "signature authority", data[SIGNATURE_AUTHORITY], FREE),
                InternalFile(FileId(0x0005), "unknown 0005"),
                TransparentFile(TOKEN_INFORMATION, "token information", data[TOKEN_INFORMATION], FREE),
                TransparentFile(AVAILABILITY, "certificate availability", data[AVAILABILITY], FREE),
                TransparentFile(UNKNOWN_DATA, "unknown 0009", data[UNKNOWN_DATA], NEVER),
                TransparentFile(
                    AUTHENTICATION_CERTIFICATE, "authentication certificate", data[AUTHENTICATION_CERTIFICATE], FREE
                ),
                TransparentFile(
                    AUTHENTICATION_AUTHORITY, "authentication authority", data[AUTHENTICATION_AUTHORITY], FREE
                ),
                InternalFile(UNKNOWN_KEY, "unknown key 0010", retry_query=True),
                InternalFile(TERMINAL_AUTHORITY_KEY, "terminal certificate authority"),
                KeyFile(
                    AUTHENTICATION_KEY,
                    "authentication key",
                    contents.key(AUTHENTICATION_KEY),
                    authenticated,
                    signs=True,
                ),
                PinFile(AUTHENTICATION_PIN, "authentication PIN", FOUR_DIGITS, PinChange.CHANGE_REFERENCE_DATA),
                InternalFile(FileId(0x0019), "unknown 0019"),
                KeyFile(SIGNATURE_KEY, "signature key", contents.key(SIGNATURE_KEY), signed_in, signs=True),
                PinFile(SIGNATURE_PIN, "signature password", SIGNATURE_PASSWORD, PinChange.CHANGE_REFERENCE_DATA),
                InternalFile(FileId(0x001C), "unknown 001C"),
                InternalFile(FileId(0x001E), "unknown 001E"),
            )
        ),
        contents.objects,
    )


def filled(content: bytes, size: int) -> bytes:
    """Content and the FF that fills its file up to `size`, or to the next multiple of 256 above it."""
    return content.ljust(max(size, -(-len(content) // 256) * 256), b"\xff")


def pin_state(value: str, tries: int, tries_left: dict[str, int], name: str) -> PinState:
    """A PIN as it is first set: with all its tries, unless `tries_left` has fewer under its name."""
    return PinState(value.encode("ascii"), tries, min(tries, tries_left.get(name, tries)))
