"""An event of the registry, killed at every moment at which something becomes durable, and then carried on."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest

from kazashi.assembly.network import addresses
from kazashi.world.key_source import SharedKeySource
from tests.crash import killed_at
from tests.provision_network.connected_town import ConnectedTown, copied, opened, prepare

pytestmark = pytest.mark.crash

MOVE_OUT = ("move-out", {"to": "08220", "moves_on": "2026-11-24"})
MOVE_IN = ("move-in", {"municipality": "08220", "street": "見本台１"})
PROTECT = ("protection", {"protected": "yes"})
Happening = tuple[str, dict[str, str]]


def happen(town: ConnectedTown, happening: Happening) -> None:
    town.happen("hanako", happening[0], **happening[1])


def carry_on(town: ConnectedTown, happening: Happening) -> None:
    """Do what a user does after a crash: record the event if it was not recorded, and let the time go on."""
    if town.institutions.registry.history("hanako")[-1].code != happening[0]:
        happen(town, happening)
    town.institutions.settle()


@pytest.mark.parametrize(("first", "happening", "every"), [
    ([MOVE_OUT, PROTECT], MOVE_IN, 7),
    *(pytest.param(first, happening, 1, marks=pytest.mark.long) for first, happening in (
        ([MOVE_OUT, PROTECT], MOVE_IN), ([], ("code-change", {})), ([], ("number-change", {})), ([], PROTECT),
        ([PROTECT], ("protection", {"protected": "no"})), ([], ("death", {})),
        ([("emigration", {"continued": "yes"})], ("immigration", {"municipality": "13104", "street": "見本台１"})),
    )),
])  # fmt: skip
def test_a_kill_at_any_moment_loses_and_doubles_nothing(
    tmp_path: Path, keys: SharedKeySource, first: list[Happening], happening: Happening, every: int
) -> None:  # fmt: skip
    prepare(tmp_path / "prepared", keys)
    with opened(tmp_path / "prepared", keys) as town:
        for before in first:
            happen(town, before)
    for moment in count(1, every):
        home = copied(tmp_path / "prepared", tmp_path / f"w{moment}")

        def action(home: Path = home) -> None:
            with opened(home, keys) as town:
                happen(town, happening)

        killed = killed_at(moment, action)
        with opened(home, keys) as town:
            carry_on(town, happening)
            town.institutions.advance(town.institutions.world.clock.now().replace(hour=23))  # paper is sent
            town.check()
        if not killed:
            break
    assert moment > 20


@pytest.mark.long
def test_a_setup_killed_at_any_moment_can_be_done_again(tmp_path: Path, keys: SharedKeySource) -> None:
    prepare(tmp_path / "prepared", keys)
    with opened(tmp_path / "prepared", keys) as town:
        happen(town, MOVE_OUT)
        town.institutions.resident("child")
    for moment in count(1, 5):
        home = copied(tmp_path / "prepared", tmp_path / f"w{moment}")

        def action(home: Path = home) -> None:
            with opened(home, keys) as town:
                happen(town, MOVE_IN)
                list(town.network.rehearse(addresses()))

        killed = killed_at(moment, action)
        with opened(home, keys) as town:
            carry_on(town, MOVE_IN)
            assert all(stage.ok for stage in town.network.rehearse(addresses()))
            town.check()
        if not killed:
            break
