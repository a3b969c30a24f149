"""What a registry event does to the certificates of the person it happened to.

The law says which certificate dies of what (Act on JPKI, articles 12 and 31); the reason codes are those whose
published meaning is nearest. An event that is not in the table does nothing: a new furigana, a renamed street, a
corrected glyph.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from kazashi.jpki.profile import Kind
from kazashi.jpki.state import Reason


class Consequence(NamedTuple):
    """The reason for which each kind of certificate is revoked, or held where it is the hold's; None where it lives."""

    signature: Reason | None
    authentication: Reason | None

    def of(self, kind: Kind) -> Reason | None:
        """What happens to certificates of a kind."""
        return self.signature if kind is Kind.SIGNATURE else self.authentication


NOTHING = Consequence(None, None)
_CHANGED = Consequence(Reason.AFFILIATION_CHANGED, None)
_ENDED = Consequence(Reason.CESSATION_OF_OPERATION, Reason.CESSATION_OF_OPERATION)

TABLE: Mapping[str, Consequence] = {
    "move-within": _CHANGED,
    "move-in": _CHANGED,
    "immigration": _CHANGED,
    "name-change": _CHANGED,
    "correction": _CHANGED,
    "emigration": _ENDED,
    "lapse": _ENDED,
    "death": _ENDED,
    "deletion": _ENDED,
    "number-change": _ENDED,
    "return": _ENDED,
    "loss-report": Consequence(Reason.CERTIFICATE_HOLD, Reason.CERTIFICATE_HOLD),
    "theft": Consequence(Reason.KEY_COMPROMISE, Reason.KEY_COMPROMISE),
}
"""By the event's word. Renewal is not here: the old certificate is superseded when the new one is issued."""


def consequence(word: str, details: Mapping[str, Any]) -> Consequence:
    """What an event does, told as J-LIS's notice tells it."""
    if word == "emigration" and details.get("continued"):
        return _CHANGED  # the address goes, the record does not: the signature certificate can be issued anew abroad
    return TABLE.get(word, NOTHING)
