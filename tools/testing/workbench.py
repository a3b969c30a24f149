"""Cards for other people's tests: a world of their own, cards of its residents, and readers for the cards.

    with Workbench() as workbench:
        card = workbench.card("hanako")
        with workbench.in_process(card) as reader:        # no pcscd, but the interface of pyscard
            connection = reader.createConnection()
            ...
        with workbench.reader() as reader:                # a real PC/SC reader on its own pcscd
            reader.insert(card)
            subprocess.run(["opensc-tool", "--name"], env=reader.environment)

docs/workbench.md describes it, and `kazashi.tools.testing.pytest_plugin` makes pytest fixtures from it.
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
from typing import Any

from kazashi.applets.install import load_card, structure
from kazashi.applets.photo import LARGEST_FILE
from kazashi.assembly.cards import make_card
from kazashi.assembly.institutions import Institutions
from kazashi.assembly.own_people import registered
from kazashi.assembly.phones import new_phone
from kazashi.card.card import Card
from kazashi.card.image import ImageStore, read_image
from kazashi.reader_bridge.decoder import Decoder
from kazashi.reader_bridge.fault import FaultPlan
from kazashi.reader_bridge.fault_script import BadFaultScript, parse_fault_script, read_fault_script
from kazashi.reader_bridge.host import Presentation, ReaderHost
from kazashi.reader_bridge.in_process import InProcessReader
from kazashi.reader_bridge.pcscd import start_pcscd
from kazashi.reader_bridge.slot import Slot
from kazashi.world.clock import WorldClock, in_japan
from kazashi.world.home import World, open_world
from kazashi.world.input_file import read_input
from kazashi.world.key_source import KeySource

AUTHENTICATION_PIN, SIGNATURE_PASSWORD = "1234", "ABC123"
_SEEN_SECONDS = 10.0


class CardNotSeen(Exception):
    """pcscd did not detect a card in time."""


@dataclass(frozen=True, slots=True)
class TestCard:
    """A resident's card: its name, its image, its PIN and its signature password. A test may change its card freely:
    each call of `Workbench.card` makes a new one."""

    __test__ = False  # pytest would collect it as a test case because of its name

    name: str
    image: Path
    pin: str = AUTHENTICATION_PIN
    password: str = SIGNATURE_PASSWORD


class TestReader:
    """A slot of a real PC/SC reader. `name` is its PC/SC name; programs find it if they are started with
    `environment`."""

    __test__ = False

    def __init__(self, host: ReaderHost, slot: Slot, environment: Mapping[str, str]) -> None:
        self._host = host
        self._slot = slot
        self.name = slot.endpoint.reader
        self.environment = {**os.environ, **environment}

    def insert(
        self, card: TestCard, *, contactless: bool = False, faults: FaultPlan | str | Path | None = None
    ) -> None:
        """Insert a card, and wait until pcscd has detected it. `faults` is a plan, the text of a fault script, or the
        path of one.

        Raises SlotBusy, BadFaultScript, CardNotSeen.
        """
        presentation = Presentation(contactless, faults=fault_plan(faults))
        self._host.insert(self._slot, card.name, card.image, presentation)
        if not self._slot.wait_until_powered(_SEEN_SECONDS):
            raise CardNotSeen(f"pcscd did not detect the card in {self.name} within {_SEEN_SECONDS:g} s")

    def remove(self) -> None:
        """Remove the card. Raises NoSuchSlot if the slot is empty."""
        self._host.remove(self._slot)

    def reset(self) -> None:
        """Remove the card and insert it again, a cold reset. Raises NoSuchSlot if the slot is empty."""
        self._host.reset(self._slot)
        self._slot.wait_until_powered(_SEEN_SECONDS)

    def trace(self) -> list[str]:
        """Return the slot's APDU trace so far: a line of text for each exchange or event, with PINs masked."""
        number = self._host.slots.index(self._slot)
        entries, _ = self._host.journal.since(0)
        decoder = Decoder(structure())
        return [decoder.line(entry.exchange) for entry in entries if entry.slot == number]


