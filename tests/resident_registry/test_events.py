from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta

import pytest
from cryptography import x509

from kazashi.assembly.institutions import Institutions
from kazashi.card.certification_request import certification_request
from kazashi.card_management.management import CardState
from kazashi.card_management.order import usual_order
from kazashi.jpki.profile import Kind, Medium
from kazashi.pki.certificate import Request
from kazashi.pki.ledger import Issued
from kazashi.resident_registry.birth_date import BirthDate
from kazashi.resident_registry.cast import CAST
from kazashi.resident_registry.event import (
    KINDS,
    CardContinuation,
    CardReturn,
    Channel,
    CharacterCorrection,
    CodeChange,
    Correction,
    Death,
    Deletion,
    Emigration,
    Event,
    EventRefused,
    Found,
    Furigana,
    Immigration,
    Lapse,
    LossReport,
    MoveIn,
    MoveOut,
    MoveWithin,
    NameChange,
    NumberChange,
    Renaming,
    Renewal,
    Stay,
    Theft,
)
from kazashi.resident_registry.registry import ImportRefused, NoSuchResident
from kazashi.resident_registry.resident import Name, Residence, Resident, Sex, Status
from kazashi.tools.cli.commands.registry import _documents
from kazashi.world.clock import instant_of
from kazashi.world.key_source import KeySource
from tests.town import AUTHENTICATION, MORNING, SIGNATURE, certificates, clock_of, later, new_institutions, standing

TODAY = date(2026, 11, 24)
TSUKUBA = "08220"
HANAKO, FOREIGNER = CAST["hanako"], CAST["single-name"]
SECOND = timedelta(seconds=1)

MOVE_OUT = MoveOut(TSUKUBA, TODAY)
MOVE_IN = MoveIn(TSUKUBA, "見本台１丁目")
MOVE_IN_WITHOUT_CARD = MoveIn(TSUKUBA, "見本台１丁目", card_continued=False)
IMMIGRATION = Immigration(TSUKUBA, "見本台１丁目")


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory, keys: KeySource) -> Iterator[Institutions]:
    """A town in which nothing happens: for what is refused."""
    found = new_institutions(tmp_path_factory.mktemp("quiet") / "w", keys)
    yield found
    found.world.close()


def recorded(institutions: Institutions, who: str, *events: Event) -> Resident:
    """Record events, each of which reaches everybody before the next."""
    for event in events:
        institutions.registry.record(who, event, channel=Channel.COUNTER)
        institutions.settle()
    return institutions.registry.find(who)


def outcome(institutions: Institutions, who: str, kind: Kind, place: int = -1) -> str:
    """How a certificate stands, in words: `good`, `revoked affiliationChanged`, ..."""
    serial = certificates(institutions, who, kind)[place].serial
    found = institutions.revocations[kind].standing(serial)
    return f"{found.state.value} {found.reason.word}" if found.reason is not None else found.state.value


def phone_certificate(institutions: Institutions, who: str, kind: Kind, phone: str) -> Issued:
    resident = institutions.juki_net.j_lis.identity(institutions.registry.find(who).code)
    last = certificates(institutions, who, kind)[-1].not_after
    key = certification_request(institutions.world.keys.take())
    now = institutions.world.clock.now()
    asked = Request(resident, key, now, last, Medium.PHONE, phone, identifier=f"{phone} {kind.word}")
    serial = x509.load_der_x509_certificate(institutions.authorities[kind].issue(asked)).serial_number
    return institutions.authorities[kind].find(serial)


def test_a_move_kills_the_signature_certificate_alone(institutions: Institutions) -> None:
    institutions.issue_card("hanako", "hanako")
    institutions.registry.record("hanako", MoveWithin("架空町１丁目"))
    institutions.settle()
    assert standing(institutions, "hanako", SIGNATURE).state.value == "revoked"
    assert standing(institutions, "hanako", AUTHENTICATION).state.value == "good"
    institutions.registry.record("hanako", Death())
    institutions.settle()
    assert standing(institutions, "hanako", AUTHENTICATION).state.value == "good", "it leaves with the evening's batch"
    later(institutions, hours=12)
    assert standing(institutions, "hanako", AUTHENTICATION).state.value == "revoked"


# What happens to certificates

GOOD = "good"
HELD = "held certificateHold"
CHANGED = "revoked affiliationChanged"
ENDED = "revoked cessationOfOperation"
STOLEN = "revoked keyCompromise"

