"""The holder's data as they are on a card, and the texts about a card in its image."""

from __future__ import annotations

from datetime import date

from kazashi.applets.holder import Holder, Personalisation
from kazashi.applets.install import MODEL_TEXT
from kazashi.card_management.models import NEXT_MODEL
from kazashi.card_management.order import Order
from kazashi.resident_registry.resident import FULL_WIDTH_SPACE, Name, ResidencyStatus, Resident
from kazashi.resident_registry.romaji import romaji
from kazashi.world.clock import JST

FURIGANA_ON_CARDS = date(2026, 6, 1)
"""From this day on, cards show the reading of the name. Municipalities announced "about June 2026"."""


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


def described_holder(resident: Resident, day: date) -> dict[str, str]:
    """Return what a card that is made or updated on a day shows of its holder, by the name of the text about it."""
    texts = {
        "name": str(resident.name),
        "address": resident.address,
        "birth": str(resident.birth),
        "sex": resident.sex.value,
        "abroad": "国外転出" if resident.status is ResidencyStatus.ABROAD else "",
    }
    if day >= FURIGANA_ON_CARDS and resident.name.kana:
        texts["furigana"] = resident.name.kana
    return texts


def description(order: Order, resident: Resident, data: Personalisation) -> dict[str, str]:
    """Return the texts about a card that its image has and lists show. The PINs are the initial ones."""
    holder = described_holder(resident, order.issued.astimezone(JST).date())
    pins = {
        "authentication PIN": order.pins.authentication,
        "signature password": order.pins.signature if data.certificates.signature else "",
    }
    if order.model == NEXT_MODEL.name:
        numbers = {MODEL_TEXT: NEXT_MODEL.device.name, "reference number": data.card.reference_number}
    else:
        numbers = numbers_of_holder(data.card.reference_number_b(data.holder), data.holder)
        pins |= {"text PIN": order.pins.text, "juki PIN": order.pins.juki}
    return {
        "resident": resident.alias,
        **{name: value for name, value in holder.items() if value},
        "individual number": data.holder.individual_number,
        **numbers,
        **pins,
        "card number": data.card.serial,
        "issued": order.issued.astimezone(JST).isoformat(),
        "expiry": data.card.expiry,
    }


def numbers_of_holder(reference_number_b: str, holder: Holder) -> dict[str, str]:
    """Return the texts about the PINs that are made of the holder's date of birth."""
    return {"reference number B": reference_number_b, "birth PIN": holder.birth_in_era_years}
