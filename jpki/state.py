"""The states of a certificate, and why it leaves one for another."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, IntEnum

from kazashi.jpki.profile import CertificateType, Medium


class Reason(IntEnum):
    """Why a certificate is revoked (RFC 5280, 5.3.1), with the meanings that the practice statement gives them."""

    UNSPECIFIED = 0
    """Destroyed before delivery, or an error in what is recorded."""
    KEY_COMPROMISE = 1
    CA_COMPROMISE = 2
    AFFILIATION_CHANGED = 3
    """What the certificate says of its holder has changed."""
    SUPERSEDED = 4
    """Renewed."""
    CESSATION_OF_OPERATION = 5
    """No longer needed, or no longer allowed."""
    CERTIFICATE_HOLD = 6
    """Held, because card or PIN is reported lost."""

    @property
    def asn1_name(self) -> str:
        """The name that RFC 5280 gives it."""
        first, *rest = self.name.split("_")
        return {"CA": "cA"}.get(first, first.lower()) + "".join(part.capitalize() for part in rest)


REASONS = {reason.asn1_name: reason for reason in Reason}
"""The reasons by their name."""


class CertificateState(Enum):
    """What a certificate is worth."""

    GOOD = "good"
    HELD = "held"
    REVOKED = "revoked"
    EXPIRED = "expired"


class TransitionRejected(Exception):
    """A certificate does not go from the state that it is in to the one asked for; nothing was changed."""


def may_follow(state: CertificateState, wanted: CertificateState, kind: CertificateType, medium: Medium) -> bool:
    """Whether a certificate may go from one state to another.

    A hold is never lifted from a card's certificate: card and PIN may have been anybody's meanwhile. A phone's owner
    proves to the phone who it is, and may have the authentication certificate back.
    """
    if wanted is CertificateState.GOOD:
        return state is CertificateState.HELD and medium is Medium.PHONE and kind is CertificateType.AUTHENTICATION
    if wanted is CertificateState.HELD:
        return state is CertificateState.GOOD
    return wanted is CertificateState.REVOKED and state in (CertificateState.GOOD, CertificateState.HELD)


@dataclass(frozen=True, slots=True)
class CertificateStatus:
    """How a certificate stood at an instant. `since` and `reason` are there for one that is held or revoked."""

    serial: int
    generation: str
    state: CertificateState
    not_after: datetime
    since: datetime | None = None
    reason: Reason | None = None
