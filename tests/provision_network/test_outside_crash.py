"""A hand-over of health checks, and a decided inquiry, killed at every moment at which something becomes durable, and
then repeated."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest

from kazashi.assembly.health_link import LABEL, HealthLink
from kazashi.assembly.institutions import Institutions
from kazashi.assembly.network import Network
from kazashi.assembly.network_outside import OutsideProvisions
from kazashi.provision_network.health_checks import ASKED
from kazashi.provision_network.law.provisions import HEALTH_CHECK, HEALTH_CHECK_PURPOSE, PersonField
from kazashi.provision_network.terms import NetworkRejected
from kazashi.provision_network.transfer_files import parsed_file
from kazashi.world.home import open_world
from tests.cli.program import new_world
from tests.cli.test_network_bodies import add_body, network
from tests.crash import left_at_each_moment

pytestmark = [pytest.mark.crash, pytest.mark.long]

TOWN, FORMER, NEW, POLICE = "東京都渋谷区", "架空旧健保組合", "架空新健保組合", "警視庁"


def hand_over_and_decide(home: Path) -> None:
    """Hand the records over, and grant the inquiry, as far as that was not done before."""
    world = open_world(home / "w")
    connected = Network(Institutions(world))
    with suppress(NetworkRejected):
        HealthLink(connected).hand_over(FORMER, NEW, home / "disc")
    with suppress(NetworkRejected):
        OutsideProvisions(connected).decide(TOWN, 1, "総務課長", granted=True)
    world.close()


def test_a_kill_at_any_moment_of_a_hand_over_or_a_decision_doubles_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    program = new_world(home / "w")
    for who in ("hanako", "taro"):
        program.run("registry", "add", who)
    program.run("clock", "advance", "1d")
    network(program, "setup")
    for body in (FORMER, NEW):
        add_body(program, tmp_path, body, "健康保険組合")
        network(program, "people", "add", body, "hanako", "taro")
    for who in ("hanako", "taro"):
        network(program, "health", "ask", NEW, who, "--of", FORMER)
    network(program, "consent", "add", FORMER, "hanako", "--item", HEALTH_CHECK, "--to", NEW, "--for",
            HEALTH_CHECK_PURPOSE)  # fmt: skip
    network(program, "inquiry", "add", TOWN, "taro", "--from", POLICE, "--basis", "刑訴197", "--case", "1",
            "--item", "住民票関係情報", "--reason", "所在の確認")  # fmt: skip
    moments = 0
    for left in left_at_each_moment(home, lambda: hand_over_and_decide(home)):
        moments += 1
        hand_over_and_decide(left)
        world = open_world(left / "w")
        connected = Network(Institutions(world))
        outside, checks = OutsideProvisions(connected), HealthLink(connected).checks
        log = sorted((one.provider, one.denial) for one in outside.log.given())
        assert log == [(TOWN, ""), (FORMER, ""), (FORMER, "consent-needed")], "each is logged once"
        assert ASKED not in {one.state for one in checks.requests(FORMER)}
        label = json.loads((left / "disc" / LABEL).read_text())
        content = (left / "disc" / label["file"]).read_bytes()
        assert len(parsed_file(content).records) == 1
        assert HealthLink(connected).receive(NEW, content) == 1
        (inquiry,) = outside.inquiries.of(TOWN)
        assert (inquiry.approved_by, inquiry.handle) == ("総務課長", PersonField.INDIVIDUAL_NUMBER)
        world.close()
    assert moments > 8
