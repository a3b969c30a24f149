"""The juki application (住基AP): what municipal terminals use. Outside them only a reference and a PIN can be met."""

from __future__ import annotations

from kazashi.applets.card_manager import atr_object
from kazashi.applets.common_card import JUKI_TRIES, key_reference
from kazashi.applets.holder import Personalisation
from kazashi.applets.jpki import pin_state
from kazashi.card.access import FREE
from kazashi.card.contents import ApplicationContents
from kazashi.card.file import Application, PinChange, PinFile, RecordFile, by_id
from kazashi.card.identifiers import Aid, FileId
from kazashi.card.pin import FOUR_DIGITS

AID = Aid("D3921000310001010401")

KEY_REFERENCE = FileId(0x0002)
JUKI_PIN = FileId(0x001C)


def contents(data: Personalisation) -> ApplicationContents:
    """What personalisation writes."""
    return ApplicationContents(
        records={KEY_REFERENCE: (key_reference(),)},
        pins={JUKI_PIN: pin_state(data.pins.juki, JUKI_TRIES, data.pins.tries_left, "juki")},
        objects=atr_object(data.card.contact_atr),
    )


def application(written: ApplicationContents) -> Application:
    """The application around its contents."""
    return Application(
        AID,
        "juki",
        by_id(
            (
                RecordFile(KEY_REFERENCE, "key reference", written.records[KEY_REFERENCE], FREE),
                PinFile(JUKI_PIN, "juki PIN", FOUR_DIGITS, PinChange.CHANGE_KEY),
            )
        ),
        written.objects,
    )
