"""`kazashi bench card`: our driver beside vpcd, and the card beside stock vicc, a minimal echo card and its RSA key."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from benchmarks.measure import Measure, at_least, at_most, median_ms
from benchmarks.reader_drivers import DIGEST_INFO, SELECT_CERTIFICATE, SELECT_JPKI, measured
from kazashi.applets import jpki
from kazashi.applets.install import load_card
from kazashi.assembly.institutions import Institutions
from kazashi.card.chip import Chip
from kazashi.card.key import PrivateKey
from kazashi.card_management.order import image_path
from kazashi.world.home import World, open_world

GOAL_MOVEMENT, GOAL_P99_MS = 100.0, 20.0
GOAL_OVER_VICC = 200.0
GOAL_OVER_ECHO = 1.3
GOAL_SIGNATURE = 1.5
GOAL_READS_PER_SECOND = 50_000
GOAL_CARDS, GOAL_CARDS_MB = 1000, 200.0
GOAL_PKCS11 = 20.0
GOAL_IDLE = 0.1
GOAL_UP = 0.5

_READ_256 = bytes.fromhex("00B0000000")

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class CardSize:
    """How much is measured: runs of both drivers, insertions in each behind ours and behind vpcd, seconds for which
    idle slots are watched, and READ BINARY commands in each of five rounds in process."""

    runs: int = 2
    insertions: int = 100
    vpcd_insertions: int = 8
    idle_seconds: float = 10.0
    reads: int = 100_000


def measure(progress: Progress = lambda _: None, size: CardSize | None = None) -> list[Measure]:
    """Run every benchmark of the card in a new world with its own pcscd. `progress` is called with each step's name."""
    size = size or CardSize()
    with tempfile.TemporaryDirectory(prefix="kazashi-bench-") as name:
        directory = Path(name)
        world = open_world(directory / "world", seed="bench")
        progress("issuing a card")
        Institutions(world).issue_card("hanako", "hanako")
        progress("reading in process")
        in_process = _reads_in_process(world, size)
        progress(f"hosting {GOAL_CARDS} cards")
        memory = _memory(world)
        through_pcscd = list(_through_pcscd(world, directory, size, progress))
        progress("starting instances")
        return [*through_pcscd, _first_answer(directory, size), in_process, memory]


def _through_pcscd(world: World, directory: Path, size: CardSize, progress: Progress) -> Iterator[Measure]:
    """Measure both drivers in turn."""
    image = image_path(world, "hanako")
    runs: dict[str, list[dict[str, Any]]] = {"kazashi": [], "vpcd": []}
    insertions = {"kazashi": size.insertions, "vpcd": size.vpcd_insertions}
    for turn in range(size.runs):
        for driver, results in runs.items():
            progress(f"pcscd with {'our driver' if driver == 'kazashi' else 'vpcd'}, {turn + 1} of {size.runs}")
            place = directory / f"{driver}-{turn}"
            place.mkdir()
            results.append(measured(driver, place, image, insertions[driver], size.idle_seconds))
    ours, theirs = (_Runs(results) for results in runs.values())
    contents = load_card(image).applications[1].files[jpki.AUTHENTICATION_KEY]
    key: PrivateKey = contents.key  # type: ignore[union-attr, assignment]
    bare = median_ms(lambda: key.sign_verbatim(DIGEST_INFO), 300)
    for what, words in (("inserted", "insertion"), ("removed", "removal")):
        mine, vpcd = median(ours.all(what)), median(theirs.all(what))
        yield at_least(f"{words}, until a waiting client knows", "ms", mine, vpcd, "vpcd", vpcd / mine, GOAL_MOVEMENT)
        late = quantiles(ours.all(what), n=100)[98]
        yield at_most(f"{words}, 99th percentile", "ms", late, GOAL_P99_MS, "the goal", late / GOAL_P99_MS, 1)
    mine, vpcd, floor = ours.least("round_trip"), theirs.least("round_trip"), ours.least("floor")
    vicc, alike = theirs.least("vicc"), "stock vicc with the same card, behind vpcd"
    yield at_most("APDU round trip, beside vpcd", "ms", mine, vpcd, "our card behind vpcd", mine / vpcd, 1)
    yield at_most("APDU round trip, beside an echo card", "ms", mine, floor, "echo in C, same pcscd and driver",
                  mine / floor, GOAL_OVER_ECHO)  # fmt: skip
    yield at_least("APDU round trip, beside vicc", "ms", mine, vicc, alike, vicc / mine, GOAL_OVER_VICC)
    signing = ours.least("signing")
    yield at_most("signature through pcscd", "ms", signing, bare + mine,
                  "bare RSA-2048 private operation plus one round trip", signing / (bare + mine),
                  GOAL_SIGNATURE)  # fmt: skip
    mine, vicc = ours.least("pkcs11"), theirs.least("pkcs11_vicc")
    yield at_least("pkcs11-tool --login --sign", "ms", mine, vicc, alike, vicc / mine, GOAL_PKCS11)
    mine, vpcd = ours.least("idle"), theirs.least("idle")
    yield at_most("16 slots with cards, CPU in a second", "ms", mine, vpcd, "vpcd", mine / vpcd, GOAL_IDLE)


