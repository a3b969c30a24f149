"""What can happen to a person in the registry, as commands: each checks whether it may, and returns the person after.

The list is that of the Residential Basic Book Act and of the card's rules. Each institution decides for itself what
follows from an event, in a table by the event's class: J-LIS, which tells the others of it (`juki_net.py`), the
authorities (`pki/consequence.py`) and the card management (`card_management/consequence.py`).
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields, replace
from datetime import date
from enum import Enum
from typing import Any, ClassVar, Self

from kazashi.resident_registry.birth_date import BirthDate
from kazashi.resident_registry.municipality import municipality
from kazashi.resident_registry.rejection import EventRejected, RejectionReason
from kazashi.resident_registry.resident import JAPAN, Residence, ResidencyStatus, Resident, Sex

MOVE_IN_DAYS = 14
"""Within how many days after the move somebody who moved must notify it."""

CONTINUATION_DAYS = 90
"""Within how many days after a move in the card must be continued at the new municipality."""


class Channel(Enum):
    """How an event comes to be known, which decides when it leaves for Juki-Net."""

    COUNTER = "counter"
    """At once."""
    PAPER = "paper"
    """With the evening's batch."""
    CALL_CENTRE = "call-centre"
    """At once, at any hour."""


def _note(words: str, default: Any = MISSING) -> Any:
    return field(default=default, metadata={"words": words})


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a person; the fields say what the registry must be told.

    A new event is a subclass, a line in EVENTS, and an entry in the table of each institution that acts on events.
    """

    code: ClassVar[str]
    """Its name in commands, messages and logs."""
    japanese: ClassVar[str]
    """The term of the law; empty where the law has none."""
    about: ClassVar[str]
    """What it is, for users."""
    channel: ClassVar[Channel] = Channel.COUNTER
    allowed: ClassVar[tuple[ResidencyStatus, ...]] = (ResidencyStatus.RESIDENT,)
    """The statuses of the people to whom it can happen."""
    recorded_by_registry: ClassVar[bool] = False
    """Whether the registry alone records it: nobody can report it of a person."""
    meets: ClassVar[str] = ""
    """The deadline that the event meets."""
    may_be_late: ClassVar[bool] = False
    """Whether it is taken after that deadline has passed, too."""

    def apply(self, resident: Resident, day: date) -> Resident:
        """The person after the event. Raises EventRejected, and ValueError for values that make no sense."""
        if resident.status not in self.allowed:
            needed = " or ".join(_STATUS[status] for status in self.allowed)
            raise EventRejected(
                RejectionReason.WRONG_STATUS,
                f"{resident.alias or resident.name} is {_STATUS[resident.status]}; this event needs {needed}",
            )
        return self._after(resident, day)

    def _after(self, resident: Resident, day: date) -> Resident:
        return resident

    def deadline(self, day: date) -> tuple[str, date] | None:
        """What lapses, and the last day on which it can still be averted; None for most events."""
        return None

    def as_dict(self) -> dict[str, object]:
        """The fields that say anything, for JSON."""
        values = {found.name: getattr(self, found.name) for found in fields(self)}
        return {
            name: value.isoformat() if isinstance(value, date) else value
            for name, value in values.items()
            if value not in (None, "")
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The event with these fields. Raises EventRejected for a field that it does not take, or needs and lacks."""
        known = {found.name: found for found in fields(cls)}
        if unknown := values.keys() - known.keys():
            raise EventRejected(
                RejectionReason.UNKNOWN_FIELD,
                f"{cls.code} takes no {', '.join(sorted(unknown))}; it takes {', '.join(known) or 'nothing'}",
            )
        missing = [name for name, found in known.items() if found.default is MISSING and values.get(name) in (None, "")]
        if missing:
            raise EventRejected(RejectionReason.MISSING_FIELD, f"{cls.code} needs {', '.join(missing)}")
        return cls(**{name: _converted(str(known[name].type), name, value) for name, value in values.items()})


