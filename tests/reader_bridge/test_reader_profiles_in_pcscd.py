"""Readers with profiles in a real pcscd: what PC/SC clients see of them."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kazashi.card_management.order import image_path
from kazashi.reader_bridge.fault import FaultPlan
from kazashi.reader_bridge.fault_script import ATRS
from kazashi.reader_bridge.host import Presentation, ReaderHost
from kazashi.reader_bridge.pcscd import start_pcscd
from kazashi.reader_bridge.profile import profile_names, reader_profile
from kazashi.world.home import World
from tests.polling import LIMIT
from tests.reader_bridge.reader_answers import IDENTIFYING

pytestmark = pytest.mark.reader

OURS = tuple(name for name in profile_names() if not name.startswith("like-"))
PRODUCTS = tuple(name for name in profile_names() if name.startswith("like-"))

Answers = dict[str, str]


class Readers:
    """Readers with profiles, each slot of which has a copy of one card."""

    def __init__(self, directory: Path, image: Path, names: tuple[str, ...]) -> None:
        profiles = [reader_profile(name) for name in names]
        self._image, self._directory = image, directory
        self._pcscd = start_pcscd(
            directory,
            [profile.reader_name for profile in profiles],
            private=True,
            slots=[len(profile.slots) for profile in profiles],
        )
        self.environment = {**os.environ, **self._pcscd.client_environment()}
        self.host = ReaderHost(self._pcscd.endpoints, self.environment, profiles)
        self.slots: dict[str, list[int]] = {}
        numbers = iter(range(len(self.host.slots)))
        for name, profile in zip(names, profiles, strict=True):
            self.slots[name] = list(itertools.islice(numbers, len(profile.slots)))

    def name(self, profile: str, slot: int = 0) -> str:
        return self.host.slots[self.slots[profile][slot]].endpoint.reader

    def insert(self, plan: FaultPlan | None = None) -> None:
        """Put a copy of the card into every slot, instead of the one that is there."""
        for number, slot in enumerate(self.host.slots):
            if self.host.inserted(slot) is not None:
                self.host.remove(slot)
            card = Path(shutil.copy(self._image, self._directory / f"{number}.card"))
            self.host.insert(slot, f"card {number}", card, Presentation(faults=plan))
        for slot in self.host.slots:
            assert slot.wait_until_powered(LIMIT), slot.endpoint.reader

    def run(self, *command: str) -> str:
        """Run a client and return its output."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False, timeout=120)
        return done.stdout + done.stderr

    def ask(self, what: str) -> dict[str, Answers]:
        """What a client sees of each slot, by the reader's name."""
        names = [slot.endpoint.reader for slot in self.host.slots]
        output = self.run(sys.executable, "-m", "tests.reader_bridge.reader_answers", what, *names)
        answers: dict[str, Answers] = json.loads(output)
        return answers

    def close(self) -> None:
        self.host.close()
        self._pcscd.stop()


@contextmanager
def running(directory: Path, image: Path, names: tuple[str, ...]) -> Iterator[Readers]:
    readers = Readers(directory, image, names)
    try:
        readers.insert()
        yield readers
    finally:
        readers.close()


@pytest.fixture(scope="module")
def answers(world: World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Answers]:
    """All that a client sees of each profile: of its reader, of a usual card, and of a card that offers T=0."""
    seen: dict[str, Answers] = {}
    for names in (OURS, PRODUCTS):  # pcscd has 16 slots
        with running(tmp_path_factory.mktemp("readers"), image_path(world, "hanako"), names) as readers:
            rounds = {"": readers.ask("reader"), "usual card, ": readers.ask("card")}
            listed = readers.run("opensc-tool", "--list-readers").splitlines()
            scanned = readers.run("pcsc_scan", "-r").splitlines()
            readers.insert(FaultPlan(atr=ATRS["T=0"]))
            rounds["T=0 card, "] = readers.ask("card")
            for name, numbers in readers.slots.items():
                seen[name] = {"slots": str(len(numbers))}
                for place, number in enumerate(numbers):
                    reader = readers.host.slots[number].endpoint.reader
                    assert any(line.endswith(f": {reader}") for line in scanned), scanned
                    (line,) = [line for line in listed if line.endswith(f"  {reader}")]
                    seen[name][f"{place}: OpenSC"] = line.removesuffix(reader).strip()
                    for prefix, answered in rounds.items():
                        seen[name] |= {f"{place}: {prefix}{key}": value for key, value in answered[reader].items()}
    return seen


def test_opensc_finds_the_pin_pads(answers: dict[str, Answers]) -> None:
    for name, seen in answers.items():
        expected = "Yes   PIN pad" if name in ("pin-pad", "like-st-2xxx") else "Yes"
        assert seen["0: OpenSC"].partition(" ")[2].strip() == expected, name


@pytest.mark.parametrize(
    ("profile", "key", "value"),
    [
        ("like-acr122u", "0: firmware", "41435231323255323031"),
        ("like-acr122u", "0: ATR", "3B8C800150 UID 000005E0B381A1 TCK"),
        ("like-acr122u", "0: vendor id", "2f07"),
        ("like-acr122u", "0: certificate, extended Le", "error 80100016"),
        ("like-utrust-4701f", "1: escape in an APDU", "010407030000000002" + "1C" + "0030" * 14 + "9000"),
        ("like-scr3310", "0: version", "00002305"),
        ("like-st-2xxx", "0: PIN properties", "00000200"),
        ("pin-pad", "0: features", "060442330006" + "070442330007" + "0A044233000A" + "120442330012"),
        ("pin-pad", "0: PIN properties", "10020700"),
        ("t0", "0: ATR", "3B600000"),
        ("t0", "0: protocol any", "1"),
        ("t0", "0: protocol T=1", "error 8010000F"),
        ("t0", "0: SELECT with FCI, no Le", "610E"),
        ("short-apdu", "0: certificate, extended Le", "error 80100016"),
        ("contact", "0: UID", "6E00"),
    ],
)
def test_clients_see_what_the_profile_says(profile: str, key: str, value: str, answers: dict[str, Answers]) -> None:
    place, _, asked = key.partition(": ")
    seen = answers[profile]
    assert seen.get(key, seen.get(f"{place}: usual card, {asked}")) == value


def differences(one: Answers, other: Answers) -> tuple[set[str], set[str]]:
    """The answers in which two readers differ: names, versions and serial numbers, and all others.

    The second slot of a reader that has two is compared only if the other has two as well.
    """
    both = {one["slots"], other["slots"]} == {"2"}
    keys = {key for key in one.keys() | other.keys() if both or not key.startswith("1: ")}
    differing = {key for key in keys if one.get(key) != other.get(key)}
    names = {key for key in differing if key.removeprefix("0: ").removeprefix("1: ") in IDENTIFYING}
    return names, differing - names


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(profile_names(), 2)))
def test_each_profile_differs_from_each_other_in_five_answers(
    one: str, other: str, answers: dict[str, Answers]
) -> None:
    names, others = differences(answers[one], answers[other])
    assert min(len(names), 2) + len(others) >= 5, (names, others)
