"""Cases of the card management: an order for a card, and how far it has been carried out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from kazashi.card_management.order import Order


class CaseType(Enum):
    """The type of a case."""

    NEW = "new"
    """Issue a card."""
    RENEWAL = "renewal"
    """Renew the certificates on a card, and bring the holder's data on it up to date."""
    UPDATE = "update"
    """Bring the holder's data on a card up to date (券面事項の変更), and replace certificates that are not good."""


class CaseState(Enum):
    """The progress of a case."""

    OPEN = "open"
    DONE = "done"
    REFUSED = "refused"
    """It cannot be carried out; the case's note gives the reason."""


@dataclass(frozen=True, slots=True)
class IssuanceCase:
    """An order in the card management's store.

    For a renewal or an update, `renews` maps the code of each certificate type to issue to the serial number that is
    replaced (None if no certificate is replaced). It is None until this is decided.
    """

    position: int
    name: str
    what: CaseType
    state: CaseState
    note: str
    order: Order
    renews: dict[str, int | None] | None = None
