"""The visual application (券面事項確認AP): the card's face in pictures, for whoever compares it with the print."""

from __future__ import annotations

from hashlib import sha256

from kazashi.applets.card_manager import atr_object
from kazashi.applets.holder import Personalisation
from kazashi.applets.input_support import NUMBER_TRIES
from kazashi.applets.pictures import ADDRESS_SIZE, NAME_SIZE, digits_picture, photograph, text_picture
from kazashi.applets.verifiable_certificate import LONG, VISUAL_BASIC, certificate, key_id, public_key
from kazashi.card.access import FREE, Verified
from kazashi.card.contents import ApplicationContents
from kazashi.card.file import Application, InternalFile, KeyFile, PinFile, SessionKeyRule, TransparentFile, by_id
from kazashi.card.identifiers import Aid, FileId
from kazashi.card.pin import FOURTEEN_DIGITS, SIX_DIGITS, TWELVE_DIGITS, PinState
from kazashi.card.refusal import ConditionsNotSatisfied
from kazashi.card.tlv import Tlv

AID = Aid("D3921000310001010402")

AGE = FileId(0x0001)
FACE = FileId(0x0002)
BASIC_INFORMATION = FileId(0x0003)
CERTIFICATE = FileId(0x0004)
INDIVIDUAL_NUMBER = FileId(0x0005)
UNKNOWN_DATA = FileId(0x0006)
BIRTH_PIN = FileId(0x0011)
NUMBER_B = FileId(0x0012)
NUMBER_A = FileId(0x0013)
KEY = FileId(0x001A)

_SHA256_OF_96_BYTES = bytes.fromhex("3071300d060960864801650304020105000460")
"""The head of a DigestInfo that names SHA-256 and, unlike any other, holds three hashes."""


def contents(data: Personalisation) -> ApplicationContents:
    """What personalisation writes."""
    holder, signer = data.holder, data.vouchers.municipality_visual
    key = Tlv(0xDF12, public_key(data.keys.visual), LONG).encode()
    age = Tlv(0xDF11, holder.birth.encode("ascii")).encode() + key
    number = (
        Tlv(0xDF41, digits_picture(holder.individual_number)).encode()
        + Tlv(0xDF42, public_key(data.keys.visual), LONG).encode()
    )
    basic = Tlv.of(
        0xFF30,
        [
            Tlv(0xDF31, bytes.fromhex("06030E01")),
            Tlv(0xDF32, key_id(VISUAL_BASIC)),
            Tlv(0xDF33, b"\0"),
            Tlv(0xDF34, holder.municipality_code.encode("ascii")),
            Tlv(0xDF35, key_id("9900025") + data.chance.randbytes(256), LONG),
        ],
        LONG,
    )
    return ApplicationContents(
        data={
            AGE: Tlv(0xFF10, age + Tlv(0xDF13, signer.sign(age), LONG).encode(), LONG).encode(),
            FACE: face(data),
            BASIC_INFORMATION: basic.encode(),
            CERTIFICATE: certificate(data.vouchers.visual_issuer, signer.id, signer.key).encode(),
            INDIVIDUAL_NUMBER: Tlv(0xFF40, number + Tlv(0xDF43, signer.sign(number), LONG).encode(), LONG).encode(),
            UNKNOWN_DATA: b"\xff" * 16,
        },
        keys={KEY: data.keys.visual.pkcs8},
        pins={
            BIRTH_PIN: PinState(holder.birth_in_era_years.encode("ascii"), NUMBER_TRIES, NUMBER_TRIES),
            NUMBER_B: PinState(data.card.reference_number_b(holder).encode("ascii"), NUMBER_TRIES, NUMBER_TRIES),
            NUMBER_A: PinState(holder.individual_number.encode("ascii"), NUMBER_TRIES, NUMBER_TRIES),
        },
        objects=atr_object(data.card.contact_atr),
    )


def face(data: Personalisation) -> bytes:
    """File 0002: nine objects behind a table of their offsets, the seventh of them the signature over the first six."""
    holder = data.holder
    objects = [
        Tlv(0xDF22, holder.birth.encode("ascii")),
        Tlv(0xDF23, holder.sex.encode("ascii")),
        Tlv(0xDF24, public_key(data.keys.visual), LONG),
        Tlv(0xDF25, text_picture(holder.name, NAME_SIZE), LONG),
        Tlv(0xDF26, text_picture(holder.address, ADDRESS_SIZE), LONG),
        Tlv(0xDF27, photograph(data.chance), LONG),
    ]
    encoded = [item.encode() for item in objects]
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


def application(written: ApplicationContents) -> Application:
    """The application around its contents."""
    data = written.data
    either_number = Verified(NUMBER_A, NUMBER_B)
    return Application(
        AID,
        "visual",
        by_id(
            (
                TransparentFile(AGE, "date of birth", data[AGE], Verified(BIRTH_PIN)),
                TransparentFile(FACE, "card face", data[FACE], either_number),
                TransparentFile(BASIC_INFORMATION, "basic information", data[BASIC_INFORMATION], FREE),
                TransparentFile(CERTIFICATE, "card-verifiable certificate", data[CERTIFICATE], FREE),
                TransparentFile(INDIVIDUAL_NUMBER, "individual number", data[INDIVIDUAL_NUMBER], Verified(NUMBER_A)),
                TransparentFile(UNKNOWN_DATA, "unknown 0006", data[UNKNOWN_DATA], either_number),
                PinFile(BIRTH_PIN, "birth PIN", SIX_DIGITS),
                PinFile(NUMBER_B, "reference number B", FOURTEEN_DIGITS),
                PinFile(NUMBER_A, "reference number A", TWELVE_DIGITS),
                InternalFile(FileId(0x0014), "unknown 0014"),
                InternalFile(FileId(0x0015), "unknown 0015"),
                KeyFile(
                    KEY,
                    "card-face key",
                    written.key(KEY),
                    FREE,
                    signs=True,
                    authentication_refusal=ConditionsNotSatisfied,
                ),
                InternalFile(FileId(0x001C), "unknown 001C"),
                InternalFile(FileId(0x001E), "unknown 001E"),
            )
        ),
        written.objects,
        default_key=KEY,
        session_key=SessionKeyRule.REFUSED,
    )
