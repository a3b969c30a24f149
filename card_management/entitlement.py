"""Who may have which card when, and how long it takes to make."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import Enum

from kazashi.card_management.consequence import CardState
from kazashi.jpki.profile import EMULATED, Term
from kazashi.pki.validity import renewal_opens
from kazashi.resident_registry.event import CARDS_ABROAD
from kazashi.resident_registry.resident import JAPAN, ResidencyStatus, Resident
from kazashi.world.clock import JST, end_of_day

EXPRESS_STARTS = date(2024, 12, 2)
"""The day from which cards can be issued at once (特急発行)."""
EXPRESS_WITHIN = timedelta(days=30)
"""How long after its reason express issuance can be applied for. For children under one there is no such limit."""
ORDINARY, EXPRESS, ABROAD = timedelta(days=30), timedelta(days=7), timedelta(days=60)
"""The time from application to delivery. Municipalities announce a month or two, a week, and no time for cards that are
applied for abroad."""


class ApplicationRejected(Exception):
    """The application for a card is not admissible; the message gives the reason."""


class ReissueReason(Enum):
    """Why a card is issued again."""

    EXPIRY = "expiry"
    """It ends within three months; the next card within a year."""
    LOST = "lost"
    """It was reported lost or stolen."""
    DAMAGED = "damaged"
    FULL = "full"
    """The field for additional entries on its face has no room (追記欄満欄)."""
    ENDED = "ended"
    """It has expired or lapsed, or was returned."""


_EXPRESS_REASONS = {ReissueReason.LOST, ReissueReason.DAMAGED, ReissueReason.FULL}


@dataclass(frozen=True, slots=True)
class OldCard:
    """The card that a new one replaces: its name, state and last day, since when it has been in that state, and the
    term of its model."""

    name: str
    state: CardState
    expires: date
    since: date
    term: Term = EMULATED.term


def check_holder(resident: Resident, day: date) -> None:
    """Raise ApplicationRejected if a person can have no card on a day."""
    status = resident.status
    if status in (ResidencyStatus.DEAD, ResidencyStatus.DELETED):
        raise ApplicationRejected(f"{resident.alias or resident.code} is not registered any more ({status.value})")
    if status is ResidencyStatus.MOVING:
        raise ApplicationRejected("the holder has moved out, and must notify the move in first")
    if status is ResidencyStatus.ABROAD and resident.nationality != JAPAN:
        raise ApplicationRejected("only Japanese nationals can have a card while they live abroad")
    if status is ResidencyStatus.ABROAD and day < CARDS_ABROAD:
        raise ApplicationRejected(f"cards are issued to people abroad from {CARDS_ABROAD} on")


def check_reissue(reason: ReissueReason, old: OldCard, day: date) -> None:
    """Raise ApplicationRejected if a card cannot be issued again for a reason."""
    opens = renewal_opens(end_of_day(old.expires), old.term)
    match reason:
        case ReissueReason.EXPIRY if old.state is CardState.ACTIVE and day >= opens:
            return
        case ReissueReason.EXPIRY:
            raise ApplicationRejected(
                f"the card {old.name!r} is {old.state.value} and ends on {old.expires}; it can be issued again for that"
                f" from {opens} to that day"
            )
        case ReissueReason.LOST if old.state is CardState.ACTIVE:
            raise ApplicationRejected(
                f"the card {old.name!r} was not reported lost; report it with: kazashi registry event loss-report"
            )
        case ReissueReason.DAMAGED | ReissueReason.FULL if old.state is not CardState.ACTIVE:
            fitting = "lost" if old.state is CardState.STOPPED else "ended"
            raise ApplicationRejected(f"the card {old.name!r} is {old.state.value}; the reason for that is {fitting}")
        case ReissueReason.ENDED if old.state is not CardState.ENDED:
            raise ApplicationRejected(f"the card {old.name!r} is {old.state.value}; it has not ended")


def ready(now: datetime, resident: Resident, *, express: bool, entitled: tuple[ReissueReason, date] | date) -> datetime:
    """Return the time at which a card that is applied for now will be delivered.

    `entitled` is the reason for a new card and the day from which it has existed, or for a first card the day on which
    the holder was registered or came from abroad. Raises ApplicationRejected if express issuance is not admissible.
    """
    day = now.astimezone(JST).date()
    if not express:
        return now + (ABROAD if resident.status is ResidencyStatus.ABROAD else ORDINARY)
    if day < EXPRESS_STARTS:
        raise ApplicationRejected(f"express issuance exists from {EXPRESS_STARTS} on")
    if resident.status is ResidencyStatus.ABROAD:
        raise ApplicationRejected("express issuance is not for people abroad")
    reason, since = entitled if isinstance(entitled, tuple) else (None, entitled)
    if reason is not None and reason not in _EXPRESS_REASONS:
        raise ApplicationRejected(f"express issuance is not for the reason {reason.value}")
    # By law one is a year older on the eve of the birthday already, but that day still counts here.
    is_infant = reason is None and resident.birth.age_on(day - timedelta(days=1)) < 1
    if not is_infant and day - since > EXPRESS_WITHIN:
        raise ApplicationRejected(
            f"express issuance must be applied for within {EXPRESS_WITHIN.days} days; the reason arose on {since}"
        )
    return now + EXPRESS
