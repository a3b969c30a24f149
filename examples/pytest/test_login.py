"""Tests of a program that logs people in with their cards. The fixtures come with Kazashi and need no import."""

from __future__ import annotations

import subprocess
from datetime import date
from typing import Any

import pytest

SELECT_JPKI = [0x00, 0xA4, 0x04, 0x0C, 0x0A, *bytes.fromhex("D392F000260100000001")]


def log_in(connection: Any, pin: str) -> str:
    """The program under test: a login with any smartcard.CardConnection."""
    connection.transmit(SELECT_JPKI)
    _, first, second = connection.transmit([0x00, 0x20, 0x00, 0x98, len(pin), *pin.encode()])
    if (first, second) == (0x90, 0x00):
        return "welcome"
    return "blocked" if (first, second) == (0x69, 0x84) else f"{second & 0x0F} retries left"


def test_correct_pin(kazashi_connection: Any, kazashi_card: Any) -> None:
    assert log_in(kazashi_connection, kazashi_card.pin) == "welcome"


def test_wrong_pins(kazashi_connection: Any) -> None:
    assert [log_in(kazashi_connection, "0000") for _ in range(4)] == [
        "2 retries left",
        "1 retries left",
        "0 retries left",
        "blocked",
    ]


@pytest.mark.kazashi(resident="long-name", today=date(2027, 4, 1), pin="2468")
def test_another_resident_on_another_day(kazashi_connection: Any) -> None:
    assert log_in(kazashi_connection, "2468") == "welcome"


@pytest.mark.kazashi(faults="faults: [{status: 6F00, when: {command: 2}}]")
def test_card_that_fails_once(kazashi_connection: Any, kazashi_card: Any) -> None:
    assert log_in(kazashi_connection, kazashi_card.pin) == "0 retries left", (
        "the program mistakes any failure for a wrong PIN"
    )
    assert log_in(kazashi_connection, kazashi_card.pin) == "welcome"


def test_real_reader(kazashi_reader: Any) -> None:
    done = subprocess.run(
        ["opensc-tool", "--reader", kazashi_reader.name, "--name"],
        env=kazashi_reader.environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "jpki" in done.stdout
