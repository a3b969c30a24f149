"""The common application (共通カードAP): card number and expiry, and a key that proves that the chip is genuine."""

from __future__ import annotations

from kazashi.applets.applet import Applet, InternalEf, KeyEf, PinEf, RecordEf
from kazashi.applets.holder import Personalisation
from kazashi.applets.verifiable_certificate import CHIP_ROOT, key_id
from kazashi.card.access import FREE
from kazashi.card.file import PinChange, SessionKeyRule
from kazashi.card.identifiers import Aid
from kazashi.card.pin import FOUR_DIGITS
from kazashi.card.tlv import Tlv, parse

AID = Aid("D3921000310001010100")


def _card_number(data: Personalisation) -> tuple[bytes]:
    number = data.card.serial + data.holder.municipality_code + data.card.expiry
    return (Tlv(0x01, number.encode("ascii")).encode(),)


def serial_and_expiry(record: bytes) -> tuple[str, str]:
    """Return the card's serial number and its expiry (YYYYMMDD), given the record of the card number."""
    number = parse(record)[0].value.decode("ascii")
    return number[:15], number[-8:]


CARD_NUMBER = RecordEf(0x0001, "card number", FREE, _card_number)
KEY_REFERENCE = RecordEf(0x0002, "key reference", FREE, lambda _: (key_id(CHIP_ROOT),))
"""Its 16 bytes are the same in the common and the juki application, as is the initial value of the PIN."""
KEY = KeyEf(0x0019, "card authentication key", lambda data: data.keys.common.pkcs8, FREE, authenticates=True)
JUKI_PIN = PinEf(
    0x001C, "juki PIN", FOUR_DIGITS, 3, lambda data: data.pins.juki, PinChange.CHANGE_KEY, counter="juki"
)  # fmt: skip

APPLET = Applet(
    AID,
    "common",
    (CARD_NUMBER, KEY_REFERENCE, KEY, JUKI_PIN, InternalEf(0x001E, "unknown 001E")),
    session_key=SessionKeyRule.REFUSED,
)
