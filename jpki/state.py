"""Certificate states, revocation reasons and the allowed transitions between states."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, IntEnum

from kazashi.jpki.profile import CertificateType, Medium


class Reason(IntEnum):
    """A revocation reason (RFC 5280, 5.3.1), with its meaning in the certification practice statement."""

    UNSPECIFIED = 0
    """Destroyed before delivery, or recorded with an error."""
    KEY_COMPROMISE = 1
    CA_COMPROMISE = 2
    AFFILIATION_CHANGED = 3
    """The holder's details in the certificate have changed."""
    SUPERSEDED = 4
    """Renewed."""
    CESSATION_OF_OPERATION = 5
    """No longer needed, or no longer allowed."""
    CERTIFICATE_HOLD = 6
    """On hold, because the card or the PIN is reported lost."""

    @property
    def asn1_name(self) -> str:
        """The name in RFC 5280, such as `keyCompromise`."""
        first, *rest = self.name.split("_")
        return {"CA": "cA"}.get(first, first.lower()) + "".join(part.capitalize() for part in rest)


REASONS = {reason.asn1_name: reason for reason in Reason}
"""Reasons by `asn1_name`."""


class CertificateState(Enum):
    """The state of a certificate; `HELD` is on hold."""

    GOOD = "good"
    HELD = "held"
    REVOKED = "revoked"
    EXPIRED = "expired"


class TransitionRejected(Exception):
    """A certificate cannot change from its current state to the requested one; nothing was changed."""


def may_follow(state: CertificateState, wanted: CertificateState, kind: CertificateType, medium: Medium) -> bool:
    """Return whether a certificate may change from `state` to `wanted`.

    A hold on a card's certificate is never lifted, because anybody may have had the card and its PIN in the meantime.
    The owner of a phone authenticates to the phone, so a hold on its authentication certificate may be lifted.
    """
    if wanted is CertificateState.GOOD:
        return state is CertificateState.HELD and medium is Medium.PHONE and kind is CertificateType.AUTHENTICATION
    if wanted is CertificateState.HELD:
        return state is CertificateState.GOOD
    return wanted is CertificateState.REVOKED and state in (CertificateState.GOOD, CertificateState.HELD)


@dataclass(frozen=True, slots=True)
class CertificateStatus:
    """The status of a certificate at an instant. `since` and `reason` are set if it is on hold or revoked."""

    serial: int
    generation: str
    state: CertificateState
    not_after: datetime
    since: datetime | None = None
    reason: Reason | None = None
