"""The common application (共通カードAP): the card's own number and expiry, and a key that proves the chip genuine."""

from __future__ import annotations

from kazashi.applets.card_manager import atr_object
from kazashi.applets.holder import Personalisation
from kazashi.applets.jpki import pin_state
from kazashi.applets.verifiable_certificate import CHIP_ROOT, key_id
from kazashi.card.access import FREE
from kazashi.card.contents import ApplicationContents
from kazashi.card.file import (
    Application,
    InternalFile,
    KeyFile,
    PinChange,
    PinFile,
    RecordFile,
    SessionKeyRule,
    by_id,
)
from kazashi.card.identifiers import Aid, FileId
from kazashi.card.pin import FOUR_DIGITS
from kazashi.card.tlv import Tlv

AID = Aid("D3921000310001010100")

CARD_NUMBER = FileId(0x0001)
KEY_REFERENCE = FileId(0x0002)
KEY = FileId(0x0019)
JUKI_PIN = FileId(0x001C)

JUKI_TRIES = 3


def key_reference() -> bytes:
    """The 16 bytes that the common and the juki application share."""
    return key_id(CHIP_ROOT)


def contents(data: Personalisation) -> ApplicationContents:
    """What personalisation writes."""
    number = data.card.serial + data.holder.municipality_code + data.card.expiry
    return ApplicationContents(
        records={
            CARD_NUMBER: (Tlv(0x01, number.encode("ascii")).encode(),),
            KEY_REFERENCE: (key_reference(),),
        },
        keys={KEY: data.keys.common.pkcs8},
        pins={JUKI_PIN: pin_state(data.pins.juki, JUKI_TRIES, data.pins.tries_left, "juki")},
        objects=atr_object(data.card.contact_atr),
    )


def application(written: ApplicationContents) -> Application:
    """The application around its contents."""
    return Application(
        AID,
        "common",
        by_id(
            (
                RecordFile(CARD_NUMBER, "card number", written.records[CARD_NUMBER], FREE),
                RecordFile(KEY_REFERENCE, "key reference", written.records[KEY_REFERENCE], FREE),
                KeyFile(KEY, "card authentication key", written.key(KEY), FREE, authenticates=True),
                PinFile(JUKI_PIN, "juki PIN", FOUR_DIGITS, PinChange.CHANGE_KEY),
                InternalFile(FileId(0x001E), "unknown 001E"),
            )
        ),
        written.objects,
        session_key=SessionKeyRule.REFUSED,
    )
