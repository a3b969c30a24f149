"""The Commission's register: filed, accepted, published, withdrawn, limited; what it changes in the core at once, and
what survives a restart."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from kazashi.provision_network.assessments import sample_assessment
from kazashi.provision_network.core import Core
from kazashi.provision_network.documents import DocumentRejected
from kazashi.provision_network.law.rules import LimitingOrdinance, OrdinanceAffair, RuleBook
from kazashi.provision_network.law.tables import Purpose
from kazashi.provision_network.ordinances import filings
from tests.provision_network.bodies import MINATO, NOW, PURPOSE, ROWS, SHIBUYA, TOWNS, Network, denied, network_of
from tests.town import clock_of, new_world

DAY = NOW.date()
ENTRY = {
    "identifier": "渋谷区-1", "body": SHIBUYA, "law": "渋谷区医療費助成条例", "affair": "医療費の助成",
    "provider": "市町村長", "item": "住民票関係情報", "like": "9", "field": "福祉",
}  # fmt: skip
KINDS = dict.fromkeys(TOWNS, "市町村長")
OWN = Purpose("市町村長", "渋谷区医療費助成条例", "医療費の助成", "市町村長", "住民票関係情報")


def filing(**changed: Any) -> OrdinanceAffair:
    (affair,) = filings(json.dumps({**ENTRY, **changed}), KINDS)
    return affair


def published(core: Core, affair: OrdinanceAffair) -> None:
    core.ordinances.file([affair], DAY)
    core.ordinances.accept(affair.identifier, DAY)
    core.ordinances.publish(affair.identifier, DAY)


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
    assert asked.words == "渋谷区-1 does not meet: accepted, published"
    with denied("not-accepted"):
        register.publish("渋谷区-1", DAY)
    register.accept("渋谷区-1", DAY)
    assert network.ask(purpose=OWN).words == "渋谷区-1 does not meet: published"
    register.publish("渋谷区-1", DAY + timedelta(days=2))
    assert denial(network) == "conditions", "it is published the day after tomorrow"
    clock_of(network.world).stand(NOW + timedelta(days=2))
    asked = network.ask(purpose=OWN)
    assert asked.rule == "番号法19条8号 (2017-05-30), 渋谷区-1 (like 別表第二 9)"
    assert network.core.ordinances.rules().published(DAY) == []
    (row,) = network.core.ordinances.rules().published(DAY + timedelta(days=2))
    assert (row["identifier"], row["body"], row["law"]) == ("渋谷区-1", SHIBUYA, OWN.law)
    register.withdraw("渋谷区-1", DAY + timedelta(days=3))
    assert denial(network) == ""
    clock_of(network.world).stand(NOW + timedelta(days=3))
    assert denial(network) == "conditions"
    register.file([replace(filing(), identifier="渋谷区-2")], DAY + timedelta(days=3))
    assert network.ask(purpose=OWN).words == "渋谷区-2 does not meet: accepted, published", "not what was withdrawn"


def test_only_the_body_whose_ordinance_it_is_may_ask(network: Network) -> None:
    published(network.core, filing())
    assert denial(network) == ""
    assert denial(network, "新宿区") == "not-listed"


def test_the_register_survives_and_a_running_core_takes_it_into_account(network: Network) -> None:
    other = Core(network.world, RuleBook(ROWS))  # as in another process
    published(other, filing())
    assert denial(network) == ""
    other.ordinances.limit(LimitingOrdinance(MINATO, OWN.item, DAY - timedelta(days=1)), "市町村長")
    assert denial(network) == "limited"
    network.world.close()
    again = Core(network.world, RuleBook(ROWS)).ordinances.rules()
    assert [affair.identifier for affair in again.ordinances] == ["渋谷区-1"]
    assert [limit.provider for limit in again.limits] == [MINATO]
    other.ordinances.unlimit(MINATO, OWN.item)
    assert denial(network) == ""


def test_a_limit_needs_a_notification_beforehand_and_spares_the_table(network: Network) -> None:
    register = network.core.ordinances
    published(network.core, filing())
    register.limit(LimitingOrdinance(MINATO, OWN.item, DAY), "市町村長")
    assert denial(network) == "", "the Commission was only notified today"
    clock_of(network.world).stand(NOW + timedelta(days=1))
    assert denial(network) == "limited"
    register.limit(LimitingOrdinance(MINATO, PURPOSE.item, DAY), "市町村長")
    assert denial(network, purpose=PURPOSE) == ""
    with denied("limit-exists"):
        register.limit(LimitingOrdinance(MINATO, OWN.item, DAY), "市町村長")
    with denied("unknown-item"):
        register.limit(LimitingOrdinance(MINATO, "病歴", DAY), "市町村長")
    with denied("unknown-item"):
        register.limit(LimitingOrdinance(MINATO, "年金給付関係情報", DAY), "市町村長")
    with denied("no-ordinances"):
        register.limit(LimitingOrdinance("日本年金機構", "年金給付関係情報", DAY), "日本年金機構")
    with denied("unknown-limit"):
        register.unlimit(SHIBUYA, OWN.item)


def test_tax_data_need_consent_because_of_the_item(network: Network) -> None:
    published(network.core, filing(item="地方税関係情報"))
    taxes = replace(OWN, item="地方税関係情報")
    assert denial(network, purpose=taxes) == "tax-secrecy"
    assert denial(network, purpose=taxes, consent=True) == ""


def test_acts_have_an_order(network: Network) -> None:
    register = network.core.ordinances
    acts = (register.accept, register.publish, register.withdraw)
    for act in acts:
        with denied("unknown-ordinance"):
            act("渋谷区-1", DAY)
    register.file([filing()], DAY)
    with denied("ordinance-exists"):
        register.file([filing(identifier="渋谷区-2", affair="別の助成"), filing()], DAY)
    assert len(register.rules().ordinances) == 1, "all or none are filed"
    with denied("wrong-order"):
        register.accept("渋谷区-1", DAY - timedelta(days=1))
    register.accept("渋谷区-1", DAY)
    with denied("accepted"):
        register.accept("渋谷区-1", DAY)
    with denied("wrong-order"):
        register.publish("渋谷区-1", DAY - timedelta(days=1))
    register.publish("渋谷区-1", DAY)
    with denied("published"):
        register.publish("渋谷区-1", DAY)
    register.withdraw("渋谷区-1", DAY)
    for act in acts:
        with denied("withdrawn"):
            act("渋谷区-1", DAY)


def test_a_filing_must_be_like_a_row_and_not_one_of_them(network: Network) -> None:
    with denied("unknown-row"):
        network.core.ordinances.file([filing(like="999")], DAY)
    statutory = {"law": PURPOSE.law, "affair": PURPOSE.affair, "item": PURPOSE.item}
    with denied("statutory-affair"):
        network.core.ordinances.file([filing(**statutory)], DAY)
    for out_of_range in ({"item": "年金給付関係情報"}, {"provider": "日本年金機構"}, {"like": "73"}):
        with denied("out-of-range"):
            network.core.ordinances.file([filing(**out_of_range)], DAY)
    with denied("denied-purpose"):
        network.core.ordinances.file([filing(affair="自衛官募集")], DAY)
    assert network.core.ordinances.rules().ordinances == []


def test_overlapping_ordinances_are_refused(network: Network) -> None:
    register = network.core.ordinances
    register.file([filing()], DAY)
    with denied("ordinance-overlaps"):
        register.file([filing(identifier="渋谷区-2")], DAY)
    register.file([filing(identifier="港区-1", body=MINATO)], DAY)
    register.withdraw("渋谷区-1", DAY)
    register.file([filing(identifier="渋谷区-2")], DAY)


def test_only_a_local_government_makes_ordinances(network: Network) -> None:
    bank = filings(json.dumps({**ENTRY, "body": "架空銀行"}), {"架空銀行": "銀行"})
    with denied("no-ordinances"):
        network.core.ordinances.file(bank, DAY)


def test_a_register_of_an_earlier_version_is_migrated(network: Network) -> None:
    """Filings stated their conditions themselves. One that met all of them and was published stays in force."""
    with network.core.store.alone() as connection:
        connection.execute(sa.text("DROP TABLE ordinance_affair"))
        connection.execute(sa.text(
            "CREATE TABLE ordinance_affair (position INTEGER PRIMARY KEY, identifier TEXT, body TEXT, requester TEXT,"
            " law TEXT, affair TEXT, provider TEXT, item TEXT, \"like\" TEXT, same_purpose BOOLEAN,"
            " similar_content BOOLEAN, nearly_same_items BOOLEAN, filed TEXT, published TEXT, withdrawn TEXT)"
        ))  # fmt: skip
        row = ":p, :n, :b, :r, :l, :n, :v, :i, '9', true, :s, true, :d, :d, NULL"
        for position, (name, similar) in enumerate({"渋谷区-1": True, "渋谷区-2": False}.items(), 1):
            values = {"p": position, "n": name, "b": SHIBUYA, "r": OWN.requester, "l": OWN.law, "v": OWN.provider,
                      "i": OWN.item, "s": similar, "d": "2018-04-01"}  # fmt: skip
            connection.execute(sa.text(f"INSERT INTO ordinance_affair VALUES ({row})"), values)
        connection.execute(sa.text("INSERT INTO ordinance_version VALUES (1, 2)"))
        connection.execute(sa.text("UPDATE schema_version SET version = 3"))
    network.world.close()
    rules = Core(network.world, RuleBook(ROWS)).ordinances.rules()
    assert [(one.identifier, rules.missing(one, DAY)) for one in rules.ordinances] == [
        ("渋谷区-1", []), ("渋谷区-2", ["accepted"]),
    ]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), [
    ("identifier", ""), ("body", "どこにもない村"), ("law", None), ("item", 3), ("field", "観光"), ("like", 9),
])  # fmt: skip
def test_a_bad_filing_is_refused(name: str, value: Any) -> None:
    with pytest.raises(DocumentRejected):
        filing(**{name: value})


def test_before_the_network_there_is_no_affair_by_ordinance() -> None:
    affair = replace(filing(), filed=date(2016, 1, 4), accepted=date(2016, 1, 4), published=date(2016, 1, 5))
    rules = RuleBook(ROWS, [affair])
    assert not rules.decide(OWN, date(2016, 6, 1)).allowed
    assert rules.decide(OWN, date(2017, 7, 18)).allowed
