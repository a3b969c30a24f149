"""The juki application (住基AP): what municipal terminals use. Outside them only a reference and a PIN can be met."""

from __future__ import annotations

from kazashi.applets import common_card
from kazashi.applets.applet import Applet
from kazashi.card.identifiers import Aid

AID = Aid("D3921000310001010401")

KEY_REFERENCE = common_card.KEY_REFERENCE
JUKI_PIN = common_card.JUKI_PIN

APPLET = Applet(AID, "juki", (KEY_REFERENCE, JUKI_PIN))
