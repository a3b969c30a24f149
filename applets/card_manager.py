"""The card manager: the state after power-up. It has no files, and a handful of data objects free to all."""

from __future__ import annotations

from kazashi.applets.holder import Personalisation
from kazashi.applets.verifiable_certificate import CHIP_ROOT, certificate, key_id
from kazashi.card.contents import ApplicationContents
from kazashi.card.file import Application
from kazashi.card.identifiers import Aid
from kazashi.card.tlv import Tlv

AID = Aid("A0000001510000")

ISSUER = 0x0042
CARD_ID = 0x0045
RECOGNITION = 0x0066
MUNICIPALITY = 0x00F0
EXPIRY = 0x00F2
ISSUER_KEY = 0x00F7
INTERMEDIATE_CERTIFICATE = 0x00F8
CARD_CERTIFICATE = 0x7F21
CONTACT_ATR = 0x5F51

_PAD = bytes((0, 0, 0, 0xA8))
_RECOGNITION_DATA = Tlv.of(  # GlobalPlatform 2.1.1, annex H.2
    0x73,
    [
        Tlv(0x06, bytes.fromhex("2A864886FC6B01")),
        Tlv.of(0x60, [Tlv(0x06, bytes.fromhex("2A864886FC6B02020101"))]),
        Tlv.of(0x63, [Tlv(0x06, bytes.fromhex("2A864886FC6B03"))]),
        Tlv.of(0x64, [Tlv(0x06, bytes.fromhex("2A864886FC6B040215"))]),
    ],
)


def atr_object(contact_atr: bytes) -> dict[int, bytes]:
    """The object by which a contactless reader learns the contact ATR: all of it but TS. Every application has it."""
    return {CONTACT_ATR: contact_atr[1:]}


def contents(data: Personalisation) -> ApplicationContents:
    """What personalisation writes."""
    vouchers = data.vouchers
    return ApplicationContents(
        objects={
            **atr_object(data.card.contact_atr),
            ISSUER: key_id(CHIP_ROOT, pad=_PAD),
            CARD_ID: data.card.serial.encode("ascii"),
            RECOGNITION: _RECOGNITION_DATA.encode(),
            MUNICIPALITY: data.holder.municipality_code.encode("ascii"),
            EXPIRY: data.card.expiry.encode("ascii"),
            ISSUER_KEY: vouchers.municipality_chip.id,
            INTERMEDIATE_CERTIFICATE: certificate(
                vouchers.chip_root, vouchers.municipality_chip.id, vouchers.municipality_chip.key
            ).value,
            CARD_CERTIFICATE: certificate(
                vouchers.municipality_chip, key_id(data.card.serial[-7:]), data.keys.common
            ).value,
        }
    )


def application(written: ApplicationContents) -> Application:
    """The application around its contents."""
    return Application(AID, "card manager", {}, written.objects)
