"""The applications of an individual number card, all of them, in the order in which a partial AID finds them."""

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
"""All of them, in the order in which a partial AID finds them."""


def personalise(data: Personalisation) -> CardContents:
    """What personalisation writes to a whole card."""
    return {applet.aid: applet.contents(data) for applet in APPLETS}


def install(contents: CardContents, store: CardStore | None = None) -> Card:
    """A card of these contents; its PINs live in `store`, or in memory. Raises KeyError where contents are missing."""
    applications = tuple(applet.application(contents[applet.aid]) for applet in APPLETS)
    contact_atr = b"\x3b" + contents[card_manager.AID].objects[CONTACT_ATR]
    if store is None:
        store = MemoryStore(
            {Reference(aid, fid): pin for aid, written in contents.items() for fid, pin in written.pins.items()}
        )
    return Card(applications, store, contact_atr)


def structure() -> tuple[Application, ...]:
    """The applications of a card that was never personalised: names, files and rules, and nothing in them."""
    nothing = ApplicationContents(defaultdict(bytes), defaultdict(tuple))
    return tuple(applet.application(nothing) for applet in APPLETS)


def load_card(image: Path) -> Card:
    """The card in an image file. Raises ImageMissing and DamagedImage."""
    contents, _ = read_image(image)
    try:
        return install(contents, ImageStore(image))
    except KeyError as error:
        raise DamagedImage(f"{image} lacks a part of an individual number card: {error}") from error
