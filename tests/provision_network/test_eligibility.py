"""The card as an insurance card: the joint body of all insurers finds the insurer from the certificate."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from kazashi.assembly.institutions import Institutions
from kazashi.assembly.relying import card_verdict, direct_linkage
from kazashi.provision_network.eligibility import CARD, INSURED, Check, EligibilityService, Insurance
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
def service(town: Institutions) -> EligibilityService:
    service = EligibilityService(town.world, direct_linkage(town, "insurers"))
    service.insure(KENPO, b"shared code")
    service.tie(card_verdict(town, "hanako"), KENPO.insured_number)
    return service


def test_med1_med2_a_clinic_visit_with_only_the_card(town: Institutions, service: EligibilityService) -> None:
    for how in Check:
        result = service.check(card_verdict(town, "hanako"), "架空医院", how)
        assert (result.insurance, result.valid) == (KENPO, True)
    unknown = service.check(card_verdict(town, "taro"), "架空医院", Check.PIN)
    assert (unknown.insurance, unknown.valid) == (None, False)


def test_med1_expired_or_future_insurance_is_not_valid(town: Institutions, service: EligibilityService) -> None:
    service.insure(Insurance(KENPO.insured_number, KENPO.insurer, KENPO.begins, date(2026, 10, 31)))
    result = service.check(card_verdict(town, "hanako"), "架空医院", Check.PIN)
    assert not result.valid
    assert "2026-10-31" in result.words
    service.insure(Insurance(KENPO.insured_number, "別の組合", date(2027, 1, 1), None))
    assert not service.check(card_verdict(town, "hanako"), "架空医院", Check.PIN).valid, "it begins later"


def test_a_renewed_card_is_found_by_the_chain_only(town: Institutions, service: EligibilityService) -> None:
    from kazashi.world.clock import instant_of
    from tests.town import clock_of

    clock_of(town.world).stand(instant_of("2031-02-01T10:00+09:00"))
    town.settle()
    town.cards.renew("hanako")
    town.settle()
    renewed = card_verdict(town, "hanako")
    unlinked = EligibilityService(town.world, NoLinkage())
    assert unlinked.check(renewed, "架空医院", Check.PIN).insurance is None
    assert service.check(renewed, "架空医院", Check.PIN).insurance == KENPO
    assert unlinked.check(renewed, "架空医院", Check.PIN).insurance == KENPO, "the new certificate is registered now"


def test_med3_med4_b16_the_joint_body_only_uses_its_own_number(service: EligibilityService) -> None:
    columns = {column.name for table in (INSURED, CARD) for column in table.columns}
    assert "individual_number" not in columns
    assert columns == {"insured_number", "insurer", "begins", "ends", "code", "serial"}


def test_an_invalid_card_is_refused(town: Institutions, service: EligibilityService) -> None:
    from tests.town import later

    town.happen("hanako", "death", {})
    later(town, days=2)
    with denied("not-entitled"):
        service.check(card_verdict(town, "hanako"), "架空医院", Check.PIN)
    with denied("not-insured"):
        service.tie(card_verdict(town, "taro"), "06-9999")
