"""How long the texts of a registration may be.

An address is as long as a signature certificate can hold (`kazashi.pki.certificate.MAX_ADDRESS`): with a longer one,
nobody gets a card. For names no public source gives a limit; this one is far above the longest that exist, so that no
real person is refused, and the tables of a terminal keep a size that can be read.
"""

from __future__ import annotations

from operator import attrgetter

from kazashi.resident_registry.rejection import EventRejected, RejectionReason
from kazashi.resident_registry.resident import Resident

MOST_OF_A_NAME = 100
"""The maximum length of each part of a name and of its reading, in characters."""
MOST_OF_AN_ADDRESS = 200
"""The maximum length of a whole address, and of a note or the label of a household, in characters."""

_LIMITS = tuple(
    (what, most, attrgetter(field))
    for most, texts in (
        (MOST_OF_A_NAME, {
            "family name": "name.family", "given name": "name.given", "former surname": "name.former_surname",
            "common name": "name.common_name", "reading": "name.kana", "nationality": "nationality",
            "reading of the former surname": "name.former_surname_kana", "residence status": "residence_status",
        }),
        (MOST_OF_AN_ADDRESS, {"address": "address", "note": "about", "household": "household"}),
    )
    for what, field in texts.items()
)  # fmt: skip


def check_lengths(resident: Resident, before: Resident | None = None) -> None:
    """Raise EventRejected if a text of a resident is too long. What an event has not changed since `before` is not
    checked, so that people whom an earlier version registered can have every event."""
    for what, most, text_of in _LIMITS:
        text = text_of(resident)
        if len(text) > most and (before is None or text != text_of(before)):
            raise EventRejected(
                RejectionReason.TOO_LONG, f"the {what} has {len(text)} characters; the registry stores up to {most}"
            )
