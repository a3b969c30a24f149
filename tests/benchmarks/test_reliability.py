"""Samples of the reliability trials: few kills and power losses, and the faults that the trials must find."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator

import pytest

from benchmarks import bench_reliability
from benchmarks.reliability import kills, power_loss
from benchmarks.reliability.disk import recorder
from benchmarks.reliability.durable import Templates, in_memory
from benchmarks.reliability.fork import in_new_process
from benchmarks.reliability.kills import Kill, Killer, KillPhase
from benchmarks.reliability.power_loss import Cut, PowerCutter
from tests.polling import LIMIT

pytestmark = pytest.mark.crash

SEED = 20261124
EACH = 2
"""Kills, and power losses, of each command."""
KILLS = range(EACH * len(kills.COMMANDS))
CUTS = range(EACH * len(power_loss.COMMANDS))
WITHOUT_SYNC = range(len(power_loss.COMMANDS))


def sample() -> Iterator[tuple[str, Kill | Cut]]:
    """Kills, power losses, and power losses with an fsync that does nothing, all with the same prepared worlds."""
    with in_memory() as directory:
        prepared = Templates(directory)
        killer = Killer(prepared, kills.COMMANDS, SEED)
        for number in KILLS:
            yield "kill", killer.kill(number)
        cutter = PowerCutter(prepared, power_loss.COMMANDS, SEED)
        for number in CUTS:
            yield "cut", cutter.cut(number)
        for number in WITHOUT_SYNC:
            yield "no sync", cutter.cut(number, syncs=False)


@pytest.fixture(scope="module")
def sampled() -> tuple[list[Kill], list[Cut], list[Cut]]:
    """The kills, the power losses, and those with an fsync that does nothing."""
    with recorder() as library:
        results = list(in_new_process(sample, preload=library))
    killed = [one for _, one in results if isinstance(one, Kill)]
    cuts, without = (
        [one for what, one in results if what == which and isinstance(one, Cut)] for which in ("cut", "no sync")
    )
    return killed, cuts, without


def test_kills_of_every_command_lose_nothing(sampled: tuple[list[Kill], list[Cut], list[Cut]]) -> None:
    killed, _, _ = sampled
    assert [kill for kill in killed if kill.lost] == []
    assert Counter(kill.command for kill in killed) == {command.name: EACH for command in kills.COMMANDS}
    trial = kills.summary(killed, SEED, 60, len(KILLS))
    assert (trial.tried, trial.survived, trial.lost) == (len(KILLS), len(KILLS), 0)
    between = sum(kill.part is KillPhase.BETWEEN for kill in killed)
    assert between >= kills.BETWEEN * len(killed), trial.detail
    assert trial.met


def test_power_losses_in_every_command_lose_nothing(sampled: tuple[list[Kill], list[Cut], list[Cut]]) -> None:
    _, cuts, _ = sampled
    assert [cut for cut in cuts if cut.lost] == []
    assert {cut.command for cut in cuts} == {command.name for command in power_loss.COMMANDS}
    assert {cut.acknowledged > 0 for cut in cuts} == {True, False}
    assert power_loss.summary(cuts, SEED, len(CUTS)).met
    assert not power_loss.summary(cuts, SEED, len(CUTS) + 1).met


def test_an_fsync_that_does_nothing_is_noticed(sampled: tuple[list[Kill], list[Cut], list[Cut]]) -> None:
    _, cuts, without = sampled
    noticed = power_loss.summary_without_sync(without, SEED)
    assert noticed.met, noticed.detail
    assert noticed.lost > 0
    assert not power_loss.summary_without_sync(cuts, SEED).met, "an honest disk loses nothing that could be noticed"


def test_a_loss_is_counted_and_named() -> None:
    made = [Kill(1, "issue", KillPhase.BETWEEN, ""), Kill(2, "renew", KillPhase.BETWEEN, "not so: the card is there")]
    trial = kills.summary(made, 7, 60, 2)
    assert (trial.tried, trial.survived, trial.lost, trial.met) == (2, 1, 1, False)
    assert "the first loss is kill 2, renew: not so: the card is there" in trial.detail
    assert not kills.summary([Kill(1, "issue", KillPhase.BEFORE, "")], 7, 60, 1).met, "no kill fell between"


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `kazashi bench`."""
    command = [sys.executable, "-m", "kazashi", "bench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT)


def test_only_reliability_has_a_time_and_a_seed() -> None:
    done = bench("card", "--seed=1")
    assert done.returncode == 2
    assert "only the area reliability has --seed" in done.stderr


@pytest.mark.long
def test_bench_reliability_prints_what_was_tried_survived_and_lost() -> None:
    done = bench("reliability", "--minutes=0.5", "--seed=7", "--json")
    assert done.returncode in (0, 1), done.stderr
    trials = json.loads(done.stdout)
    assert done.returncode == (0 if all(trial["met"] for trial in trials) else 1)
    for trial in trials:
        assert trial.keys() == {"name", "unit", "tried", "survived", "lost", "detail", "goal", "met"}
        assert trial["tried"] == trial["survived"] + trial["lost"] > 0
        assert "seed 7" in trial["detail"] or not trial["name"].startswith(("kill", "power"))
        assert trial["lost"] == 0 or "fsync does nothing" in trial["name"], trial["detail"]


def test_the_shares_of_the_time_are_those_of_an_hour() -> None:
    assert sum(module.SHARE for module in bench_reliability.MODULES) <= 1