def _converted(kind: str, name: str, value: Any) -> Any:
    if kind.startswith("date") and isinstance(value, str):
        try:
            return date.fromisoformat(value)
        except ValueError:
            raise EventRejected(
                RejectionReason.WRONG_VALUE, f"{name}: {value!r} is no date; write 2027-01-31"
            ) from None
    if kind.startswith(("str", "date")) and not isinstance(value, date if kind.startswith("date") else str):
        raise EventRejected(RejectionReason.WRONG_VALUE, f"{name}: {value!r} is not what it takes")
    if kind == "bool" and not isinstance(value, bool):
        if value not in ("yes", "no"):
            raise EventRejected(RejectionReason.WRONG_VALUE, f"{name}: say yes or no, not {value!r}")
        return value == "yes"
    return value


def _numbered(resident: Resident) -> None:
    if resident.individual_number is None:
        raise EventRejected(
            RejectionReason.NUMBER_PENDING,
            "the individual number is still on its way from J-LIS; wait until it has come",
        )


_STATUS = {
    ResidencyStatus.RESIDENT: "a current resident",
    ResidencyStatus.MOVING: "a person between municipalities",
    ResidencyStatus.ABROAD: "a person abroad",
    ResidencyStatus.DEAD: "deceased",
    ResidencyStatus.DELETED: "deleted from the registry",
}
_LIVING = (ResidencyStatus.RESIDENT, ResidencyStatus.MOVING, ResidencyStatus.ABROAD)


def _moved(resident: Resident, day: date, **changes: Any) -> Resident:
    """The person at another address, the former one added to those lived at."""
    left = Residence(resident.municipality.code, resident.address, day)
    return replace(resident, residences=(*resident.residences, left), since=day, **changes)


@dataclass(frozen=True, slots=True)
class MoveWithin(Event):
    code = "move-within"
    japanese = "転居"
    about = f"A move within the municipality ({japanese})."

    street: str = _note("the new address after the municipality's name")

    def _after(self, resident: Resident, day: date) -> Resident:
        if self.street == resident.street:
            raise EventRejected(RejectionReason.UNCHANGED, "the new address is the one that is registered")
        return _moved(resident, day, street=self.street)


@dataclass(frozen=True, slots=True)
class MoveOut(Event):
    code = "move-out"
    japanese = "転出"
    about = f"The notice of a move to another municipality ({japanese})."

    to: str = _note("the code of the municipality that the person moves to")
    moves_on: date = _note("the day of the move")

    def _after(self, resident: Resident, day: date) -> Resident:
        if municipality(self.to).code == resident.municipality.code:
            raise EventRejected(
                RejectionReason.UNCHANGED, "that is where the person lives; a move within a municipality is move-within"
            )
        if abs((self.moves_on - day).days) > 365:
            raise EventRejected(
                RejectionReason.WRONG_DAY, f"a move on {self.moves_on} is too far from its notice on {day}"
            )
        return replace(resident, status=ResidencyStatus.MOVING)

    def deadline(self, day: date) -> tuple[str, date]:
        """The move in must be notified in time, or the card lapses."""
        return "move-in", date.fromordinal(self.moves_on.toordinal() + MOVE_IN_DAYS)


@dataclass(frozen=True, slots=True)
class MoveIn(Event):
    code = "move-in"
    japanese = "転入"
    about = f"The notice of a move from another municipality ({japanese})."
    allowed = (ResidencyStatus.MOVING,)
    meets = "move-in"
    may_be_late = True

    municipality: str = _note("the code of the new municipality")
    street: str = _note("the new address after the municipality's name")
    card_continued: bool = _note("whether the card was continued at once (yes, no)", True)
    household: str = _note("the household that the person joins", "")

    def _after(self, resident: Resident, day: date) -> Resident:
        return _moved(
            resident, day,
            municipality=municipality(self.municipality), street=self.street, status=ResidencyStatus.RESIDENT,
            household=self.household or resident.household,
        )  # fmt: skip

    def deadline(self, day: date) -> tuple[str, date] | None:
        """A card that was not continued at once lapses after 90 days."""
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
    about = f"The card lapses, because something was not done in time ({japanese}). The registry tells it of itself."
    allowed = tuple(ResidencyStatus)
    recorded_by_registry = True

    why: str = _note("what was not done in time")


