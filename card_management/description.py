"""The holder's data as they are on a card, and the texts about a card in its image."""

from __future__ import annotations

from kazashi.applets.holder import Holder, Personalisation
from kazashi.card_management.order import Order
from kazashi.resident_registry.resident import Resident
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
    )


def description(order: Order, resident: Resident, data: Personalisation) -> dict[str, str]:
    """Return the texts about a card that its image has and lists show. The PINs are the initial ones."""
    return {
        "resident": resident.alias,
        "name": data.holder.name,
        "individual number": data.holder.individual_number,
        "reference number B": data.card.reference_number_b(data.holder),
        "birth PIN": data.holder.birth_in_era_years,
        "authentication PIN": order.pins.authentication,
        "signature password": order.pins.signature if data.certificates.signature else "",
        "text PIN": order.pins.text,
        "juki PIN": order.pins.juki,
        "card number": data.card.serial,
        "issued": order.issued.astimezone(JST).isoformat(),
        "expiry": data.card.expiry,
    }