class Workbench:
    """A world with its institutions.

    Without `directory`, it is in a temporary directory, which `close` removes. Its people and numbers are derived from
    `seed`. With `today`, its clock is stopped at nine in the morning of that day in Japan. `keys` is the source of RSA
    keys (default: the world's own).
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
        self._own: dict[tuple[tuple[str, str], ...], str] = {}

    def card(
        self, resident: str | Mapping[str, Any] = "hanako", *, pin: str = AUTHENTICATION_PIN,
        password: str = SIGNATURE_PASSWORD, atr: str = "plain", photo: bytes | str | Path | None = None,
    ) -> TestCard:  # fmt: skip
        """Issue a new card to one of the sample residents (`kazashi card list --samples`), to a resident in the
        registry, or to a person of your own: a mapping with the keys of a file to import (docs/registry.md). The same
        mapping is the same person. `photo` is the path of a picture, or its content.

        Raises NoSuchResident, UsageError, EventRejected and PhotoRejected.
        """
        alias = resident if isinstance(resident, str) else self._own_person(resident)
        content = read_input(photo, LARGEST_FILE) if isinstance(photo, str | Path) else photo
        self._made += 1
        name = f"{alias}-{self._made}"
        image = make_card(self.institutions, name, alias, pin=pin, password=password, atr=atr, photo=content)
        return TestCard(name, image, pin, password)

    def _own_person(self, document: Mapping[str, Any]) -> str:
        """Return the alias of a person with this data, who is registered at the first call."""
        key = tuple(sorted((name, str(value)) for name, value in document.items()))
        if key not in self._own:
            self._own[key] = registered(self.institutions, {"alias": f"own-{len(self._own) + 1}", **document}).alias
        return self._own[key]

    def phone(
        self, card: TestCard, *, pin: str = AUTHENTICATION_PIN, password: str = SIGNATURE_PASSWORD
    ) -> TestCard:  # fmt: skip
        """Issue both certificates to a phone of a card's holder, by an application that the card signs. The former
        phone's certificates are superseded. The phone is put into readers like a card. Raises PhoneRejected."""
        self._made += 1
        name = f"{card.name}-phone-{self._made}"
        _, about = read_image(card.image)
        image = new_phone(
            self.institutions, name, about["resident"], card.name, card_password=card.password, pin=pin,
            password=password,
        )  # fmt: skip
        return TestCard(name, image, pin, password)

    @contextmanager
    def in_process(
        self, card: TestCard, *, contactless: bool = False, faults: FaultPlan | str | Path | None = None
    ) -> Iterator[InProcessReader]:
        """Yield a reader that exists only in this process, with the card in it. Its `createConnection` works like
        pyscard's. Raises BadFaultScript."""
        loaded, presentation = load_card(card.image), Presentation(contactless)
        reader = InProcessReader(f"Kazashi in process: {card.name}")
        plan = fault_plan(faults)
        if plan is not None and plan.steals:
            raise BadFaultScript("the fault `steal` needs a second client, which an in-process reader does not have")
        if plan is not None and (names := plan.of_our_driver):
            raise BadFaultScript(
                f"an in-process reader cannot show the faults {', '.join(names)}: only a reader of our own driver can"
            )
        reader.insert(presentation.interface(loaded) if plan is None else plan.around(loaded, presentation.interface))
        try:
            yield reader
        finally:
            reader.remove()
            _close_image(loaded)

    @contextmanager
    def readers(self, names: Sequence[str] = ("Kazashi",)) -> Iterator[list[TestReader]]:
        """Yield real PC/SC readers, one for each name, on their own pcscd, which stops with the block. Where our driver
        cannot be built, each is two slots of vpcd's.

        In each process, libpcsclite chooses only once which pcscd it talks to. A test that uses PC/SC itself, and not
        through a program that it starts, can therefore have only one such block in its process. Raises
        PcscdUnavailable.
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
        """Yield the first slot of one real PC/SC reader, as `readers` does. Raises PcscdUnavailable."""
        with self.readers() as readers:
            yield readers[0]

    def close(self) -> None:
        """Close the world, and remove its directory if it is temporary."""
        self._stack.close()

    def __enter__(self) -> Workbench:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def fault_plan(faults: FaultPlan | str | Path | None) -> FaultPlan | None:
    """Return a fault plan, given as a plan, as the text of a fault script, or as the path of one. Raises
    BadFaultScript."""
    if isinstance(faults, Path):
        return read_fault_script(faults)
    return parse_fault_script(faults) if isinstance(faults, str) else faults


def _close_image(card: Card) -> None:
    if isinstance(card.store, ImageStore):
        card.store.close()
