"""What the tests of the checks share: cards that are not what they seem, and what a report says."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from smartcard.scard import SCARD_PROTOCOL_T1

from kazashi.applets import jpki
from kazashi.applets.install import load_card
from kazashi.card.chip import Chip
from kazashi.card.image import ImageStore, read_image
from kazashi.card.store import Reference
from kazashi.reader_bridge.check.probe import CardPins
from kazashi.reader_bridge.check.result import CheckOutcome, CheckReport
from kazashi.reader_bridge.check.run import run_checks
from kazashi.reader_bridge.host import Presentation, ReaderHost
from kazashi.reader_bridge.interface import CardGone, ContactInterface, Interface
from kazashi.reader_bridge.pcsc import CardHandle, CardStatus
from kazashi.reader_bridge.slot import Slot
from tests.polling import LIMIT
from tests.reader_bridge.test_slots import insert

SECONDS = 10.0
NO_PINS = CardPins()
PINS = CardPins("1234", "ABC123")
AT_RISK = replace(PINS, risk_accepted=True)
READING = {0xA4, 0xB0, 0xB2, 0xCA, 0x84, 0xC0, 0x1C}
READER_COMMANDS = (bytes.fromhex("FFCA000000"), bytes.fromhex("FFCA010000"))
AUTHENTICATION = Reference(jpki.AID, jpki.AUTHENTICATION_PIN)

needs_reader = pytest.mark.reader


def reads(command: bytes, *, asks_for_tries: bool) -> bool:
    """Whether a command does nothing but look, and costs no try."""
    if command in READER_COMMANDS:
        return True
    if len(command) == 4 and command[:2] == b"\x00\x20":
        return asks_for_tries
    return len(command) >= 4 and command[0] in (0x00, 0x01, 0xF0) and command[1] in READING


class Around:
    """A card around another, which passes everything on."""

    def __init__(self, inner: Interface) -> None:
        self.inner = inner

    @property
    def present(self) -> bool:
        return self.inner.present

    @property
    def atr(self) -> bytes:
        return self.inner.atr

    def power_on(self) -> None:
        self.inner.power_on()

    def power_off(self) -> None:
        self.inner.power_off()

    def reset(self) -> None:
        self.inner.reset()

    def transmit(self, command: bytes) -> bytes:
        return self.inner.transmit(command)


class Stranger(Around):
    """A number card whose authority is not ours."""

    def transmit(self, command: bytes) -> bytes:
        return super().transmit(command).replace(b"JPKI-EMU", b"JPKI-XXX")


class Agreeable(Around):
    """A card that knows nothing, and takes every SELECT for success."""

    def transmit(self, command: bytes) -> bytes:
        return b"\x90\x00" if command[1] == 0xA4 else b"\x6d\x00"


class Sleeper(Around):
    """A card that falls asleep at a command, and is woken by the test or after ten seconds."""

    def __init__(self, inner: Interface, tired: Callable[[bytes], bool]) -> None:
        super().__init__(inner)
        self._tired = tired
        self.woken = threading.Event()

    def transmit(self, command: bytes) -> bytes:
        if self._tired(command):
            self.woken.wait(SECONDS)
        return super().transmit(command)


class Leaver(Around):
    """A card that is gone for good from a command on."""

    def __init__(self, inner: Interface, leaves: Callable[[bytes], bool]) -> None:
        super().__init__(inner)
        self._leaves = leaves
        self._gone = False

    @property
    def present(self) -> bool:
        return not self._gone

    def transmit(self, command: bytes) -> bytes:
        self._gone = self._gone or self._leaves(command)
        if self._gone:
            raise CardGone("torn out")
        return super().transmit(command)


def in_a_row(wanted: bytes, count: int) -> Callable[[bytes], bool]:
    """True once `wanted` has come so many times without another command in between."""
    row = 0

    def seen(command: bytes) -> bool:
        nonlocal row
        row = row + 1 if command == wanted else 0
        return row >= count

    return seen


def of_image(image: Path) -> Interface:
    return ContactInterface(Chip(load_card(image)))


NUMBERS = cycle(range(4))
"""Each card goes into another slot than the one before: pcscd sees with a delay that a slot is empty, and a card that
is put in before waits longer."""


def put(host: ReaderHost, image: Path, presentation: Presentation | None = None) -> Slot:
    number = next(NUMBERS)
    insert(host, number, image, presentation)
    return host.slots[number]


def hold(host: ReaderHost, interface: Interface, slot: Slot | None = None) -> Slot:
    slot = slot or host.slots[next(NUMBERS)]
    host.hold(slot, "held", interface)
    assert slot.wait_until_powered(LIMIT)
    return slot


def check(slot: Slot, secrets: CardPins = NO_PINS, **options: Any) -> CheckReport:
    return run_checks(slot.endpoint.reader, secrets, **options)


def sent(host: ReaderHost, slot: Slot, begun: int) -> list[bytes]:
    """Every command that went over a slot; takes the card out, so that the last is noted as well."""
    host.remove(slot)
    entries, missed = host.journal.since(begun)
    assert not missed
    number = host.slots.index(slot)
    return [entry.exchange.command for entry in entries if entry.slot == number and not entry.exchange.event]


def outcomes(report: CheckReport) -> dict[str, CheckOutcome]:
    return {result.check: result.outcome for result in report.results}


def not_good(report: CheckReport) -> dict[str, str]:
    return {
        result.check: f"{result.outcome.value}: {result.detail}"
        for result in report.results
        if result.outcome not in (CheckOutcome.PASSED, CheckOutcome.OBSERVED)
    }


def crashes(report: CheckReport) -> dict[str, str]:
    """Results that are a defect of a check: their detail begins with an exception's name."""
    return {result.check: result.detail for result in report.results if re.match(r"\w+: ", result.detail)}


def tries_left(image: Path) -> int:
    store = ImageStore(image)
    try:
        return store.pin(AUTHENTICATION).tries_left
    finally:
        store.close()


def spend_a_try_of_each_pin(image: Path) -> None:
    contents, _ = read_image(image)
    store = ImageStore(image)
    for aid, application in contents.items():
        for fid in application.pins:
            store.spend_try(Reference(aid, fid))
    store.close()


class StubCard(CardHandle):
    """A connected card that notes what it is sent, and has an ATR of the test's choice."""

    def __init__(self, atr: bytes = b"") -> None:
        self._atr = atr
        self.sent: list[bytes] = []

    def transmit(self, command: bytes) -> bytes:
        self.sent.append(command)
        return b"\x90\x00"

    @property
    def status(self) -> CardStatus:
        return CardStatus(self._atr, SCARD_PROTOCOL_T1)
