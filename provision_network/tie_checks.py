"""Whether a tie of the first matching is wrong: what the body hears later is compared with its own record.

The government's answer of 2013 to the question who guarantees a tie was that errors would be noticed when taxes and
benefits go wrong. These are the signals by which a body can notice. Each uses what the body really gets, and none
knows the truth. A suspicion is not a proof: a person decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import Enum

from kazashi.provision_network.match_register import HolderReport, Report
from kazashi.provision_network.matching import Attributes, NormalForm, agreement, normal_form
from kazashi.resident_registry.birth_date import BirthDate

NOTIFIED_WITHIN = timedelta(days=14)
"""The time within which a move or a death is notified to the municipality (住民基本台帳法22条; 戸籍法86条 allows seven
days for a death). A difference between the registry and what the holder says counts after it."""


class Signal(Enum):
    """What speaks against a tie."""

    SHARED = "shared"
    """Another record of the body is tied to the same person."""
    ANSWER = "answer"
    """An answer over the network states a name, date of birth or sex that is not the record's."""
    CORRECTED = "corrected"
    """The registry has a date of birth or sex now that is not the record's, and both agreed when they were tied."""
    DEAD_BUT_SEEN = "dead-but-seen"
    """By the registry the person has died, and the holder of the record was seen later."""
    ALIVE_BUT_DIED = "alive-but-died"
    """The body has heard of the holder's death, and by the registry the person is alive, two weeks later."""
    ELSEWHERE = "elsewhere"
    """The holder has given an address, and two weeks later the registry has another one, which is not newer."""
    NOT_MINE = "not-mine"
    """The person of the tie says that the record is not theirs."""


@dataclass(frozen=True, slots=True)
class RegistryNow:
    """What J-LIS provides about the person of a tie: the attributes, the day on which they died, and that from which
    they have lived at the address, each None if there is none."""

    attributes: Attributes
    ended: date | None = None
    since: date | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer over the network about the person of a tie: the day, the provider, and the content."""

    day: date
    provider: str
    content: str


@dataclass(frozen=True, slots=True)
class TieEvidence:
    """What a body knows about a tie: its own record, in what it agreed with the person when it was tied, and on which
    day; the registry now, or None if J-LIS has nobody, answers, reports, and other records of the same person."""

    record: Attributes
    agreed: Sequence[str]
    tied: date
    registry: RegistryNow | None
    answers: Sequence[Answered] = ()
    reports: Sequence[Report] = ()
    others: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A signal against a tie, what exactly contradicts, and the first day on which the body could notice."""

    signal: Signal
    words: str
    since: date


def suspicions(evidence: TieEvidence, today: date) -> list[Suspicion]:
    """Return the suspicions against a tie, at most one for each signal."""
    found: dict[Signal, Suspicion] = {}
    for one in _signals(evidence, today):
        if one.signal not in found or one.since < found[one.signal].since:
            found[one.signal] = one
    return list(found.values())


def agreed_attributes(record: Attributes, person: Attributes) -> tuple[str, ...]:
    """Return the names of the attributes in which a record and a person agree."""
    one = agreement(normal_form(record), normal_form(person))
    agreed = {"name": one.names, "kana": one.kana, "birth": one.birth, "sex": one.sex, "address": one.place}
    return tuple(name for name, agrees in agreed.items() if agrees)


_STATED = re.compile(r"(氏名カナ|氏名|生年月日|性別)[:：\s]*((?:[^\s,;、。　]+　?)+)")


def stated(content: str) -> dict[str, str]:
    """Return the attributes that a content states: `氏名`, `氏名カナ`, `生年月日` and `性別`, each followed by a colon
    or a blank and its value; a comma, a semicolon or a blank ends it."""
    return {name: value.strip() for name, value in _STATED.findall(content)}


