"""Events about a person's name and its reading.

From 2025-05-26 on, the reading of a name (振り仮名) is part of the family register. Municipalities send everybody a
notice of the reading that they intend to record. For those who do not notify another one within a year, that reading is
recorded ex officio (令和5年法律第48号 and its supplementary provisions).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

from kazashi.resident_registry.event_base import Channel, Event
from kazashi.resident_registry.event_fields import described
from kazashi.resident_registry.rejection import EventRejected, RejectionReason
from kazashi.resident_registry.resident import JAPAN, ResidencyStatus, Resident

FURIGANA_STARTS, FURIGANA_RECORDED = date(2025, 5, 26), date(2026, 5, 26)
"""The day on which readings became part of the register, and the day on which those of the notices were recorded."""


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
class FuriganaNotice(Event):
    code = "furigana-notice"
    japanese = "振り仮名の通知"
    about = f"The municipality notifies the reading of the name that it will record ({japanese})."
    channel = Channel.PAPER
    allowed = (ResidencyStatus.RESIDENT, ResidencyStatus.MOVING)
    recorded_by_registry = True

    kana: str = described("the reading in katakana")

    def deadline(self, day: date) -> tuple[str, date]:
        """The last day to notify another reading."""
        return Furigana.meets, FURIGANA_RECORDED - timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Furigana(Event):
    code = "furigana"
    japanese = "振り仮名"
    about = "A new reading of the name (振り仮名)."
    channel = Channel.PAPER
    allowed = (ResidencyStatus.RESIDENT, ResidencyStatus.ABROAD)
    meets = "furigana"
    may_be_late = True

    kana: str = described("the reading in katakana")

    def _after(self, resident: Resident, day: date) -> Resident:
        if not all("ァ" <= character <= "ヺ" or character in "ー・　" for character in self.kana):
            raise EventRejected(RejectionReason.WRONG_VALUE, f"kana: {self.kana!r} is not in full-width katakana")
        return replace(resident, name=replace(resident.name, kana=self.kana))


@dataclass(frozen=True, slots=True)
class FuriganaRecorded(Event):
    code = "furigana-recorded"
    japanese = "振り仮名の職権記載"
    about = f"The reading of the notice is recorded ex officio, because no other was notified ({japanese})."
    channel = Channel.PAPER
    allowed = (ResidencyStatus.RESIDENT, ResidencyStatus.MOVING)
    recorded_by_registry = True

    kana: str = described("the reading in katakana")
