"""The next card (次期個人番号カード): two applications, two PINs and one reference number, with P-384 keys.

What is published is in the final report of the Digital Agency's task force (2024-03-18), here after
pki.world-tls.com/ecdsa384-mynumber-card and ITmedia NEWS (2024-03-19): the four applications become two. One has what
needs a PIN (認証AP), the other the card face (券面等AP), which opens with a reference number of six digits that is
printed on the card. There are two PINs, one of four digits and one of six or more characters, with which the text data
can be read as well. The keys are P-384. No command, file or name of an application is published: those are chosen here
(docs/next-card.md).
"""

from __future__ import annotations

from kazashi.applets import card_manager, card_surface, common_card, input_support, jpki
from kazashi.applets.additions import ADDITIONS
from kazashi.applets.applet import Applet, KeyEf, PinEf, TransparentEf, filled
from kazashi.applets.holder import Personalisation
from kazashi.applets.input_support import NUMBER_TRIES, ONLY_SIGNS
from kazashi.applets.model import DeviceModel
from kazashi.applets.verifiable_certificate import LONG, certificate, public_key
from kazashi.card.access import FREE, Verified
from kazashi.card.contents import ApplicationContents
from kazashi.card.file import SessionKeyRule
from kazashi.card.pin import SIX_DIGITS
from kazashi.card.tlv import Tlv, parse


def _signed_text(data: Personalisation) -> bytes:
    """Return the number and the attributes as one object with their signature, so that neither can be exchanged."""
    _, attributes = input_support.four_attributes(data.holder)
    number = input_support.individual_number(data.holder.individual_number)
    return Tlv(0xDF33, data.vouchers.municipality_text.sign(number + attributes)).encode()


def _signed_key(data: Personalisation) -> bytes:
    key = public_key(data.keys.text)
    signed = [Tlv(0xDF51, key), Tlv(0xDF52, data.vouchers.municipality_text.sign(key))]
    return Tlv.of(0xFF50, signed, LONG).encode()


def _text_certificate(data: Personalisation) -> bytes:
    signer = data.vouchers.municipality_text
    return certificate(data.vouchers.text_issuer, signer.id, signer.key).encode()


_EITHER_PIN = Verified(jpki.AUTHENTICATION_PIN, jpki.SIGNATURE_PIN)

INDIVIDUAL_NUMBER = TransparentEf(
    0x000C,
    "individual number",
    _EITHER_PIN,
    lambda data: input_support.individual_number(data.holder.individual_number),
)
FOUR_ATTRIBUTES = TransparentEf(
    0x000D,
    "four attributes",
    _EITHER_PIN,
    lambda data: filled(input_support.four_attributes(data.holder)[0], input_support.ATTRIBUTES_FILE_SIZE),
)
SIGNATURE = TransparentEf(0x000E, "signature over number and attributes", _EITHER_PIN, _signed_text)
CERTIFICATE = TransparentEf(0x000F, "card-verifiable certificate", FREE, _text_certificate)
PUBLIC_KEY = TransparentEf(0x0011, "application public key", _EITHER_PIN, _signed_key)
KEY = KeyEf(
    0x0012,
    "application key",
    lambda data: data.keys.text.pkcs8,
    FREE,
    signs=True,
    authentication_refusal=ONLY_SIGNS,
)
CARD_KEY = KeyEf(0x0013, "card authentication key", common_card.KEY.key, FREE, authenticates=True)

AUTHENTICATION = Applet(
    jpki.AID,
    "authentication",
    (
        jpki.SIGNATURE_CERTIFICATE,
        jpki.SIGNATURE_AUTHORITY,
        jpki.TOKEN_INFORMATION,
        jpki.AVAILABILITY,
        jpki.AUTHENTICATION_CERTIFICATE,
        jpki.AUTHENTICATION_AUTHORITY,
        INDIVIDUAL_NUMBER,
        FOUR_ATTRIBUTES,
        SIGNATURE,
        CERTIFICATE,
        PUBLIC_KEY,
        KEY,
        CARD_KEY,
        jpki.AUTHENTICATION_KEY,
        jpki.AUTHENTICATION_PIN,
        jpki.SIGNATURE_KEY,
        jpki.SIGNATURE_PIN,
    ),
)


def _face(data: Personalisation) -> bytes:
    """Return what the face shows and sex, which is no longer printed, with one signature over all of it."""
    from kazashi.applets.pictures import NAME_SIZE, text_picture

    objects = [
        *card_surface.holder_objects(data),
        Tlv(0xDF29, data.card.expiry.encode("ascii")),
        Tlv(0xDF2B, text_picture(data.holder.kana, NAME_SIZE), LONG),
        Tlv(0xDF2C, text_picture(data.holder.latin, NAME_SIZE), LONG),
    ]
    return _vouched(data, 0xFF20, objects, 0xDF28)


def _number_picture(data: Personalisation) -> bytes:
    from kazashi.applets.pictures import digits_picture

    return _vouched(data, 0xFF40, [Tlv(0xDF41, digits_picture(data.holder.individual_number))], 0xDF43)


def _vouched(data: Personalisation, outer: int, objects: list[Tlv], signature: int) -> bytes:
    """Return one object of several, and the municipality's signature over them as its last."""
    content = b"".join(item.encode() for item in objects)
    vouched = content + Tlv(signature, data.vouchers.municipality_visual.sign(content)).encode()
    return Tlv(outer, vouched, LONG).encode()


def _face_certificate(data: Personalisation) -> bytes:
    signer = data.vouchers.municipality_visual
    return certificate(data.vouchers.visual_issuer, signer.id, signer.key).encode()


REFERENCE_NUMBER = PinEf(0x0010, "reference number", SIX_DIGITS, NUMBER_TRIES, lambda data: data.card.reference_number)

_AFTER_NUMBER = Verified(REFERENCE_NUMBER)

FACE = TransparentEf(0x0002, "card face", _AFTER_NUMBER, _face)
FACE_CERTIFICATE = TransparentEf(0x0004, "card-verifiable certificate", FREE, _face_certificate)
NUMBER_PICTURE = TransparentEf(0x0005, "individual number", _AFTER_NUMBER, _number_picture)


def expiry_in(contents: ApplicationContents) -> str:
    """Return the expiry (YYYYMMDD) on a card, given the contents of its card face application."""
    face, _ = parse(contents.data[FACE])
    return next(item.value for item in face.children() if item.tag == 0xDF29).decode("ascii")


CARD_FACE = Applet(
    card_surface.AID,
    "card face",
    (FACE, FACE_CERTIFICATE, NUMBER_PICTURE, REFERENCE_NUMBER, card_surface.KEY),
    session_key=SessionKeyRule.REFUSED,
)

NEXT_CARD = DeviceModel(
    "next card",
    (card_manager.APPLET, AUTHENTICATION, CARD_FACE),
    ADDITIONS,
    is_elliptic=True,
)
