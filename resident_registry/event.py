"""The registry's events. Each checks whether it can happen to a person, and returns the person as they are afterwards.

The events are those of the Residential Basic Book Act and of the rules for the card. Each institution decides what
follows from an event in a table by event class: J-LIS, which notifies the others (`juki_net.py`), the authorities
(`pki/consequence.py`) and the card management (`card_management/consequence.py`).
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields, replace
from datetime import date
from enum import Enum
from typing import Any, ClassVar, Self

from kazashi.resident_registry.birth_date import BirthDate
from kazashi.resident_registry.event_fields import converted, described
from kazashi.resident_registry.municipality import municipality
from kazashi.resident_registry.rejection import EventRejected, RejectionReason
from kazashi.resident_registry.resident import JAPAN, Residence, ResidencyStatus, Resident, Sex

MOVE_IN_DAYS = 14
"""The number of days after a move within which it must be notified."""

CONTINUATION_DAYS = 90
"""The number of days after a move in within which the card must be continued at the new municipality."""


class Channel(Enum):
    """How an event is reported, which decides when it is sent to Juki-Net."""

    COUNTER = "counter"
    """Sent at once."""
    PAPER = "paper"
    """Sent with the evening's batch."""
    CALL_CENTRE = "call-centre"
    """Sent at once, at any hour."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a person. The fields are the details that the registry needs.

    A new event needs a subclass, a line in EVENTS, and an entry in the table of each institution that acts on events.
    """

    code: ClassVar[str]
    """The event's name in commands, messages and logs."""
    japanese: ClassVar[str]
    """The legal term; empty if the law has none."""
    about: ClassVar[str]
    """A description for users."""
    channel: ClassVar[Channel] = Channel.COUNTER
    allowed: ClassVar[tuple[ResidencyStatus, ...]] = (ResidencyStatus.RESIDENT,)
    """The residency statuses that a person must have for the event."""
    recorded_by_registry: ClassVar[bool] = False
    """Whether only the registry itself records the event, so that nobody can report it for a person."""
    meets: ClassVar[str] = ""
    """The deadline that the event meets."""
    may_be_late: ClassVar[bool] = False
    """Whether the event is also accepted after that deadline."""

    def apply(self, resident: Resident, day: date) -> Resident:
        """Return the person as they are after the event. Raises EventRejected, and ValueError for invalid values."""
        if resident.status not in self.allowed:
            required = " or ".join(_STATUS[status] for status in self.allowed)
            raise EventRejected(
                RejectionReason.WRONG_STATUS,
                f"{resident.alias or resident.name} is {_STATUS[resident.status]}; {self.code} requires {required}",
            )
        return self._after(resident, day)

    def _after(self, resident: Resident, day: date) -> Resident:
        return resident

    def deadline(self, day: date) -> tuple[str, date] | None:
        """The name of the deadline that the event sets, and its last day; None for most events."""
        return None

    def as_dict(self) -> dict[str, object]:
        """The fields that are not empty, for JSON. Dates are in ISO format."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return {
            name: value.isoformat() if isinstance(value, date) else value
            for name, value in values.items()
            if value not in (None, "")
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Return the event with these fields. Raises EventRejected for an unknown, missing or invalid one."""
        known = {one.name: one for one in fields(cls)}
        if unknown := values.keys() - known.keys():
            raise EventRejected(
                RejectionReason.UNKNOWN_FIELD,
                f"{cls.code} does not take {', '.join(sorted(unknown))}; it takes {', '.join(known) or 'no fields'}",
            )
        missing = [name for name, one in known.items() if one.default is MISSING and values.get(name) in (None, "")]
        if missing:
            raise EventRejected(RejectionReason.MISSING_FIELD, f"{cls.code} needs {', '.join(missing)}")
        return cls(**{name: converted(str(known[name].type), name, value) for name, value in values.items()})


def _numbered(resident: Resident) -> None:
    if resident.individual_number is None:
        raise EventRejected(
            RejectionReason.NUMBER_PENDING,
            "the individual number has not arrived from J-LIS yet; try again when it has",
        )


_STATUS = {
    ResidencyStatus.RESIDENT: "a current resident",
    ResidencyStatus.MOVING: "a person who is moving between municipalities",
    ResidencyStatus.ABROAD: "a person who lives abroad",
    ResidencyStatus.DEAD: "deceased",
    ResidencyStatus.DELETED: "deleted from the registry",
}
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
class NameChange(Event):
    code = "name-change"
    japanese = "氏名の変更"
    about = (
        "A new name (氏名の変更). It can also be a common name (通称) or a former surname (旧氏). "
        "`-` removes one of these two."
    )
    channel = Channel.PAPER
    allowed = (ResidencyStatus.RESIDENT, ResidencyStatus.ABROAD)

    family: str = described("the new family name", "")
    given: str = described("the new given name", "")
    former_surname: str = described("the former surname to show, or - to remove it", "")
    common_name: str = described("the common name of a foreign resident, or - to remove it", "")
    kana: str = described("the reading of the new name", "")

    def _after(self, resident: Resident, day: date) -> Resident:
        if self.common_name and resident.nationality == JAPAN:
            raise EventRejected(RejectionReason.WRONG_NATIONALITY, "only a foreign resident can have a common name")
        if self.former_surname and resident.nationality != JAPAN:
            raise EventRejected(
                RejectionReason.WRONG_NATIONALITY, "only a Japanese national can register a former surname"
            )
        return _renamed(resident, self.as_dict())


def _renamed(resident: Resident, changes: dict[str, Any]) -> Resident:
    name = replace(resident.name, **{key: "" if value == "-" else value for key, value in changes.items()})
    if name == resident.name:
        raise EventRejected(RejectionReason.UNCHANGED, "the new name is the registered one")
    return replace(resident, name=name)


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
class CharacterCorrection(Event):
    code = "character-correction"
    japanese = "軽微な修正"
    about = "A minor correction (軽微な修正). The name stays the same, but its characters get another form."
    channel = Channel.PAPER

    family: str = described("the family name in its correct form", "")
    given: str = described("the given name in its correct form", "")

    def _after(self, resident: Resident, day: date) -> Resident:
        return _renamed(resident, self.as_dict())


@dataclass(frozen=True, slots=True)
class Furigana(Event):
    code = "furigana"
    japanese = "振り仮名"
    about = "A new reading of the name (振り仮名)."
    channel = Channel.PAPER
    allowed = (ResidencyStatus.RESIDENT, ResidencyStatus.ABROAD)

    kana: str = described("the reading in katakana")

    def _after(self, resident: Resident, day: date) -> Resident:
        if not all("ァ" <= character <= "ヺ" or character in "ー・　" for character in self.kana):
            raise EventRejected(RejectionReason.WRONG_VALUE, f"kana: {self.kana!r} is not in full-width katakana")
        return replace(resident, name=replace(resident.name, kana=self.kana))


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
    MoveWithin, MoveOut, MoveIn, CardContinuation, Lapse, NameChange, Correction, CharacterCorrection, Furigana,
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
