"""From a card at a desk to the insurer, with the statements of the study on medical insurance (MED1-4, B16)."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest
import sqlalchemy as sa

from kazashi.medical_insurance.eligibility import EligibilityState, HolderCheck
from kazashi.medical_insurance.entitlement import ITEM, Entitlement
from kazashi.medical_insurance.joint_body import GROUP, KIND, NAME
from kazashi.medical_insurance.joint_store import METADATA
from kazashi.medical_insurance.network_line import purpose
from kazashi.provision_network.intermediate_store import PERSON as PERSON_AT_BODY
from kazashi.provision_network.law.tables import table_of_affairs
from kazashi.provision_network.terms import RequestOutcome
from kazashi.relying_party.verify.authentication import Response
from kazashi.relying_party.verify.linkage import NoLinkage
from kazashi.world.clock import instant_of
from kazashi.world.key_source import SharedKeySource
from tests.medical_insurance.insured_town import (
    APRIL,
    CLINIC,
    INSURER,
    OTHER,
    PEOPLE,
    PIN,
    InsuredTown,
    card_of,
    opened,
)
from tests.provision_network.bodies import denied
from tests.town import clock_of, later

pytestmark = pytest.mark.unit

VALID, ENDED, NOT_YET = EligibilityState.VALID, EligibilityState.ENDED, EligibilityState.NOT_YET


def insured(town: InsuredTown) -> InsuredTown:
    """Let Hanako and Taro be insured, and Hanako's card be registered."""
    town.feed(town.line("hanako", number="06-1"), town.line("taro", number="06-2"))
    assert town.register("hanako") is not None
    return town


def test_med1_a_certificate_leads_to_insurer_and_status_and_ended_insurance_is_not_valid(town: InsuredTown) -> None:
    insured(town)
    result = town.visit("hanako")
    assert (result.state, result.entitlement) == (VALID, Entitlement(INSURER, "06-1", APRIL, None))
    for change, begins, ends, state in (
        ("CHANGED", APRIL, date(2026, 11, 24), VALID),  # the last day counts
        ("ENDED", APRIL, date(2026, 11, 23), ENDED),
        ("CHANGED", date(2026, 11, 24), None, VALID),  # and the first
        ("CHANGED", date(2026, 11, 25), None, NOT_YET),
    ):
        town.feed(town.line("hanako", change, "06-1", begins, ends))
        result = town.visit("hanako")
        assert (result.state, result.entitlement) == (state, Entitlement(INSURER, "06-1", begins, ends))
    assert town.visit("taro").state is EligibilityState.NOT_REGISTERED


def test_med2_a_visit_works_with_the_card_alone(town: InsuredTown, tmp_path: Path) -> None:
    """Nothing but the card and its holder: with the PIN, and without it at a terminal that the card accepts."""
    insured(town)
    terminal = town.terminal(tmp_path / "clinic")
    for how in HolderCheck:
        result = town.visit("hanako", how, terminal=terminal)
        assert (result.state, result.entitlement and result.entitlement.insured_number) == (VALID, "06-1")
    first = town.visit("taro", register=True)
    assert (first.state, first.entitlement) == (VALID, Entitlement(INSURER, "06-2", APRIL, None))


def test_med3_medical_data_are_connected_to_the_network_by_a_body_with_another_number(town: InsuredTown) -> None:
    """The joint body is on the network like every body: the core decides by the table's row, and keeps a record that
    the person sees, and the answer is the insurer's."""
    insured(town)
    member, insurer = town.network.member(NAME), town.network.member(INSURER)
    assert (member.kind, member.interface, member.group) == (KIND, insurer.interface, insurer.group)
    (row,) = [row for row in table_of_affairs() if row.purpose == purpose()]
    assert (row.uses_number, row.purpose.item) == (False, ITEM)
    assert town.records("hanako") == []
    assert town.visit("hanako").state is VALID
    (record,) = town.records("hanako")
    assert (record.requester, record.provider, record.item) == (NAME, INSURER, ITEM)
    assert (record.outcome, record.reason) == (
        RequestOutcome.PROVIDED,
        f"番号法19条8号 (2024-05-27), 主務省令の表 (formerly 別表第二 {row.number}), unverified",
    )
    assert town.records("taro") == []


def test_med4_b16_the_joint_body_works_with_code_and_own_number_and_has_no_individual_number(town: InsuredTown) -> None:
    insured(town)
    assert town.visit("hanako").state is VALID
    residents = [town.institutions.registry.find(who) for who in PEOPLE]
    forbidden = {str(one.individual_number) for one in residents} | {str(one.code) for one in residents}
    with town.joint.store.reading() as connection:
        columns = [column.name for table in METADATA.tables.values() for column in table.columns]
        held = [str(value) for table in METADATA.tables.values() for row in connection.execute(sa.select(table))
                for value in row]  # fmt: skip
    told = [json.dumps(message.body) for message in town.messages]
    assert len(held) > 20
    assert not [name for name in columns if "individual" in name]
    assert {message.kind for message in town.messages} >= {"request", "accepted", "notification", "answer", "settled"}
    for number in forbidden:
        assert not [text for text in (*held, *told) if number in text]
    # The own number is neither the individual number nor computed from it, and there is one code for it: all insurers'.
    mine: dict[bytes, set[str]] = {}
    theirs: dict[bytes, set[str]] = {}
    platform = town.insurance.interface.platform
    with platform.store.reading() as connection:
        for row in connection.execute(sa.select(PERSON_AT_BODY)):
            (mine if row.owner == NAME else theirs).setdefault(bytes(row.code), set()).add(row.address_number)
    assert mine.keys() == {town.network.core.codes.code_for(OTHER, str(one.code)).value for one in residents}
    assert {number for numbers in mine.values() for number in numbers} == {
        person.own_number for person in town.joint.people()
    }
    assert all(len(numbers) == 1 for numbers in mine.values())
    assert not {n for numbers in mine.values() for n in numbers} & {n for numbers in theirs.values() for n in numbers}


