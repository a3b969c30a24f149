"""All applications of an individual number card, and the functions that make and load cards."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from kazashi.applets import card_manager, card_surface, common_card, input_support, jpki, juki
from kazashi.applets.applet import CONTACT_ATR
from kazashi.applets.holder import Personalisation
from kazashi.card.card import Card
from kazashi.card.contents import ApplicationContents, CardContents
from kazashi.card.file import Application
from kazashi.card.image import DamagedImage, ImageStore, read_image
from kazashi.card.store import CardStore, MemoryStore, Reference

APPLETS = tuple(module.APPLET for module in (card_manager, jpki, input_support, card_surface, juki, common_card))
"""All applications, in the order in which a partial AID is matched."""


def personalise(data: Personalisation) -> CardContents:
    """Return the contents that personalisation writes to a card."""
    return {applet.aid: applet.contents(data) for applet in APPLETS}


def install(contents: CardContents, store: CardStore | None = None) -> Card:
    """Return a card with these contents, and its PINs in `store` (by default, in memory).

    Raises KeyError if contents are missing.
    """
    applications = tuple(applet.application(contents[applet.aid]) for applet in APPLETS)
    contact_atr = b"\x3b" + contents[card_manager.AID].objects[CONTACT_ATR]
    if store is None:
        store = MemoryStore(
            {Reference(aid, fid): pin for aid, written in contents.items() for fid, pin in written.pins.items()}
        )
    return Card(applications, store, contact_atr)


def structure() -> tuple[Application, ...]:
    """Return the applications of a card that was not personalised: names, files and rules, without contents."""
    empty = ApplicationContents(defaultdict(bytes), defaultdict(tuple))
    return tuple(applet.application(empty) for applet in APPLETS)


def load_card(image: Path) -> Card:
    """Return the card in an image file. Raises ImageMissing and DamagedImage."""
    contents, _ = read_image(image)
    try:
        return install(contents, ImageStore(image))
    except KeyError as error:
        raise DamagedImage(f"{image} lacks a part of an individual number card: {error}") from error
