"""The models of devices, and the functions that make and load cards."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from kazashi.applets import card_manager, card_surface, common_card, input_support, jpki, juki
from kazashi.applets.applet import CONTACT_ATR, Applet
from kazashi.applets.holder import Personalisation
from kazashi.applets.model import DeviceModel
from kazashi.applets.next_card import NEXT_CARD
from kazashi.card.card import Card
from kazashi.card.contents import ApplicationContents, CardContents
from kazashi.card.file import Application
from kazashi.card.image import DamagedImage, ImageStore, read_image
from kazashi.card.store import CardStore, MemoryStore, Reference

INDIVIDUAL_NUMBER_CARD = DeviceModel(
    "individual number card",
    tuple(module.APPLET for module in (card_manager, jpki, input_support, card_surface, juki, common_card)),
)

MODELS = {model.name: model for model in (INDIVIDUAL_NUMBER_CARD, NEXT_CARD)}
"""All models by name. A card image without the text MODEL_TEXT is an individual number card."""

MODEL_TEXT = "model"
"""The name of the text about a card that says its model."""


def personalise(data: Personalisation, model: DeviceModel = INDIVIDUAL_NUMBER_CARD) -> CardContents:
    """Return the contents that personalisation writes to a device."""
    return {applet.aid: applet.contents(data) for applet in model.applets}


def install(
    contents: CardContents, store: CardStore | None = None, model: DeviceModel = INDIVIDUAL_NUMBER_CARD
) -> Card:
    """Return a card with these contents, and its PINs in `store` (by default, in memory).

    Raises KeyError if contents are missing.
    """
    applications = model.applications(contents)
    contact_atr = b"\x3b" + contents[card_manager.AID].objects[CONTACT_ATR]
    if store is None:
        store = MemoryStore(
            {Reference(aid, fid): pin for aid, written in contents.items() for fid, pin in written.pins.items()}
        )
    return Card(applications, store, contact_atr, is_elliptic=model.is_elliptic)


def all_applets() -> tuple[Applet, ...]:
    """Return the applications of all models. Several with one AID are one here, with the name and the rules of the
    first and the files of all: files that they have in common have one name."""
    declared: dict[bytes, Applet] = {}
    for model in MODELS.values():
        for applet in (*model.applets, *model.additions):
            known = declared.setdefault(bytes(applet.aid), applet)
            more = tuple(file for file in applet.files if file not in known.files)
            declared[bytes(applet.aid)] = replace(known, files=known.files + more)
    return tuple(declared.values())


def structure() -> tuple[Application, ...]:
    """Return all applications without contents: names, files and rules."""
    empty = ApplicationContents(defaultdict(bytes), defaultdict(tuple))
    return tuple(applet.application(empty) for applet in all_applets())


def model_of(about: Mapping[str, str]) -> DeviceModel:
    """Return the model of a device, given the texts about it. Raises ValueError if this program does not know it."""
    name = about.get(MODEL_TEXT, INDIVIDUAL_NUMBER_CARD.name)
    model = MODELS.get(name)
    if model is None:
        raise ValueError(f"this program does not know the model {name}")
    return model


def load_card(image: Path) -> Card:
    """Return the card in an image file. Raises ImageMissing and DamagedImage."""
    contents, about = read_image(image)
    try:
        model = model_of(about)
    except ValueError as error:
        raise DamagedImage(f"{image}: {error}") from error
    try:
        return install(contents, ImageStore(image), model)
    except KeyError as error:
        raise DamagedImage(f"{image} lacks a part of the model {model.name!r}: {error}") from error