@dataclass(frozen=True, slots=True)
class NameChange(Event):
    code = "name-change"
    japanese = "氏名の変更"
    about = (
        "Another name. It comes by marriage, or is a common name (通称) or a former surname (旧氏); `-` takes "
        "away one of the last two."
    )
    channel = Channel.PAPER
    allowed = (ResidencyStatus.RESIDENT, ResidencyStatus.ABROAD)

    family: str = _note("the new family name", "")
    given: str = _note("the new given name", "")
    former_surname: str = _note("the former surname to be shown, - for none", "")
    common_name: str = _note("the common name of a foreign resident, - for none", "")
    kana: str = _note("the reading of the new name", "")

    def _after(self, resident: Resident, day: date) -> Resident:
        if self.common_name and resident.nationality == JAPAN:
            raise EventRejected(RejectionReason.WRONG_NATIONALITY, "only a foreign resident has a common name")
        if self.former_surname and resident.nationality != JAPAN:
            raise EventRejected(
                RejectionReason.WRONG_NATIONALITY, "only a Japanese national has a former surname registered"
            )
        return _renamed(resident, self.as_dict())


def _renamed(resident: Resident, changes: dict[str, Any]) -> Resident:
    name = replace(resident.name, **{key: "" if value == "-" else value for key, value in changes.items()})
    if name == resident.name:
        raise EventRejected(RejectionReason.UNCHANGED, "that is the name that is registered")
    return replace(resident, name=name)


@dataclass(frozen=True, slots=True)
class Correction(Event):
    code = "correction"
    japanese = "記載の修正"
    about = f"The date of birth or the sex is corrected ({japanese})."

    birth: str = _note("the right date of birth, 1988-04-17", "")
    sex: str = _note("the right sex: 1 male, 2 female, 9 not applicable, 0 unknown", "")

    def _after(self, resident: Resident, day: date) -> Resident:
        birth = BirthDate.parse(self.birth) if self.birth else resident.birth
        if birth.counted_from > day:
            raise EventRejected(RejectionReason.WRONG_DAY, f"nobody was born on {self.birth}, after {day}")
        sex = Sex(self.sex) if self.sex else resident.sex
        if (birth, sex) == (resident.birth, resident.sex):
            raise EventRejected(RejectionReason.UNCHANGED, "that is what is registered")
        return replace(resident, birth=birth, sex=sex)


@dataclass(frozen=True, slots=True)
class CharacterCorrection(Event):
    code = "character-correction"
    japanese = "軽微な修正"
    about = "A minor correction (軽微な修正). The name stays, in another form of its characters."
    channel = Channel.PAPER

    family: str = _note("the family name in its right form", "")
    given: str = _note("the given name in its right form", "")

    def _after(self, resident: Resident, day: date) -> Resident:
        return _renamed(resident, self.as_dict())


@dataclass(frozen=True, slots=True)
class Furigana(Event):
    code = "furigana"
    japanese = "振り仮名"
    about = "The reading of the name (振り仮名). It is entered or corrected."
    channel = Channel.PAPER
    allowed = (ResidencyStatus.RESIDENT, ResidencyStatus.ABROAD)

    kana: str = _note("the reading in katakana")

    def _after(self, resident: Resident, day: date) -> Resident:
        if not all("ァ" <= character <= "ヺ" or character in "ー・　" for character in self.kana):
            raise EventRejected(RejectionReason.WRONG_VALUE, "a reading is written in full-width katakana")
        return replace(resident, name=replace(resident.name, kana=self.kana))


@dataclass(frozen=True, slots=True)
class PlaceRenamed(Event):
    code = "renaming"
    japanese = "町名地番の変更"
    about = f"The authority renames a town or its streets ({japanese}); nobody moves."
    channel = Channel.PAPER
    recorded_by_registry = True

    street: str = _note("the same place under its new name")

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
        f"A move abroad ({japanese}). With continued use (since 2024-05-27) card and authentication certificate stay."
    )

    continued: bool = _note("whether the card stays in use abroad (yes, no)")

    def _after(self, resident: Resident, day: date) -> Resident:
        if self.continued and resident.nationality != JAPAN:
            raise EventRejected(
                RejectionReason.WRONG_NATIONALITY,
                "only a Japanese national, who stays in a family register, can keep the card abroad",
            )
        return replace(resident, status=ResidencyStatus.ABROAD)