TABLE: list[tuple[str, str, tuple[Event, ...], str, str]] = [
    ("a move within the municipality", "hanako", (MoveWithin("架空町１丁目"),), CHANGED, GOOD),
    ("a move out, and no move in yet", "hanako", (MOVE_OUT,), GOOD, GOOD),
    ("a move to another municipality", "hanako", (MOVE_OUT, MOVE_IN), CHANGED, GOOD),
    ("a move in without the card", "hanako", (MOVE_OUT, MOVE_IN_WITHOUT_CARD), CHANGED, GOOD),
    ("a card continued later", "hanako", (MOVE_OUT, MOVE_IN_WITHOUT_CARD, CardContinuation()), CHANGED, GOOD),
    ("marriage", "hanako", (NameChange(family="模擬"),), CHANGED, GOOD),
    ("a former surname", "hanako", (NameChange(former_surname="旧番"),), CHANGED, GOOD),
    ("a former surname taken away", "former-surname", (NameChange(former_surname="-"),), CHANGED, GOOD),
    ("a common name", "single-name", (NameChange(common_name="模擬　太郎"),), CHANGED, GOOD),
    ("a corrected date of birth", "hanako", (Correction(birth="1988-04-18"),), CHANGED, GOOD),
    ("a corrected sex", "hanako", (Correction(sex="9"),), CHANGED, GOOD),
    ("a furigana", "hanako", (Furigana("バンゴウ　ハナコ"),), GOOD, GOOD),
    ("a corrected character", "rare-kanji", (CharacterCorrection(family="吉崎"),), GOOD, GOOD),
    ("a renamed street", "hanako", (Renaming("新架空町９丁目９９番９９号"),), GOOD, GOOD),
    ("a death", "hanako", (Death(),), ENDED, ENDED),
    ("emigration", "hanako", (Emigration(continued=False),), ENDED, ENDED),
    ("emigration with the card in use", "hanako", (Emigration(continued=True),), CHANGED, GOOD),
    ("a return from abroad with the card", "hanako", (Emigration(continued=True), IMMIGRATION), CHANGED, GOOD),
    ("a return from abroad without it", "hanako", (Emigration(continued=False), IMMIGRATION), ENDED, ENDED),
    ("deletion ex officio", "hanako", (Deletion(),), ENDED, ENDED),
    ("another individual number", "hanako", (NumberChange(),), ENDED, ENDED),
    ("another record code", "hanako", (CodeChange(),), GOOD, GOOD),
    ("a loss", "hanako", (LossReport(),), HELD, HELD),
    ("two reports of one loss", "hanako", (LossReport(), LossReport()), HELD, HELD),
    ("a theft", "hanako", (Theft(),), STOLEN, STOLEN),
    ("a loss that was a theft", "hanako", (LossReport(), Theft()), STOLEN, STOLEN),
    ("a loss, and then a death", "hanako", (LossReport(), Death()), ENDED, ENDED),
    ("a move, and then a death", "hanako", (MoveWithin("架空町１丁目"), Death()), CHANGED, ENDED),
    ("a card handed back", "hanako", (CardReturn(),), ENDED, ENDED),
    ("a longer stay", "single-name", (Stay(date(2037, 3, 31)),), GOOD, GOOD),
    ("a renewal asked for too early", "hanako", (Renewal(),), GOOD, GOOD),
    ("a card found that was not lost", "hanako", (Found(),), GOOD, GOOD),
]


