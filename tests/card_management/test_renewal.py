"""Renewals: when they are allowed, what they change on the card, and how failed ones end."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kazashi.applets import jpki
from kazashi.applets.holder import Pins
from kazashi.applets.install import load_card
from kazashi.assembly.institutions import Institutions
from kazashi.card.chip import Chip
from kazashi.card.image import read_image
from kazashi.card.request import verify
from kazashi.card_management.case import CaseState, CaseType
from kazashi.card_management.order import image_path
from kazashi.card_management.production import SENDINGS, RenewalRejected
from kazashi.card_management.relay import RelayFailed, RelayFault
from kazashi.jpki.profile import CertificateType
from kazashi.jpki.state import CertificateState, Reason
from kazashi.resident_registry.birth_date import BirthDate
from kazashi.resident_registry.event import MoveWithin, Renewal
from kazashi.resident_registry.sample_residents import SAMPLE_RESIDENTS
from kazashi.world.clock import instant_of
from kazashi.world.schedule import AT_ONCE
from tests.card_management.support import (
    NAMES,
    SELECT,
    assert_serials_gapless,
    contents,
    key_on_card,
    on_card,
    order_of,
    with_faults,
)
from tests.town import AUTHENTICATION, SIGNATURE, certificates, clock_of, loaded, standing


def test_impossible_renewal_is_refused_and_does_not_block_others(town: Institutions) -> None:
    for who in ("short-stay", "taro", "hanako"):
        town.issue_card(who, who)
    clock_of(town.world).stand(instant_of("2031-09-01"))
    image_path(town.world, "taro").unlink()
    for who in ("short-stay", "taro", "hanako"):
        town.registry.record(who, Renewal())
    town.settle()
    assert [case.state for case in town.cards.cases()][3:] == [CaseState.REFUSED, CaseState.REFUSED, CaseState.DONE]
    assert all(case.note for case in town.cards.cases()[3:5])
    assert standing(town, "hanako", SIGNATURE).state is CertificateState.GOOD


def test_renewal_in_the_last_three_months_counts_from_the_old_end(distinct_keys_town: Institutions) -> None:
    clock_of(distinct_keys_town.world).stand(instant_of("2027-01-16T23:59:59+09:00"))
    order = order_of(distinct_keys_town, "hanako", "2022-11-24T10:00+09:00")
    path = distinct_keys_town.issue_card("hanako", "hanako", order)
    before, about = read_image(path)
    with pytest.raises(RenewalRejected, match="renewed from 2027-01-17"):
        distinct_keys_town.cards.renew("hanako")
    assert [case.what for case in distinct_keys_town.cards.cases()] == [CaseType.NEW], "no case was opened"
    distinct_keys_town.advance(instant_of("2027-01-17"))
    assert set(distinct_keys_town.cards.renew("hanako")) == set(CertificateType)
    for kind in CertificateType:
        old, new = certificates(distinct_keys_town, "hanako", kind)
        assert new.not_after == instant_of("2032-04-17T23:59:59+09:00")
        assert (new.predecessor, new.medium_id) == (old.serial, old.medium_id)
        assert on_card(distinct_keys_town, "hanako", kind) == loaded(new)
        assert key_on_card(distinct_keys_town, "hanako", kind) == loaded(new).public_key() != loaded(old).public_key()
        assert distinct_keys_town.revocations[kind].status(old.serial).reason is Reason.SUPERSEDED
        assert standing(distinct_keys_town, "hanako", kind).state is CertificateState.GOOD
    after, about_now = read_image(path)
    reading = {"furigana": "バンゴウ　ハナコ", "additional entry 1": "2027-01-17 振り仮名 バンゴウ　ハナコ"}
    assert about_now == about | reading, "cards of 2022 did not have the reading yet"
    assert {aid: applet for aid, applet in after.items() if aid != jpki.AID} == {
        aid: applet for aid, applet in before.items() if aid != jpki.AID
    }
    assert after[jpki.AID].pins == before[jpki.AID].pins
    assert after[jpki.AID].objects == before[jpki.AID].objects
    assert not list(distinct_keys_town.world.cards.glob(".*.keys"))
    with pytest.raises(RenewalRejected, match="2032-01-17"):
        distinct_keys_town.cards.renew("hanako")
    assert_serials_gapless(distinct_keys_town)


def test_expired_certificate_can_be_renewed(town: Institutions) -> None:
    clock_of(town.world).stand(instant_of("2026-04-18"))
    town.issue_card("hanako", "hanako", order_of(town, "hanako", "2022-03-01"))
    assert standing(town, "hanako", SIGNATURE).state is CertificateState.EXPIRED
    town.cards.renew("hanako")
    old, new = certificates(town, "hanako", SIGNATURE)
    assert (old.not_after, new.not_after) == (
        instant_of("2026-04-17T23:59:59+09:00"), instant_of("2031-04-17T23:59:59+09:00"),
    )  # fmt: skip
    assert standing(town, "hanako", SIGNATURE).state is CertificateState.GOOD


def test_renewed_certificates_end_with_the_card(town: Institutions) -> None:
    clock_of(town.world).stand(instant_of("2036-02-01"))
    path = town.issue_card("hanako", "hanako", order_of(town, "hanako", "2026-11-24"))
    assert read_image(path)[1]["expiry"] == "20360417"
    town.cards.renew("hanako")
    assert certificates(town, "hanako", SIGNATURE)[-1].not_after == instant_of("2036-04-17T23:59:59+09:00")
    clock_of(town.world).stand(instant_of("2036-04-18"))
    with pytest.raises(RenewalRejected, match="2036-04-17"):
        town.cards.renew("hanako")
    assert read_image(path)[1]["expiry"] == "20360417"


def test_after_a_move_only_the_signature_certificate_is_renewed(distinct_keys_town: Institutions) -> None:
    path = distinct_keys_town.issue_card("hanako", "hanako")
    before = contents(distinct_keys_town, "hanako")[jpki.AID]
    distinct_keys_town.registry.record("hanako", MoveWithin("架空町１丁目"))
    distinct_keys_town.settle()
    assert distinct_keys_town.cards.renew("hanako") == [SIGNATURE]
    old, new = certificates(distinct_keys_town, "hanako", SIGNATURE)
    assert distinct_keys_town.revocations[SIGNATURE].status(old.serial).reason is Reason.AFFILIATION_CHANGED
    assert on_card(distinct_keys_town, "hanako", SIGNATURE) == loaded(new)
    assert new.not_after == old.not_after
    assert len(certificates(distinct_keys_town, "hanako", AUTHENTICATION)) == 1
    after = read_image(path)[0][jpki.AID]
    assert after.keys[jpki.AUTHENTICATION_KEY] == before.keys[jpki.AUTHENTICATION_KEY]
    assert after.data[jpki.AUTHENTICATION_CERTIFICATE] == before.data[jpki.AUTHENTICATION_CERTIFICATE]
    assert after.keys[jpki.SIGNATURE_KEY] != before.keys[jpki.SIGNATURE_KEY]
    with pytest.raises(RenewalRejected, match="certificates are good"):
        distinct_keys_town.cards.renew("hanako")


def test_renewal_keeps_pins_and_retry_counters(town: Institutions) -> None:
    path = town.issue_card("hanako", "hanako")
    chip = Chip(load_card(path))
    chip.power_on()
    for command, response in (
        (SELECT, "9000"),
        (verify(jpki.AUTHENTICATION_PIN, b"1234"), "9000"),
        (bytes.fromhex("0024019804") + b"5678", "9000"),
        (verify(jpki.AUTHENTICATION_PIN, b"0000"), "63C2"),
        (verify(jpki.SIGNATURE_PIN, b"WRONG1"), "63C4"),
    ):
        assert chip.transmit(command) == bytes.fromhex(response)
    before = read_image(path)[0][jpki.AID].pins
    town.registry.record("hanako", MoveWithin("架空町１丁目"))
    town.settle()
    town.cards.renew("hanako")
    after = read_image(path)[0][jpki.AID].pins
    assert after == before
    state = after[jpki.AUTHENTICATION_PIN]
    assert (state.value, state.tries_left, after[jpki.SIGNATURE_PIN].tries_left) == (b"5678", 2, 4)
    again = Chip(load_card(path))
    again.power_on()
    assert again.transmit(SELECT) == bytes.fromhex("9000")
    assert again.transmit(verify(jpki.AUTHENTICATION_PIN, b"5678")) == bytes.fromhex("9000")


def test_interrupted_renewal_is_finished_with_the_same_keys(distinct_keys_town: Institutions) -> None:
    path = distinct_keys_town.issue_card("hanako", "hanako")
    untouched = path.read_bytes()
    distinct_keys_town.registry.record("hanako", MoveWithin("架空町１丁目"))
    distinct_keys_town.settle()
    with pytest.raises(RelayFailed):
        with_faults(distinct_keys_town, [RelayFault.REPLY_LOST] * SENDINGS).renew("hanako")
    assert path.read_bytes() == untouched
    assert len(certificates(distinct_keys_town, "hanako", SIGNATURE)) == 2, "issued, but the reply was lost"
    assert distinct_keys_town.cards.resume() == 1
    issued = certificates(distinct_keys_town, "hanako", SIGNATURE)
    assert len(issued) == 2
    assert on_card(distinct_keys_town, "hanako", SIGNATURE) == loaded(issued[-1])
    assert loaded(issued[-1]).public_key() == key_on_card(distinct_keys_town, "hanako", SIGNATURE)
    assert_serials_gapless(distinct_keys_town)


@settings(max_examples=12)
@given(faults=st.lists(st.sampled_from([*RelayFault, RelayFault.REQUEST_LOST, RelayFault.REPLY_LOST]), max_size=16))
def test_any_sequence_of_faults_renews_once(shared_town: Institutions, faults: list[RelayFault]) -> None:
    name = f"renewed{next(NAMES)}"
    shared_town.issue_card(name, "leap-day")
    number = read_image(image_path(shared_town.world, name))[1]["card number"]
    for kind, authority in shared_town.authorities.items():
        shared_town.revocations[kind].revoke(authority.of_medium(number)[-1].serial, Reason.UNSPECIFIED)
    cards = with_faults(shared_town, faults)
    with suppress(RelayFailed):
        cards.renew(name)
    while cards.due() == AT_ONCE:
        cards.resume()
    for kind, authority in shared_town.authorities.items():
        old, new = authority.of_medium(number)
        assert new.predecessor == old.serial
        assert on_card(shared_town, name, kind) == loaded(new)
        assert shared_town.revocations[kind].status(new.serial).state is CertificateState.GOOD


def test_child_gets_a_signature_certificate_from_the_age_of_15(town: Institutions) -> None:
    town.registry.add(replace(SAMPLE_RESIDENTS["child"], alias="x", birth=BirthDate(2012, 1, 1)))
    town.juki_net.deliver()
    path = town.issue_card("x", "x")
    assert read_image(path)[1]["expiry"] == "20310101", "a minor's card lasts five birthdays"
    assert on_card(town, "x", SIGNATURE) is None
    assert not certificates(town, "x", SIGNATURE)
    assert on_card(town, "x", AUTHENTICATION) is not None
    clock_of(town.world).stand(instant_of("2026-12-30T23:59:59+09:00"))
    with pytest.raises(RenewalRejected, match="can be renewed from 2030-10-01"):
        town.cards.renew("x")
    clock_of(town.world).stand(instant_of("2026-12-31"))
    assert town.cards.renew("x") == [SIGNATURE], "the law completes a year on the eve of the birthday"
    (issued,) = certificates(town, "x", SIGNATURE)
    assert on_card(town, "x", SIGNATURE) == loaded(issued)
    assert (issued.predecessor, len(certificates(town, "x", AUTHENTICATION))) == (None, 1)
    chip = Chip(load_card(path))
    chip.power_on()
    chip.transmit(SELECT)
    password = Pins().signature.encode()
    assert chip.transmit(verify(jpki.SIGNATURE_PIN, password)) == bytes.fromhex("9000")
    assert read_image(path)[1]["signature password"] == Pins().signature, "the image's description has it"
