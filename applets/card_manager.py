"""The card manager, which is current after power-up. It has no files, and data objects that anyone may read."""

from __future__ import annotations

from kazashi.applets.applet import CONTACT_ATR, Applet, DataObject
from kazashi.applets.holder import Personalisation
from kazashi.applets.verifiable_certificate import CHIP_ROOT, certificate, key_id
from kazashi.card.identifiers import Aid
from kazashi.card.tlv import Tlv

AID = Aid("A0000001510000")

_PAD = bytes((0, 0, 0, 0xA8))
_RECOGNITION_DATA = Tlv.of(  # GlobalPlatform 2.1.1, annex H.2
    0x73,
    [
        Tlv(0x06, bytes.fromhex("2A864886FC6B01")),
        Tlv.of(0x60, [Tlv(0x06, bytes.fromhex("2A864886FC6B02020101"))]),
        Tlv.of(0x63, [Tlv(0x06, bytes.fromhex("2A864886FC6B03"))]),
        Tlv.of(0x64, [Tlv(0x06, bytes.fromhex("2A864886FC6B040215"))]),
    ],
).encode()


def _intermediate_certificate(data: Personalisation) -> bytes:
    chip = data.vouchers.municipality_chip
    return certificate(data.vouchers.chip_root, chip.id, chip.key).value


def _card_certificate(data: Personalisation) -> bytes:
    return certificate(data.vouchers.municipality_chip, key_id(data.card.serial[-7:]), data.keys.common).value


ISSUER = DataObject(0x0042, "issuer", lambda _: key_id(CHIP_ROOT, pad=_PAD))
CARD_ID = DataObject(0x0045, "card identifier", lambda data: data.card.serial.encode("ascii"))
RECOGNITION = DataObject(0x0066, "card recognition data", lambda _: _RECOGNITION_DATA, impersonal=True)
MUNICIPALITY = DataObject(0x00F0, "municipality", lambda data: data.holder.municipality_code.encode("ascii"))
EXPIRY = DataObject(0x00F2, "expiry", lambda data: data.card.expiry.encode("ascii"))
ISSUER_KEY = DataObject(0x00F7, "issuer key", lambda data: data.vouchers.municipality_chip.id)
INTERMEDIATE_CERTIFICATE = DataObject(0x00F8, "intermediate certificate", _intermediate_certificate)
CARD_CERTIFICATE = DataObject(0x7F21, "card certificate", _card_certificate)

APPLET = Applet(
    AID,
    "card manager",
    objects=(
        CONTACT_ATR,
        ISSUER,
        CARD_ID,
        RECOGNITION,
        MUNICIPALITY,
        EXPIRY,
        ISSUER_KEY,
        INTERMEDIATE_CERTIFICATE,
        CARD_CERTIFICATE,
    ),
)
