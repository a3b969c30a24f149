"""A card as an insurance card: from the certificate to the insurer, at the joint body of all insurers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from kazashi.assembly.institutions import Institutions
from kazashi.assembly.relying import card_verdict, direct_linkage
from kazashi.provision_network.eligibility import Check, EligibilityService, Insurance
from kazashi.relying_party.verify.linkage import NoLinkage
from kazashi.world.key_source import SharedKeySource
from tests.provision_network.bodies import denied
from tests.town import new_institutions

pytestmark = pytest.mark.unit

KENPO = Insurance("06-1234", "架空健康保険組合", date(2026, 4, 1), None)


@pytest.fixture
def town(tmp_path: Path, keys: SharedKeySource) -> Iterator[Institutions]:
    institutions = new_institutions(tmp_path / "w", keys)
    institutions.issue_card("hanako", "hanako")
    institutions.issue_card("taro", "taro")
    institutions.settle()
    yield institutions
    institutions.world.close()


@pytest.fixture
def desk(town: Institutions) -> EligibilityService:
    found = EligibilityService(town.world, direct_linkage(town, "insurers"))
    found.insure(KENPO, b"shared code")
    found.tie(card_verdict(town, "hanako"), KENPO.insured_number)
    return found


def test_med1_med2_a_visit_with_the_card_alone(town: Institutions, desk: EligibilityService) -> None:
    for how in Check:
        found = desk.check(card_verdict(town, "hanako"), "架空医院", how)
        assert (found.insurance, found.valid) == (KENPO, True)
    unknown = desk.check(card_verdict(town, "taro"), "架空医院", Check.PIN)
    assert (unknown.insurance, unknown.valid) == (None, False)


def test_med1_insurance_that_has_ended_is_not_valid(town: Institutions, desk: EligibilityService) -> None:
    desk.insure(Insurance(KENPO.insured_number, KENPO.insurer, KENPO.begins, date(2026, 10, 31)))
    found = desk.check(card_verdict(town, "hanako"), "架空医院", Check.PIN)
    assert not found.valid
    assert "2026-10-31" in found.words
    desk.insure(Insurance(KENPO.insured_number, "別の組合", date(2027, 1, 1), None))
    assert not desk.check(card_verdict(town, "hanako"), "架空医院", Check.PIN).valid, "not yet"


def test_a_renewed_card_is_found_by_the_chain_and_lost_without_it(town: Institutions, desk: EligibilityService) -> None:
    from kazashi.world.clock import instant_of
    from tests.town import clock_of

    clock_of(town.world).stand(instant_of("2031-02-01T10:00+09:00"))
    town.settle()
    town.cards.renew("hanako")
    town.settle()
    renewed = card_verdict(town, "hanako")
    blind = EligibilityService(town.world, NoLinkage())
    assert blind.check(renewed, "架空医院", Check.PIN).insurance is None
    assert desk.check(renewed, "架空医院", Check.PIN).insurance == KENPO
    assert blind.check(renewed, "架空医院", Check.PIN).insurance == KENPO, "it is tied from now on"


def test_med3_med4_b16_the_joint_body_has_a_number_of_its_own_and_none_else_s(desk: EligibilityService) -> None:
    columns = {column.name for table in (desk.insured, desk.card) for column in table.columns}
    assert "individual_number" not in columns
    assert columns == {"insured_number", "insurer", "begins", "ends", "code", "serial"}


def test_a_verdict_that_is_not_good_gets_nothing(town: Institutions, desk: EligibilityService) -> None:
    from tests.town import later

    town.happen("hanako", "death", {})
    later(town, days=2)
    with denied("not-entitled"):
        desk.check(card_verdict(town, "hanako"), "架空医院", Check.PIN)
    with denied("not-insured"):
        desk.tie(card_verdict(town, "taro"), "06-9999")
