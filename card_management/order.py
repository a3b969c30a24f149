"""Orders to the card management, and the paths of its cards."""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from kazashi.applets.holder import Pins
from kazashi.card.atr import DEFAULT_CONTACT_ATR
from kazashi.card_management.circumstances import CIRCUMSTANCES, ORDINARY
from kazashi.card_management.models import CARD
from kazashi.resident_registry.number import ResidentRecordCode
from kazashi.resident_registry.resident import Resident
from kazashi.world.home import World
from kazashi.world.names import BadName

SUFFIX = ".card"

DEFAULT_LENGTH_FORM = 0x82


@dataclass(frozen=True, slots=True)
class Order:
    """An order for a resident (by resident record code): the instant of issue, the PINs, the ATR at the contacts, the
    form of the lengths of its texts (`CardData.length_form`), and the photograph (JPEG 2000; empty: one is drawn).

    A card is made when its instant of issue has come. It replaces the card named `replaces`, if any. `model` is a
    name in `MODELS_OF_CARDS`.
    """

    code: ResidentRecordCode
    issued: datetime
    pins: Pins = field(default_factory=Pins)
    contact_atr: bytes = DEFAULT_CONTACT_ATR
    length_form: int = DEFAULT_LENGTH_FORM
    replaces: str = ""
    photograph: bytes = b""
    model: str = CARD.name

    def as_dict(self) -> dict[str, Any]:
        """Return the order as JSON-compatible values, without the resident record code, which has its own column."""
        pins = self.pins
        return {
            "issued": self.issued.isoformat(),
            "contact_atr": self.contact_atr.hex(),
            "length_form": self.length_form,
            "replaces": self.replaces,
            "model": self.model,
            "pins": [pins.authentication, pins.signature, pins.text, pins.juki, pins.tries_left],
            "photograph": b64encode(self.photograph).decode("ascii"),
        }

    @classmethod
    def from_dict(cls, code: str, document: dict[str, Any]) -> Order:
        """Return the order from a resident record code and the values of `as_dict`."""
        return cls(
            ResidentRecordCode(code),
            datetime.fromisoformat(document["issued"]),
            Pins(*document["pins"]),
            bytes.fromhex(document["contact_atr"]),
            document.get("length_form", DEFAULT_LENGTH_FORM),  # absent from the orders of earlier versions
            document.get("replaces", ""),
            b64decode(document.get("photograph", "")),
            document.get("model", CARD.name),
        )


def image_path(world: World, name: str) -> Path:
    """Return the path of the card with a name. Raises BadName if the name cannot be a file name."""
    # A new card's name must follow the pattern of names; cards of earlier versions may have others.
    if not name or name.startswith(".") or "/" in name or "\0" in name:
        raise BadName(f"{name!r} cannot be a card's name")
    return world.cards / f"{name}{SUFFIX}"


def card_names(world: World) -> list[str]:
    """Return the names of all cards, sorted."""
    return sorted(path.name.removesuffix(SUFFIX) for path in world.cards.glob(f"*{SUFFIX}"))


def next_name(world: World, name: str) -> str:
    """Return a name for a card that replaces another one: NAME-2, or the next number that no card has."""
    stem, _, number = name.rpartition("-")
    if not (stem and number.isdigit()):
        stem, number = name, "1"
    taken, following = set(card_names(world)), int(number) + 1
    while f"{stem}-{following}" in taken:
        following += 1
    return f"{stem}-{following}"


def usual_order(world: World, resident: Resident, contact_atr: bytes = DEFAULT_CONTACT_ATR) -> Order:
    """Return an order for a resident, in the circumstances that CIRCUMSTANCES has for a sample resident."""
    circumstance = CIRCUMSTANCES.get(resident.alias, ORDINARY)
    now = world.clock.now()
    issued = now.replace(year=now.year - circumstance.issued_years_ago, day=min(now.day, 28))
    return Order(
        resident.code,
        issued if circumstance.issued_years_ago else now,
        Pins(tries_left=dict(circumstance.tries_left)),
        contact_atr,
    )
