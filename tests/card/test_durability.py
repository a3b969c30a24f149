"""Durability when the power fails: no retry is regained, no changed PIN is lost, and the card can be used again."""

from __future__ import annotations

import gc
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from kazashi.applets import jpki
from kazashi.applets.install import load_card
from kazashi.card.chip import Chip
from kazashi.card.image import ImageStore, read_image
from kazashi.card.pin import PinState
from kazashi.card.request import select, tries_left, verify
from kazashi.card.store import Reference

pytestmark = pytest.mark.crash

REFERENCE = Reference(jpki.AID, jpki.AUTHENTICATION_PIN)
RIGHT = b"1234"

SPEND = """
import sys
from pathlib import Path
from kazashi.applets import jpki
from kazashi.applets.install import load_card
from kazashi.card.chip import Chip
from kazashi.card.request import change_reference_data, select, verify
chip = Chip(load_card(Path(sys.argv[1])))
chip.power_on()
chip.transmit(select(jpki.AID))
say = sys.stdout.buffer
say.write(b"ready\\n"); say.flush()
for guess in range(10000):
    response = chip.transmit(verify(jpki.AUTHENTICATION_PIN, b"%04d" % guess))
    say.write(response.hex().encode() + b"\\n"); say.flush()
"""

CHANGE = """
import sys
from pathlib import Path
from kazashi.applets import jpki
from kazashi.applets.install import load_card
from kazashi.card.chip import Chip
from kazashi.card.request import change_reference_data, select, verify
chip = Chip(load_card(Path(sys.argv[1])))
chip.power_on()
chip.transmit(select(jpki.AID))
say = sys.stdout.buffer
assert chip.transmit(verify(jpki.AUTHENTICATION_PIN, sys.argv[2].encode())) == b"\\x90\\x00"
say.write(b"ready\\n"); say.flush()
for number in range(10000):
    value = b"%04d" % number
    say.write(b"> " + value + b"\\n"); say.flush()
    assert chip.transmit(change_reference_data(jpki.AUTHENTICATION_PIN, value)) == b"\\x90\\x00"
    say.write(b"< " + value + b"\\n"); say.flush()
"""


def on_disk(image: Path) -> PinState:
    contents, _ = read_image(image)
    return contents[jpki.AID].pins[jpki.AUTHENTICATION_PIN]


def killed(program: str, *arguments: str, after: float) -> list[str]:
    """Run a program, kill it `after` seconds after it is ready, and return the complete lines of its output."""
    process = subprocess.Popen([sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == "ready\n"
        time.sleep(after)  # the time of the kill is the variable of the test; nothing is waited for
        process.send_signal(signal.SIGKILL)
        lines = process.stdout.read().split("\n")[:-1]
    process.wait()
    return lines


@pytest.mark.parametrize("seed", range(12))
def test_a_kill_never_regains_a_retry(image: Path, seed: int) -> None:
    lines = killed(SPEND, str(image), after=random.Random(seed).uniform(0, 0.004))
    counters = [int(line[-1], 16) for line in lines if line.startswith("63c")]
    left = on_disk(image).tries_left
    assert left <= (counters[-1] if counters else 3)
    assert left >= (counters[-1] if counters else 3) - 1, "at most the interrupted VERIFY decrements the counter"
    chip = Chip(load_card(image))
    chip.power_on()
    chip.transmit(select(jpki.AID))
    assert chip.transmit(tries_left(jpki.AUTHENTICATION_PIN)) == bytes((0x63, 0xC0 | left))


@pytest.mark.parametrize("seed", range(12))
def test_a_kill_never_loses_a_changed_pin(image: Path, seed: int) -> None:
    lines = killed(CHANGE, str(image), RIGHT.decode(), after=random.Random(seed).uniform(0, 0.03))
    acknowledged = [line[2:] for line in lines if line.startswith("<")]
    requested = [line[2:] for line in lines if line.startswith(">")]
    allowed = {acknowledged[-1].encode() if acknowledged else RIGHT}
    if len(requested) > len(acknowledged):
        allowed.add(requested[-1].encode())
    state = on_disk(image)
    assert state.value in allowed
    assert state.tries_left == state.tries == 3


DIE_DURING = """
import os, signal, sys
from pathlib import Path
from kazashi.applets import jpki
from kazashi.applets.install import load_card
from kazashi.card import pin
from kazashi.card.chip import Chip
from kazashi.card.request import select, verify
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
chip = Chip(load_card(Path(sys.argv[1])))
if sys.argv[2] == "comparison":
    pin.PinState.matches = die
elif sys.argv[2] == "refill":
    type(chip.card.store).refill = die
chip.power_on()
chip.transmit(select(jpki.AID))
chip.transmit(verify(jpki.AUTHENTICATION_PIN, sys.argv[3].encode()))
"""


@pytest.mark.parametrize("value", ["1234", "0000"])
@pytest.mark.parametrize("moment", ["comparison", "refill"])
def test_the_counter_is_decremented_on_disk_before_the_comparison(image: Path, moment: str, value: str) -> None:
    done = subprocess.run([sys.executable, "-c", DIE_DURING, str(image), moment, value], check=False)
    dies = moment == "comparison" or value == "1234"
    assert done.returncode == (-signal.SIGKILL if dies else 0)
    assert on_disk(image) == PinState(RIGHT, 3, 2), "the counter is decremented whatever the value was"


def test_the_right_pin_resets_the_counter_on_disk(image: Path) -> None:
    chip = Chip(load_card(image))
    chip.power_on()
    chip.transmit(select(jpki.AID))
    for pin in (b"0000", RIGHT):
        chip.transmit(verify(jpki.AUTHENTICATION_PIN, pin))
    assert on_disk(image) == PinState(RIGHT, 3, 3)


def test_two_stores_of_one_image_share_the_counter(image: Path) -> None:
    first, second = ImageStore(image), ImageStore(image)
    assert first.spend_try(REFERENCE) == PinState(RIGHT, 3, 2)
    assert second.spend_try(REFERENCE) == PinState(RIGHT, 3, 1)
    assert first.pin(REFERENCE).tries_left == 1
    assert first.spend_try(REFERENCE) == PinState(RIGHT, 3, 0)
    assert second.spend_try(REFERENCE) is None, "there is no try left, so that there is nothing to compare"
    assert not second.change_pin(REFERENCE, b"9999"), "a blocked PIN stays blocked"
    second.refill(REFERENCE)
    assert first.pin(REFERENCE).tries_left == 3


def test_a_card_that_is_no_longer_used_leaves_nothing_open(image: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        chip = Chip(load_card(image))
        chip.power_on()
        chip.transmit(select(jpki.AID))
        chip.transmit(verify(jpki.AUTHENTICATION_PIN, RIGHT))
        del chip
    gc.collect()
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 1
    assert [path.name for path in image.parent.iterdir() if path.name.startswith(image.name)] == [image.name]


def test_every_write_is_synced(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This checks the settings of the database, because a fresh machine does not have strace."""
    opened: list[sqlite3.Connection] = []
    connect = sqlite3.connect

    def recording_connect(*arguments: Any, **options: Any) -> sqlite3.Connection:
        opened.append(connect(*arguments, **options))
        return opened[-1]

    monkeypatch.setattr(sqlite3, "connect", recording_connect)
    store = ImageStore(image)
    store.refill(REFERENCE)
    (database,) = opened
    assert database.execute("PRAGMA synchronous").fetchone() == (2,), "FULL"
    assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert image.with_name(f"{image.name}-wal").exists()
    store.close()
    assert not image.with_name(f"{image.name}-wal").exists(), "the image of a closed card is a single file"