def contradictions(record: Attributes, content: str) -> list[str]:
    """Return the labels of what a content states otherwise than a record. A name contradicts if the characters and, if
    both are stated, the reading differ."""
    said, ours = stated(content), normal_form(record)
    found = []
    if (birth := said.get("生年月日")) and _birth(birth) not in ("", record.birth):
        found.append("生年月日")
    if (sex := said.get("性別")) and (digit := _SEXES.get(sex)) and digit != record.sex and record.sex in "12":
        found.append("性別")
    names = [label for label in ("氏名", "氏名カナ") if said.get(label)]
    theirs = normal_form(Attributes(said.get("氏名", ""), said.get("氏名カナ", ""), "", "", ""))
    if names and not _same_name(ours, theirs):
        found += names
    return found


_SEXES: Mapping[str, str] = {"男": "1", "女": "2", "1": "1", "2": "2", "男性": "1", "女性": "2"}


def _same_name(ours: NormalForm, theirs: NormalForm) -> bool:
    """Whether one of the names or readings that both have agrees; also if they have none in common."""
    names = not set(ours.names).isdisjoint(theirs.names) if any(theirs.names) else None
    kana = ours.kana == theirs.kana if ours.kana and theirs.kana else None
    return True in (names, kana) or (names is None and kana is None)


def _birth(text: str) -> str:
    try:
        return str(BirthDate.parse(text))
    except ValueError:
        return ""


def _signals(evidence: TieEvidence, today: date) -> Iterator[Suspicion]:
    registry = evidence.registry
    if evidence.others:
        words = f"{', '.join(evidence.others[:3])} is tied to the same person"
        yield Suspicion(Signal.SHARED, words, evidence.tied)
    for answer in evidence.answers:
        if labels := contradictions(evidence.record, answer.content):
            words = f"the answer of {answer.provider} has another {', '.join(labels)} than the record"
            yield Suspicion(Signal.ANSWER, words, answer.day)
    for report in evidence.reports:
        if report.kind is HolderReport.NOT_MINE and report.day >= evidence.tied:
            yield Suspicion(Signal.NOT_MINE, "the person says that the record is not theirs", report.day)
    if registry is None:
        return
    for name, ours, theirs in (
        ("birth", evidence.record.birth, registry.attributes.birth),
        ("sex", evidence.record.sex, registry.attributes.sex),
    ):
        if name in evidence.agreed and ours != theirs:
            yield Suspicion(Signal.CORRECTED, f"the registry has another {name} now", today)
    yield from _lives(evidence, registry, today)
    yield from _addresses(evidence, registry, today)


def _lives(evidence: TieEvidence, registry: RegistryNow, today: date) -> Iterator[Suspicion]:
    for report in evidence.reports:
        seen = report.kind in (HolderReport.SEEN, HolderReport.ADDRESS)
        if seen and registry.ended is not None and registry.ended < report.day:
            words = f"by the registry the person died on {registry.ended}, and the holder was seen on {report.day}"
            yield Suspicion(Signal.DEAD_BUT_SEEN, words, max(report.day, evidence.tied))
        noticed = report.day + NOTIFIED_WITHIN
        if report.kind is HolderReport.DIED and registry.ended is None and noticed < today:
            words = f"the body has heard that the holder died on {report.day}, and by the registry the person lives"
            yield Suspicion(Signal.ALIVE_BUT_DIED, words, max(noticed, evidence.tied))


def _addresses(evidence: TieEvidence, registry: RegistryNow, today: date) -> Iterator[Suspicion]:
    """Compare the last address that the holder has given. The registry's is not compared if the person has moved
    there since, or has died."""
    given = [one for one in evidence.reports if one.kind is HolderReport.ADDRESS]
    if not given or registry.ended is not None:
        return
    last = max(given, key=lambda one: one.day)
    moved_later = registry.since is not None and registry.since > last.day
    noticed = last.day + NOTIFIED_WITHIN
    if moved_later or noticed >= today:
        return
    ours = normal_form(Attributes("", "", "", "", last.content)).place
    if ours != normal_form(registry.attributes).place:
        words = f"the holder lives at another address since {last.day} than the person by the registry"
        yield Suspicion(Signal.ELSEWHERE, words, max(noticed, evidence.tied))
