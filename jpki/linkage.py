"""Which certificates belong together: what the authority's linkage service is asked for, and what it returns."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from kazashi.jpki.profile import CertificateType, Medium


class Follow(Enum):
    """How far certificates are followed from one to another: the policy of a service that recognises its users."""

    CERTIFICATE = "certificate"
    """Not at all. Nothing is asked; every certificate is a user of its own."""
    MEDIUM = "medium"
    """On one card or phone: renewals (新旧紐付け), and the certificate of the other type (証明書紐付け, article 18(5)
    of the Act on JPKI)."""
    PERSON = "person"
    """From one card or phone of a holder to another, too: a card that was issued after a loss or a theft, and from the
    phone to the card (article 18(4))."""


@dataclass(frozen=True, slots=True)
class LinkedCertificate:
    """A certificate that belongs together with the one that was asked about."""

    kind: CertificateType
    serial: int
    medium: Medium
