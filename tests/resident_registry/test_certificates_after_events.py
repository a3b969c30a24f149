"""The effects of the registry's events and deadlines on certificates and cards."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest
from cryptography import x509

from kazashi.assembly.institutions import Institutions
from kazashi.card.certification_request import certification_request
from kazashi.card_management.case import CaseState
from kazashi.card_management.consequence import CardState
from kazashi.card_management.order import usual_order
from kazashi.jpki.profile import CertificateType, Medium
from kazashi.pki.certificate import CertificateRequest
from kazashi.pki.certificate_database import Issued
from kazashi.resident_registry.event import (
    EVENTS,
    CardContinuation,
    CardFound,
    CardReturn,
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
    Lapse,
    LossReport,
    MoveOut,
    MoveWithin,
    NameChange,
    NumberChange,
    PlaceRenamed,
    Protection,
    Renewal,
    StayExtension,
    Theft,
)
from kazashi.resident_registry.registry import NoSuchResident
from kazashi.resident_registry.rejection import EventRejected, RejectionReason
from kazashi.resident_registry.resident import ResidencyStatus
from kazashi.world.clock import instant_of
from tests.resident_registry.support import (
    IMMIGRATION,
    MOVE_IN,
    MOVE_IN_WITHOUT_CARD,
    MOVE_OUT,
    SECOND,
    TODAY,
    TSUKUBA,
    recorded,
)
from tests.town import AUTHENTICATION, MORNING, SIGNATURE, certificates, clock_of, later, standing


def outcome(institutions: Institutions, who: str, kind: CertificateType, place: int = -1) -> str:
    """The status of a certificate as text: `good`, `revoked affiliationChanged`, ..."""
    serial = certificates(institutions, who, kind)[place].serial
    status = institutions.revocations[kind].status(serial)
    return f"{status.state.value} {status.reason.asn1_name}" if status.reason is not None else status.state.value


def phone_certificate(institutions: Institutions, who: str, kind: CertificateType, phone: str) -> Issued:
    resident = institutions.juki_net.j_lis.identity(institutions.registry.find(who).code)
    last = certificates(institutions, who, kind)[-1].not_after
    key = certification_request(institutions.world.keys.take())
    now = institutions.world.clock.now()
    request = CertificateRequest(resident, key, now, last, Medium.PHONE, phone, identifier=f"{phone} {kind.code}")
    serial = x509.load_der_x509_certificate(institutions.authorities[kind].issue(request)).serial_number
    return institutions.authorities[kind].find(serial)


def test_a_move_revokes_only_the_signature_certificate(institutions: Institutions) -> None:
    institutions.issue_card("hanako", "hanako")
    institutions.registry.record("hanako", MoveWithin("架空町１丁目"))
    institutions.settle()
    assert standing(institutions, "hanako", SIGNATURE).state.value == "revoked"
    assert standing(institutions, "hanako", AUTHENTICATION).state.value == "good"
    institutions.registry.record("hanako", Death())
    institutions.settle()
    assert standing(institutions, "hanako", AUTHENTICATION).state.value == "good", "it is sent with the evening's batch"
    later(institutions, hours=12)
    assert standing(institutions, "hanako", AUTHENTICATION).state.value == "revoked"


# Effects on certificates

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
    ("a former surname removed", "former-surname", (NameChange(former_surname="-"),), CHANGED, GOOD),
    ("a common name", "single-name", (NameChange(common_name="模擬　太郎"),), CHANGED, GOOD),
    ("a corrected date of birth", "hanako", (Correction(birth="1988-04-18"),), CHANGED, GOOD),
    ("a corrected sex", "hanako", (Correction(sex="9"),), CHANGED, GOOD),
    ("a furigana", "hanako", (Furigana("バンゴウ　ハナコ"),), GOOD, GOOD),
    (
        "a reading recorded ex officio",
        "hanako",
        (FuriganaNotice("バンゴウ　ハナコ"), FuriganaRecorded("バンゴウ　ハナコ")),
        GOOD,
        GOOD,
    ),
    ("a corrected character", "rare-kanji", (CharacterCorrection(family="吉崎"),), GOOD, GOOD),
    ("a renamed street", "hanako", (PlaceRenamed("新架空町９丁目９９番９９号"),), GOOD, GOOD),
    ("a death", "hanako", (Death(),), ENDED, ENDED),
    ("emigration", "hanako", (Emigration(continued=False),), ENDED, ENDED),
    ("emigration with the card in use", "hanako", (Emigration(continued=True),), CHANGED, GOOD),
    ("a return from abroad with the card", "hanako", (Emigration(continued=True), IMMIGRATION), CHANGED, GOOD),
    ("a return from abroad without it", "hanako", (Emigration(continued=False), IMMIGRATION), ENDED, ENDED),
    ("deletion ex officio", "hanako", (Deletion(),), ENDED, ENDED),
    ("a new individual number", "hanako", (NumberChange(),), ENDED, ENDED),
    ("a new record code", "hanako", (CodeChange(),), GOOD, GOOD),
    ("protection", "hanako", (Protection(True),), GOOD, GOOD),
    ("a loss", "hanako", (LossReport(),), HELD, HELD),
    ("two reports of one loss", "hanako", (LossReport(), LossReport()), HELD, HELD),
    ("a theft", "hanako", (Theft(),), STOLEN, STOLEN),
    ("a loss that was a theft", "hanako", (LossReport(), Theft()), STOLEN, STOLEN),
    ("a loss, and then a death", "hanako", (LossReport(), Death()), ENDED, ENDED),
    ("a move, and then a death", "hanako", (MoveWithin("架空町１丁目"), Death()), CHANGED, ENDED),
    ("a returned card", "hanako", (CardReturn(),), ENDED, ENDED),
    ("a longer stay", "single-name", (StayExtension(date(2037, 3, 31)),), GOOD, GOOD),
    ("a renewal requested too early", "hanako", (Renewal(),), GOOD, GOOD),
    ("a card found that was not lost", "hanako", (CardFound(),), GOOD, GOOD),
]


@pytest.mark.parametrize(
    ("who", "events", "signature", "authentication"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_each_event_changes_the_certificates_as_expected(
    town: Institutions, who: str, events: tuple[Event, ...], signature: str, authentication: str
) -> None:
    town.issue_card(who, who)
    town.issue_card("leap-day", "leap-day")
    recorded(town, who, *events)
    assert outcome(town, who, SIGNATURE) == signature
    assert outcome(town, who, AUTHENTICATION) == authentication
    assert [outcome(town, "leap-day", kind) for kind in CertificateType] == [GOOD, GOOD], "another person's"
    assert [len(certificates(town, who, kind)) for kind in CertificateType] == [1, 1], "no new certificate was issued"


def test_every_event_but_lapse_is_in_the_table() -> None:
    assert set(EVENTS) - {type(event) for row in TABLE for event in row[2]} == {Lapse}


def test_a_lost_card_that_is_found_gets_new_certificates(institutions: Institutions) -> None:
    """The old certificates stay on hold."""
    institutions.issue_card("hanako", "hanako")
    recorded(institutions, "hanako", LossReport())
    assert institutions.cards.card_state("hanako") is CardState.STOPPED
    held_since = standing(institutions, "hanako", SIGNATURE).since
    recorded(institutions, "hanako", CardFound())
    assert institutions.cards.card_state("hanako") is CardState.ACTIVE
    for kind in CertificateType:
        assert [outcome(institutions, "hanako", kind, place) for place in (0, 1)] == [HELD, GOOD], (
            "never taken off hold"
        )
        assert institutions.revocations[kind].status(certificates(institutions, "hanako", kind)[0].serial).since == (
            held_since
        )
    recorded(institutions, "hanako", Theft())
    for kind in CertificateType:
        assert [outcome(institutions, "hanako", kind, place) for place in (0, 1)] == [STOLEN, STOLEN]


def test_a_revocation_after_a_hold_dates_from_the_hold(town: Institutions) -> None:
    town.issue_card("hanako", "hanako")
    town.registry.record("hanako", LossReport())
    town.settle()
    later(town, days=3)
    recorded(town, "hanako", CardReturn())
    assert outcome(town, "hanako", SIGNATURE) == ENDED
    assert standing(town, "hanako", SIGNATURE).since == MORNING


def test_the_certificates_follow_a_change_of_the_record_code(institutions: Institutions) -> None:
    institutions.issue_card("hanako", "hanako")
    before = institutions.registry.find("hanako")
    serials = {kind: [one.serial for one in certificates(institutions, "hanako", kind)] for kind in CertificateType}
    after = recorded(institutions, "hanako", CodeChange())
    assert after.code != before.code
    assert after.individual_number == before.individual_number, "no new number was made"
    with pytest.raises(NoSuchResident):
        institutions.registry.find(before.code)
    for kind in CertificateType:
        assert [one.serial for one in certificates(institutions, "hanako", kind)] == serials[kind]
        assert not institutions.authorities[kind].of_holder(before.code)
    assert [case.order.code for case in institutions.cards.cases()] == [after.code]
    recorded(institutions, "hanako", CodeChange(), MoveWithin("架空町１丁目"))
    assert outcome(institutions, "hanako", SIGNATURE) == CHANGED
    assert outcome(institutions, "hanako", AUTHENTICATION) == GOOD
    recorded(institutions, "hanako", Death())
    assert outcome(institutions, "hanako", AUTHENTICATION) == ENDED
    assert institutions.cards.card_state("hanako") is CardState.ENDED


def test_renewal_supersedes_the_old_certificates_of_card_and_phone(institutions: Institutions) -> None:
    clock_of(institutions.world).stand(instant_of("2027-01-16T10:00+09:00"))
    order = usual_order(institutions.world, institutions.resident("hanako"))
    issued = instant_of("2022-11-24T10:00+09:00")
    institutions.issue_card("hanako", "hanako", replace(order, issued=issued))
    phones = {kind: phone_certificate(institutions, "hanako", kind, "phone a") for kind in CertificateType}
    assert {one.not_after for one in phones.values()} == {instant_of("2027-04-17T23:59:59+09:00")}
    institutions.registry.record("hanako", Renewal())
    institutions.settle()
    assert [case.state for case in institutions.cards.cases()] == [CaseState.DONE, CaseState.REFUSED]
    assert "2027-01-17" in institutions.cards.cases()[1].note
    institutions.advance(instant_of("2027-01-17"))
    institutions.registry.record("hanako", Renewal())
    institutions.settle()
    for kind in CertificateType:
        old, phone, new = certificates(institutions, "hanako", kind)
        assert phone == phones[kind]
        assert [outcome(institutions, "hanako", kind, place) for place in range(3)] == [
            "revoked superseded", "revoked superseded", GOOD,
        ]  # fmt: skip
        assert (new.predecessor, new.medium) == (old.serial, Medium.CARD)
        assert new.not_after == instant_of("2032-04-17T23:59:59+09:00"), "the sixth birthday from the renewal"


def test_events_also_revoke_a_phone_s_certificates(town: Institutions) -> None:
    town.issue_card("hanako", "hanako")
    for kind in CertificateType:
        phone_certificate(town, "hanako", kind, "phone a")
    recorded(town, "hanako", MoveWithin("架空町１丁目"))
    assert [outcome(town, "hanako", SIGNATURE, place) for place in (0, 1)] == [CHANGED, CHANGED]
    assert [outcome(town, "hanako", AUTHENTICATION, place) for place in (0, 1)] == [GOOD, GOOD]
    recorded(town, "hanako", CardReturn())
    assert [outcome(town, "hanako", AUTHENTICATION, place) for place in (0, 1)] == [ENDED, ENDED]
    assert [outcome(town, "hanako", SIGNATURE, place) for place in (0, 1)] == [CHANGED, CHANGED]


def test_a_new_phone_supersedes_the_old_one(town: Institutions) -> None:
    town.issue_card("hanako", "hanako")
    phone_certificate(town, "hanako", SIGNATURE, "phone a")
    phone_certificate(town, "hanako", SIGNATURE, "phone b")
    assert [outcome(town, "hanako", SIGNATURE, place) for place in range(3)] == [GOOD, "revoked superseded", GOOD]


# Deadlines


@pytest.mark.parametrize("moves_on", [TODAY, TODAY + timedelta(days=5)])
def test_a_card_lapses_on_the_fifteenth_day_without_a_move_in(town: Institutions, moves_on: date) -> None:
    town.issue_card("hanako", "hanako")
    town.registry.record("hanako", MoveOut(TSUKUBA, moves_on))
    lapses = instant_of((moves_on + timedelta(days=15)).isoformat())
    assert town.registry.next_lapse() == lapses
    town.advance(lapses - SECOND)
    assert [outcome(town, "hanako", kind) for kind in CertificateType] == [GOOD, GOOD]
    town.advance(lapses)
    assert [outcome(town, "hanako", kind) for kind in CertificateType] == [ENDED, ENDED]
    assert town.cards.card_state("hanako") is CardState.ENDED
    last = town.registry.history("hanako")[-1]
    assert (last.code, last.at, last.detail) == ("lapse", lapses, {"why": "move-in"})
    assert town.registry.next_lapse() is None


def test_a_move_in_on_the_fourteenth_day_is_in_time(town: Institutions) -> None:
    town.issue_card("hanako", "hanako")
    town.registry.record("hanako", MOVE_OUT)
    town.advance(instant_of("2026-12-08T23:59:59+09:00"))
    town.registry.record("hanako", MOVE_IN)
    town.settle()
    assert town.registry.next_lapse() is None
    assert [outcome(town, "hanako", kind) for kind in CertificateType] == [CHANGED, GOOD]
    assert town.cards.card_state("hanako") is CardState.ACTIVE


def test_a_late_move_in_is_registered_but_the_card_has_ended(town: Institutions) -> None:
    town.issue_card("hanako", "hanako")
    town.registry.record("hanako", MOVE_OUT)
    later(town, days=20)
    moved = recorded(town, "hanako", MOVE_IN)
    assert (moved.status, moved.municipality.code) == (ResidencyStatus.RESIDENT, TSUKUBA)
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
    assert [outcome(town, "hanako", kind) for kind in CertificateType] == [CHANGED, GOOD]
    town.advance(lapses)
    assert [outcome(town, "hanako", kind) for kind in CertificateType] == [CHANGED, ENDED]
    assert town.registry.history("hanako")[-1].detail == {"why": "card-continuation"}
    with pytest.raises(EventRejected) as refused:
        town.registry.record("hanako", CardContinuation())
    assert refused.value.reason is RejectionReason.NOT_AWAITED


def test_a_continuation_on_the_ninetieth_day_is_in_time(town: Institutions) -> None:
    town.issue_card("hanako", "hanako")
    town.registry.record("hanako", MOVE_OUT)
    town.registry.record("hanako", MOVE_IN_WITHOUT_CARD)
    clock_of(town.world).stand(instant_of("2027-02-22T23:59:59+09:00"))
    town.registry.record("hanako", CardContinuation())
    town.settle()
    assert town.registry.next_lapse() is None
    assert [outcome(town, "hanako", kind) for kind in CertificateType] == [CHANGED, GOOD]
    assert town.cards.card_state("hanako") is CardState.ACTIVE


@pytest.mark.parametrize("event", [Death(), Deletion()])
def test_death_and_deletion_clear_the_deadlines(town: Institutions, event: Event) -> None:
    town.resident("hanako")
    town.registry.record("hanako", MOVE_OUT)
    recorded(town, "hanako", event)
    assert town.registry.next_lapse() is None
    later(town, days=30)
    assert [entry.code for entry in town.registry.history("hanako")] == ["registration", "move-out", event.code]
