"""Provision outside the network: logged by the provider, and shown to the person nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from kazashi.provision_network.off_network import COMMISSION, OffNetwork, hidden_share
from kazashi.provision_network.provisions import Party, PersonField, Provision
from kazashi.provision_network.terms import NetworkRejected
from kazashi.world.clock import FixedClock
from kazashi.world.home import World, open_world
from kazashi.world.settings import Settings
from tests.provision_network.bodies import HANAKO, NOW, denied, network_of
from tests.provision_network.test_uses_and_provisions import ALLOWED

pytestmark = pytest.mark.unit


@pytest.fixture
def world(tmp_path: Path) -> World:
    return open_world(tmp_path / "w", settings=Settings("network"), clock=FixedClock(NOW))


def test_c2_c5_juki_net_provisions_are_logged(world: World) -> None:
    off = OffNetwork(world)
    off.give("地方公共団体情報システム機構", "市町村長", ALLOWED[4], "本人確認情報")
    off.give("東京都知事", "地方公共団体情報システム機構", ALLOWED[6], "本人確認情報", PersonField.RESIDENT_RECORD_CODE)
    with pytest.raises(NetworkRejected):
        off.give("地方公共団体情報システム機構", "図書館", Provision(4, Party.J_LIS, Party.ANYBODY), "本人確認情報")
    assert [(line.item, line.handle, bool(line.denial)) for line in off.given()] == [
        (4, PersonField.INDIVIDUAL_NUMBER, False), (6, PersonField.RESIDENT_RECORD_CODE, False),
        (4, PersonField.INDIVIDUAL_NUMBER, True),
    ]  # fmt: skip


def test_i3_health_checks_between_insurers_are_not_in_the_portal(world: World) -> None:
    network, off = network_of(world), OffNetwork(world)
    provision = Provision(3, Party.PERSON, Party.IMPLEMENTER, identity_checked=True)
    off.give("旧保険者", "新保険者", provision, "特定健康診査")
    (line,) = off.given("旧保険者")
    assert line.handle is PersonField.INDIVIDUAL_NUMBER
    assert network.records(HANAKO) == [], "the network has no record of it"
    assert off.shown_in_portal() == []


def test_i2_tax_offices_only_provide_to_tax_offices(world: World) -> None:
    off = OffNetwork(world)
    assert off.give("国税庁", "渋谷区", ALLOWED[9], "所得税の申告").rule == "番号法19条9号"
    library = Provision(9, Party.TAX_AGENCY, Party.ANYBODY, purpose="国税・地方税の賦課徴収")
    with denied("no-basis"):
        off.give("国税庁", "図書館", library, "x")


def test_f7_i8_provision_to_investigators_is_hidden(world: World) -> None:
    off = OffNetwork(world)
    off.give("渋谷区", "警視庁", ALLOWED[13], "住所")
    off.give("渋谷区", COMMISSION, ALLOWED[12], "特定個人情報ファイル")
    assert off.shown_in_portal() == []
    assert [line.item for line in off.inspected(COMMISSION)] == [12]
    with pytest.raises(NetworkRejected):
        off.inspected("総務省")


def test_a_denial_is_logged(world: World) -> None:
    off = OffNetwork(world)
    for item, denial in ((7, "network-only"), (99, "no-basis")):
        with denied(denial):
            off.give("渋谷区", "港区", Provision(item, Party.MUNICIPALITY, Party.MUNICIPALITY), "x")
    assert [line.denial for line in off.given()] == ["network-only", "no-basis"]


def test_x19_the_share_of_hidden_exchanges(world: World) -> None:
    off = OffNetwork(world)
    assert hidden_share(0, off.given()) == 0
    off.give("国税庁", "渋谷区", ALLOWED[9], "x")
    assert hidden_share(3, off.given()) == 0.25
