"""A card without power: its applications and its durable store."""

from __future__ import annotations

from dataclasses import dataclass

from kazashi.card.file import Application
from kazashi.card.store import CardStore


@dataclass(frozen=True, slots=True)
class Card:
    """A card without power.

    `applications` are in the order in which a partial AID is matched. The first is the card manager, which is current
    after power-up. `contact_atr` is the ATR at the contacts, including TS. `atqb` is what the card itself puts
    into its answer to a Type B request, seven bytes; if it is empty, the reader's interface has a usual one.
    """

    applications: tuple[Application, ...]
    store: CardStore
    contact_atr: bytes
    atqb: bytes = b""
