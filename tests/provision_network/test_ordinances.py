"""The Commission's register: filed, published, withdrawn, limited; what it changes in the core at once, and what
survives a restart."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from kazashi.provision_network.assessments import sample_assessment
from kazashi.provision_network.core import Core
from kazashi.provision_network.documents import DocumentRejected
from kazashi.provision_network.ordinances import filings
from kazashi.provision_network.rules import LimitingOrdinance, OrdinanceAffair, Purpose, RuleBook
from tests.provision_network.bodies import MINATO, NOW, PURPOSE, ROWS, SHIBUYA, TOWNS, Network, denied, network_of
from tests.town import clock_of, new_world

DAY = NOW.date()
ENTRY = {
    "identifier": "渋谷区-1", "body": SHIBUYA, "law": "渋谷区医療費助成条例", "affair": "医療費の助成",
    "provider": "市町村長", "item": "住民票関係情報", "like": "9", "same_purpose": True, "similar_content": True,
    "nearly_same_items": True,
}  # fmt: skip
KINDS = dict.fromkeys(TOWNS, "市町村長")
OWN = Purpose("市町村長", "渋谷区医療費助成条例", "医療費の助成", "市町村長", "住民票関係情報")


def filing(**changed: Any) -> OrdinanceAffair:
    (affair,) = filings(json.dumps({**ENTRY, **changed}), KINDS)
    return affair


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    world = new_world(tmp_path / "w")
    clock_of(world).stand(NOW)
    network = network_of(world)
    for town in TOWNS:
        covers = sample_assessment(
            town, "市町村長", DAY, [*(row.purpose for row in ROWS), OWN, replace(OWN, item="地方税関係情報")]
        )
        network.core.members.assess(replace(covers, version=2))
    yield network
    world.close()


def denial(network: Network, body: str = SHIBUYA, purpose: Purpose = OWN, *, consent: bool = False) -> str:
    return network.ask(body, purpose=purpose, consent=consent).denial


def test_an_affair_counts_from_its_publication_to_its_withdrawal(network: Network) -> None:
    register = network.core.ordinances
    assert denial(network) == "unknown-purpose"
    register.file([filing()], DAY)
    asked = network.ask(purpose=OWN)
    assert asked.denial == "conditions"
    assert asked.words == "渋谷区-1 does not meet: published"
    register.publish("渋谷区-1", DAY + timedelta(days=2))
    assert denial(network) == "conditions", "it is published the day after tomorrow"
    clock_of(network.world).stand(NOW + timedelta(days=2))
    asked = network.ask(purpose=OWN)
    assert asked.rule == "番号法19条8号, 渋谷区-1 (like 別表第二 9)"
    assert network.core.ordinances.rules().published(DAY) == []
    (row,) = network.core.ordinances.rules().published(DAY + timedelta(days=2))
    assert (row["identifier"], row["body"], row["law"]) == ("渋谷区-1", SHIBUYA, OWN.law)
    register.withdraw("渋谷区-1", DAY + timedelta(days=3))
    assert denial(network) == ""
    clock_of(network.world).stand(NOW + timedelta(days=3))
    assert denial(network) == "conditions"


def test_only_the_body_whose_ordinance_it_is_may_ask(network: Network) -> None:
    network.core.ordinances.file([filing()], DAY)
    network.core.ordinances.publish("渋谷区-1", DAY)
    assert denial(network) == ""
    assert denial(network, "新宿区") == "not-listed"


def test_the_register_survives_and_a_running_core_takes_it_into_account(network: Network) -> None:
    other = Core(network.world, RuleBook(ROWS))  # as in another process
    other.ordinances.file([filing()], DAY)
    other.ordinances.publish("渋谷区-1", DAY)
    assert denial(network) == ""
    other.ordinances.limit(LimitingOrdinance(MINATO, OWN.item, DAY - timedelta(days=1)))
    assert denial(network) == "limited"
    network.world.close()
    again = Core(network.world, RuleBook(ROWS)).ordinances.rules()
    assert [affair.identifier for affair in again.ordinances] == ["渋谷区-1"]
    assert [limit.provider for limit in again.limits] == [MINATO]
    other.ordinances.unlimit(MINATO, OWN.item)
    assert denial(network) == ""


def test_a_limit_needs_a_notification_beforehand_and_spares_the_table(network: Network) -> None:
    register = network.core.ordinances
    register.file([filing()], DAY)
    register.publish("渋谷区-1", DAY)
    register.limit(LimitingOrdinance(MINATO, OWN.item, DAY))
    assert denial(network) == "", "the Commission was only notified today"
    clock_of(network.world).stand(NOW + timedelta(days=1))
    assert denial(network) == "limited"
    register.limit(LimitingOrdinance(MINATO, PURPOSE.item, DAY))
    assert denial(network, purpose=PURPOSE) == ""
    with denied("limit-exists"):
        register.limit(LimitingOrdinance(MINATO, OWN.item, DAY))
    with denied("unknown-item"):
        register.limit(LimitingOrdinance(MINATO, "病歴", DAY))
    with denied("unknown-limit"):
        register.unlimit(SHIBUYA, OWN.item)


def test_tax_data_need_consent_because_of_the_item(network: Network) -> None:
    network.core.ordinances.file([filing(item="地方税関係情報")], DAY)
    network.core.ordinances.publish("渋谷区-1", DAY)
    taxes = replace(OWN, item="地方税関係情報")
    assert denial(network, purpose=taxes) == "tax-secrecy"
    assert denial(network, purpose=taxes, consent=True) == ""


@pytest.mark.parametrize("condition", ["same_purpose", "similar_content", "nearly_same_items"])
def test_a_stated_condition_that_is_not_met_denies(network: Network, condition: str) -> None:
    network.core.ordinances.file([filing(**{condition: False})], DAY)
    network.core.ordinances.publish("渋谷区-1", DAY)
    asked = network.ask(purpose=OWN)
    assert (asked.denial, condition in asked.words) == ("conditions", True)


def test_acts_have_an_order(network: Network) -> None:
    register = network.core.ordinances
    for act in (register.publish, register.withdraw):
        with denied("unknown-ordinance"):
            act("渋谷区-1", DAY)
    register.file([filing()], DAY)
    with denied("ordinance-exists"):
        register.file([filing(identifier="渋谷区-2"), filing()], DAY)
    assert len(register.rules().ordinances) == 1, "all or none are filed"
    with denied("wrong-order"):
        register.publish("渋谷区-1", DAY - timedelta(days=1))
    register.publish("渋谷区-1", DAY)
    with denied("published"):
        register.publish("渋谷区-1", DAY)
    register.withdraw("渋谷区-1", DAY)
    for act in (register.publish, register.withdraw):
        with denied("withdrawn"):
            act("渋谷区-1", DAY)


def test_a_filing_must_be_like_a_row_and_not_one_of_them(network: Network) -> None:
    with denied("unknown-row"):
        network.core.ordinances.file([filing(like="999")], DAY)
    statutory = {"law": PURPOSE.law, "affair": PURPOSE.affair, "item": PURPOSE.item}
    with denied("statutory-affair"):
        network.core.ordinances.file([filing(**statutory)], DAY)


@pytest.mark.parametrize(("name", "value"), [
    ("identifier", ""), ("body", "どこにもない村"), ("law", None), ("item", 3), ("same_purpose", "yes"), ("like", 9),
])  # fmt: skip
def test_a_bad_filing_is_refused(name: str, value: Any) -> None:
    with pytest.raises(DocumentRejected):
        filing(**{name: value})


def test_before_the_network_there_is_no_affair_by_ordinance() -> None:
    affair = replace(filing(), filed=date(2016, 1, 4), published=date(2016, 1, 5))
    rules = RuleBook(ROWS, [affair])
    assert not rules.decide(OWN, date(2016, 6, 1)).allowed
    assert rules.decide(OWN, date(2017, 7, 18)).allowed