class _Runs:
    """The values of one driver in several runs."""

    def __init__(self, results: list[dict[str, Any]]) -> None:
        self._results = results

    def least(self, name: str) -> float:
        """Return the least value, which other work on the machine has disturbed least."""
        return min(float(result[name]) for result in self._results)

    def all(self, name: str) -> list[float]:
        """Return the values of lists."""
        return [value for result in self._results for value in result[name]]


def _first_answer(directory: Path, size: CardSize) -> Measure:
    """Measure from `kazashi up` to the first answered command, with both drivers in turn."""
    taken: dict[str, list[float]] = {"kazashi": [], "vpcd": []}
    world = directory / "up"
    _kazashi(world, "card", "new", "hanako")
    for _ in range(size.runs):
        for driver, seconds in taken.items():
            options = ["--vpcd"] if driver == "vpcd" else []
            begun = time.perf_counter()
            status = json.loads(
                _kazashi(world, "up", "--detach", "--pcscd", "private", "--no-services", "--json", *options)
            )
            environment = {**os.environ, **status["pcscd"]["environment"]}
            subprocess.run(
                ["opensc-tool", "--card-driver", "default", "--send-apdu", SELECT_JPKI.hex()],
                env=environment, check=True, capture_output=True,
            )  # fmt: skip
            seconds.append(time.perf_counter() - begun)
            _kazashi(world, "down")
    ours, theirs = (median(seconds) for seconds in taken.values())
    return at_most("kazashi up to the first answered command", "s", ours, theirs, "vpcd", ours / theirs, GOAL_UP)


def _kazashi(world: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "kazashi", "--world", str(world), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _reads_in_process(world: World, size: CardSize) -> Measure:
    chip = Chip(load_card(image_path(world, "hanako")))
    chip.power_on()
    chip.transmit(SELECT_JPKI)
    chip.transmit(SELECT_CERTIFICATE)
    rates = []
    for _ in range(5):
        begun = time.perf_counter()
        for _ in range(size.reads):
            chip.transmit(_READ_256)
        rates.append(size.reads / (time.perf_counter() - begun))
    rate = median(rates)
    return at_least(
        "READ BINARY of 256 bytes in process",
        "APDUs/s",
        rate,
        GOAL_READS_PER_SECOND,
        "the goal",
        rate / GOAL_READS_PER_SECOND,
        1,
    )


_MEMORY_PROGRAM = """
import resource, sys
from pathlib import Path
from kazashi.applets import jpki
from kazashi.applets.install import load_card
from kazashi.card.chip import Chip
from kazashi.card.request import read_binary, select
chips = [Chip(load_card(Path(sys.argv[1]))) for _ in range(int(sys.argv[2]))]
for chip in chips:
    chip.power_on()
    chip.transmit(select(jpki.AID))
    assert chip.transmit(read_binary(0, 4, file=jpki.AUTHENTICATION_CERTIFICATE))[-2:] == b"\\x90\\x00"
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def _memory(world: World) -> Measure:
    """Measure the peak resident size of a process with many cards, each read from its image separately."""
    done = subprocess.run(
        [sys.executable, "-c", _MEMORY_PROGRAM, str(image_path(world, "hanako")), str(GOAL_CARDS)],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    megabytes = float(done.stdout)
    return at_most(
        f"{GOAL_CARDS} cards hosted in one process",
        "MB",
        megabytes,
        GOAL_CARDS_MB,
        "the goal",
        megabytes / GOAL_CARDS_MB,
        1,
    )
