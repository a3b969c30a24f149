"""The effects of the registry's events on people, and the events that it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, datetime

import pytest

from kazashi.assembly.institutions import Institutions
from kazashi.resident_registry.birth_date import BirthDate
from kazashi.resident_registry.event import (
    EVENTS,
    CardContinuation,
    CardFound,
    CardReturn,
    Channel,
    CharacterCorrection,
    CodeChange,
    Correction,
    Death,
    Deletion,
    Emigration,
    Event,
    Furigana,
    FuriganaNotice,
    FuriganaRecorded,
    Immigration,
    Lapse,
    LossReport,
    MoveIn,
    MoveOut,
    MoveWithin,
    NameChange,
    NumberChange,
    PlaceRenamed,
    Protection,
    Renewal,
    StayExtension,
    Theft,
    event_type,
)
from kazashi.resident_registry.registry import NoSuchResident
from kazashi.resident_registry.rejection import EventRejected, RejectionReason
from kazashi.resident_registry.resident import Name, Residence, ResidencyStatus, Sex
from kazashi.resident_registry.sample_residents import SAMPLE_RESIDENTS
from tests.resident_registry.support import (
    FOREIGNER,
    HANAKO,
    IMMIGRATION,
    MOVE_IN,
    MOVE_IN_WITHOUT_CARD,
    MOVE_OUT,
    TODAY,
    TSUKUBA,
    recorded,
)
from tests.town import later

# Effects on the person

RENAMED = replace(HANAKO.name, family="模擬")

EFFECTS: list[tuple[str, tuple[Event, ...], dict[str, object]]] = [
    ("hanako", (MoveWithin("架空町１丁目"),), {"street": "架空町１丁目"}),
    ("hanako", (MOVE_OUT,), {"status": ResidencyStatus.MOVING}),
    ("hanako", (MOVE_OUT, MOVE_IN), {"status": ResidencyStatus.RESIDENT, "street": "見本台１丁目",
                                    "household": "hanako"}),
    ("hanako", (MOVE_OUT, replace(MOVE_IN, household="new")), {"household": "new"}),
    ("hanako", (MOVE_OUT, MOVE_IN_WITHOUT_CARD, CardContinuation()), {"status": ResidencyStatus.RESIDENT}),
    ("hanako", (Lapse("move-in"),), {"status": ResidencyStatus.RESIDENT, "street": HANAKO.street}),
    ("hanako", (NameChange(family="模擬"),), {"name": RENAMED}),
    ("hanako", (NameChange(given="良子"),), {"name": replace(HANAKO.name, given="良子")}),
    ("hanako", (NameChange(kana="モギ　ハナコ"),), {"name": replace(HANAKO.name, kana="モギ　ハナコ")}),
    ("hanako", (NameChange(former_surname="旧番"),), {"name": replace(HANAKO.name, former_surname="旧番")}),
    ("former-surname", (NameChange(former_surname="-"),),
     {"name": replace(SAMPLE_RESIDENTS["former-surname"].name, former_surname="")}),
    ("common-name", (NameChange(common_name="-"),), {"name": Name("ＬＥＥ", "ＭＯＧＩ")}),
    ("single-name", (NameChange(common_name="模擬"),), {"name": Name("ＳＵＨＡＲＴＡＮＴＯ", common_name="模擬")}),
    ("hanako", (Correction(birth="1988-04-00"),), {"birth": BirthDate(1988, 4, 0), "sex": Sex.FEMALE}),
    ("hanako", (Correction(sex="1"),), {"birth": HANAKO.birth, "sex": Sex.MALE}),
    ("rare-kanji", (CharacterCorrection(family="吉崎"),), {"name": Name("吉崎", "髙次郎")}),
    ("hanako", (Furigana("バンゴウ　ハナ・ヴ"),), {"name": replace(HANAKO.name, kana="バンゴウ　ハナ・ヴ")}),
    ("hanako", (FuriganaNotice("バンゴウ　ハナコ"),), {"name": HANAKO.name}),
    ("hanako", (FuriganaRecorded("バンゴウ　ハナコ"),), {"name": HANAKO.name}),
    ("hanako", (PlaceRenamed("新町９"),), {"street": "新町９", "residences": ()}),
    ("hanako", (Death(),), {"status": ResidencyStatus.DEAD}),
    ("hanako", (MOVE_OUT, Death()), {"status": ResidencyStatus.DEAD}),
    ("hanako", (Emigration(True),), {"status": ResidencyStatus.ABROAD, "municipality": HANAKO.municipality}),
    ("hanako", (Emigration(True), NameChange(family="模擬")), {"status": ResidencyStatus.ABROAD, "name": RENAMED}),
    ("single-name", (Emigration(False),), {"status": ResidencyStatus.ABROAD}),
    ("hanako", (Emigration(True), IMMIGRATION), {"status": ResidencyStatus.RESIDENT, "street": "見本台１丁目"}),
    ("hanako", (Deletion(),), {"status": ResidencyStatus.DELETED}),
    ("hanako", (CodeChange(),), {"status": ResidencyStatus.RESIDENT}),
    ("hanako", (NumberChange(),), {"status": ResidencyStatus.RESIDENT}),
    ("hanako", (Protection(True),), {"protected": True, "status": ResidencyStatus.RESIDENT}),
    ("hanako", (MOVE_OUT, Protection(True), MOVE_IN), {"protected": True, "street": "見本台１丁目"}),
    ("hanako", (Protection(True), Protection(False)), {"protected": False}),
    *(("hanako", (event,), {"name": HANAKO.name, "birth": HANAKO.birth, "street": HANAKO.street, "residences": (),
                            "status": ResidencyStatus.RESIDENT})
      for event in (LossReport(), Theft(), CardFound(), CardReturn(), Renewal())),
    ("single-name", (StayExtension(date(2037, 3, 31)),),
     {"stay_end": date(2037, 3, 31), "residence_status": FOREIGNER.residence_status}),
    ("single-name", (StayExtension(date(2037, 3, 31), "spouse"),), {"residence_status": "spouse"}),
]  # fmt: skip


@pytest.mark.parametrize(("who", "events", "expected"), EFFECTS)
def test_each_event_changes_the_person_as_expected(
    town: Institutions, who: str, events: tuple[Event, ...], expected: dict[str, object]
) -> None:
    before = town.resident(who)
    for event in events:
        returned = town.registry.record(who, event)
    after = town.registry.find(who)
    assert returned == after
    assert {name: getattr(after, name) for name in expected} == expected
    history = town.registry.history(who)
    assert [entry.code for entry in history] == ["registration", *(event.code for event in events)]
    assert [entry.day for entry in history] == [TODAY] * len(history)
    assert history[-1].detail == json.loads(json.dumps(events[-1].as_dict()))
    assert (after.alias, after.about, after.nationality) == (before.alias, before.about, before.nationality)


def test_the_effect_of_every_event_is_tested() -> None:
    assert {type(event) for _, events, _ in EFFECTS for event in events} == set(EVENTS)


def test_changed_numbers_are_new_and_old_numbers_find_nobody(town: Institutions) -> None:
    first = town.resident("hanako")
    seen = {str(town.registry.find("hanako").individual_number)}
    for changes in range(1, 4):
        assert town.registry.record("hanako", NumberChange()).individual_number is None
        town.settle()
        number = str(town.registry.find("hanako").individual_number)
        assert town.juki_net.j_lis.identity(first.code).individual_number == number
        seen.add(number)
        assert len(seen) == changes + 1
    assert town.registry.find(number).code == first.code
    with pytest.raises(NoSuchResident):
        town.registry.find(next(iter(seen - {number})))


def test_a_tenth_number_change_is_refused_and_delays_nobody(town: Institutions) -> None:
    town.resident("hanako")
    for _ in range(9):
        recorded(town, "hanako", NumberChange())
    number = town.registry.find("hanako").individual_number
    with pytest.raises(EventRejected) as refused:
        town.registry.record("hanako", NumberChange())
    assert refused.value.reason is RejectionReason.NUMBERS_USED_UP
    town.resident("taro")
    recorded(town, "taro", MoveWithin("架空町１丁目"))
    assert town.registry.find("hanako").individual_number == number
    assert town.juki_net.next_due() is None


def test_former_addresses_are_kept_in_order(town: Institutions) -> None:
    town.resident("hanako")
    town.registry.record("hanako", MoveWithin("架空町１丁目"), date(2026, 11, 20))
    later(town, days=10)
    town.registry.record("hanako", MoveOut(TSUKUBA, date(2026, 12, 4)))
    town.registry.record("hanako", MOVE_IN, date(2026, 12, 4))
    town.registry.record("hanako", PlaceRenamed("新見本台１丁目"))
    town.registry.record("hanako", Emigration(True))
    after = town.registry.record("hanako", Immigration("47201", "架空９丁目"))
    assert after.residences == (
        Residence("13113", HANAKO.address, date(2026, 11, 20)),
        Residence("13113", "東京都渋谷区架空町１丁目", date(2026, 12, 4)),
        Residence(TSUKUBA, "茨城県つくば市新見本台１丁目", date(2026, 12, 4)),
    )
    assert (after.since, after.address) == (date(2026, 12, 4), "沖縄県那覇市架空９丁目")
    places = [entry.municipality for entry in town.registry.history("hanako")]
    assert places == ["13113", "13113", "13113", TSUKUBA, TSUKUBA, TSUKUBA, "47201"]


def test_renaming_a_place_changes_the_addresses_of_its_residents(institutions: Institutions) -> None:
    for who in ("hanako", "taro", "child", "leap-day"):
        institutions.resident(who)
    institutions.registry.record("taro", MOVE_OUT)
    assert institutions.registry.rename("13113", "架空町９丁目", "模擬町") == 2
    assert institutions.registry.find("hanako").street == "模擬町９９番９９号"
    assert institutions.registry.find("taro").street == SAMPLE_RESIDENTS["taro"].street, "they are moving out"
    assert institutions.registry.rename("13113", "架空町９丁目", "模擬町") == 0
    assert institutions.registry.history("child")[-1].code == "renaming"
    with pytest.raises(ValueError, match="no municipality"):
        institutions.registry.rename("99999", "a", "b")


# Refused events

DEAD, ABROAD, MOVING, DELETED = (Death(),), (Emigration(True),), (MOVE_OUT,), (Deletion(),)
EVERYTHING: tuple[Event, ...] = (
    MoveWithin("a"), MOVE_OUT, MOVE_IN, NameChange(family="a"), Correction(sex="9"), CharacterCorrection(family="a"),
    Furigana("ア"), PlaceRenamed("a"), Death(), Emigration(True), IMMIGRATION, Deletion(), NumberChange(), CodeChange(),
    Protection(True), LossReport(), Theft(), CardFound(), CardReturn(), Renewal(),
)  # fmt: skip
STILL_ALLOWED: dict[tuple[Event, ...], set[type[Event]]] = {
    ABROAD: {NameChange, Furigana, Death, Immigration, LossReport, Theft, CardFound, CardReturn, Renewal},
    MOVING: {MoveIn, Death, Deletion, Protection, LossReport, Theft, CardReturn},
    DEAD: set(),
    DELETED: set(),
}


@pytest.mark.parametrize("before", STILL_ALLOWED, ids=["abroad", "moving", "dead", "deleted"])
def test_events_that_are_allowed_for_people_who_are_not_residents(
    town: Institutions, before: tuple[Event, ...]
) -> None:
    accepted: set[type[Event]] = set()
    reasons: set[RejectionReason] = set()
    for number, event in enumerate(EVERYTHING):
        town.registry.add(replace(HANAKO, alias=f"p{number}"))
        for earlier in before:
            town.registry.record(f"p{number}", earlier)
        try:
            town.registry.record(f"p{number}", event)
            accepted.add(type(event))
        except EventRejected as refused:
            reasons.add(refused.reason)
            assert len(town.registry.history(f"p{number}")) == 2, "nothing was changed"
    assert accepted == STILL_ALLOWED[before]
    assert reasons == {RejectionReason.WRONG_STATUS}


REFUSED: list[tuple[str, Event, RejectionReason | None]] = [
    ("hanako", MoveWithin(HANAKO.street), RejectionReason.UNCHANGED),
    ("hanako", MoveOut("13113", TODAY), RejectionReason.UNCHANGED),
    ("hanako", MoveOut("99999", TODAY), None),
    ("hanako", MoveOut("x", TODAY), None),
    ("hanako", MoveOut(TSUKUBA, date(2028, 1, 1)), RejectionReason.WRONG_DAY),
    ("hanako", MoveOut(TSUKUBA, date(2025, 1, 1)), RejectionReason.WRONG_DAY),
    ("hanako", MOVE_IN, RejectionReason.WRONG_STATUS),
    ("hanako", CardContinuation(), RejectionReason.NOT_AWAITED),
    ("hanako", NameChange(), RejectionReason.UNCHANGED),
    ("hanako", NameChange(family="番号"), RejectionReason.UNCHANGED),
    ("hanako", NameChange(family="-"), None),
    ("hanako", NameChange(common_name="模擬"), RejectionReason.WRONG_NATIONALITY),
    ("single-name", NameChange(former_surname="旧見"), RejectionReason.WRONG_NATIONALITY),
    ("hanako", Correction(), RejectionReason.UNCHANGED),
    ("hanako", Protection(False), RejectionReason.UNCHANGED),
    ("hanako", Correction(birth="1988-04-17"), RejectionReason.UNCHANGED),
    ("hanako", Correction(birth="2026-11-25"), RejectionReason.WRONG_DAY),
    ("hanako", Correction(birth="1988-02-30"), None),
    ("hanako", Correction(birth="yesterday"), None),
    ("hanako", Correction(sex="3"), None),
    ("hanako", CharacterCorrection(given="花子"), RejectionReason.UNCHANGED),
    ("hanako", Furigana("ばんごう"), RejectionReason.WRONG_VALUE),
    ("hanako", Furigana("ﾊﾝｺﾞｳ"), RejectionReason.WRONG_VALUE),
    ("hanako", Furigana("BANGO"), RejectionReason.WRONG_VALUE),
    ("hanako", StayExtension(date(2030, 1, 1)), RejectionReason.WRONG_NATIONALITY),
    ("single-name", StayExtension(TODAY), RejectionReason.WRONG_DAY),
    ("single-name", StayExtension(date(2020, 1, 1)), RejectionReason.WRONG_DAY),
    ("single-name", Emigration(True), RejectionReason.WRONG_NATIONALITY),
    ("hanako", IMMIGRATION, RejectionReason.WRONG_STATUS),
]
"""The person, the event, and the reason why it is refused; None for a malformed value (ValueError)."""


@pytest.mark.parametrize(("who", "event", "reason"), REFUSED)
def test_an_invalid_event_is_refused_and_changes_nothing(
    quiet: Institutions, who: str, event: Event, reason: RejectionReason | None
) -> None:
    town = quiet
    town.resident(who)
    before = town.registry.find(who)
    with pytest.raises(EventRejected if reason else ValueError) as refused:
        town.registry.record(who, event)
    assert reason is None or (isinstance(refused.value, EventRejected) and refused.value.reason is reason)
    assert town.registry.find(who) == before
    assert len(town.registry.history(who)) == 1
    assert town.juki_net.next_due() is None


def test_days_in_the_future_or_before_the_birth_are_refused(town: Institutions) -> None:
    town.resident("hanako")
    for day in (date(2026, 11, 25), date(1988, 4, 16)):
        with pytest.raises(EventRejected) as refused:
            town.registry.record("hanako", LossReport(), day)
        assert refused.value.reason is RejectionReason.WRONG_DAY
    town.registry.record("hanako", LossReport(), date(1988, 4, 17))
    assert town.registry.history("hanako")[-1].day == date(1988, 4, 17)


def test_the_default_day_is_the_date_in_japan(town: Institutions) -> None:
    town.resident("hanako")
    town.advance(datetime.fromisoformat("2026-11-24T15:30+00:00"))
    assert town.registry.record("hanako", MoveWithin("架空町１丁目")).since == date(2026, 11, 25)


def test_unknown_people_and_mistyped_numbers_are_not_found(town: Institutions) -> None:
    town.resident("hanako")
    for who in ("nobody", "", "12345678903", "123456789018"):
        with pytest.raises(NoSuchResident):
            town.registry.record(who, LossReport())
    for who in ("12345678900", "123456789010"):
        with pytest.raises(NoSuchResident, match="check digit"):
            town.registry.record(who, LossReport())


def test_people_are_found_by_alias_code_and_number(institutions: Institutions) -> None:
    institutions.resident("hanako")
    hanako = institutions.registry.find("hanako")
    assert hanako.individual_number is not None
    assert institutions.registry.find(hanako.code) == institutions.registry.find(hanako.individual_number) == hanako
    assert institutions.registry.residents("13113") == [hanako]
    assert institutions.registry.residents(TSUKUBA) == []


def test_an_invalid_registration_is_refused(institutions: Institutions) -> None:
    institutions.resident("hanako")
    for resident, reason in (
        (HANAKO, RejectionReason.ALIAS),
        (replace(HANAKO, alias="12345"), RejectionReason.ALIAS),
        (replace(HANAKO, alias="x", birth=BirthDate(2026, 11, 25)), RejectionReason.WRONG_DAY),
        (replace(institutions.registry.find("hanako"), alias="x"), RejectionReason.BRINGS_NUMBERS),
    ):
        with pytest.raises(EventRejected) as refused:
            institutions.registry.add(resident)
        assert refused.value.reason is reason
    assert institutions.registry.count() == 1


def test_people_can_be_registered_without_an_alias(institutions: Institutions) -> None:
    institutions.registry.add(replace(HANAKO, alias=""))
    institutions.registry.add(replace(HANAKO, alias=""))
    assert institutions.registry.count() == 2


# Events as JSON


@pytest.mark.parametrize(
    ("code", "values", "reason", "names"),
    [
        ("move-within", {}, RejectionReason.MISSING_FIELD, ["street"]),
        ("move-within", {"street": ""}, RejectionReason.MISSING_FIELD, ["street"]),
        ("move-within", {"street": "a", "town": "b"}, RejectionReason.UNKNOWN_FIELD, ["town"]),
        ("death", {"day": "x"}, RejectionReason.UNKNOWN_FIELD, ["day"]),
        ("move-out", {"to": TSUKUBA}, RejectionReason.MISSING_FIELD, ["moves_on"]),
        ("move-out", {}, RejectionReason.MISSING_FIELD, ["to", "moves_on"]),
        ("move-out", {"to": TSUKUBA, "moves_on": "tomorrow"}, RejectionReason.WRONG_VALUE, ["moves_on"]),
        ("move-out", {"to": TSUKUBA, "moves_on": "2026-02-30"}, RejectionReason.WRONG_VALUE, ["moves_on"]),
        ("stay", {"until": "20xx-01-01"}, RejectionReason.WRONG_VALUE, ["until"]),
        ("emigration", {}, RejectionReason.MISSING_FIELD, ["continued"]),
        ("emigration", {"continued": "perhaps"}, RejectionReason.WRONG_VALUE, ["continued"]),
        ("emigration", {"continued": 1}, RejectionReason.WRONG_VALUE, ["continued"]),
        (
            "move-in",
            {"municipality": TSUKUBA, "street": "a", "card_continued": "true"},
            RejectionReason.WRONG_VALUE,
            ["card_continued"],
        ),
        ("move-within", {"street": 5}, RejectionReason.WRONG_VALUE, ["street"]),
        ("move-out", {"to": TSUKUBA, "moves_on": 5}, RejectionReason.WRONG_VALUE, ["moves_on"]),
        ("name-change", {"surname": "x"}, RejectionReason.UNKNOWN_FIELD, ["surname"]),
    ],
)
def test_unknown_missing_and_invalid_fields_are_refused(
    code: str, values: dict[str, object], reason: RejectionReason, names: list[str]
) -> None:
    with pytest.raises(EventRejected) as refused:
        event_type(code).from_dict(values)
    assert refused.value.reason is reason
    assert all(name in str(refused.value) for name in names), "the message names the fields"


@pytest.mark.parametrize(
    "event",
    [MOVE_OUT, MOVE_IN, MOVE_IN_WITHOUT_CARD, Emigration(True), Emigration(False),
     StayExtension(date(2030, 1, 1), "spouse"),
     NameChange(family="a", common_name="-"), Death(), Correction(birth="1988-04-00")],
)  # fmt: skip
def test_an_event_survives_json(event: Event) -> None:
    assert type(event).from_dict(json.loads(json.dumps(event.as_dict()))) == event


def test_text_fields_become_dates_and_booleans() -> None:
    assert Emigration.from_dict({"continued": "no"}) == Emigration(False)
    assert Emigration.from_dict({"continued": False}) == Emigration(False)
    assert MoveOut.from_dict({"to": TSUKUBA, "moves_on": "2026-11-24"}) == MOVE_OUT


def test_channels_of_the_events() -> None:
    assert {event for event in EVENTS if event.channel is Channel.PAPER} == {
        NameChange, CharacterCorrection, FuriganaNotice, Furigana, FuriganaRecorded, PlaceRenamed, Death,
        StayExtension,
    }  # fmt: skip
    assert {event for event in EVENTS if event.channel is Channel.CALL_CENTRE} == {LossReport}
