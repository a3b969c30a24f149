"""The visual application (券面事項確認AP): the card surface as pictures, to be compared with the printed card.

Pictures are drawn only when a card is personalised: an imaging library is not loaded to read a card.
"""

from __future__ import annotations

from hashlib import sha256

from kazashi.applets.applet import Applet, InternalEf, KeyEf, PinEf, TransparentEf, blank
from kazashi.applets.holder import Personalisation
from kazashi.applets.input_support import NUMBER_TRIES, ONLY_SIGNS
from kazashi.applets.verifiable_certificate import LONG, VISUAL_BASIC, certificate, key_id, public_key
from kazashi.card.access import FREE, Verified
from kazashi.card.contents import ApplicationContents
from kazashi.card.file import SessionKeyRule
from kazashi.card.identifiers import Aid
from kazashi.card.pin import FOURTEEN_DIGITS, SIX_DIGITS, TWELVE_DIGITS
from kazashi.card.tlv import Tlv, parse

AID = Aid("D3921000310001010402")

_SHA256_OF_96_BYTES = bytes.fromhex("3071300d060960864801650304020105000460")
"""The prefix of a DigestInfo that names SHA-256 and, unlike any standard one, holds three hashes."""


def _signed(data: Personalisation, outer: int, content: bytes, signature: int) -> bytes:
    """Return one data object of content and its signature with the municipality's key."""
    value = data.vouchers.municipality_visual.sign(content)
    return Tlv(outer, content + Tlv(signature, value, LONG).encode(), LONG).encode()


def _age(data: Personalisation) -> bytes:
    birth = Tlv(0xDF11, data.holder.birth.encode("ascii")).encode()
    return _signed(data, 0xFF10, birth + Tlv(0xDF12, public_key(data.keys.visual), LONG).encode(), 0xDF13)


def holder_objects(data: Personalisation) -> list[Tlv]:
    """Return date of birth, sex, the application's public key, and pictures of name, address and holder."""
    from kazashi.applets.pictures import ADDRESS_SIZE, NAME_SIZE, photograph, text_picture

    holder = data.holder
    return [
        Tlv(0xDF22, holder.birth.encode("ascii")),
        Tlv(0xDF23, holder.sex.encode("ascii")),
        Tlv(0xDF24, public_key(data.keys.visual), LONG),
        Tlv(0xDF25, text_picture(holder.name, NAME_SIZE), LONG),
        Tlv(0xDF26, text_picture(holder.address, ADDRESS_SIZE), LONG),
        Tlv(0xDF27, data.photograph or photograph(data.chance), LONG),
    ]


def _face(data: Personalisation) -> bytes:
    """Return a table of offsets and nine objects. The seventh is the signature over the first six."""
    from kazashi.applets.pictures import digits_picture

    encoded = [item.encode() for item in holder_objects(data)]
    hashes = b"".join(sha256(b"".join(part)).digest() for part in (encoded[:3], encoded[3:5], encoded[5:]))
    signature = data.vouchers.municipality_visual.key.sign_verbatim(_SHA256_OF_96_BYTES + hashes)
    encoded += [
        Tlv(0xDF28, signature, LONG).encode(),
        Tlv(0xDF29, data.card.expiry.encode("ascii")).encode(),
        Tlv(0xDF2A, digits_picture(data.card.security_code), LONG).encode(),
    ]
    table_end = len(Tlv(0xFF20, b"", LONG).header()) + len(Tlv(0xDF21, bytes(18)).encode())
    offsets = b"".join((table_end + sum(map(len, encoded[:number]))).to_bytes(2) for number in range(len(encoded)))
    return Tlv(0xFF20, Tlv(0xDF21, offsets).encode() + b"".join(encoded), LONG).encode()


def photograph_in(contents: ApplicationContents) -> bytes:
    """Return the photograph on a card as JPEG 2000, given the contents of its visual application."""
    face, _ = parse(contents.data[FACE])
    return next(item.value for item in face.children() if item.tag == 0xDF27)


def _basic_information(data: Personalisation) -> bytes:
    return Tlv.of(
        0xFF30,
        [
            Tlv(0xDF31, bytes.fromhex("06030E01")),
            Tlv(0xDF32, key_id(VISUAL_BASIC)),
            Tlv(0xDF33, b"\0"),
            Tlv(0xDF34, data.holder.municipality_code.encode("ascii")),
            Tlv(0xDF35, key_id("9900025") + data.chance.randbytes(256), LONG),
        ],
        LONG,
    ).encode()


def _certificate(data: Personalisation) -> bytes:
    signer = data.vouchers.municipality_visual
    return certificate(data.vouchers.visual_issuer, signer.id, signer.key).encode()


def _individual_number(data: Personalisation) -> bytes:
    from kazashi.applets.pictures import digits_picture

    picture = Tlv(0xDF41, digits_picture(data.holder.individual_number)).encode()
    return _signed(data, 0xFF40, picture + Tlv(0xDF42, public_key(data.keys.visual), LONG).encode(), 0xDF43)


BIRTH_PIN = PinEf(0x0011, "birth PIN", SIX_DIGITS, NUMBER_TRIES, lambda data: data.holder.birth_in_era_years)
NUMBER_B = PinEf(
    0x0012,
    "reference number B",
    FOURTEEN_DIGITS,
    NUMBER_TRIES,
    lambda data: data.card.reference_number_b(data.holder),
)
NUMBER_A = PinEf(0x0013, "reference number A", TWELVE_DIGITS, NUMBER_TRIES, lambda data: data.holder.individual_number)

_EITHER_NUMBER = Verified(NUMBER_A, NUMBER_B)

AGE = TransparentEf(0x0001, "date of birth", Verified(BIRTH_PIN), _age)
FACE = TransparentEf(0x0002, "card face", _EITHER_NUMBER, _face)
BASIC_INFORMATION = TransparentEf(0x0003, "basic information", FREE, _basic_information)
CERTIFICATE = TransparentEf(0x0004, "card-verifiable certificate", FREE, _certificate)
INDIVIDUAL_NUMBER = TransparentEf(0x0005, "individual number", Verified(NUMBER_A), _individual_number)
UNKNOWN_DATA = TransparentEf(0x0006, "unknown 0006", _EITHER_NUMBER, blank)
KEY = KeyEf(
    0x001A,
    "card-face key",
    lambda data: data.keys.visual.pkcs8,
    FREE,
    signs=True,
    authentication_refusal=ONLY_SIGNS,
)

APPLET = Applet(
    AID,
    "visual",
    (
        BASIC_INFORMATION,  # before FACE: both use the random stream, and the same seed must give the same card
        AGE,
        FACE,
        CERTIFICATE,
        INDIVIDUAL_NUMBER,
        UNKNOWN_DATA,
        BIRTH_PIN,
        NUMBER_B,
        NUMBER_A,
        InternalEf(0x0014, "unknown 0014"),
        InternalEf(0x0015, "unknown 0015"),
        KEY,
        InternalEf(0x001C, "unknown 001C"),
        InternalEf(0x001E, "unknown 001E"),
    ),
    default_key=KEY,
    session_key=SessionKeyRule.REFUSED,
)
