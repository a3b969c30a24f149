"""Making and listing the phones of a world, for its tools."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kazashi.applets.holder import Pins
from kazashi.assembly.cards import check_pin
from kazashi.assembly.errors import UsageError
from kazashi.card.image import ImageMissing, read_image
from kazashi.card.pin import FOUR_DIGITS, SIGNATURE_PASSWORD
from kazashi.card_management.order import image_path
from kazashi.jpki.profile import CertificateType
from kazashi.resident_registry.registry import NoSuchResident

if TYPE_CHECKING:
    from kazashi.assembly.institutions import Institutions
    from kazashi.world.home import World


def new_phone(
    institutions: Institutions, name: str, resident: str, card: str, *, card_password: str = "ABC123",
    pin: str = "1234", password: str = "ABC123",
) -> Path:  # fmt: skip
    """Issue both certificates to a resident's phone, and return the path of its image.

    Raises UsageError, PhoneRejected, ImageExists, ImageMissing and NoSuchResident.
    """
    check_pin(pin, FOUR_DIGITS, "--pin")
    check_pin(password, SIGNATURE_PASSWORD, "--password")
    check_pin(card_password, SIGNATURE_PASSWORD, "--card-password")
    who, image = institutions.resident(resident), _card(institutions.world, card)
    _, about = read_image(image)
    if about.get("resident") != who.alias:
        raise UsageError(f"the card {card!r} is not {resident}'s")
    pins = Pins(authentication=pin, signature=password)
    try:
        path = institutions.phones.issue(name, who, image, card_password, pins)
    except ValueError as error:
        raise UsageError(str(error)) from error
    institutions.settle()
    return path


def renew_phone(institutions: Institutions, name: str, card: str | None, card_password: str) -> None:
    """Issue new certificates to a phone. Raises NoSuchPhone and the exceptions of `new_phone`."""
    check_pin(card_password, SIGNATURE_PASSWORD, "--card-password")
    _, about = read_image(_card(institutions.world, name))
    institutions.phones.renew(name, _card(institutions.world, card or about["resident"]), card_password)


def _card(world: World, name: str) -> Path:
    try:
        path = image_path(world, name)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if not path.exists():
        raise ImageMissing(
            f"there is no card {name!r}; name it with --card, or make it with: kazashi card new RESIDENT"
        )
    return path


def phone_rows(institutions: Institutions) -> list[dict[str, Any]]:
    """The phones as JSON objects: name, holder, number, and the state of each certificate (None if it has none)."""
    rows = []
    for phone in institutions.phones.phones():
        latest = {kind: institutions.phones.latest(kind, phone.number) for kind in CertificateType}
        row: dict[str, Any] = {"phone": phone.name, "resident": "", "number": phone.number}
        for kind, issued in latest.items():
            state = None if issued is None else institutions.revocations[kind].status(issued.serial).state.value
            row[kind.code] = state
            if issued is not None:
                row["resident"] = _alias(institutions, issued.holder)
        rows.append(row)
    return rows


def _alias(institutions: Institutions, holder: str) -> str:
    try:
        return institutions.registry.find(holder).alias or holder
    except NoSuchResident:
        return holder
