"""The text application (券面入力補助AP): individual number and four attributes as text, with their signatures."""

from __future__ import annotations

from functools import partial
from hashlib import sha256

from kazashi.applets.applet import Applet, InternalEf, KeyEf, PinEf, TransparentEf, blank, filled
from kazashi.applets.holder import Holder, Personalisation
from kazashi.applets.verifiable_certificate import LONG, TEXT_BASIC, certificate, key_id, public_key
from kazashi.card.access import FREE, Verified
from kazashi.card.file import PinChange, Refusal, SessionKeyUse
from kazashi.card.identifiers import Aid, FileId
from kazashi.card.pin import FOUR_DIGITS, FOURTEEN_DIGITS, TWELVE_DIGITS
from kazashi.card.rejection import ConditionsNotSatisfied
from kazashi.card.rule import RuleSource
from kazashi.card.tlv import Tlv, parse

AID = Aid("D3921000310001010408")

NUMBER_TRIES = 10
ATTRIBUTES_FILE_SIZE = 512
BASIC_FILE_SIZE = 256


def individual_number(number: str) -> bytes:
    """Return the 17 bytes of file 0001: the number in one data object, and filler."""
    return Tlv(0xFF10, number.encode("ascii")).encode() + b"\xff\xff"


def four_attributes(holder: Holder, length_form: int = 0x82) -> tuple[bytes, bytes]:
    """Return file 0002 without filler, and the part of it that is signed: the objects after the table of offsets.

    `length_form` is the first byte of the lengths of 128 to 255 bytes, 0x82 or 0x81.
    """
    objects = [
        _text_object(tag, value.encode("utf-8"), length_form)
        for tag, value in (
            (0xDF22, holder.name),
            (0xDF23, holder.address),
            (0xDF24, holder.birth),
            (0xDF25, holder.sex),
        )
    ]
    signed = b"".join(item.encode() for item in objects)
    table = Tlv(0xDF21, bytes(8))
    behind_table = len(_text_object(0xFF20, table.encode() + signed, length_form).header()) + len(table.encode())
    offsets, offset = b"", behind_table
    for item in objects:
        offsets += offset.to_bytes(2)
        offset += len(item.encode())
    return _text_object(0xFF20, Tlv(0xDF21, offsets).encode() + signed, length_form).encode(), signed


def attributes_in(file: bytes) -> tuple[str, str, str, str]:
    """Return name, address, date of birth and sex, given the file of the four attributes."""
    outer, _ = parse(file)
    name, address, birth, sex = (item.value.decode("utf-8") for item in outer.children()[1:])
    return name, address, birth, sex


def _text_object(tag: int, value: bytes, length_form: int) -> Tlv:
    return Tlv(tag, value, 2 if length_form == 0x81 and 0x80 <= len(value) <= 0xFF else 0)


def _attributes_file(data: Personalisation) -> bytes:
    attributes, _ = four_attributes(data.holder, data.card.length_form)
    return filled(attributes, ATTRIBUTES_FILE_SIZE)


def _signatures(data: Personalisation) -> bytes:
    _, attributes = four_attributes(data.holder, data.card.length_form)
    signed = ((0xDF31, individual_number(data.holder.individual_number)), (0xDF32, attributes))
    hashes = b"".join(Tlv(tag, sha256(part).digest()).encode() for tag, part in signed)
    signature = data.vouchers.municipality_text.sign(hashes)
    return Tlv(0xFF30, hashes + Tlv(0xDF33, signature, LONG).encode(), LONG).encode()


def _certificate(data: Personalisation) -> bytes:
    signer = data.vouchers.municipality_text
    return certificate(data.vouchers.text_issuer, signer.id, signer.key).encode()


def _basic_information(data: Personalisation) -> bytes:
    basic = Tlv.of(
        0xFF40,
        [
            Tlv(0xDF41, bytes.fromhex("01030E01")),
            Tlv(0xDF42, key_id(TEXT_BASIC)),
            Tlv(0xDF43, data.chance.randbytes(32).ljust(128, b"\xff"), LONG),
        ],
        LONG,
    )
    return filled(basic.encode(), BASIC_FILE_SIZE)


def _public_key(data: Personalisation) -> bytes:
    key = Tlv(0xDF51, public_key(data.keys.text), LONG).encode()
    signature = data.vouchers.municipality_text.sign(key)
    return Tlv(0xFF50, key + Tlv(0xDF52, signature, LONG).encode(), LONG).encode()


PIN = PinEf(
    0x0011,
    "text PIN",
    FOUR_DIGITS,
    3,
    lambda data: data.pins.text,
    PinChange.CHANGE_REFERENCE_DATA,
    counter="text",
)
BLOCKED_KEY = PinEf(0x0012, "a key that is always blocked", TWELVE_DIGITS, NUMBER_TRIES, lambda _: "")
NUMBER_A = PinEf(0x0014, "reference number A", TWELVE_DIGITS, NUMBER_TRIES, lambda data: data.holder.individual_number)
NUMBER_B = PinEf(
    0x0015,
    "reference number B",
    FOURTEEN_DIGITS,
    NUMBER_TRIES,
    lambda data: data.card.reference_number_b(data.holder),
)

_ANY_OF_THREE = Verified(PIN, NUMBER_A, NUMBER_B)

ONLY_SIGNS: Refusal = partial(
    ConditionsNotSatisfied, "the application's own key is not for INTERNAL AUTHENTICATE", RuleSource.MYNA_CARD
)

INDIVIDUAL_NUMBER = TransparentEf(
    0x0001,
    "individual number",
    Verified(PIN, NUMBER_A),
    lambda data: individual_number(data.holder.individual_number),
)
FOUR_ATTRIBUTES = TransparentEf(0x0002, "four attributes", Verified(PIN, NUMBER_B), _attributes_file)
SIGNATURES = TransparentEf(0x0003, "signatures", _ANY_OF_THREE, _signatures)
CERTIFICATE = TransparentEf(0x0004, "card-verifiable certificate", FREE, _certificate)
BASIC_INFORMATION = TransparentEf(0x0005, "basic information", FREE, _basic_information)
SESSION_PUBLIC_KEY = TransparentEf(
    0x0006,
    "session public key",
    _ANY_OF_THREE,
    lambda data: Tlv(0xA1, public_key(data.keys.text_session), LONG).encode(),
)
PUBLIC_KEY = TransparentEf(0x0007, "application public key", _ANY_OF_THREE, _public_key)
UNKNOWN_DATA = TransparentEf(0x0008, "unknown 0008", FREE, blank)
SESSION_KEY = InternalEf(0x0010, "session private key", key=lambda data: data.keys.text_session.pkcs8)
KEY = KeyEf(
    0x0013,
    "application key",
    lambda data: data.keys.text.pkcs8,
    FREE,
    signs=True,
    authentication_refusal=ONLY_SIGNS,
)

APPLET = Applet(
    AID,
    "text",
    (
        INDIVIDUAL_NUMBER,
        FOUR_ATTRIBUTES,
        SIGNATURES,
        CERTIFICATE,
        BASIC_INFORMATION,
        SESSION_PUBLIC_KEY,
        PUBLIC_KEY,
        UNKNOWN_DATA,
        SESSION_KEY,
        PIN,
        BLOCKED_KEY,
        KEY,
        NUMBER_A,
        NUMBER_B,
        InternalEf(0x001C, "unknown 001C"),
        InternalEf(0x001E, "unknown 001E"),
    ),
    default_key=KEY,
    session_key=SessionKeyUse(FileId(SESSION_KEY), Verified(PIN)),
)
