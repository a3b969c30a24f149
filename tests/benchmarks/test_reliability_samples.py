"""Bounded samples of the trials in benchmarks/reliability: each finds nothing here, and each can find something."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from benchmarks.reliability import apdus, holders, simulated_network
from benchmarks.reliability.card_model import CardModel, Unearned
from benchmarks.reliability.premises import premises
from benchmarks.reliability.refused import load
from benchmarks.reliability.simulation import Scenario, play
from benchmarks.reliability.soak import ProcessSize, SoakLoad, summary

pytestmark = pytest.mark.load

CARDS, ROUNDS = 10, 20
"""Cards with 2,000 commands each, and rounds of several holders."""


def test_20_000_commands_to_cards_in_random_states_earn_what_they_return() -> None:
    assert not list(apdus.losses(1, range(CARDS), ()))


def test_rounds_of_several_holders_fit_one_counter() -> None:
    assert not list(holders.losses(1, range(ROUNDS), ()))


@pytest.mark.parametrize(("make", "seeds"), list(zip(simulated_network.SCENARIOS, (140, 60), strict=True)))
def test_resends_over_a_simulated_network_count_once(
    tmp_path: Path, make: Callable[[Path], Scenario], seeds: int
) -> None:  # fmt: skip
    scenario = make(tmp_path)
    played = [play(scenario, seed) for seed in range(seeds)]
    again = [play(scenario, seed) for seed in range(3)]
    scenario.close()
    assert [(one.seed, one.trouble) for one in played if one.trouble] == []
    assert {fault for one in played for fault in one.faults} == {
        "lost",
        "doubled",
        "delayed",
        "killed",
        "cut",
        "healed",
    }
    assert [one.history for one in played[:3]] == [one.history for one in again], "a seed is replayed"


def test_refused_input_is_refused_and_costs_no_memory(tmp_path: Path) -> None:
    names = ("agent", "site", "provider")
    with premises(tmp_path, names) as place:
        result = load(place, names, 2.0, seed=1)
    assert (result.wrong, result.silent) == ([], [])
    assert result.sent > 200
    assert {"malformed", "foreign origin", "unauthorised", "too long"} == result.refused.keys()
    assert result.opened <= len(names) + result.refused["too long"], "other refused input keeps the connection"
    for name in names:
        assert result.after[name] < result.before[name] * 1.10, "2 seconds are short: Python still grows a little"


def sizes(*megabytes: float) -> list[ProcessSize]:
    return [ProcessSize(size, size, 10) for size in megabytes for _ in range(10)]


@pytest.mark.unit
@pytest.mark.parametrize(
    ("megabytes", "met"),
    [((50, *[100] * 9), True), ((100, *[100] * 8, 104), False), ((100, 100, *[200] * 7, 100), True)],
)
def test_memory_counts_after_the_first_tenth(megabytes: Sequence[float], met: bool) -> None:
    assert summary(SoakLoad(sizes={"centre": sizes(*megabytes)}), 1).met is met


@pytest.mark.unit
@pytest.mark.parametrize(
    ("command", "response"),
    [
        ("00B0810004", "FFFF9000"),  # a file that needs a PIN is read
        ("0020009804" + b"0000".hex(), "63C3"),  # a wrong PIN costs nothing
        ("0020009804" + b"0000".hex(), "9000"),
        ("0020009804" + b"1234".hex(), "63C2"),  # the right PIN is refused
        ("0024019804" + b"4321".hex(), "9000"),  # a PIN is changed that was not verified
        ("00B0820004", "00009000"),  # bytes that are not the file's
        ("00B0820004", "6F00"),
        ("00B08200", "6982"),  # a free file is kept back
        ("8006000000", "9000"),  # a command for the issuer
    ],
)
def test_the_model_of_a_card_notices_what_nobody_earned(command: str, response: str) -> None:
    model = CardModel({("jpki", 2): b"\x01" * 8}, {("jpki", 0x18): b"1234"}, {("jpki", 0x18): 3}, reset_keeps=False)
    model.observe(bytes.fromhex("00A4040C0AD392F000260100000001"), b"\x90\x00")
    with pytest.raises(Unearned):
        model.observe(bytes.fromhex(command), bytes.fromhex(response))
