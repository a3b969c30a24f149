"""The Juki card (住民基本台帳カード, 住基カード), the medium of signature certificates until December 2015.

Public programs show two facts about its chip: it has the same JPKI application, with another label in its token
information (https://github.com/jpki/myna, CheckCard of the older program in Go), and an ATR of its own on contactless
readers (https://github.com/LudovicRousseau/pcsc-tools, smartcard_list.txt). Its certificate is for signatures only;
those for authentication came with the law of 2013. What else its chip had is not public, and is absent here
(docs/differences.md).
"""

from __future__ import annotations

from kazashi.applets import card_manager, jpki
from kazashi.applets.applet import CONTACT_ATR, Applet, TransparentEf
from kazashi.applets.holder import CardCertificates, CardData, Pins
from kazashi.applets.model import DeviceModel
from kazashi.card.access import FREE
from kazashi.card.contents import CardContents

LABEL = b"JPKIAPICCTOKEN".ljust(32)

TOKEN_INFORMATION = TransparentEf(
    0x0006, "token information", FREE, lambda data: jpki.token_information(data.card.serial, LABEL)
)

JPKI = Applet(
    jpki.AID,
    "JPKI",
    (
        jpki.SIGNATURE_CERTIFICATE,
        jpki.SIGNATURE_AUTHORITY,
        TOKEN_INFORMATION,
        jpki.SIGNATURE_KEY,
        jpki.SIGNATURE_PIN,
    ),
)

CARD_MANAGER = Applet(card_manager.AID, "card manager", objects=(CONTACT_ATR,))
"""What is current after power-up. It has nothing but the contact ATR, from which the program takes it."""

ATQB = bytes.fromhex("000014E0B38191")
"""The answer to the Type B request in the ATR 3B888001000014E0B38191005E of a contactless reader."""

JUKI_CARD = DeviceModel("juki card", (CARD_MANAGER, JPKI), atqb=ATQB)


def written(certificates: CardCertificates, pins: Pins, card: CardData) -> CardContents:
    """Return the contents that the issue of a card writes."""
    return {applet.aid: jpki.written(certificates, pins, card, applet=applet) for applet in JUKI_CARD.applets}
