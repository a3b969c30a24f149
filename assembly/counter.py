"""A visit to a municipality's counter with a card: all that is due is done at once."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from kazashi.assembly.errors import UsageError
from kazashi.card.image import read_image
from kazashi.card_management.case import CaseType
from kazashi.card_management.entries import entries_in
from kazashi.card_management.order import image_path, usual_order
from kazashi.card_management.production import RenewalRejected
from kazashi.card_management.records import NoSuchCard
from kazashi.jpki.profile import CertificateType
from kazashi.pki.validity import renewal_opens
from kazashi.resident_registry.deadline import CONTINUATION
from kazashi.resident_registry.event import CardContinuation, Immigration
from kazashi.world.clock import end_of_day

if TYPE_CHECKING:
    from kazashi.assembly.institutions import Institutions


@dataclass(frozen=True, slots=True)
class CounterVisit:
    """What was done at the counter: the types of certificate that were issued, the lines that were entered in the field
    for additional entries (追記欄), and whether the use of the card was continued after a move."""

    certificates: list[CertificateType]
    entries: list[str]
    continued: bool


def visit(institutions: Institutions, name: str, what: CaseType) -> CounterVisit:
    """Bring a card to the counter for a renewal or an update. If its use must be continued after a move (継続利用),
    that is done first.

    Raises NoSuchCard, RenewalRejected, RelayFailed, ImageMissing, DamagedImage, and the authorities' exceptions.
    """
    holder, path = institutions.cards.holder(name), image_path(institutions.world, name)
    before = entries_in(read_image(path)[1])
    continued = CONTINUATION in institutions.registry.deadlines(holder)
    if continued:
        institutions.registry.record(holder, CardContinuation())
    institutions.settle()
    certificates: list[CertificateType] = []
    with suppress(*((RenewalRejected,) if continued else ())):
        certificates = institutions.cards.at_counter(name, what)
    return CounterVisit(certificates, entries_in(read_image(path)[1])[len(before) :], continued)


def apply(institutions: Institutions, name: str, who: str, *, express: bool) -> datetime:
    """Apply for a first card for a person in the registry or a sample resident, and return when it will be delivered.

    Raises NoSuchResident, ImageExists, ApplicationRejected and UsageError.
    """
    resident = institutions.resident(who)
    history = institutions.registry.history(resident.code)
    entitled = [entry.day for entry in history if entry.code in ("registration", Immigration.code)][-1]
    order = usual_order(institutions.world, resident)
    try:
        return institutions.cards.apply(name, order, express=express, entitled=entitled)
    except ValueError as error:
        raise UsageError(str(error)) from error


def described_status(institutions: Institutions, name: str) -> dict[str, str]:
    """Return a card's state in the card management, and the day from which it can be issued again because it ends.

    It is empty for a card that the card management does not know.
    """
    try:
        state, last = institutions.cards.card_state(name), institutions.cards.last_day(name)
    except NoSuchCard:
        return {}
    opens = renewal_opens(end_of_day(last), institutions.cards.model(name).profile.term)
    return {"state": state.value, "last day": f"{last}", "issued again from": f"{opens}"}
