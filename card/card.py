"""A card without power: its applications and its durable store."""

from __future__ import annotations

from dataclasses import dataclass

from kazashi.card.file import Application
from kazashi.card.identifiers import Aid
from kazashi.card.store import CardStore

NO_APPLICATION = Application(Aid("00"), "no application", {}, {})
"""What is current as long as no application is: it is on no card and cannot be selected."""


@dataclass(frozen=True, slots=True)
class Card:
    """A card without power.

    `applications` are in the order in which a partial AID is matched. `contact_atr` is the ATR at the contacts,
    including TS; it is empty for a device without contacts. `initial` is the application that is current after
    power-up: the card manager, or NO_APPLICATION on a device without one. `atqb` is what the card itself puts into its
    answer to a Type B request, seven bytes; if it is empty, the reader's interface has a usual one. `is_elliptic` is
    whether the card has EC keys, and with them another command for signatures.
    """

    applications: tuple[Application, ...]
    store: CardStore
    contact_atr: bytes
    initial: Application
    atqb: bytes = b""
    is_elliptic: bool = False
