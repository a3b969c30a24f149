"""The consequences of registry events for the certificates of the resident concerned.

The Act on JPKI, articles 12 and 31, says which events end which certificate. The reason codes are those whose
published meaning is closest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from kazashi.jpki.profile import CertificateType
from kazashi.jpki.state import Reason
from kazashi.resident_registry import event as events
from kazashi.resident_registry.event import Event


class Consequence(NamedTuple):
    """The reason for which each type of certificate is revoked or put on hold; None if it is not affected."""

    signature: Reason | None
    authentication: Reason | None

    def of(self, kind: CertificateType) -> Reason | None:
        """Return the reason for one type of certificate, or None."""
        return self.signature if kind is CertificateType.SIGNATURE else self.authentication


NOTHING = Consequence(None, None)
_CHANGED = Consequence(Reason.AFFILIATION_CHANGED, None)
_ENDED = Consequence(Reason.CESSATION_OF_OPERATION, Reason.CESSATION_OF_OPERATION)

TABLE: Mapping[type[Event], Consequence] = {
    events.MoveWithin: _CHANGED,
    events.MoveOut: NOTHING,
    events.MoveIn: _CHANGED,
    events.CardContinuation: NOTHING,
    events.Lapse: _ENDED,
    events.NameChange: _CHANGED,
    events.Correction: _CHANGED,
    events.CharacterCorrection: NOTHING,
    events.Furigana: NOTHING,
    events.FuriganaNotice: NOTHING,
    events.FuriganaRecorded: NOTHING,
    events.PlaceRenamed: NOTHING,
    events.Death: _ENDED,
    events.Emigration: _ENDED,
    events.Immigration: _CHANGED,
    events.Deletion: _ENDED,
    events.NumberChange: _ENDED,
    events.CodeChange: NOTHING,
    events.Protection: NOTHING,
    events.LossReport: Consequence(Reason.CERTIFICATE_HOLD, Reason.CERTIFICATE_HOLD),
    events.Theft: Consequence(Reason.KEY_COMPROMISE, Reason.KEY_COMPROMISE),
    events.CardFound: NOTHING,
    events.CardReturn: _ENDED,
    events.Renewal: NOTHING,  # the old certificate is superseded when the new one is issued
    events.StayExtension: NOTHING,
}
"""Consequences by event. `Emigration` here is one that ends the use of the card; see `consequence`."""


def consequence(event: type[Event], details: Mapping[str, Any]) -> Consequence:
    """Return the consequence of an event for certificates, given the details in J-LIS's notice."""
    if event is events.Emigration and details.get("continued"):
        return _CHANGED  # only the address ends, not the record: a new signature certificate can be issued abroad
    return TABLE[event]
