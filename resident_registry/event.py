"""What can happen to a person in the registry, as commands: each checks whether it may, and answers the person after.

The list is that of the Residential Basic Book Act and of the card's rules. What an event does to certificates is the
authorities' knowledge, not the registry's (`pki/consequence.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, dataclass, field, fields, replace
from datetime import date
from enum import Enum
from typing import Any, ClassVar, Self

from kazashi.resident_registry.birth_date import BirthDate
from kazashi.resident_registry.municipality import municipality
from kazashi.resident_registry.resident import JAPAN, Name, Residence, Resident, Sex, Status

MOVE_IN_DAYS = 14
"""Within how many days after the move somebody who moved must notify it."""

CONTINUATION_DAYS = 90
"""Within how many days after a move in the card must be continued at the new municipality."""


class EventRefused(Exception):
    """The registry does not take the event; the message says why. Nothing was changed."""


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
    """Something that happened to a person. `word` names the kind; the fields say what the kind needs to be told."""

    word: ClassVar[str]
    channel: ClassVar[Channel] = Channel.COUNTER
    meets: ClassVar[str] = ""
    """The deadline that the event meets."""
    may_be_late: ClassVar[bool] = False
    """Whether it is taken after that deadline has passed, too."""

    def apply(self, resident: Resident, day: date) -> Resident:
        """The person after the event. Raises EventRefused, and ValueError for values that make no sense."""
        raise NotImplementedError

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
        """The event of this kind with these fields. Raises EventRefused for a field that the kind lacks or needs."""
        known = {found.name: found for found in fields(cls)}
        if unknown := values.keys() - known.keys():
            raise EventRefused(
                f"{cls.word} takes no {', '.join(sorted(unknown))}; it takes {', '.join(known) or 'nothing'}"
            )
        missing = [name for name, found in known.items() if found.default is MISSING and values.get(name) in (None, "")]
        if missing:
            raise EventRefused(f"{cls.word} needs {', '.join(missing)}")
        return cls(**{name: _converted(str(known[name].type), name, value) for name, value in values.items()})


def _converted(kind: str, name: str, value: Any) -> Any:
    if kind.startswith("date") and isinstance(value, str):
        try:
            return date.fromisoformat(value)
        except ValueError:
            raise EventRefused(f"{name}: {value!r} is no date; write 2027-01-31") from None
    if kind.startswith(("str", "date")) and not isinstance(value, date if kind.startswith("date") else str):
        raise EventRefused(f"{name}: {value!r} is not what it takes")
    if kind == "bool" and not isinstance(value, bool):
        if value not in ("yes", "no"):
            raise EventRefused(f"{name}: say yes or no, not {value!r}")
        return value == "yes"
    return value


def _here(resident: Resident, *allowed: Status) -> None:
    wanted = allowed or (Status.RESIDENT,)
    if resident.status not in wanted:
        raise EventRefused(
            f"{resident.alias or resident.name} is {_STANDING[resident.status]}, and the event is not for such"
        )


def _numbered(resident: Resident) -> None:
    if resident.individual_number is None:
        raise EventRefused("the individual number is still on its way from J-LIS; wait until it has come")


_STANDING = {
    Status.RESIDENT: "a resident",
    Status.MOVING: "moving, and in no municipality yet",
    Status.ABROAD: "abroad",
    Status.DEAD: "dead",
    Status.DELETED: "deleted from the registry",
}


def _moved(resident: Resident, day: date, **changes: Any) -> Resident:
    """The person at another address, the former one added to those lived at."""
    left = Residence(resident.municipality.code, resident.address, day)
    return replace(resident, residences=(*resident.residences, left), since=day, **changes)


@dataclass(frozen=True, slots=True)
class MoveWithin(Event):
    """A move within the municipality (転居)."""

    word = "move-within"
    street: str = _note("the new address after the municipality's name")

    def apply(self, resident: Resident, day: date) -> Resident:
        """The person at the new address."""
        _here(resident)
        if self.street == resident.street:
            raise EventRefused("the new address is the one that is registered")
        return _moved(resident, day, street=self.street)


@dataclass(frozen=True, slots=True)
class MoveOut(Event):
    """The notice of a move to another municipality (転出)."""

    word = "move-out"
    to: str = _note("the code of the municipality that the person moves to")
    moves_on: date = _note("the day of the move")

    def apply(self, resident: Resident, day: date) -> Resident:
        """The person on the way."""
        _here(resident)
        if municipality(self.to).code == resident.municipality.code:
            raise EventRefused("that is where the person lives; a move within a municipality is move-within")
        if abs((self.moves_on - day).days) > 365:
            raise EventRefused(f"a move on {self.moves_on} is too far from its notice on {day}")
        return replace(resident, status=Status.MOVING)

    def deadline(self, day: date) -> tuple[str, date]:
        """The move in must be notified in time, or the card lapses."""
        return "move-in", date.fromordinal(self.moves_on.toordinal() + MOVE_IN_DAYS)


@dataclass(frozen=True, slots=True)
class MoveIn(Event):
    """The notice of a move from another municipality (転入)."""

    word = "move-in"
    meets = "move-in"
    may_be_late = True
    municipality: str = _note("the code of the new municipality")
    street: str = _note("the new address after the municipality's name")
    card_continued: bool = _note("whether the card was continued at once (yes, no)", True)
    household: str = _note("the household that the person joins", "")

    def apply(self, resident: Resident, day: date) -> Resident:
        """The person at the new address."""
        _here(resident, Status.MOVING)
        return _moved(
            resident, day,
            municipality=municipality(self.municipality), street=self.street, status=Status.RESIDENT,
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
    """The card is continued at the new municipality (継続利用)."""

    word = "card-continuation"
    meets = "card-continuation"

    def apply(self, resident: Resident, day: date) -> Resident:
        """The person, unchanged."""
        _here(resident)
        return resident


@dataclass(frozen=True, slots=True)
class Lapse(Event):
    """The card lapses, because something was not done in time (失効). The registry tells it of itself."""

    word = "lapse"
    why: str = _note("what was not done in time")

    def apply(self, resident: Resident, day: date) -> Resident:
        """The person, unchanged."""
        return resident


@dataclass(frozen=True, slots=True)
class NameChange(Event):
    """Another name. It comes by marriage, or is a common name (通称) or a former surname (旧氏); `-` takes away one of
    the last two."""

    word = "name-change"
    channel = Channel.PAPER
    family: str = _note("the new family name", "")
    given: str = _note("the new given name", "")
    former_surname: str = _note("the former surname to be shown, - for none", "")
    common_name: str = _note("the common name of a foreign resident, - for none", "")
    kana: str = _note("the reading of the new name", "")

    def apply(self, resident: Resident, day: date) -> Resident:
        """The person under the new name."""
        _here(resident, Status.RESIDENT, Status.ABROAD)
        if self.common_name and resident.nationality == JAPAN:
            raise EventRefused("only a foreign resident has a common name")
        if self.former_surname and resident.nationality != JAPAN:
            raise EventRefused("only a Japanese national has a former surname registered")
        name = _renamed(resident.name, self.as_dict())
        if name == resident.name:
            raise EventRefused("that is the name that is registered")
        return replace(resident, name=name)


def _renamed(name: Name, changes: dict[str, object]) -> Name:
    return replace(name, **{key: "" if value == "-" else value for key, value in changes.items()})  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Correction(Event):
    """The date of birth or the sex is corrected (記載の修正)."""

    word = "correction"
    birth: str = _note("the right date of birth, 1988-04-17", "")
    sex: str = _note("the right sex: 1 male, 2 female, 9 not applicable, 0 unknown", "")

    def apply(self, resident: Resident, day: date) -> Resident:
        """The person with the right entries."""
        _here(resident)
        birth = BirthDate.parse(self.birth) if self.birth else resident.birth
        if birth.counted_from > day:
            raise EventRefused(f"nobody was born on {self.birth}, after {day}")
        sex = Sex(self.sex) if self.sex else resident.sex
        if (birth, sex) == (resident.birth, resident.sex):
            raise EventRefused("that is what is registered")
        return replace(resident, birth=birth, sex=sex)


@dataclass(frozen=True, slots=True)
class CharacterCorrection(Event):
    """A minor correction (軽微な修正). The name stays, in another form of its characters."""

    word = "character-correction"
    channel = Channel.PAPER
    family: str = _note("the family name in its right form", "")
    given: str = _note("the given name in its right form", "")

    def apply(self, resident: Resident, day: date) -> Resident:
        """The person under the same name in another form."""
        _here(resident)
        name = _renamed(resident.name, self.as_dict())
        if name == resident.name:
            raise EventRefused("that is the name that is registered")
        return replace(resident, name=name)


@dataclass(frozen=True, slots=True)
class Furigana(Event):
    """The reading of the name (振り仮名). It is entered or corrected."""

    word = "furigana"
    channel = Channel.PAPER
    kana: str = _note("the reading in katakana")

    def apply(self, resident: Resident, day: date) -> Resident:
        """The person with that reading."""
        _here(resident, Status.RESIDENT, Status.ABROAD)
        if not all("ァ" <= character <= "ヺ" or character in "ー・　" for character in self.kana):
            raise EventRefused("a reading is written in full-width katakana")
        return replace(resident, name=replace(resident.name, kana=self.kana))


@dataclass(frozen=True, slots=True)
class Renaming(Event):
    """The authority renames a town or its streets (町名地番の変更); nobody moves."""

    word = "renaming"
    channel = Channel.PAPER
    street: str = _note("the same place under its new name")

    def apply(self, resident: Resident, day: date) -> Resident:
        """The person at the same place, called otherwise."""
        _here(resident)
        return replace(resident, street=self.street)


@dataclass(frozen=True, slots=True)
class Death(Event):
    """A death (死亡)."""

    word = "death"
    channel = Channel.PAPER

    def apply(self, resident: Resident, day: date) -> Resident:
        """The person, dead."""
        _here(resident, Status.RESIDENT, Status.MOVING, Status.ABROAD)
        return replace(resident, status=Status.DEAD)


@dataclass(frozen=True, slots=True)
class Emigration(Event):
    """A move abroad (国外転出). With continued use (since 2024-05-27) card and authentication certificate stay."""

    word = "emigration"
    continued: bool = _note("whether the card stays in use abroad (yes, no)")

    def apply(self, resident: Resident, day: date) -> Resident:
        """The person abroad."""
        _here(resident)
        if self.continued and resident.nationality != JAPAN:
            raise EventRefused("only a Japanese national, who stays in a family register, can keep the card abroad")
        return replace(resident, status=Status.ABROAD)


@dataclass(frozen=True, slots=True)
class Immigration(Event):
    """A move back from abroad (国外からの転入)."""

    word = "immigration"
    municipality: str = _note("the code of the municipality")
    street: str = _note("the address after the municipality's name")

    def apply(self, resident: Resident, day: date) -> Resident:
        """The person at the new address."""
        _here(resident, Status.ABROAD)
        return _moved(
            resident, day, municipality=municipality(self.municipality), street=self.street, status=Status.RESIDENT
        )


@dataclass(frozen=True, slots=True)
class Deletion(Event):
    """The record is deleted ex officio (職権消除)."""

    word = "deletion"

    def apply(self, resident: Resident, day: date) -> Resident:
        """The person without a record."""
        _here(resident, Status.RESIDENT, Status.MOVING)
        return replace(resident, status=Status.DELETED)


@dataclass(frozen=True, slots=True)
class NumberChange(Event):
    """Another individual number (個人番号の変更請求). It is asked for because the old one leaked. The card is made
    anew."""

    word = "number-change"

    def apply(self, resident: Resident, day: date) -> Resident:
        """The person without a number, until J-LIS has made the new one."""
        _here(resident)
        _numbered(resident)
        return replace(resident, individual_number=None)


@dataclass(frozen=True, slots=True)
class CodeChange(Event):
    """Another resident record code (住民票コードの変更請求). No reason need be given."""

    word = "code-change"

    def apply(self, resident: Resident, day: date) -> Resident:
        """The person, unchanged; the registry gives the new code."""
        _here(resident)
        _numbered(resident)
        return resident


@dataclass(frozen=True, slots=True)
class LossReport(Event):
    """The loss of card or PIN (一時停止). The call centre hears of it at any hour."""

    word = "loss-report"
    channel = Channel.CALL_CENTRE

    def apply(self, resident: Resident, day: date) -> Resident:
        """The person, unchanged."""
        _here(resident, Status.RESIDENT, Status.MOVING, Status.ABROAD)
        return resident


@dataclass(frozen=True, slots=True)
class Theft(Event):
    """Key or card in strange hands, told at the counter."""

    word = "theft"

    def apply(self, resident: Resident, day: date) -> Resident:
        """The person, unchanged."""
        _here(resident, Status.RESIDENT, Status.MOVING, Status.ABROAD)
        return resident


@dataclass(frozen=True, slots=True)
class Found(Event):
    """A card is found again. The counter lifts the stop on the card, and certificates are made anew."""

    word = "found"

    def apply(self, resident: Resident, day: date) -> Resident:
        """The person, unchanged."""
        _here(resident, Status.RESIDENT, Status.ABROAD)
        return resident


@dataclass(frozen=True, slots=True)
class CardReturn(Event):
    """The card is handed back (返納)."""

    word = "return"

    def apply(self, resident: Resident, day: date) -> Resident:
        """The person, unchanged."""
        _here(resident, Status.RESIDENT, Status.MOVING, Status.ABROAD)
        return resident


@dataclass(frozen=True, slots=True)
class Renewal(Event):
    """New certificates on the same card (電子証明書の更新). They are issued from three months before the old ones
    end."""

    word = "renewal"

    def apply(self, resident: Resident, day: date) -> Resident:
        """The person, unchanged."""
        _here(resident, Status.RESIDENT, Status.ABROAD)
        return resident


@dataclass(frozen=True, slots=True)
class Stay(Event):
    """The period of stay is extended (在留期間更新). It is a foreign resident's."""

    word = "stay"
    channel = Channel.PAPER
    until: date = _note("its new last day")
    residence_status: str = _note("the residence status, where it is another", "")

    def apply(self, resident: Resident, day: date) -> Resident:
        """The person with the new period of stay."""
        _here(resident)
        if resident.nationality == JAPAN:
            raise EventRefused("a Japanese national has no period of stay")
        if self.until <= day:
            raise EventRefused(f"a period of stay that ends on {self.until} is over")
        return replace(
            resident, stay_end=self.until, residence_status=self.residence_status or resident.residence_status
        )


def _kinds(kind: type[Event] = Event) -> Iterator[type[Event]]:
    for found in kind.__subclasses__():
        yield found
        yield from _kinds(found)


KINDS: dict[str, type[Event]] = {kind.word: kind for kind in _kinds()}
"""Every kind of event by its word."""
