"""What on a card says nothing about its holder, so that a trace may show it. Everything else is somebody's."""

from __future__ import annotations

from kazashi.applets import card_manager, jpki
from kazashi.card.identifiers import Aid

IMPERSONAL_FILES: dict[Aid, frozenset[int]] = {
    jpki.AID: frozenset({jpki.SIGNATURE_AUTHORITY, jpki.AUTHENTICATION_AUTHORITY}),
}
"""Files that are the same on every card of a generation."""

IMPERSONAL_OBJECTS = frozenset({card_manager.CONTACT_ATR, card_manager.RECOGNITION})
"""Objects of GET DATA that tell of the kind of card only."""
