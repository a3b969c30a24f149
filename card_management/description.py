"""The holder's data as they are on a card, and the texts about a card in its image."""

from __future__ import annotations

from kazashi.applets.holder import Holder, Personalisation
from kazashi.applets.install import MODEL_TEXT
from kazashi.card_management.models import NEXT_MODEL
from kazashi.card_management.order import Order
from kazashi.resident_registry.resident import FULL_WIDTH_SPACE, Name, Resident
from kazashi.resident_registry.romaji import romaji
from kazashi.world.clock import JST


def holder_of(resident: Resident) -> Holder:
    """Return a resident's data as they are on a card."""
    return Holder(
        name=str(resident.name),
        address=resident.address,
        birth=str(resident.birth),
        birth_in_era_years=resident.birth.in_era_years,
        sex=resident.sex.value,
        individual_number=resident.individual_number or "",
        municipality_code=resident.municipality.code,
        kana=resident.name.kana,
        latin=latin_name(resident.name),
    )


def latin_name(name: Name) -> str:
    """Return a name in Latin letters as the next card shows it, with the family name in capitals; empty if the reading
    is not known."""
    family, _, given = name.kana.partition(FULL_WIDTH_SPACE)
    parts = [romaji(family, name.family).upper(), romaji(given, name.given)]
    return " ".join(part for part in parts if part)


def description(order: Order, resident: Resident, data: Personalisation) -> dict[str, str]:
    """Return the texts about a card that its image has and lists show. The PINs are the initial ones."""
    pins = {
        "authentication PIN": order.pins.authentication,
        "signature password": order.pins.signature if data.certificates.signature else "",
    }
    if order.model == NEXT_MODEL.name:
        numbers = {MODEL_TEXT: NEXT_MODEL.device.name, "reference number": data.card.reference_number}
    else:
        numbers = {
            "reference number B": data.card.reference_number_b(data.holder),
            "birth PIN": data.holder.birth_in_era_years,
        }
        pins |= {"text PIN": order.pins.text, "juki PIN": order.pins.juki}
    return {
        "resident": resident.alias,
        "name": data.holder.name,
        "individual number": data.holder.individual_number,
        **numbers,
        **pins,
        "card number": data.card.serial,
        "issued": order.issued.astimezone(JST).isoformat(),
        "expiry": data.card.expiry,
    }
