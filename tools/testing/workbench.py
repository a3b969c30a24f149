"""Cards for other people's tests: a world of its own, cards for residents, readers that hold them.

    with Workbench() as bench:
        card = bench.card("hanako")
        with bench.in_process(card) as reader:            # no pcscd, the same calls as pyscard's
            connection = reader.createConnection()
            ...
        with bench.reader() as reader:                    # a real PC/SC reader on a pcscd of its own
            reader.insert(card)
            subprocess.run(["opensc-tool", "--name"], env=reader.environment)

docs/workbench.md describes it; `kazashi.tools.testing.pytest_plugin` makes fixtures of it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from tempfile import mkdtemp
from types import TracebackType

from kazashi.applets.install import load_card, structure
from kazashi.assembly.cards import make_card
from kazashi.assembly.institutions import Institutions
from kazashi.card.card import Card
from kazashi.card.image import ImageStore
from kazashi.reader_bridge.decoder import Decoder
from kazashi.reader_bridge.fault import FaultPlan
from kazashi.reader_bridge.fault_script import BadFaultScript, parse_fault_script, read_fault_script
from kazashi.reader_bridge.host import Presentation, ReaderHost
from kazashi.reader_bridge.in_process import InProcessReader
from kazashi.reader_bridge.pcscd import start_pcscd
from kazashi.reader_bridge.slot import Slot
from kazashi.world.clock import WorldClock, in_japan
from kazashi.world.home import World, open_world
from kazashi.world.key_source import KeySource

AUTHENTICATION_PIN, SIGNATURE_PASSWORD = "1234", "ABC123"
_SEEN_SECONDS = 10.0


class CardNotSeen(Exception):
    """pcscd did not notice a card in time."""


@dataclass(frozen=True, slots=True)
class TestCard:
    """A card of a resident: its image, and what opens it. Every test may spoil its own."""

    __test__ = False  # pytest would take it for a test case by its name

    name: str
    image: Path
    pin: str = AUTHENTICATION_PIN
    password: str = SIGNATURE_PASSWORD


class TestReader:
    """A slot of a real PC/SC reader. `name` is what PC/SC calls it; programs that are started with `environment`
    find it."""

    __test__ = False

    def __init__(self, host: ReaderHost, slot: Slot, environment: Mapping[str, str]) -> None:
        self._host = host
        self._slot = slot
        self.name = slot.endpoint.reader
        self.environment = {**os.environ, **environment}

    def insert(
        self, card: TestCard, *, contactless: bool = False, faults: FaultPlan | str | Path | None = None
    ) -> None:
        """Put a card in, and wait until pcscd has seen it. `faults` is a plan, the text of a script, or a script's
        path.

        Raises SlotBusy, BadFaultScript, CardNotSeen.
        """
        presentation = Presentation(contactless, faults=fault_plan(faults))
        self._host.insert(self._slot, card.name, card.image, presentation)
        if not self._slot.wait_until_powered(_SEEN_SECONDS):
            raise CardNotSeen(f"pcscd has not noticed the card in {self.name} within {_SEEN_SECONDS:g} s")

    def remove(self) -> None:
        """Take the card out. Raises NoSuchSlot where there is none."""
        self._host.remove(self._slot)

    def reset(self) -> None:
        """Take the card out and put it in again."""
        self._host.reset(self._slot)
        self._slot.wait_until_powered(_SEEN_SECONDS)

    def trace(self) -> list[str]:
        """What went over the slot so far, in words, PINs masked."""
        number = self._host.slots.index(self._slot)
        entries, _ = self._host.journal.since(0)
        decoder = Decoder(structure())
        return [decoder.line(entry.exchange) for entry in entries if entry.slot == number]


class Workbench:
    """A world with its institutions, in a directory that goes away at the end unless it was named.

    `seed` settles its people and numbers, `today` its clock, which then stands (at nine in the morning in Japan).
    """

    def __init__(
        self, directory: Path | None = None, *, seed: str = "tests", today: date | None = None,
        keys: KeySource | None = None,
    ) -> None:  # fmt: skip
        self._stack = ExitStack()
        if directory is None:
            directory = Path(mkdtemp(prefix="kazashi-"))
            self._stack.callback(shutil.rmtree, directory, ignore_errors=True)
        self.directory = directory
        self.world: World = open_world(directory / "world", seed=seed, keys=keys)
        self._stack.callback(self.world.close)
        if today is not None:
            clock = self.world.clock
            assert isinstance(clock, WorldClock)
            clock.stand(in_japan(today, 9))
        self.institutions = Institutions(self.world)
        self._made = 0

    def card(
        self, resident: str = "hanako", *, pin: str = AUTHENTICATION_PIN, password: str = SIGNATURE_PASSWORD,
        atr: str = "plain",
    ) -> TestCard:  # fmt: skip
        """A new card for somebody of the cast or the registry (`kazashi card list --cast`). Raises NoSuchResident."""
        self._made += 1
        name = f"{resident}-{self._made}"
        image = make_card(self.institutions, name, resident, pin=pin, password=password, atr=atr)
        return TestCard(name, image, pin, password)

    @contextmanager
    def in_process(
        self, card: TestCard, *, contactless: bool = False, faults: FaultPlan | str | Path | None = None
    ) -> Iterator[InProcessReader]:
        """A reader that exists in this process only, with the card in it; `createConnection` is pyscard's. Raises
        BadFaultScript."""
        loaded, presentation = load_card(card.image), Presentation(contactless)
        reader = InProcessReader(f"Kazashi in process: {card.name}")
        plan = fault_plan(faults)
        if plan is not None and plan.steals:
            raise BadFaultScript("to steal a reader takes a second client, and there is none in one process")
        reader.insert(presentation.interface(loaded) if plan is None else plan.around(loaded, presentation.interface))
        try:
            yield reader
        finally:
            reader.remove()
            _let_go(loaded)

    @contextmanager
    def readers(self, names: Sequence[str] = ("Kazashi",)) -> Iterator[list[TestReader]]:
        """Real PC/SC readers of two slots each, on a pcscd of their own, which ends with the block.

        libpcsclite settles once in a process on which pcscd it talks to: a test that uses PC/SC itself, rather than a
        program that it starts, has one such block in its process. Raises PcscdUnavailable.
        """
        pcscd = start_pcscd(Path(mkdtemp(prefix="pcscd-", dir=self.directory)), names, private=True)
        environment = pcscd.client_environment()
        host = ReaderHost(pcscd.endpoints, {**os.environ, **environment})
        try:
            yield [TestReader(host, slot, environment) for slot in host.slots]
        finally:
            host.close()
            pcscd.stop()

    @contextmanager
    def reader(self) -> Iterator[TestReader]:
        """One such reader."""
        with self.readers() as readers:
            yield readers[0]

    def close(self) -> None:
        """End everything, and remove the directory unless it was named."""
        self._stack.close()

    def __enter__(self) -> Workbench:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def fault_plan(faults: FaultPlan | str | Path | None) -> FaultPlan | None:
    """A plan from whatever says it: a plan, the text of a script, or a script's path. Raises BadFaultScript."""
    if isinstance(faults, Path):
        return read_fault_script(faults)
    return parse_fault_script(faults) if isinstance(faults, str) else faults


def _let_go(card: Card) -> None:
    if isinstance(card.store, ImageStore):
        card.store.close()
