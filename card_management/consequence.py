"""What a registry event does to the cards of the person to whom it happened."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, NamedTuple

from kazashi.resident_registry import event as events
from kazashi.resident_registry.event import Event


class CardState(Enum):
    """What a card is worth, whatever its chip says."""

    ACTIVE = "active"
    STOPPED = "stopped"
    """Reported lost; the counter can lift the stop."""
    ENDED = "ended"


class CardConsequence(NamedTuple):
    """The state in which an event leaves a card (None: as it is), and whether new certificates are put on it."""

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
    events.LossReport: CardConsequence(CardState.STOPPED),
    events.Theft: _ENDED,
    events.CardFound: CardConsequence(CardState.ACTIVE, renews=True),
    events.CardReturn: _ENDED,
    events.Renewal: CardConsequence(renews=True),
    events.StayExtension: NOTHING,
}
"""By event; an emigration here is one that ends the use of the card. A card that has ended stays so."""


def consequence(event: type[Event], details: Mapping[str, Any]) -> CardConsequence:
    """What an event does to cards, given the details in J-LIS's notice of it."""
    if event is events.Emigration and details.get("continued"):
        return NOTHING
    return TABLE[event]
