"""Issuing a card: keys, both certificates, personalisation, and the image on disk."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from applets.holder import CardData, Certificates, ChipKeys, Holder, Personalisation, Pins
from applets.install import personalise
from card.atr import DEFAULT_CONTACT_ATR
from card.image import ImageExists, write_image
from card.key import PrivateKey
from card_management.anchor import vouchers
from card_management.cast import CIRCUMSTANCES, ORDINARY
from pki.authority import Authority
from pki.certificate import Request
from pki.profile import Kind
from pki.validity import SIGNATURE_AGE, card_end, certificate_end
from resident_registry.number import IndividualNumber
from resident_registry.resident import Resident
from world.clock import JST
from world.home import World

SUFFIX = ".card"


@dataclass(frozen=True, slots=True)
class Order:
    """What is ordered: a card for a resident, issued at an instant, with these PINs."""

    resident: Resident
    issued: datetime
    pins: Pins = field(default_factory=Pins)
    contact_atr: bytes = DEFAULT_CONTACT_ATR


def image_path(world: World, name: str) -> Path:
    """Where the card of that name is kept. Raises ValueError for a name that is no file name."""
    if not name or name.startswith(".") or "/" in name or "\0" in name:
        raise ValueError(f"{name!r} cannot be the name of a card; use letters, digits and hyphens")
    return world.cards / f"{name}{SUFFIX}"


def usual_order(world: World, resident: Resident, contact_atr: bytes = DEFAULT_CONTACT_ATR) -> Order:
    """An order in the circumstances that the cast has for the resident."""
    circumstance = CIRCUMSTANCES.get(resident.alias, ORDINARY)
    now = world.clock.now()
    issued = now.replace(year=now.year - circumstance.issued_years_ago, day=min(now.day, 28))
    return Order(
        resident,
        issued if circumstance.issued_years_ago else now,
        Pins(tries_left=dict(circumstance.tries_left)),
        contact_atr,
    )


def issue(world: World, name: str, order: Order) -> Path:
    """Issue a card under a name; answers its image. Raises ImageExists where there is one of that name."""
    path = image_path(world, name)
    if path.exists():
        raise ImageExists(f"there is a card {name!r} already; choose another name with --name")
    path.parent.mkdir(mode=0o700, exist_ok=True)
    data = personalisation(world, name, order)
    write_image(path, personalise(data), about(order, data))
    return path


def about(order: Order, data: Personalisation) -> dict[str, str]:
    """What the image says of itself to whoever lists it; the PINs are those it was made with."""
    signature_pin = order.pins.signature if data.certificates.signature else ""
    return {
        "resident": order.resident.alias,
        "about": order.resident.about,
        "name": data.holder.name,
        "individual number": data.holder.individual_number,
        "reference number B": data.card.reference_number_b(data.holder),
        "birth PIN": data.holder.birth_in_era_years,
        "authentication PIN": order.pins.authentication,
        "signature password": signature_pin,
        "text PIN": order.pins.text,
        "juki PIN": order.pins.juki,
        "card number": data.card.serial,
        "issued": order.issued.astimezone(JST).isoformat(),
        "expiry": data.card.expiry,
    }


def personalisation(world: World, name: str, order: Order) -> Personalisation:
    """Make the keys, have the authorities certify them, and put together all that goes on the card."""
    resident = order.resident
    day = order.issued.astimezone(JST).date()
    ends = card_end(day, resident.birth)
    chance = world.chance("card", name, order.issued.isoformat())
    card = CardData(
        expiry=f"{ends:%Y%m%d}",
        security_code=f"{chance.randrange(10**4):04d}",
        serial=f"4{chance.randrange(10**14):014d}",
        contact_atr=order.contact_atr,
    )
    holder = Holder(
        name=str(resident.name),
        address=resident.address,
        birth=str(resident.birth),
        birth_in_era_years=resident.birth.in_era_years,
        sex=resident.sex.value,
        individual_number=IndividualNumber.draw(world.chance("individual number", resident.alias)),
        municipality_code=resident.municipality.code,
    )
    take = world.keys.take
    return Personalisation(
        holder=holder,
        card=card,
        certificates=_certify(world, order, certificate_end(order.issued, resident.birth, ends, resident.stay_end)),
        vouchers=vouchers(world, resident.municipality.code),
        keys=ChipKeys(*(PrivateKey(take()) for _ in range(4))),
        pins=order.pins,
        chance=chance,
    )


def _certify(world: World, order: Order, not_after: datetime) -> Certificates:
    signature, authentication = Authority(world, Kind.SIGNATURE), Authority(world, Kind.AUTHENTICATION)
    old_enough = order.resident.birth.age_on(order.issued.astimezone(JST).date()) >= SIGNATURE_AGE
    signature_key = world.keys.take() if old_enough else None
    authentication_key = world.keys.take()

    def request(key: bytes) -> Request:
        return Request(order.resident, PrivateKey(key).public_key, order.issued, not_after)

    return Certificates(
        signature=signature.issue(request(signature_key)) if signature_key else None,
        signature_key=signature_key,
        signature_authority=signature.root(order.issued),
        authentication=authentication.issue(request(authentication_key)),
        authentication_key=authentication_key,
        authentication_authority=authentication.root(order.issued),
    )
