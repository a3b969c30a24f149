"""A card without power: its applications and its durable store."""

from __future__ import annotations

from dataclasses import dataclass

from kazashi.card.file import Application
from kazashi.card.store import CardStore


@dataclass(frozen=True, slots=True)
class Card:
    """A card without power.

    `applications` are in the order in which a partial AID is matched. The first is the card manager, which is current
    after power-up. `contact_atr` is the ATR at the contacts, including TS. `is_elliptic` is whether the card has EC
    keys, and with them another command for signatures.
    """

    applications: tuple[Application, ...]
    store: CardStore
    contact_atr: bytes
    is_elliptic: bool = False
