"""What is ordered of the card management, and where its cards are."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from kazashi.applets.holder import Pins
from kazashi.card.atr import DEFAULT_CONTACT_ATR
from kazashi.card_management.circumstances import CIRCUMSTANCES, ORDINARY
from kazashi.resident_registry.number import ResidentRecordCode
from kazashi.resident_registry.resident import Resident
from kazashi.world.home import World

SUFFIX = ".card"


@dataclass(frozen=True, slots=True)
class Order:
    """A card for a resident, issued at an instant, with these PINs."""

    code: ResidentRecordCode
    issued: datetime
    pins: Pins = field(default_factory=Pins)
    contact_atr: bytes = DEFAULT_CONTACT_ATR

    def as_dict(self) -> dict[str, Any]:
        """The order for the card management's store, without what has a column there."""
        pins = self.pins
        return {
            "issued": self.issued.isoformat(),
            "contact_atr": self.contact_atr.hex(),
            "pins": [pins.authentication, pins.signature, pins.text, pins.juki, pins.tries_left],
        }

    @classmethod
    def from_dict(cls, code: str, document: dict[str, Any]) -> Order:
        """The order of `as_dict`."""
        return cls(
            ResidentRecordCode(code),
            datetime.fromisoformat(document["issued"]),
            Pins(*document["pins"]),
            bytes.fromhex(document["contact_atr"]),
        )


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
        resident.code,
        issued if circumstance.issued_years_ago else now,
        Pins(tries_left=dict(circumstance.tries_left)),
        contact_atr,
    )
