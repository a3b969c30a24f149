"""The registry's events. Each checks whether it can happen to a person, and returns the person as they are afterwards.

The events are those of the Residential Basic Book Act and of the rules for the card. Each institution decides what
follows from an event in a table by event class: J-LIS, which notifies the others (`juki_net.py`), the authorities
(`pki/consequence.py`) and the card management (`card_management/consequence.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from kazashi.resident_registry.birth_date import BirthDate
from kazashi.resident_registry.event_base import Channel, Event
from kazashi.resident_registry.event_fields import described
from kazashi.resident_registry.municipality import municipality
from kazashi.resident_registry.name_event import (
    CharacterCorrection,
    Furigana,
    FuriganaNotice,
    FuriganaRecorded,
    NameChange,
)
from kazashi.resident_registry.rejection import EventRejected, RejectionReason
from kazashi.resident_registry.resident import JAPAN, Residence, ResidencyStatus, Resident, Sex

__all__ = [
    "CARDS_ABROAD",
    "CONTINUATION_DAYS",
    "EVENTS",
    "MOVE_IN_DAYS",
    "CardContinuation",
    "CardFound",
    "CardReturn",
    "Channel",
    "CharacterCorrection",
    "CodeChange",
    "Correction",
    "Death",
    "Deletion",
    "Emigration",
    "Event",
    "Furigana",
    "FuriganaNotice",
    "FuriganaRecorded",
    "Immigration",
    "Lapse",
    "LossReport",
    "MoveIn",
    "MoveOut",
    "MoveWithin",
    "NameChange",
    "NumberChange",
    "PlaceRenamed",
    "Protection",
    "Renewal",
    "StayExtension",
    "Theft",
    "event_type",
]

MOVE_IN_DAYS = 14
"""The number of days after a move within which it must be notified."""

CARDS_ABROAD = date(2024, 5, 27)
"""The day from which Japanese nationals abroad can have cards (令和元年法律第16号)."""

CONTINUATION_DAYS = 90
"""The number of days after a move in within which the card must be continued at the new municipality."""


def _numbered(resident: Resident) -> None:
    if resident.individual_number is None:
        raise EventRejected(
            RejectionReason.NUMBER_PENDING,
            "the individual number has not arrived from J-LIS yet; try again when it has",
        )


_LIVING = (ResidencyStatus.RESIDENT, ResidencyStatus.MOVING, ResidencyStatus.ABROAD)


def _moved(resident: Resident, day: date, **changes: Any) -> Resident:
    """Return the person at a new address, with the old address added to the former ones."""
    left = Residence(resident.municipality.code, resident.address, day)
    return replace(resident, residences=(*resident.residences, left), since=day, **changes)


@dataclass(frozen=True, slots=True)
class MoveWithin(Event):
    code = "move-within"
    japanese = "転居"
    about = f"A move within the municipality ({japanese})."

    street: str = described("the new address after the municipality's name")

    def _after(self, resident: Resident, day: date) -> Resident:
        if self.street == resident.street:
            raise EventRejected(RejectionReason.UNCHANGED, "the new address is the registered one")
        return _moved(resident, day, street=self.street)


@dataclass(frozen=True, slots=True)
class MoveOut(Event):
    code = "move-out"
    japanese = "転出"
    about = f"The notice of a move to another municipality ({japanese})."

    to: str = described("the code of the municipality that the person moves to")
    moves_on: date = described("the day of the move")

    def _after(self, resident: Resident, day: date) -> Resident:
        if municipality(self.to).code == resident.municipality.code:
            raise EventRejected(
                RejectionReason.UNCHANGED, "the person already lives there; a move within a municipality is move-within"
            )
        if abs((self.moves_on - day).days) > 365:
            raise EventRejected(
                RejectionReason.WRONG_DAY, f"a move on {self.moves_on} is more than a year from its notice on {day}"
            )
        return replace(resident, status=ResidencyStatus.MOVING)

    def deadline(self, day: date) -> tuple[str, date]:
        """The last day to notify the move in. After that the card lapses."""
        return "move-in", date.fromordinal(self.moves_on.toordinal() + MOVE_IN_DAYS)


@dataclass(frozen=True, slots=True)
class MoveIn(Event):
    code = "move-in"
    japanese = "転入"
    about = f"The notice of a move from another municipality ({japanese})."
    allowed = (ResidencyStatus.MOVING,)
    meets = "move-in"
    may_be_late = True

    municipality: str = described("the code of the new municipality")
    street: str = described("the new address after the municipality's name")
    card_continued: bool = described("whether the card was continued at once (yes, no)", True)
    household: str = described("the household that the person joins", "")

    def _after(self, resident: Resident, day: date) -> Resident:
        return _moved(
            resident, day,
            municipality=municipality(self.municipality), street=self.street, status=ResidencyStatus.RESIDENT,
            household=self.household or resident.household,
        )  # fmt: skip

    def deadline(self, day: date) -> tuple[str, date] | None:
        """The last day to continue the card, after 90 days, if it was not continued at once."""
        return (
            None
            if self.card_continued
            else ("card-continuation", date.fromordinal(day.toordinal() + CONTINUATION_DAYS))
        )


@dataclass(frozen=True, slots=True)
class CardContinuation(Event):
    code = "card-continuation"
    japanese = "継続利用"
    about = f"The card is continued at the new municipality ({japanese})."
    meets = "card-continuation"


@dataclass(frozen=True, slots=True)
class Lapse(Event):
    code = "lapse"
    japanese = "失効"
    about = f"The card lapses because a deadline was missed ({japanese}). The registry records it by itself."
    allowed = tuple(ResidencyStatus)
    recorded_by_registry = True

    why: str = described("the deadline that was missed")


@dataclass(frozen=True, slots=True)
class Correction(Event):
    code = "correction"
    japanese = "記載の修正"
    about = f"The date of birth or the sex is corrected ({japanese})."

    birth: str = described("the correct date of birth, such as 1988-04-17", "")
    sex: str = described("the correct sex: 1 male, 2 female, 9 not applicable, 0 unknown", "")

    def _after(self, resident: Resident, day: date) -> Resident:
        birth = BirthDate.parse(self.birth) if self.birth else resident.birth
        if birth.counted_from > day:
            raise EventRejected(RejectionReason.WRONG_DAY, f"the date of birth {self.birth} is after {day}")
        sex = Sex(self.sex) if self.sex else resident.sex
        if (birth, sex) == (resident.birth, resident.sex):
            raise EventRejected(RejectionReason.UNCHANGED, "the date of birth and the sex are the registered ones")
        return replace(resident, birth=birth, sex=sex)


@dataclass(frozen=True, slots=True)
class PlaceRenamed(Event):
    code = "renaming"
    japanese = "町名地番の変更"
    about = f"The municipality renames a place or its streets ({japanese}). Nobody moves."
    channel = Channel.PAPER
    recorded_by_registry = True

    street: str = described("the same place under its new name")

    def _after(self, resident: Resident, day: date) -> Resident:
        return replace(resident, street=self.street)


@dataclass(frozen=True, slots=True)
class Death(Event):
    code = "death"
    japanese = "死亡"
    about = f"A death ({japanese})."
    channel = Channel.PAPER
    allowed = _LIVING

    def _after(self, resident: Resident, day: date) -> Resident:
        return replace(resident, status=ResidencyStatus.DEAD)


@dataclass(frozen=True, slots=True)
class Emigration(Event):
    code = "emigration"
    japanese = "国外転出"
    about = (
        f"A move abroad ({japanese}). With continued use (since 2024-05-27) card and authentication certificate remain."
    )

    continued: bool = described("whether the card stays in use abroad (yes, no)")

    def _after(self, resident: Resident, day: date) -> Resident:
        if self.continued and day < CARDS_ABROAD:
            raise EventRejected(RejectionReason.WRONG_DAY, f"cards can be kept in use abroad from {CARDS_ABROAD} on")
        if self.continued and resident.nationality != JAPAN:
            raise EventRejected(
                RejectionReason.WRONG_NATIONALITY,
                "only a Japanese national can keep the card abroad, because they stay in a family register",
            )
        return replace(resident, status=ResidencyStatus.ABROAD)


@dataclass(frozen=True, slots=True)
class Immigration(Event):
    code = "immigration"
    japanese = "国外からの転入"
    about = f"A move back from abroad ({japanese})."
    allowed = (ResidencyStatus.ABROAD,)

    municipality: str = described("the code of the municipality")
    street: str = described("the address after the municipality's name")

    def _after(self, resident: Resident, day: date) -> Resident:
        return _moved(
            resident,
            day,
            municipality=municipality(self.municipality),
            street=self.street,
            status=ResidencyStatus.RESIDENT,
        )


@dataclass(frozen=True, slots=True)
class Deletion(Event):
    code = "deletion"
    japanese = "職権消除"
    about = f"The record is deleted ex officio ({japanese})."
    allowed = (ResidencyStatus.RESIDENT, ResidencyStatus.MOVING)

    def _after(self, resident: Resident, day: date) -> Resident:
        return replace(resident, status=ResidencyStatus.DELETED)


@dataclass(frozen=True, slots=True)
class NumberChange(Event):
    code = "number-change"
    japanese = "個人番号の変更請求"
    about = "A new individual number (個人番号の変更請求). The old one has leaked. The card is made again."

    def _after(self, resident: Resident, day: date) -> Resident:
        _numbered(resident)
        return replace(resident, individual_number=None)


@dataclass(frozen=True, slots=True)
class CodeChange(Event):
    code = "code-change"
    japanese = "住民票コードの変更請求"
    about = "A new resident record code (住民票コードの変更請求). No reason is required."

    def _after(self, resident: Resident, day: date) -> Resident:
        _numbered(resident)
        return resident


@dataclass(frozen=True, slots=True)
class Protection(Event):
    code = "protection"
    japanese = "支援措置"
    about = (
        f"Protection of a victim begins or ends ({japanese}). It is for victims of domestic violence and stalking. "
        "While it lasts, the portal shows neither records nor own information."
    )
    allowed = (ResidencyStatus.RESIDENT, ResidencyStatus.MOVING)

    protected: bool = described("whether the person is protected (yes, no)")

    def _after(self, resident: Resident, day: date) -> Resident:
        if self.protected == resident.protected:
            registered = "protected" if resident.protected else "not protected"
            raise EventRejected(RejectionReason.UNCHANGED, f"the person is {registered} already")
        return replace(resident, protected=self.protected)


@dataclass(frozen=True, slots=True)
class LossReport(Event):
    code = "loss-report"
    japanese = "一時停止"
    about = "The card or PIN is reported lost (一時停止). The call centre takes reports at any hour."
    channel = Channel.CALL_CENTRE
    allowed = _LIVING


@dataclass(frozen=True, slots=True)
class Theft(Event):
    code = "theft"
    japanese = ""
    about = "The key or the card is in someone else's hands. It is reported at the counter."
    allowed = _LIVING


@dataclass(frozen=True, slots=True)
class CardFound(Event):
    code = "found"
    japanese = ""
    about = "A lost card is found. The counter lifts the suspension of the card, and new certificates are issued."
    allowed = (ResidencyStatus.RESIDENT, ResidencyStatus.ABROAD)


@dataclass(frozen=True, slots=True)
class CardReturn(Event):
    code = "return"
    japanese = "返納"
    about = f"The card is returned ({japanese})."
    allowed = _LIVING


@dataclass(frozen=True, slots=True)
class Renewal(Event):
    code = "renewal"
    japanese = "電子証明書の更新"
    about = (
        "New certificates on the same card (電子証明書の更新). "
        "They can be issued from three months before the old ones expire."
    )
    allowed = (ResidencyStatus.RESIDENT, ResidencyStatus.ABROAD)


@dataclass(frozen=True, slots=True)
class StayExtension(Event):
    code = "stay"
    japanese = "在留期間更新"
    about = "A longer period of stay (在留期間更新)."
    channel = Channel.PAPER

    until: date = described("the new last day")
    residence_status: str = described("the residence status, if it changes", "")

    def _after(self, resident: Resident, day: date) -> Resident:
        if resident.nationality == JAPAN:
            raise EventRejected(RejectionReason.WRONG_NATIONALITY, "a Japanese national has no period of stay")
        if self.until <= day:
            raise EventRejected(RejectionReason.WRONG_DAY, f"the last day {self.until} is not after {day}")
        return replace(
            resident, stay_end=self.until, residence_status=self.residence_status or resident.residence_status
        )


EVENTS: tuple[type[Event], ...] = (
    MoveWithin, MoveOut, MoveIn, CardContinuation, Lapse, NameChange, Correction, CharacterCorrection, FuriganaNotice,
    Furigana, FuriganaRecorded,
    PlaceRenamed, Death, Emigration, Immigration, Deletion, NumberChange, CodeChange, Protection, LossReport, Theft,
    CardFound, CardReturn, Renewal, StayExtension,
)  # fmt: skip
"""All events, in the order in which users see them."""

_BY_CODE = {event.code: event for event in EVENTS}


def event_type(code: str) -> type[Event]:
    """The event class of a code. Raises EventRejected if there is none."""
    if code not in _BY_CODE:
        raise EventRejected(
            RejectionReason.UNKNOWN_EVENT,
            f"unknown event {code!r}; list the events with: kazashi registry event --help",
        )
    return _BY_CODE[code]
