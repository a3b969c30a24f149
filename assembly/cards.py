"""Making, listing and describing the cards of a world, for its tools."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kazashi.applets.free_area import loaded_applets
from kazashi.applets.install import model_of, with_loaded
from kazashi.applets.model import DeviceModel, WrongApplications
from kazashi.assembly.errors import UsageError
from kazashi.card.atr import CONTACT_ATRS
from kazashi.card.contents import CardContents
from kazashi.card.image import DamagedImage, ImageMissing, ImageUnreadable, read_image
from kazashi.card.pin import FOUR_DIGITS, SIGNATURE_PASSWORD, PinFormat
from kazashi.card_management.loaded_application import applications_in, without_applications
from kazashi.card_management.order import image_path, usual_order
from kazashi.world.clock import JST, today
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
        model = with_loaded(model_of(about), about)
        described: dict[str, Any] = {**without_applications(about), "tries left": _retries_left(model, contents)}
        if loaded_applets(about):
            described["applications"] = [row.as_dict() for row in applications_in(about)]
        return described
    except (ValueError, WrongApplications, ImageMissing, ImageUnreadable, DamagedImage) as error:
        if isinstance(error, WrongApplications):
            error = DamagedImage(f"the card {name} {error}")
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
    atr: str = "plain", length_form: int = 0x82, photo: bytes | None = None, model: str = "card",
) -> Path:  # fmt: skip
    """Issue a card to a person in the registry or to a sample resident, and return the path of its image.

    `photo` is a picture file; without one, a head is drawn. Raises UsageError, PhotoRejected, ImageExists and
    NoSuchResident.
    """
    photograph = checked(name, pin, password, photo)
    if atr not in CONTACT_ATRS:
        raise UsageError(f"there is no ATR {atr!r}; there are {', '.join(CONTACT_ATRS)}")
    order = usual_order(institutions.world, institutions.resident(resident), CONTACT_ATRS[atr])
    pins = replace(order.pins, authentication=pin, text=pin, juki=pin, signature=password)
    order = replace(order, pins=pins, length_form=length_form, photograph=photograph, model=model)
    return institutions.cards.issue(name, order)


def checked(name: str, pin: str, password: str, photo: bytes | None) -> bytes:
    """Check what a user gives for a card, and return the photograph as the card holds it (empty if `photo` is None).

    Raises UsageError and PhotoRejected.
    """
    check_pin(pin, FOUR_DIGITS, "--pin")
    check_pin(password, SIGNATURE_PASSWORD, "--password")
    try:
        checked_name(name, "card", "/")
    except ValueError as error:
        raise UsageError(str(error)) from error
    if photo is None:
        return b""
    from kazashi.applets import photo as photos

    return photos.photo(photo)


def check_pin(value: str, form: PinFormat, option: str) -> None:
    """Raise UsageError if a PIN that was given with an option does not have its form."""
    if not form.accepts(value.encode()):
        raise UsageError(f"{option} takes {form.words}")


def face(world: World, name: str, side: str = "") -> bytes:
    """Return a picture of a card (PNG): one side, `front` or `back`, or both. Raises UsageError, NoFace, FontMissing,
    ImageMissing, DamagedImage and ImageUnreadable."""
    from kazashi.applets.card_face import Side, card_face

    try:
        contents, _ = read_image(image_path(world, name))
        return card_face(contents, [Side(side)] if side else tuple(Side))
    except ValueError as error:
        raise UsageError(str(error)) from None


def make_juki_card(
    institutions: Institutions, name: str, resident: str, issued: str | None = None, password: str = "ABC123"
) -> Path:
    """Issue a Juki card to a person in the registry or to a sample resident, and return the path of its image.

    `issued` is a day (ISO); None is today. Raises UsageError, JukiCardRejected, ImageExists and NoSuchResident.
    """
    from kazashi.card_management.juki_card import issue_juki_card

    now = institutions.world.clock.now()
    check_pin(password, SIGNATURE_PASSWORD, "--password")
    try:
        checked_name(name, "card", "/")
        at = now if issued is None else min(now, datetime.combine(date.fromisoformat(issued), time(12), JST))
    except ValueError as error:
        raise UsageError(str(error)) from error
    if issued is not None and date.fromisoformat(issued) > today(institutions.world.clock):
        raise UsageError(f"--issued {issued} is later than today")
    return issue_juki_card(
        institutions.world, institutions.authorities, institutions.resident(resident), name, at, password
    )