@dataclass(frozen=True, slots=True)
class Immigration(Event):
    code = "immigration"
    japanese = "国外からの転入"
    about = f"A move back from abroad ({japanese})."
    allowed = (ResidencyStatus.ABROAD,)

    municipality: str = _note("the code of the municipality")
    street: str = _note("the address after the municipality's name")

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
    about = (
        "Another individual number (個人番号の変更請求). It is asked for because the old one leaked. "
        "The card is made anew."
    )

    def _after(self, resident: Resident, day: date) -> Resident:
        _numbered(resident)
        return replace(resident, individual_number=None)


@dataclass(frozen=True, slots=True)
class CodeChange(Event):
    code = "code-change"
    japanese = "住民票コードの変更請求"
    about = "Another resident record code (住民票コードの変更請求). No reason need be given."

    def _after(self, resident: Resident, day: date) -> Resident:
        _numbered(resident)
        return resident


@dataclass(frozen=True, slots=True)
class LossReport(Event):
    code = "loss-report"
    japanese = "一時停止"
    about = "The loss of card or PIN (一時停止). The call centre hears of it at any hour."
    channel = Channel.CALL_CENTRE
    allowed = _LIVING


@dataclass(frozen=True, slots=True)
class Theft(Event):
    code = "theft"
    japanese = ""
    about = "Key or card in strange hands, told at the counter."
    allowed = _LIVING


@dataclass(frozen=True, slots=True)
class CardFound(Event):
    code = "found"
    japanese = ""
    about = "A card is found again. The counter lifts the stop on the card, and certificates are made anew."
    allowed = (ResidencyStatus.RESIDENT, ResidencyStatus.ABROAD)


@dataclass(frozen=True, slots=True)
class CardReturn(Event):
    code = "return"
    japanese = "返納"
    about = f"The card is handed back ({japanese})."
    allowed = _LIVING


@dataclass(frozen=True, slots=True)
class Renewal(Event):
    code = "renewal"
    japanese = "電子証明書の更新"
    about = (
        "New certificates on the same card (電子証明書の更新). "
        "They are issued from three months before the old ones end."
    )
    allowed = (ResidencyStatus.RESIDENT, ResidencyStatus.ABROAD)


@dataclass(frozen=True, slots=True)
class StayExtension(Event):
    code = "stay"
    japanese = "在留期間更新"
    about = "The period of stay is extended (在留期間更新). It is a foreign resident's."
    channel = Channel.PAPER

    until: date = _note("its new last day")
    residence_status: str = _note("the residence status, where it is another", "")

    def _after(self, resident: Resident, day: date) -> Resident:
        if resident.nationality == JAPAN:
            raise EventRejected(RejectionReason.WRONG_NATIONALITY, "a Japanese national has no period of stay")
        if self.until <= day:
            raise EventRejected(RejectionReason.WRONG_DAY, f"a period of stay that ends on {self.until} is over")
        return replace(
            resident, stay_end=self.until, residence_status=self.residence_status or resident.residence_status
        )


EVENTS: tuple[type[Event], ...] = (
    MoveWithin, MoveOut, MoveIn, CardContinuation, Lapse, NameChange, Correction, CharacterCorrection, Furigana,
    PlaceRenamed, Death, Emigration, Immigration, Deletion, NumberChange, CodeChange, LossReport, Theft, CardFound,
    CardReturn, Renewal, StayExtension,
)  # fmt: skip
"""Every event, in the order in which users see them."""

_BY_CODE = {event.code: event for event in EVENTS}


def event_type(code: str) -> type[Event]:
    """The event of that name. Raises EventRejected where there is none."""
    if code not in _BY_CODE:
        raise EventRejected(
            RejectionReason.UNKNOWN_EVENT,
            f"unknown event {code!r}; the events are listed by: kazashi registry event --help",
        )
    return _BY_CODE[code]
