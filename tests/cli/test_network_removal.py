"""A body is removed with questions under way, killed at every moment at which something becomes durable."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from kazashi.assembly.institutions import Institutions
from kazashi.assembly.network import Network
from kazashi.assembly.network_bodies import NetworkBodies
from kazashi.assembly.network_questions import NetworkQuestions
from kazashi.provision_network.asking import RequestStage
from kazashi.provision_network.terms import NetworkRejected
from kazashi.world.home import open_world
from tests.cli.program import new_world
from tests.cli.test_network_bodies import add_body, copies, network
from tests.crash import killed_at

pytestmark = [pytest.mark.crash, pytest.mark.long]

TOWN, SHIBUYA, ITEM = "架空町", "東京都渋谷区", "地方税関係情報"


def opened(home: Path) -> Network:
    return Network(Institutions(open_world(home)))


def test_a_removal_killed_at_any_moment_goes_on_and_loses_no_answer(tmp_path: Path) -> None:
    program = new_world(tmp_path / "w")
    program.run("registry", "add", "hanako")
    program.run("clock", "advance", "1d")
    network(program, "setup")
    add_body(program, tmp_path, TOWN, "市町村長")
    network(program, "people", "add", TOWN, "hanako")
    network(program, "copies", TOWN, copies(tmp_path, ("hanako", ITEM, "0円", "no")))
    network(program, "system", "add", TOWN, "--out", str(tmp_path / "system"))
    connected = opened(tmp_path / "w")
    person = connected.institutions.registry.find("hanako")
    purpose = NetworkQuestions(connected).purpose(SHIBUYA, TOWN, ITEM, "74")
    system = connected.interface_of(SHIBUYA)
    code = system.server(SHIBUYA).code_of(NetworkBodies(connected).address_of(SHIBUYA, person))
    process = system.asking.ask(SHIBUYA, code, purpose, [TOWN])  # on disk, and not delivered yet
    connected.world.close()
    moment, killed = 0, True
    while killed:
        moment += 1
        home = tmp_path / f"w{moment}"
        shutil.copytree(tmp_path / "w", home)

        def remove(home: Path = home) -> None:
            NetworkBodies(opened(home)).remove(TOWN, when_done=True, seconds=5)

        killed = killed_at(moment, remove)
        connected = opened(home)
        bodies = NetworkBodies(connected)
        connected.carry()
        if TOWN in {one.name for one in connected.core.members.institutions()}:
            assert bodies.remove(TOWN, when_done=True, seconds=5).removed
        with pytest.raises(NetworkRejected):
            connected.member(TOWN)
        asked = connected.municipal.asking.request(process)
        # It was under way: it is answered, or refused if the core had heard of the removal first.
        assert (asked.stage, asked.denial) in [(RequestStage.ANSWERED, ""), (RequestStage.REFUSED, "leaving")]
        if asked.stage is RequestStage.ANSWERED:
            received = connected.municipal.asking.answer_to(process)
            assert received is not None
            assert received.content == "0円"
        assert TOWN not in connected.municipal.bodies
        assert TOWN not in connected.municipal.neighbours.bodies()
        assert TOWN not in connected.municipal.platform.operator_sees()
        assert [one.removed is not None for one in connected.core.systems.all() if one.body == TOWN] == [True]
        waiting = [connected.core.outbox.waiting(connected.core.store)]
        waiting += [one.outbox.waiting(one.store) for one in connected.interfaces]
        assert not any(waiting)
        connected.world.close()
    assert moment > 10
