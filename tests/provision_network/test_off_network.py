"""Provision outside the network: logged by the provider, and shown to the person nowhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kazashi.provision_network.law.provisions import TAXES_PURPOSE, Party, PersonField, Provision
from kazashi.provision_network.law.versions import ProvisionItem
from kazashi.provision_network.off_network import COMMISSION, OffNetwork, hidden_share
from kazashi.provision_network.terms import NetworkRejected
from kazashi.world.clock import FixedClock
from kazashi.world.home import World, open_world
from kazashi.world.settings import Settings
from tests.provision_network.bodies import HANAKO, NOW, denied, network_of
from tests.provision_network.test_uses_and_provisions import ALLOWED

pytestmark = pytest.mark.unit

ITEM = ProvisionItem


@pytest.fixture
def world(tmp_path: Path) -> World:
    return open_world(tmp_path / "w", settings=Settings("network"), clock=FixedClock(NOW))


def test_c2_c5_juki_net_provisions_are_logged(world: World) -> None:
    off = OffNetwork(world)
    off.give("地方公共団体情報システム機構", "市町村長", ALLOWED[ITEM.J_LIS], "本人確認情報")
    act = replace(ALLOWED[ITEM.REGISTRATION_ACT], handle=PersonField.RESIDENT_RECORD_CODE)
    off.give("東京都知事", "地方公共団体情報システム機構", act, "本人確認情報")
    with pytest.raises(NetworkRejected):
        off.give(
            "地方公共団体情報システム機構",
            "図書館",
            Provision(ITEM.J_LIS, Party.J_LIS, Party.ANYBODY, "x"),
            "本人確認情報",
        )
    assert [(line.item, line.handle, bool(line.denial)) for line in off.given()] == [
        (ITEM.J_LIS, PersonField.INDIVIDUAL_NUMBER, False),
        (ITEM.REGISTRATION_ACT, PersonField.RESIDENT_RECORD_CODE, False),
        (ITEM.J_LIS, PersonField.INDIVIDUAL_NUMBER, True),
    ]  # fmt: skip


def test_i3_health_checks_between_insurers_are_not_in_the_portal(world: World) -> None:
    network, off = network_of(world), OffNetwork(world)
    provision = Provision(
        ITEM.BY_PERSON, Party.PERSON, Party.IMPLEMENTER, "特定健康診査の引継ぎ", identity_checked=True
    )
    off.give("旧保険者", "新保険者", provision, "特定健康診査")
    (line,) = off.given("旧保険者")
    assert line.handle is PersonField.INDIVIDUAL_NUMBER
    assert network.records(HANAKO) == [], "the network has no record of it"
    assert off.shown_in_portal() == []


def test_i2_tax_offices_only_provide_to_tax_offices(world: World) -> None:
    off = OffNetwork(world)
    assert off.give("国税庁", "渋谷区", ALLOWED[ITEM.TAXES], "所得税の申告").rule == "番号法19条9号 (2017-05-30)"
    library = Provision(ITEM.TAXES, Party.TAX_AGENCY, Party.ANYBODY, TAXES_PURPOSE)
    with denied("no-basis"):
        off.give("国税庁", "図書館", library, "x")


def test_f7_i8_provision_to_investigators_is_hidden(world: World) -> None:
    off = OffNetwork(world)
    off.give("渋谷区", "警視庁", ALLOWED[ITEM.INVESTIGATION], "住所")
    off.give("渋谷区", COMMISSION, ALLOWED[ITEM.COMMISSION], "特定個人情報ファイル")
    assert off.shown_in_portal() == []
    assert [line.item for line in off.inspected(COMMISSION)] == [ITEM.COMMISSION]
    with pytest.raises(NetworkRejected):
        off.inspected("総務省")


def test_a_denial_is_logged(world: World) -> None:
    off = OffNetwork(world)
    reasons = {
        "network-only": (ITEM.NETWORK, "x"),
        "no-basis": (ITEM.TAXES, "x"),
        "denied-purpose": (ITEM.TAXES, "自衛官募集"),
    }
    for denial, (item, purpose) in reasons.items():
        with denied(denial):
            off.give("渋谷区", "港区", Provision(item, Party.MUNICIPALITY, Party.MUNICIPALITY, purpose), "x")
    assert [line.denial for line in off.given()] == list(reasons)


def test_x19_the_share_of_hidden_exchanges(world: World) -> None:
    off = OffNetwork(world)
    assert hidden_share(0, off.given()) == 0
    off.give("国税庁", "渋谷区", ALLOWED[ITEM.TAXES], "x")
    assert hidden_share(3, off.given()) == 0.25
