"""Making, listing and describing the cards of a world, for its tools."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kazashi.applets.install import model_of
from kazashi.applets.model import DeviceModel
from kazashi.assembly.errors import UsageError
from kazashi.card.atr import CONTACT_ATRS
from kazashi.card.contents import CardContents
from kazashi.card.image import DamagedImage, ImageMissing, ImageUnreadable, read_image
from kazashi.card.pin import FOUR_DIGITS, SIGNATURE_PASSWORD
from kazashi.card_management.order import image_path, usual_order
from kazashi.world.home import World
from kazashi.world.names import checked_name

if TYPE_CHECKING:
    from kazashi.assembly.institutions import Institutions


def described(world: World, name: str, *, missing_is_error: bool = False) -> dict[str, Any]:
    """The information in a card's image, and the retries left on its PINs; only `damage` for an image that cannot be
    read, so that it does not spoil a list.

    If `missing_is_error`, raises ImageMissing, DamagedImage, ImageUnreadable, and UsageError for an invalid name.
    """
    try:
        contents, about = read_image(image_path(world, name))
        return {**about, "tries left": _retries_left(model_of(about), contents)}
    except (ValueError, KeyError, ImageMissing, ImageUnreadable, DamagedImage) as error:
        if isinstance(error, KeyError):
            error = DamagedImage(f"{name} lacks an application of an individual number card: {error}")
        if not missing_is_error:
            return {"damage": str(error)}
        raise (UsageError(str(error)) if isinstance(error, ValueError) else error) from None


def _retries_left(model: DeviceModel, contents: CardContents) -> dict[str, str]:
    """The retry counters by application and PIN: "2 of 3"."""
    return {
        f"{application.name} {application.files[fid].name}": f"{pin.tries_left} of {pin.tries}"
        for application in model.applications(contents)
        for fid, pin in contents[application.aid].pins.items()
    }


def make_card(
    institutions: Institutions, name: str, resident: str, *, pin: str = "1234", password: str = "ABC123",
    atr: str = "plain", length_form: int = 0x82, model: str = "card",
) -> Path:  # fmt: skip
    """Issue a card to a person in the registry or to a sample resident, and return the path of its image.

    Raises UsageError, ImageExists and NoSuchResident.
    """
    for value, form, what in ((pin, FOUR_DIGITS, "--pin"), (password, SIGNATURE_PASSWORD, "--password")):
        if not form.accepts(value.encode()):
            raise UsageError(f"{what} takes {form.words}")
    try:
        checked_name(name, "card", "/")
    except ValueError as error:
        raise UsageError(str(error)) from error
    order = usual_order(institutions.world, institutions.resident(resident), CONTACT_ATRS[atr])
    pins = replace(order.pins, authentication=pin, text=pin, juki=pin, signature=password)
    return institutions.cards.issue(name, replace(order, pins=pins, length_form=length_form, model=model))
