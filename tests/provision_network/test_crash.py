"""An exchange, killed at every moment at which something becomes durable, and then resumed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from kazashi.provision_network.asking import RequestStage
from kazashi.provision_network.core import Core
from kazashi.provision_network.exchange import carry
from kazashi.provision_network.interface_system import InterfaceSystem
from kazashi.provision_network.law.rules import RuleBook
from kazashi.provision_network.terms import RequestOutcome
from kazashi.world.clock import FixedClock
from kazashi.world.home import open_world
from kazashi.world.settings import Settings
from tests.crash import killed_at
from tests.provision_network.bodies import (
    CHILD_PENSION,
    MINATO,
    MUNICIPAL,
    NATIONAL,
    NOW,
    PENSION,
    PURPOSE,
    ROWS,
    SHIBUYA,
    Network,
    network_of,
)

pytestmark = pytest.mark.crash

SECRET = "所得 2,345,678円"


def reopened(home: Path) -> Network:
    """Open the network of a world from disk."""
    world = open_world(home, clock=FixedClock(NOW))
    interfaces = [InterfaceSystem(world, MUNICIPAL), InterfaceSystem(world, NATIONAL)]
    return Network(world, Core(world, RuleBook(ROWS)), interfaces[0].platform, interfaces)


def prepare(home: Path) -> None:
    world = open_world(home, settings=Settings("network"), clock=FixedClock(NOW))
    network = network_of(world)
    network.server(MINATO).register(network.code(MINATO), "1", PURPOSE.item, SECRET)
    network.national.server(PENSION).register(network.code(PENSION), "9", CHILD_PENSION.item, "加入中", by_hand=True)
    world.close()


def run_exchange(network: Network, paper: Path) -> None:
    """Make two requests and answer them, one after a manual release. A request whose number was written to `paper` is
    not repeated."""
    noted = paper.read_text().split() if paper.exists() else []
    for provider, purpose in ((MINATO, PURPOSE), (PENSION, CHILD_PENSION))[len(noted) :]:
        process = network.municipal.asking.ask(SHIBUYA, network.code(SHIBUYA), purpose, [provider])
        with paper.open("a") as file:
            file.write(f"{process}\n")
    carry(network.world, network.core, network.interfaces)
    for number in network.national.server(PENSION).waiting():
        network.national.answering.release(PENSION, number)
    carry(network.world, network.core, network.interfaces)


def test_a_kill_at_any_moment_loses_and_doubles_nothing(tmp_path: Path) -> None:
    prepare(tmp_path / "prepared")
    moment, killed = 0, True
    while killed:
        moment += 1
        home = Path(shutil.copytree(tmp_path / "prepared", tmp_path / f"w{moment}"))
        paper = home.with_suffix(".paper")

        def exchange(home: Path = home, paper: Path = paper) -> None:
            run_exchange(reopened(home), paper)

        killed = killed_at(moment, exchange)
        network = reopened(home)
        for process in paper.read_text().split() if paper.exists() else ():
            assert network.municipal.asking.request(int(process)), "a process whose number was returned is on disk"
        run_exchange(network, paper)
        asked = [network.municipal.asking.request(process) for process in (1, 2)]
        # A request that was on disk, but whose number was not written yet, is repeated under another number.
        more = len(paper.read_text().split()) != len(network.records())
        assert more is (network.records()[-1].number == 3)
        assert {one.stage for one in asked} == {RequestStage.ANSWERED}
        received = network.municipal.asking.answer_to(int(paper.read_text().split()[0]))
        assert received is not None
        assert received.content == SECRET
        assert {record.outcome for record in network.records()} == {RequestOutcome.PROVIDED}
        waiting = [network.core.outbox.waiting(network.core.store)]
        waiting += [interface.outbox.waiting(interface.store) for interface in network.interfaces]
        assert waiting == [0, 0, 0]
        network.world.close()
        shutil.rmtree(home)
    assert moment > 20
