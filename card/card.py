"""The card as an object that lies on the table: its applications and its durable store, without power."""

from __future__ import annotations

from dataclasses import dataclass

from kazashi.card.file import Application
from kazashi.card.store import CardStore


@dataclass(frozen=True, slots=True)
class Card:
    """A card without power. `applications` are in the order in which a partial AID is matched; the first is the
    card manager, current after power-up. `contact_atr` is the ATR that the contacts answer, TS included."""

    applications: tuple[Application, ...]
    store: CardStore
    contact_atr: bytes