@pytest.mark.parametrize(
    ("who", "events", "signature", "authentication"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_what_an_event_does_to_certificates(
    town: Institutions, who: str, events: tuple[Event, ...], signature: str, authentication: str
) -> None:
    town.issue_card(who, who)
    town.issue_card("leap-day", "leap-day")
    recorded(town, who, *events)
    assert outcome(town, who, SIGNATURE) == signature
    assert outcome(town, who, AUTHENTICATION) == authentication
    assert [outcome(town, "leap-day", kind) for kind in Kind] == [GOOD, GOOD], "nobody else's"
    assert [len(certificates(town, who, kind)) for kind in Kind] == [1, 1], "and none is made anew of itself"


def test_every_kind_of_event_is_in_the_table_or_has_a_test_of_its_own() -> None:
    assert KINDS.keys() - {event.word for row in TABLE for event in row[2]} == {"lapse"}


def test_a_lost_card_that_is_found_gets_new_certificates(institutions: Institutions) -> None:
    institutions.issue_card("hanako", "hanako")
    recorded(institutions, "hanako", LossReport())
    assert institutions.cards.card_state("hanako") is CardState.STOPPED
    held_since = standing(institutions, "hanako", SIGNATURE).since
    recorded(institutions, "hanako", Found())
    assert institutions.cards.card_state("hanako") is CardState.ACTIVE
    for kind in Kind:
        assert [outcome(institutions, "hanako", kind, place) for place in (0, 1)] == [HELD, GOOD], "never released"
        assert institutions.revocations[kind].standing(certificates(institutions, "hanako", kind)[0].serial).since == (
            held_since
        )
    recorded(institutions, "hanako", Theft())
    for kind in Kind:
        assert [outcome(institutions, "hanako", kind, place) for place in (0, 1)] == [STOLEN, STOLEN]


def test_a_certificate_revoked_after_a_hold_is_worth_nothing_since_the_hold(town: Institutions) -> None:
    town.issue_card("hanako", "hanako")
    town.registry.record("hanako", LossReport())
    town.settle()
    later(town, days=3)
    recorded(town, "hanako", CardReturn())
    assert outcome(town, "hanako", SIGNATURE) == ENDED
    assert standing(town, "hanako", SIGNATURE).since == MORNING


def test_another_record_code_takes_the_certificates_along(institutions: Institutions) -> None:
    institutions.issue_card("hanako", "hanako")
    before = institutions.registry.find("hanako")
    serials = {kind: [found.serial for found in certificates(institutions, "hanako", kind)] for kind in Kind}
    after = recorded(institutions, "hanako", CodeChange())
    assert after.code != before.code
    assert after.individual_number == before.individual_number, "the number is not made anew"
    with pytest.raises(NoSuchResident):
        institutions.registry.find(before.code)
    for kind in Kind:
        assert [found.serial for found in certificates(institutions, "hanako", kind)] == serials[kind]
        assert not institutions.authorities[kind].of_holder(before.code)
    assert [case.order.code for case in institutions.cards.cases()] == [after.code]
    recorded(institutions, "hanako", CodeChange(), MoveWithin("架空町１丁目"))
    assert outcome(institutions, "hanako", SIGNATURE) == CHANGED
    assert outcome(institutions, "hanako", AUTHENTICATION) == GOOD
    recorded(institutions, "hanako", Death())
    assert outcome(institutions, "hanako", AUTHENTICATION) == ENDED
    assert institutions.cards.card_state("hanako") is CardState.ENDED


def test_renewal_supersedes_the_old_certificates_and_a_phone_s_follow(institutions: Institutions) -> None:
    clock_of(institutions.world).stand(instant_of("2027-01-16T10:00+09:00"))
    order = usual_order(institutions.world, institutions.resident("hanako"))
    issued = instant_of("2022-11-24T10:00+09:00")
    institutions.issue_card("hanako", "hanako", replace(order, issued=issued))
    phones = {kind: phone_certificate(institutions, "hanako", kind, "phone a") for kind in Kind}
    assert {found.not_after for found in phones.values()} == {instant_of("2027-04-17T23:59:59+09:00")}
    institutions.registry.record("hanako", Renewal())
    institutions.settle()
    assert [case.state for case in institutions.cards.cases()] == ["done", "refused"]
    assert "2027-01-17" in institutions.cards.cases()[1].note
    institutions.advance(instant_of("2027-01-17"))
    institutions.registry.record("hanako", Renewal())
    institutions.settle()
    for kind in Kind:
        old, phone, new = certificates(institutions, "hanako", kind)
        assert phone == phones[kind]
        assert [outcome(institutions, "hanako", kind, place) for place in range(3)] == [
            "revoked superseded", "revoked superseded", GOOD,
        ]  # fmt: skip
        assert (new.predecessor, new.medium) == (old.serial, Medium.CARD)
        assert new.not_after == instant_of("2032-04-17T23:59:59+09:00"), "the sixth birthday from the renewal"


def test_a_phone_s_certificates_share_what_befalls_the_person(town: Institutions) -> None:
    town.issue_card("hanako", "hanako")
    for kind in Kind:
        phone_certificate(town, "hanako", kind, "phone a")
    recorded(town, "hanako", MoveWithin("架空町１丁目"))
    assert [outcome(town, "hanako", SIGNATURE, place) for place in (0, 1)] == [CHANGED, CHANGED]
    assert [outcome(town, "hanako", AUTHENTICATION, place) for place in (0, 1)] == [GOOD, GOOD]
    recorded(town, "hanako", CardReturn())
    assert [outcome(town, "hanako", AUTHENTICATION, place) for place in (0, 1)] == [ENDED, ENDED]
    assert [outcome(town, "hanako", SIGNATURE, place) for place in (0, 1)] == [CHANGED, CHANGED]


def test_a_new_phone_takes_the_place_of_the_old_one(town: Institutions) -> None:
    town.issue_card("hanako", "hanako")
    phone_certificate(town, "hanako", SIGNATURE, "phone a")
    phone_certificate(town, "hanako", SIGNATURE, "phone b")
    assert [outcome(town, "hanako", SIGNATURE, place) for place in range(3)] == [GOOD, "revoked superseded", GOOD]


# Deadlines


@pytest.mark.parametrize("moves_on", [TODAY, TODAY + timedelta(days=5)])
def test_a_card_lapses_on_the_fifteenth_day_after_a_move_that_was_not_notified(
    town: Institutions, moves_on: date
) -> None:
    town.issue_card("hanako", "hanako")
    town.registry.record("hanako", MoveOut(TSUKUBA, moves_on))
    lapses = instant_of((moves_on + timedelta(days=15)).isoformat())
    assert town.registry.next_lapse() == lapses
    town.advance(lapses - SECOND)
    assert [outcome(town, "hanako", kind) for kind in Kind] == [GOOD, GOOD]
    town.advance(lapses)
    assert [outcome(town, "hanako", kind) for kind in Kind] == [ENDED, ENDED]
    assert town.cards.card_state("hanako") is CardState.ENDED
    last = town.registry.history("hanako")[-1]
    assert (last.word, last.at, last.detail) == ("lapse", lapses, {"why": "move-in"})
    assert town.registry.next_lapse() is None


def test_a_move_in_on_the_fourteenth_day_is_in_time(town: Institutions) -> None:
    town.issue_card("hanako", "hanako")
    town.registry.record("hanako", MOVE_OUT)
    town.advance(instant_of("2026-12-08T23:59:59+09:00"))
    town.registry.record("hanako", MOVE_IN)
    town.settle()
    assert town.registry.next_lapse() is None
    assert [outcome(town, "hanako", kind) for kind in Kind] == [CHANGED, GOOD]
    assert town.cards.card_state("hanako") is CardState.ACTIVE


def test_whoever_moves_in_late_is_registered_all_the_same_without_the_card(town: Institutions) -> None:
    town.issue_card("hanako", "hanako")
    town.registry.record("hanako", MOVE_OUT)
    later(town, days=20)
    moved = recorded(town, "hanako", MOVE_IN)
    assert (moved.status, moved.municipality.code) == (Status.RESIDENT, TSUKUBA)
    assert town.cards.card_state("hanako") is CardState.ENDED
    assert outcome(town, "hanako", AUTHENTICATION) == ENDED


def test_a_card_that_is_not_continued_lapses_after_ninety_days(town: Institutions) -> None:
    town.issue_card("hanako", "hanako")
    town.registry.record("hanako", MOVE_OUT)
    town.registry.record("hanako", MOVE_IN_WITHOUT_CARD)
    lapses = instant_of((TODAY + timedelta(days=91)).isoformat())
    assert town.registry.next_lapse() == lapses
    clock_of(town.world).stand(lapses - SECOND)
    town.settle()
    assert [outcome(town, "hanako", kind) for kind in Kind] == [CHANGED, GOOD]
    town.advance(lapses)
    assert [outcome(town, "hanako", kind) for kind in Kind] == [CHANGED, ENDED]
    assert town.registry.history("hanako")[-1].detail == {"why": "card-continuation"}
    with pytest.raises(EventRefused, match="no card-continuation is awaited"):
        town.registry.record("hanako", CardContinuation())


def test_a_continuation_on_the_ninetieth_day_is_in_time(town: Institutions) -> None:
    town.issue_card("hanako", "hanako")
    town.registry.record("hanako", MOVE_OUT)
    town.registry.record("hanako", MOVE_IN_WITHOUT_CARD)
    clock_of(town.world).stand(instant_of("2027-02-22T23:59:59+09:00"))
    town.registry.record("hanako", CardContinuation())
    town.settle()
    assert town.registry.next_lapse() is None
    assert [outcome(town, "hanako", kind) for kind in Kind] == [CHANGED, GOOD]
    assert town.cards.card_state("hanako") is CardState.ACTIVE


@pytest.mark.parametrize("event", [Death(), Deletion()])
def test_nothing_is_awaited_of_somebody_who_is_gone(town: Institutions, event: Event) -> None:
    town.resident("hanako")
    town.registry.record("hanako", MOVE_OUT)
    recorded(town, "hanako", event)
    assert town.registry.next_lapse() is None
    later(town, days=30)
    assert [found.word for found in town.registry.history("hanako")] == ["registration", "move-out", event.word]


# What happens to the person

RENAMED = replace(HANAKO.name, family="模擬")

EFFECTS: list[tuple[str, tuple[Event, ...], dict[str, object]]] = [
    ("hanako", (MoveWithin("架空町１丁目"),), {"street": "架空町１丁目"}),
    ("hanako", (MOVE_OUT,), {"status": Status.MOVING}),
    ("hanako", (MOVE_OUT, MOVE_IN), {"status": Status.RESIDENT, "street": "見本台１丁目", "household": "hanako"}),
    ("hanako", (MOVE_OUT, replace(MOVE_IN, household="new")), {"household": "new"}),
    ("hanako", (MOVE_OUT, MOVE_IN_WITHOUT_CARD, CardContinuation()), {"status": Status.RESIDENT}),
    ("hanako", (Lapse("move-in"),), {"status": Status.RESIDENT, "street": HANAKO.street}),
    ("hanako", (NameChange(family="模擬"),), {"name": RENAMED}),
    ("hanako", (NameChange(given="良子"),), {"name": replace(HANAKO.name, given="良子")}),
    ("hanako", (NameChange(kana="モギ　ハナコ"),), {"name": replace(HANAKO.name, kana="モギ　ハナコ")}),
    ("hanako", (NameChange(former_surname="旧番"),), {"name": replace(HANAKO.name, former_surname="旧番")}),
    ("former-surname", (NameChange(former_surname="-"),),
     {"name": replace(CAST["former-surname"].name, former_surname="")}),
    ("common-name", (NameChange(common_name="-"),), {"name": Name("ＬＥＥ", "ＭＯＧＩ")}),
    ("single-name", (NameChange(common_name="模擬"),), {"name": Name("ＳＵＨＡＲＴＡＮＴＯ", common_name="模擬")}),
    ("hanako", (Correction(birth="1988-04-00"),), {"birth": BirthDate(1988, 4, 0), "sex": Sex.FEMALE}),
    ("hanako", (Correction(sex="1"),), {"birth": HANAKO.birth, "sex": Sex.MALE}),
    ("rare-kanji", (CharacterCorrection(family="吉崎"),), {"name": Name("吉崎", "髙次郎")}),
    ("hanako", (Furigana("バンゴウ　ハナ・ヴ"),), {"name": replace(HANAKO.name, kana="バンゴウ　ハナ・ヴ")}),
    ("hanako", (Renaming("新町９"),), {"street": "新町９", "residences": ()}),
    ("hanako", (Death(),), {"status": Status.DEAD}),
    ("hanako", (MOVE_OUT, Death()), {"status": Status.DEAD}),
    ("hanako", (Emigration(True),), {"status": Status.ABROAD, "municipality": HANAKO.municipality}),
    ("hanako", (Emigration(True), NameChange(family="模擬")), {"status": Status.ABROAD, "name": RENAMED}),
    ("single-name", (Emigration(False),), {"status": Status.ABROAD}),
    ("hanako", (Emigration(True), IMMIGRATION), {"status": Status.RESIDENT, "street": "見本台１丁目"}),
    ("hanako", (Deletion(),), {"status": Status.DELETED}),
    ("hanako", (CodeChange(),), {"status": Status.RESIDENT}),
    ("hanako", (NumberChange(),), {"status": Status.RESIDENT}),
    *(("hanako", (event,), {"name": HANAKO.name, "birth": HANAKO.birth, "street": HANAKO.street, "residences": (),
                            "status": Status.RESIDENT})
      for event in (LossReport(), Theft(), Found(), CardReturn(), Renewal())),
    ("single-name", (Stay(date(2037, 3, 31)),),
     {"stay_end": date(2037, 3, 31), "residence_status": FOREIGNER.residence_status}),
    ("single-name", (Stay(date(2037, 3, 31), "spouse"),), {"residence_status": "spouse"}),
]  # fmt: skip


@pytest.mark.parametrize(("who", "events", "expected"), EFFECTS)
def test_what_an_event_does_to_the_person(
    town: Institutions, who: str, events: tuple[Event, ...], expected: dict[str, object]
) -> None:
    before = town.resident(who)
    for event in events:
        answered = town.registry.record(who, event)
    after = town.registry.find(who)
    assert answered == after
    assert {name: getattr(after, name) for name in expected} == expected
    told = town.registry.history(who)
    assert [found.word for found in told] == ["registration", *(event.word for event in events)]
    assert [found.day for found in told] == [TODAY] * len(told)
    assert told[-1].detail == json.loads(json.dumps(events[-1].as_dict()))
    assert (after.alias, after.about, after.nationality) == (before.alias, before.about, before.nationality)


def test_every_kind_of_event_has_an_effect_that_is_tested() -> None:
    assert {event.word for _, events, _ in EFFECTS for event in events} == KINDS.keys()


def test_new_numbers_are_others_and_old_ones_are_nobody_s(town: Institutions) -> None:
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


def test_a_tenth_number_is_refused_and_holds_nobody_up(town: Institutions) -> None:
    town.resident("hanako")
    for _ in range(9):
        recorded(town, "hanako", NumberChange())
    number = town.registry.find("hanako").individual_number
    with pytest.raises((EventRefused, ValueError), match="9 times"):
        town.registry.record("hanako", NumberChange())
    town.resident("taro")
    recorded(town, "taro", MoveWithin("架空町１丁目"))
    assert town.registry.find("hanako").individual_number == number
    assert town.juki_net.next_due() is None


def test_former_addresses_are_kept_in_their_order(town: Institutions) -> None:
    town.resident("hanako")
    town.registry.record("hanako", MoveWithin("架空町１丁目"), date(2026, 11, 20))
    later(town, days=10)
    town.registry.record("hanako", MoveOut(TSUKUBA, date(2026, 12, 4)))
    town.registry.record("hanako", MOVE_IN, date(2026, 12, 4))
    town.registry.record("hanako", Renaming("新見本台１丁目"))
    town.registry.record("hanako", Emigration(True))
    after = town.registry.record("hanako", Immigration("47201", "架空９丁目"))
    assert after.residences == (
        Residence("13113", HANAKO.address, date(2026, 11, 20)),
        Residence("13113", "東京都渋谷区架空町１丁目", date(2026, 12, 4)),
        Residence(TSUKUBA, "茨城県つくば市新見本台１丁目", date(2026, 12, 4)),
    )
    assert (after.since, after.address) == (date(2026, 12, 4), "沖縄県那覇市架空９丁目")
    places = [found.municipality for found in town.registry.history("hanako")]
    assert places == ["13113", "13113", "13113", TSUKUBA, TSUKUBA, TSUKUBA, "47201"]


def test_renaming_a_place_concerns_those_who_live_there(institutions: Institutions) -> None:
    for who in ("hanako", "taro", "child", "leap-day"):
        institutions.resident(who)
    institutions.registry.record("taro", MOVE_OUT)
    assert institutions.registry.rename("13113", "架空町９丁目", "模擬町") == 2
    assert institutions.registry.find("hanako").street == "模擬町９９番９９号"
    assert institutions.registry.find("taro").street == CAST["taro"].street, "he is on his way elsewhere"
    assert institutions.registry.rename("13113", "架空町９丁目", "模擬町") == 0
    assert institutions.registry.history("child")[-1].word == "renaming"
    with pytest.raises(ValueError, match="no municipality"):
        institutions.registry.rename("99999", "a", "b")


# What is refused

DEAD, ABROAD, MOVING, GONE = (Death(),), (Emigration(True),), (MOVE_OUT,), (Deletion(),)
EVERYTHING: tuple[Event, ...] = (
    MoveWithin("a"), MOVE_OUT, MOVE_IN, NameChange(family="a"), Correction(sex="9"), CharacterCorrection(family="a"),
    Furigana("ア"), Renaming("a"), Death(), Emigration(True), IMMIGRATION, Deletion(), NumberChange(), CodeChange(),
    LossReport(), Theft(), Found(), CardReturn(), Renewal(),
)  # fmt: skip
GOES_ON: dict[tuple[Event, ...], set[str]] = {
    ABROAD: {"name-change", "furigana", "death", "immigration", "loss-report", "theft", "found", "return", "renewal"},
    MOVING: {"move-in", "death", "deletion", "loss-report", "theft", "return"},
    DEAD: set(),
    GONE: set(),
}


@pytest.mark.parametrize("before", GOES_ON, ids=["abroad", "moving", "dead", "deleted"])
def test_what_can_still_happen_to_whoever_is_not_a_resident(town: Institutions, before: tuple[Event, ...]) -> None:
    went_on = set()
    for number, event in enumerate(EVERYTHING):
        town.registry.add(replace(HANAKO, alias=f"p{number}"))
        for earlier in before:
            town.registry.record(f"p{number}", earlier)
        try:
            town.registry.record(f"p{number}", event)
            went_on.add(event.word)
        except EventRefused:
            assert len(town.registry.history(f"p{number}")) == 2, "nothing was changed"
    assert went_on == GOES_ON[before]


REFUSED: list[tuple[str, Event, str]] = [
    ("hanako", MoveWithin(HANAKO.street), "is the one that is registered"),
    ("hanako", MoveOut("13113", TODAY), "that is where the person lives"),
    ("hanako", MoveOut("99999", TODAY), "no municipality has the code"),
    ("hanako", MoveOut("x", TODAY), "five digits"),
    ("hanako", MoveOut(TSUKUBA, date(2028, 1, 1)), "too far"),
    ("hanako", MoveOut(TSUKUBA, date(2025, 1, 1)), "too far"),
    ("hanako", MOVE_IN, "the event is not for such"),
    ("hanako", CardContinuation(), "no card-continuation is awaited"),
    ("hanako", NameChange(), "that is the name"),
    ("hanako", NameChange(family="番号"), "that is the name"),
    ("hanako", NameChange(family="-"), "at least a family name"),
    ("hanako", NameChange(common_name="模擬"), "only a foreign resident has a common name"),
    ("single-name", NameChange(former_surname="旧見"), "only a Japanese national has a former surname"),
    ("hanako", Correction(), "that is what is registered"),
    ("hanako", Correction(birth="1988-04-17"), "that is what is registered"),
    ("hanako", Correction(birth="2026-11-25"), "nobody was born"),
    ("hanako", Correction(birth="1988-02-30"), "."),
    ("hanako", Correction(birth="yesterday"), "no date of birth"),
    ("hanako", Correction(sex="3"), "."),
    ("hanako", CharacterCorrection(given="花子"), "that is the name"),
    ("hanako", Furigana("ばんごう"), "full-width katakana"),
    ("hanako", Furigana("ﾊﾝｺﾞｳ"), "full-width katakana"),
    ("hanako", Furigana("BANGO"), "full-width katakana"),
    ("hanako", Stay(date(2030, 1, 1)), "has no period of stay"),
    ("single-name", Stay(TODAY), "is over"),
    ("single-name", Stay(date(2020, 1, 1)), "is over"),
    ("single-name", Emigration(True), "only a Japanese national"),
    ("hanako", IMMIGRATION, "is a resident"),
]


@pytest.mark.parametrize(("who", "event", "words"), REFUSED)
def test_what_makes_no_sense_is_refused_and_changes_nothing(
    quiet: Institutions, who: str, event: Event, words: str
) -> None:
    town = quiet
    town.resident(who)
    before = town.registry.find(who)
    with pytest.raises((EventRefused, ValueError), match=words):
        town.registry.record(who, event)
    assert town.registry.find(who) == before
    assert len(town.registry.history(who)) == 1
    assert town.juki_net.next_due() is None


def test_days_that_cannot_be(town: Institutions) -> None:
    town.resident("hanako")
    with pytest.raises(EventRefused, match="2026-11-25 has not come yet; it is 2026-11-24"):
        town.registry.record("hanako", LossReport(), date(2026, 11, 25))
    with pytest.raises(EventRefused, match="not yet born"):
        town.registry.record("hanako", LossReport(), date(1988, 4, 16))
    town.registry.record("hanako", LossReport(), date(1988, 4, 17))
    assert town.registry.history("hanako")[-1].day == date(1988, 4, 17)


def test_the_day_is_that_of_japan(town: Institutions) -> None:
    town.resident("hanako")
    town.advance(datetime.fromisoformat("2026-11-24T15:30+00:00"))
    assert town.registry.record("hanako", MoveWithin("架空町１丁目")).since == date(2026, 11, 25)


def test_nobody_of_that_name(town: Institutions) -> None:
    town.resident("hanako")
    for who in ("nobody", "", "12345678903", "123456789018"):
        with pytest.raises(NoSuchResident):
            town.registry.record(who, LossReport())
    for who in ("12345678900", "123456789010"):
        with pytest.raises((NoSuchResident, ValueError), match="check digit"):
            town.registry.record(who, LossReport())


def test_people_are_found_by_alias_code_and_number(institutions: Institutions) -> None:
    institutions.resident("hanako")
    found = institutions.registry.find("hanako")
    assert found.individual_number is not None
    assert institutions.registry.find(found.code) == institutions.registry.find(found.individual_number) == found
    assert institutions.registry.people("13113") == [found]
    assert institutions.registry.people(TSUKUBA) == []


def test_a_registration_that_makes_no_sense(institutions: Institutions) -> None:
    institutions.resident("hanako")
    with pytest.raises(EventRefused, match="'hanako' already"):
        institutions.registry.add(HANAKO)
    with pytest.raises(EventRefused, match="nobody was born"):
        institutions.registry.add(replace(HANAKO, alias="x", birth=BirthDate(2026, 11, 25)))
    with pytest.raises(EventRefused, match="given by the registry"):
        institutions.registry.add(replace(institutions.registry.find("hanako"), alias="x"))
    assert institutions.registry.count() == 1


def test_people_may_be_without_an_alias(institutions: Institutions) -> None:
    institutions.registry.add(replace(HANAKO, alias=""))
    institutions.registry.add(replace(HANAKO, alias=""))
    assert institutions.registry.count() == 2


# Events as words


@pytest.mark.parametrize(
    ("word", "values", "words"),
    [
        ("move-within", {}, "move-within needs street"),
        ("move-within", {"street": ""}, "needs street"),
        ("move-within", {"street": "a", "town": "b"}, "takes no town; it takes street"),
        ("death", {"day": "x"}, "takes no day; it takes nothing"),
        ("move-out", {"to": TSUKUBA}, "needs moves_on"),
        ("move-out", {}, "needs to, moves_on"),
        ("move-out", {"to": TSUKUBA, "moves_on": "tomorrow"}, "'tomorrow' is no date"),
        ("move-out", {"to": TSUKUBA, "moves_on": "2026-02-30"}, "is no date"),
        ("stay", {"until": "20xx-01-01"}, "is no date"),
        ("emigration", {}, "needs continued"),
        ("emigration", {"continued": "perhaps"}, "say yes or no"),
        ("emigration", {"continued": 1}, "say yes or no"),
        ("move-in", {"municipality": TSUKUBA, "street": "a", "card_continued": "true"}, "say yes or no"),
        ("name-change", {"surname": "x"}, "takes no surname"),
    ],
)
def test_fields_that_a_kind_lacks_or_needs(word: str, values: dict[str, object], words: str) -> None:
    with pytest.raises(EventRefused, match=words):
        KINDS[word].from_dict(values)


@pytest.mark.parametrize(
    "event",
    [MOVE_OUT, MOVE_IN, MOVE_IN_WITHOUT_CARD, Emigration(True), Emigration(False), Stay(date(2030, 1, 1), "spouse"),
     NameChange(family="a", common_name="-"), Death(), Correction(birth="1988-04-00")],
)  # fmt: skip
def test_an_event_comes_back_out_of_its_words(event: Event) -> None:
    assert type(event).from_dict(json.loads(json.dumps(event.as_dict()))) == event


def test_words_become_dates_and_choices() -> None:
    assert Emigration.from_dict({"continued": "no"}) == Emigration(False)
    assert Emigration.from_dict({"continued": False}) == Emigration(False)
    assert MoveOut.from_dict({"to": TSUKUBA, "moves_on": "2026-11-24"}) == MOVE_OUT
    with pytest.raises(EventRefused, match="street"):
        MoveWithin.from_dict({"street": 5})
    with pytest.raises(EventRefused, match="moves_on"):
        MoveOut.from_dict({"to": TSUKUBA, "moves_on": 5})


def test_the_channels() -> None:
    assert {word for word, kind in KINDS.items() if kind.channel is Channel.PAPER} == {
        "name-change", "character-correction", "furigana", "renaming", "death", "stay",
    }  # fmt: skip
    assert {word for word, kind in KINDS.items() if kind.channel is Channel.CALL_CENTRE} == {"loss-report"}


# Import

LINE = {"alias": "a", "family": "模擬", "given": "一郎", "birth": "1990-01-01", "sex": "1", "municipality": "13113",
        "street": "架空町１"}  # fmt: skip


def lines(documents: Iterable[object]) -> bytes:
    return "".join(json.dumps(document, ensure_ascii=False) + "\n" for document in documents).encode()


def imported(institutions: Institutions, content: bytes) -> int:
    count = institutions.registry.import_people(_documents(io.BytesIO(content)))
    institutions.settle()
    return count


def test_json_lines_are_imported(institutions: Institutions) -> None:
    places = ["47201", "13113", TSUKUBA, "13113"]
    told = [{**LINE, "alias": f"p{place}", "municipality": code} for place, code in enumerate(places)]
    assert imported(institutions, lines(told) + b"\n  \n") == 4
    assert {found.alias: found.municipality.code for found in institutions.registry.people()} == {
        f"p{place}": code for place, code in enumerate(places)
    }
    for found in institutions.registry.people():
        assert found.individual_number is not None
        assert institutions.juki_net.j_lis.identity(found.code).name == Name("模擬", "一郎")
    assert len({found.code for found in institutions.registry.people()}) == 4


def test_csv_is_imported(institutions: Institutions) -> None:
    header = ",".join(LINE) + ",nationality,residence_status,stay_end"
    rows = [
        ",".join(LINE.values()) + ",,,",
        'b,"Ｅ，Ｘ",,1990-00-00,9,08220,"見本台,１",GB,student,2030-01-01',
    ]
    content = "\r\n".join(("\ufeff" + header, *rows, "")).encode()
    assert imported(institutions, content) == 2
    found = institutions.registry.find("b")
    assert (found.street, found.nationality, found.stay_end) == ("見本台,１", "GB", date(2030, 1, 1))
    assert str(found.birth) == "19900000"


BAD_LINES: list[tuple[object, str]] = [
    ({**LINE, "alias": "b", "birth": ""}, "line 2: birth is missing"),
    ({**LINE, "alias": "b", "birth": "1990-13-01"}, "line 2: "),
    ({**LINE, "alias": "b", "birth": "2027-01-01"}, "line 2: nobody was born"),
    ({**LINE, "alias": "b", "sex": "3"}, "line 2: "),
    ({**LINE, "alias": "b", "municipality": "99999"}, "line 2: no municipality"),
    ({**LINE, "alias": "b", "colour": "red"}, "line 2: unknown: colour"),
    ({**LINE, "alias": "b", "street": 5}, "line 2: street must be text"),
    ({**LINE, "alias": "b", "stay_end": "x"}, "line 2: "),
    ({**LINE, "alias": "b", "stay_end": 5}, "line 2: "),
    ({**LINE, "alias": "b", "record_code": "12345678903"}, "line 2: record codes"),
    ({**LINE, "alias": "b", "residences": [1]}, "line 2: "),
    ({**LINE, "alias": "a"}, "alias"),
    ({**LINE, "alias": "there"}, "there is a resident 'there' already"),
    ([LINE], "line 2"),
    (5, "line 2"),
]


@pytest.mark.parametrize(("bad", "words"), BAD_LINES)
def test_one_bad_line_registers_nobody(quiet: Institutions, bad: object, words: str) -> None:
    if "there" not in {found.alias for found in quiet.registry.people()}:
        quiet.registry.add(replace(HANAKO, alias="there"))
        quiet.settle()
    before = quiet.registry.count()
    with pytest.raises(ImportRefused, match=words) as refused:
        imported(quiet, lines([LINE, bad, {**LINE, "alias": "c"}]))
    assert "nothing was registered" in str(refused.value)
    assert quiet.registry.count() == before
    assert quiet.juki_net.next_due() is None


@pytest.mark.parametrize(
    "content",
    [b'{"alias": "a"', lines([LINE]) + b"{", b"\xff\xfe\x00", lines([LINE])[:-4] + b"\xff\n",
     ",".join(LINE).encode() + b"\na,b,c,1990-01-01,1,13113,d,e\n", b'a,b\n"x'],
)  # fmt: skip
def test_a_file_that_is_no_list_of_people_registers_nobody(town: Institutions, content: bytes) -> None:
    with pytest.raises(ImportRefused, match="nothing was registered"):
        imported(town, content)
    assert town.registry.count() == 0


def test_a_duplicate_alias_registers_nobody_on_either_storage(institutions: Institutions) -> None:
    with pytest.raises(ImportRefused, match="two residents have one alias"):
        imported(institutions, lines([LINE, LINE]))
    assert institutions.registry.count() == 0
    assert imported(institutions, lines([LINE, {**LINE, "alias": "b"}])) == 2
    with pytest.raises(ImportRefused, match="'b' already"):
        imported(institutions, lines([{**LINE, "alias": "c"}, {**LINE, "alias": "b"}]))
    assert institutions.registry.count() == 2
