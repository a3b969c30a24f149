"""The text application (券面入力補助AP): individual number and four attributes as text, and their signatures."""

from __future__ import annotations

from hashlib import sha256

from kazashi.applets.card_manager import atr_object
from kazashi.applets.holder import Personalisation
from kazashi.applets.jpki import filled, pin_state
from kazashi.applets.verifiable_certificate import LONG, TEXT_BASIC, certificate, key_id, public_key
from kazashi.card.access import FREE, Verified
from kazashi.card.contents import ApplicationContents
from kazashi.card.file import (
    Application,
    InternalFile,
    KeyFile,
    PinChange,
    PinFile,
    SessionKeyRule,
    TransparentFile,
    by_id,
)
from kazashi.card.identifiers import Aid, FileId
from kazashi.card.pin import FOUR_DIGITS, FOURTEEN_DIGITS, TWELVE_DIGITS, PinState
from kazashi.card.refusal import ConditionsNotSatisfied
from kazashi.card.tlv import Tlv

AID = Aid("D3921000310001010408")

INDIVIDUAL_NUMBER = FileId(0x0001)
FOUR_ATTRIBUTES = FileId(0x0002)
SIGNATURES = FileId(0x0003)
CERTIFICATE = FileId(0x0004)
BASIC_INFORMATION = FileId(0x0005)
SESSION_PUBLIC_KEY = FileId(0x0006)
PUBLIC_KEY = FileId(0x0007)
UNKNOWN_DATA = FileId(0x0008)
SESSION_KEY = FileId(0x0010)
PIN = FileId(0x0011)
BLOCKED_KEY = FileId(0x0012)
KEY = FileId(0x0013)
NUMBER_A = FileId(0x0014)
NUMBER_B = FileId(0x0015)

PIN_TRIES = 3
NUMBER_TRIES = 10
ATTRIBUTES_FILE_SIZE = 512
BASIC_FILE_SIZE = 256


def individual_number(number: str) -> bytes:
    """The 17 bytes of file 0001: the number in one data object, and filler."""
    return Tlv(0xFF10, number.encode("ascii")).encode() + b"\xff\xff"


def four_attributes(name: str, address: str, birth: str, sex: str) -> tuple[bytes, bytes]:
    """File 0002 without filler, and the part of it that is signed: the objects behind the table of offsets."""
    objects = [
        Tlv(tag, value.encode("utf-8"))
        for tag, value in ((0xDF22, name), (0xDF23, address), (0xDF24, birth), (0xDF25, sex))
    ]
    signed = b"".join(item.encode() for item in objects)
    table = Tlv(0xDF21, bytes(8))
    behind_table = len(Tlv(0xFF20, table.encode() + signed).header()) + len(table.encode())
    offsets, offset = b"", behind_table
    for item in objects:
        offsets += offset.to_bytes(2)
        offset += len(item.encode())
    return Tlv(0xFF20, Tlv(0xDF21, offsets).encode() + signed).encode(), signed


def contents(data: Personalisation) -> ApplicationContents:
    """What personalisation writes."""
    holder, signer = data.holder, data.vouchers.municipality_text
    number = individual_number(holder.individual_number)
    attributes, signed = four_attributes(holder.name, holder.address, holder.birth, holder.sex)
    hashes = Tlv(0xDF31, sha256(number).digest()).encode() + Tlv(0xDF32, sha256(signed).digest()).encode()
    own_key = Tlv(0xDF51, public_key(data.keys.text), LONG).encode()
    basic = Tlv.of(
        0xFF40,
        [
            Tlv(0xDF41, bytes.fromhex("01030E01")),
            Tlv(0xDF42, key_id(TEXT_BASIC)),
            Tlv(0xDF43, data.chance.randbytes(32).ljust(128, b"\xff"), LONG),
        ],
        LONG,
    )
    return ApplicationContents(
        data={
            INDIVIDUAL_NUMBER: number,
            FOUR_ATTRIBUTES: filled(attributes, ATTRIBUTES_FILE_SIZE),
            SIGNATURES: Tlv(0xFF30, hashes + Tlv(0xDF33, signer.sign(hashes), LONG).encode(), LONG).encode(),
            CERTIFICATE: certificate(data.vouchers.text_issuer, signer.id, signer.key).encode(),
            BASIC_INFORMATION: filled(basic.encode(), BASIC_FILE_SIZE),
            SESSION_PUBLIC_KEY: Tlv(0xA1, public_key(data.keys.text_session), LONG).encode(),
            PUBLIC_KEY: Tlv(0xFF50, own_key + Tlv(0xDF52, signer.sign(own_key), LONG).encode(), LONG).encode(),
            UNKNOWN_DATA: b"\xff" * 16,
        },
        keys={KEY: data.keys.text.pkcs8, SESSION_KEY: data.keys.text_session.pkcs8},
        pins={
            PIN: pin_state(data.pins.text, PIN_TRIES, data.pins.tries_left, "text"),
            BLOCKED_KEY: PinState(b"", NUMBER_TRIES, 0),
            NUMBER_A: PinState(holder.individual_number.encode("ascii"), NUMBER_TRIES, NUMBER_TRIES),
            NUMBER_B: PinState(data.card.reference_number_b(holder).encode("ascii"), NUMBER_TRIES, NUMBER_TRIES),
        },
        objects=atr_object(data.card.contact_atr),
    )


def application(written: ApplicationContents) -> Application:
    """The application around its contents."""
    data = written.data
    any_of_three = Verified(PIN, NUMBER_A, NUMBER_B)
    return Application(
        AID,
        "text",
        by_id(
            (
                TransparentFile(
                    INDIVIDUAL_NUMBER, "individual number", data[INDIVIDUAL_NUMBER], Verified(PIN, NUMBER_A)
                ),
                TransparentFile(FOUR_ATTRIBUTES, "four attributes", data[FOUR_ATTRIBUTES], Verified(PIN, NUMBER_B)),
                TransparentFile(SIGNATURES, "signatures", data[SIGNATURES], any_of_three),
                TransparentFile(CERTIFICATE, "card-verifiable certificate", data[CERTIFICATE], FREE),
                TransparentFile(BASIC_INFORMATION, "basic information", data[BASIC_INFORMATION], FREE),
                TransparentFile(SESSION_PUBLIC_KEY, "session public key", data[SESSION_PUBLIC_KEY], any_of_three),
                TransparentFile(PUBLIC_KEY, "application public key", data[PUBLIC_KEY], any_of_three),
                TransparentFile(UNKNOWN_DATA, "unknown 0008", data[UNKNOWN_DATA], FREE),
                InternalFile(SESSION_KEY, "session private key"),
                PinFile(PIN, "text PIN", FOUR_DIGITS, PinChange.CHANGE_REFERENCE_DATA),
                PinFile(BLOCKED_KEY, "a key that is always blocked", TWELVE_DIGITS),
                KeyFile(
                    KEY,
                    "application key",
                    written.key(KEY),
                    FREE,
                    signs=True,
                    authentication_refusal=ConditionsNotSatisfied,
                ),
                PinFile(NUMBER_A, "reference number A", TWELVE_DIGITS),
                PinFile(NUMBER_B, "reference number B", FOURTEEN_DIGITS),
                InternalFile(FileId(0x001C), "unknown 001C"),
                InternalFile(FileId(0x001E), "unknown 001E"),
            )
        ),
        written.objects,
        default_key=KEY,
        session_key=SessionKeyRule.AFTER_VERIFICATION,
    )
