"""Making and listing the phones of a world, for its tools."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kazashi.applets.holder import Pins
from kazashi.assembly.cards import check_pin
from kazashi.assembly.errors import UsageError
from kazashi.card.image import ImageMissing, read_image
from kazashi.card.pin import FOUR_DIGITS, SIGNATURE_PASSWORD
from kazashi.card_management.consequence import CardState
from kazashi.card_management.entitlement import ApplicationRejected, check_holder
from kazashi.card_management.order import image_path
from kazashi.card_management.phone_application import PhoneRejected
from kazashi.jpki.profile import CertificateType
from kazashi.resident_registry.number import ResidentRecordCode
from kazashi.resident_registry.registry import NoSuchResident
from kazashi.world.clock import today

if TYPE_CHECKING:
    from kazashi.assembly.institutions import Institutions
    from kazashi.resident_registry.resident import Resident
    from kazashi.world.home import World


def new_phone(
    institutions: Institutions, name: str, resident: str, card: str | None = None, *, card_password: str = "ABC123",
    pin: str = "1234", password: str = "ABC123",
) -> Path:  # fmt: skip
    """Issue both certificates to a resident's phone, and return the path of its image.

    Without a `card`, the resident's card in use signs the application. Raises UsageError, PhoneRejected, ImageExists,
    ImageMissing and NoSuchResident.
    """
    check_pin(pin, FOUR_DIGITS, "--pin")
    check_pin(password, SIGNATURE_PASSWORD, "--password")
    check_pin(card_password, SIGNATURE_PASSWORD, "--card-password")
    who = institutions.resident(resident)
    image = _signing_card(institutions, who, card)
    pins = Pins(authentication=pin, signature=password)
    try:
        path = institutions.phones.issue(name, who, image, card_password, pins)
    except ValueError as error:
        raise UsageError(str(error)) from error
    institutions.settle()
    return path


def renew_phone(institutions: Institutions, name: str, card: str | None, card_password: str) -> None:
    """Issue new certificates to a phone, with the holder's card in use, unless another one is given. Raises NoSuchPhone
    and the exceptions of `new_phone`."""
    check_pin(card_password, SIGNATURE_PASSWORD, "--card-password")
    number = institutions.phones.phone(name).number
    issued = institutions.phones.latest(CertificateType.AUTHENTICATION, number)
    assert issued is not None
    who = institutions.registry.find(ResidentRecordCode(issued.holder))
    institutions.phones.renew(name, _signing_card(institutions, who, card), card_password)


def _signing_card(institutions: Institutions, who: Resident, card: str | None) -> Path:
    """Return the image of the card that signs a person's application: the given one, or the one in use.

    Of several in use, it is the one with the person's alias, or the one that was issued last. Raises UsageError,
    PhoneRejected and ImageMissing.
    """
    try:
        check_holder(who, today(institutions.world.clock))
    except ApplicationRejected as error:
        raise PhoneRejected(str(error)) from error
    states = institutions.cards.cards_of(who.code)
    in_use = [name for name, state in states.items() if state is CardState.ACTIVE]
    if card is None:
        if not states:
            raise ImageMissing(f"{who.alias or who.code} has no card; make one with: kazashi card new RESIDENT")
        if not in_use:
            described = ", ".join(f"{name} is {state.value}" for name, state in states.items())
            raise PhoneRejected(f"{who.alias or who.code} has no card in use: {described}")
        card = who.alias if who.alias in in_use else max(in_use, key=lambda name: _issued(institutions.world, name))
    image = _image(institutions.world, card)
    if read_image(image)[1].get("resident") != who.alias:
        raise UsageError(f"the card {card!r} is not {who.alias or who.code}'s")
    if (state := states.get(card, CardState.ACTIVE)) is not CardState.ACTIVE:
        instead = f"; the card in use is {in_use[-1]}" if in_use else ""
        raise PhoneRejected(f"the card {card!r} is {state.value}{instead}")
    return image


def _issued(world: World, name: str) -> str:
    return read_image(_image(world, name))[1]["issued"]


def _image(world: World, name: str) -> Path:
    path = image_path(world, name)
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