def test_insurers_and_joint_body_share_codes_and_municipalities_do_not(town: InsuredTown) -> None:
    core, code = town.network.core, str(town.institutions.registry.find("hanako").code)
    shared = {core.codes.code_for(name, code).value for name in (NAME, INSURER, OTHER)}
    town_code = core.codes.code_for("東京都渋谷区", code).value
    assert len(shared) == 1
    assert town_code not in shared
    assert GROUP == "医療保険者"


def test_a_person_who_changes_the_insurer_keeps_card_number_and_code(town: InsuredTown) -> None:
    insured(town)
    (before,) = [one.own_number for one in town.joint.people() if one.cards]
    town.feed(town.line("hanako", "ENDED", "06-1", APRIL, date(2026, 10, 31)))
    assert town.visit("hanako").state is ENDED
    town.feed(town.line("hanako", number="K-77", begins=date(2026, 11, 1), insurer=OTHER), insurer=OTHER)
    result = town.visit("hanako")
    assert (result.state, result.entitlement and result.entitlement.insurer) == (VALID, OTHER)
    (after,) = [one.own_number for one in town.joint.people() if one.cards]
    assert after == before
    assert [record.provider for record in town.records("hanako")] == [INSURER, OTHER]


def test_a_renewed_card_is_found_by_the_chain_only(town: InsuredTown, keys: SharedKeySource, tmp_path: Path) -> None:
    insured(town)
    clock_of(town.world).stand(instant_of("2031-02-01T10:00+09:00"))
    town.institutions.settle()
    town.institutions.cards.renew("hanako")
    town.institutions.settle()
    unlinked = InsuredTown(town.institutions, NoLinkage())
    assert unlinked.visit("hanako").state is EligibilityState.NOT_REGISTERED
    # Both bodies' impact assessments are of 2026, and reach to November 2031.
    assert town.visit("hanako").state is VALID
    assert unlinked.visit("hanako").state is VALID, "the new certificate is registered now"


def test_a_card_that_is_revoked_expired_or_on_hold_is_named_as_such(town: InsuredTown) -> None:
    insured(town)
    town.institutions.happen("taro", "death", {})
    town.institutions.happen("hanako", "loss-report", {})
    later(town.institutions, days=2)
    assert town.visit("hanako").state is EligibilityState.CARD_ON_HOLD
    assert town.visit("taro").state is EligibilityState.CARD_REVOKED
    with denied("not-entitled"):
        town.register("taro")
    clock_of(town.world).stand(instant_of("2033-02-01T10:00+09:00"))
    assert town.visit("hanako").state is EligibilityState.CARD_EXPIRED
    assert town.records("hanako") == [], "the network was not asked about a card that is not accepted"


def test_a_signature_for_another_clinic_or_a_second_time_is_rejected(town: InsuredTown) -> None:
    insured(town)
    for clinic, times in (("別の医院", 1), (CLINIC, 2)):
        challenge = town.desk.challenge(CLINIC)
        card = card_of(town.institutions, "hanako")
        card.verify_pin(PIN)
        certificate = card.certificate()
        response = Response(challenge.nonce, card.sign(challenge.message, certificate), certificate)
        results = [town.desk.check(clinic, HolderCheck.PIN, response) for _ in range(times)]
        assert results[-1].state is EligibilityState.CARD_REJECTED
        assert "unknown-challenge" in results[-1].words


def test_an_insurer_whose_copy_is_gone_does_not_make_the_insurance_valid(town: InsuredTown) -> None:
    insured(town)
    town.insurance.interface.server(INSURER).erase(town.address("hanako"), ITEM)
    result = town.visit("hanako")
    assert (result.state, result.words) == (EligibilityState.NOT_INSURED, f"{INSURER} has no entitlement")


def test_what_the_network_denies_is_not_valid(town: InsuredTown) -> None:
    insured(town)
    town.network.core.members.leave(INSURER)
    result = town.visit("hanako")
    assert result.state is EligibilityState.DENIED
    assert "(leaving)" in result.words


def test_a_world_can_be_opened_by_the_next_process(town: InsuredTown, keys: SharedKeySource) -> None:
    insured(town)
    town.world.close()
    with opened(town.world.directory, keys) as again:
        assert again.visit("hanako").state is VALID
