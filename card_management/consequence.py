"""The consequences of registry events for the cards of the resident concerned."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, NamedTuple

from kazashi.card_management.case import CaseType
from kazashi.resident_registry import event as events
from kazashi.resident_registry.event import Event


class CardState(Enum):
    """The state of a card in the card management's records, which its chip does not know."""

    ACTIVE = "active"
    STOPPED = "stopped"
    """Reported lost. A municipal office can lift the stop."""
    ENDED = "ended"


class CardConsequence(NamedTuple):
    """The new state of a card after an event (None: unchanged), and the case that is opened for it, if any."""

    state: CardState | None = None
    case: CaseType | None = None


NOTHING = CardConsequence()
_ENDED = CardConsequence(CardState.ENDED)
_CONTINUED = CardConsequence(case=CaseType.UPDATE)
"""The counter takes the card in hand to continue its use (継続利用), and writes the new address to it."""

TABLE: Mapping[type[Event], CardConsequence] = {
    events.MoveWithin: NOTHING,
    events.MoveOut: NOTHING,
    events.MoveIn: NOTHING,
    events.CardContinuation: _CONTINUED,
    events.Lapse: _ENDED,
    events.NameChange: NOTHING,
    events.Correction: NOTHING,
    events.CharacterCorrection: NOTHING,
    events.Furigana: NOTHING,
    events.FuriganaNotice: NOTHING,
    events.FuriganaRecorded: NOTHING,
    events.PlaceRenamed: NOTHING,
    events.Death: _ENDED,
    events.Emigration: _ENDED,
    events.Immigration: _CONTINUED,
    events.Deletion: _ENDED,
    events.NumberChange: _ENDED,
    events.CodeChange: NOTHING,
    events.Protection: NOTHING,
    events.LossReport: CardConsequence(CardState.STOPPED),
    events.Theft: _ENDED,
    events.CardFound: CardConsequence(CardState.ACTIVE, case=CaseType.RENEWAL),
    events.CardReturn: _ENDED,
    events.Renewal: CardConsequence(case=CaseType.RENEWAL),
    events.StayExtension: NOTHING,
}
"""Consequences by event. `MoveIn` and `Emigration` here are those without continued use of the card; see `consequence`.
A card that has ended stays ended."""


def consequence(event: type[Event], details: Mapping[str, Any]) -> CardConsequence:
    """Return the consequence of an event for cards, given the details in J-LIS's notice."""
    continued = {events.Emigration: "continued", events.MoveIn: "card_continued"}.get(event)
    return _CONTINUED if continued and details.get(continued) else TABLE[event]
