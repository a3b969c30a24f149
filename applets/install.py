"""The models of devices, and the functions that make and load cards."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from kazashi.applets import (
    card_manager,
    card_surface,
    common_card,
    free_area,
    input_support,
    jpki,
    juki,
    phone,
)
from kazashi.applets.additions import ADDITIONS
from kazashi.applets.applet import CONTACT_ATR, Applet
from kazashi.applets.holder import Personalisation
from kazashi.applets.juki_card import JUKI_CARD
from kazashi.applets.model import DeviceModel, WrongApplications
from kazashi.applets.next_card import NEXT_CARD
from kazashi.card.card import NO_APPLICATION, Card
from kazashi.card.contents import ApplicationContents, CardContents
from kazashi.card.file import Application
from kazashi.card.image import DamagedImage, ImageStore, stored_card
from kazashi.card.store import CardStore, MemoryStore, Reference

INDIVIDUAL_NUMBER_CARD = DeviceModel(
    "individual number card",
    tuple(module.APPLET for module in (card_manager, jpki, input_support, card_surface, juki, common_card)),
    ADDITIONS,
)

PHONE = DeviceModel("phone", (phone.APPLET,))
"""A phone's secure element has the JPKI application only (docs/phone.md)."""

MODELS = {model.name: model for model in (INDIVIDUAL_NUMBER_CARD, JUKI_CARD, PHONE, NEXT_CARD)}
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

    Raises WrongApplications.
    """
    applications = model.applications(contents)
    manager = contents.get(card_manager.AID)
    contact_atr = b"\x3b" + manager.objects[CONTACT_ATR] if manager is not None else b""
    if store is None:
        store = MemoryStore(
            {Reference(aid, fid): pin for aid, written in contents.items() for fid, pin in written.pins.items()}
        )
    initial = applications[0] if manager is not None else NO_APPLICATION
    return Card(applications, store, contact_atr, initial, model.atqb, model.is_elliptic)


def all_applets(loaded: Sequence[Applet] = ()) -> tuple[Applet, ...]:
    """Return the applications of all models, and those that are `loaded` into a free area.

    Several with one AID are one here, with the name and the rules of the first and the files of all: files that they
    have in common have one name.
    """
    declared = {bytes(applet.aid): applet for applet in loaded}
    for model in MODELS.values():
        for applet in (*model.applets, *model.additions):
            known = declared.setdefault(bytes(applet.aid), applet)
            more = tuple(file for file in applet.files if file not in known.files)
            declared[bytes(applet.aid)] = replace(known, files=known.files + more)
    return tuple(declared.values())


def structure(loaded: Sequence[Applet] = ()) -> tuple[Application, ...]:
    """Return all applications of `all_applets` without contents: names, files and rules."""
    empty = ApplicationContents(defaultdict(bytes), defaultdict(tuple))
    return tuple(applet.application(empty) for applet in all_applets(loaded))


def model_of(about: Mapping[str, str]) -> DeviceModel:
    """Return the model of a device, given the texts about it. Raises ValueError if this program does not know it."""
    name = about.get(MODEL_TEXT, INDIVIDUAL_NUMBER_CARD.name)
    model = MODELS.get(name)
    if model is None:
        raise ValueError(f"this program does not know the model {name}")
    return model


def load_card(image: Path) -> Card:
    """Return the card in an image file. Raises ImageMissing and DamagedImage."""
    contents, about, digest = stored_card(image)
    try:
        model = model_of(about)
    except ValueError as error:
        raise DamagedImage(f"{image}: {error}") from error
    try:
        model = with_loaded(model, about)
        return install(contents, ImageStore(image, digest), model)
    except WrongApplications as error:
        raise DamagedImage(f"{image} {error}") from error
    except free_area.BadDefinition as error:
        raise DamagedImage(f"{image} is damaged: {error}") from error


def with_loaded(model: DeviceModel, about: Mapping[str, str]) -> DeviceModel:
    """Return a model with the applications that were loaded into the free area of a card of that model, by the texts
    about the card. Raises free_area.BadDefinition."""
    return replace(model, additions=(*model.additions, *free_area.loaded_applets(about)))
