"""The juki application (住基AP) for municipal terminals. Other terminals can reach only a key reference and a PIN."""

from __future__ import annotations

from kazashi.applets import common_card
from kazashi.applets.applet import Applet
from kazashi.card.identifiers import Aid

AID = Aid("D3921000310001010401")

KEY_REFERENCE = common_card.KEY_REFERENCE
JUKI_PIN = common_card.JUKI_PIN

APPLET = Applet(AID, "juki", (KEY_REFERENCE, JUKI_PIN))
