"""The consequences of registry events for the cards of the resident concerned."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, NamedTuple

from kazashi.resident_registry import event as events
from kazashi.resident_registry.event import Event


class CardState(Enum):
    """The state of a card in the card management's records, which its chip does not know."""

    ACTIVE = "active"
    STOPPED = "stopped"
    """Reported lost. A municipal office can lift the stop."""
    ENDED = "ended"


class CardConsequence(NamedTuple):
    """The new state of a card after an event (None: unchanged), and whether its certificates are renewed."""

    state: CardState | None = None
    renews: bool = False


NOTHING = CardConsequence()
_ENDED = CardConsequence(CardState.ENDED)

TABLE: Mapping[type[Event], CardConsequence] = {
    events.MoveWithin: NOTHING,
    events.MoveOut: NOTHING,
    events.MoveIn: NOTHING,
    events.CardContinuation: NOTHING,
    events.Lapse: _ENDED,
    events.NameChange: NOTHING,
    events.Correction: NOTHING,
    events.CharacterCorrection: NOTHING,
    events.Furigana: NOTHING,
    events.PlaceRenamed: NOTHING,
    events.Death: _ENDED,
    events.Emigration: _ENDED,
    events.Immigration: NOTHING,
    events.Deletion: _ENDED,
    events.NumberChange: _ENDED,
    events.CodeChange: NOTHING,
    events.Protection: NOTHING,
    events.LossReport: CardConsequence(CardState.STOPPED),
    events.Theft: _ENDED,
    events.CardFound: CardConsequence(CardState.ACTIVE, renews=True),
    events.CardReturn: _ENDED,
    events.Renewal: CardConsequence(renews=True),
    events.StayExtension: NOTHING,
}
"""Consequences by event. `Emigration` here is one that ends the use of the card; see `consequence`. A card that has
ended stays ended."""


def consequence(event: type[Event], details: Mapping[str, Any]) -> CardConsequence:
    """Return the consequence of an event for cards, given the details in J-LIS's notice."""
    if event is events.Emigration and details.get("continued"):
        return NOTHING
    return TABLE[event]
