"""Helpers for the tests of the checks: cards that misbehave, and the contents of reports."""

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
from kazashi.reader_bridge.layer import Layer
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


def reads(command: bytes, *, empty_verify: bool) -> bool:
    """Return whether a command is read-only and cannot decrement a retry counter.

    `empty_verify` says whether the empty VERIFY counts as such a command.
    """
    if command in READER_COMMANDS:
        return True
    if len(command) == 4 and command[:2] == b"\x00\x20":
        return empty_verify
    return len(command) >= 4 and command[0] in (0x00, 0x01, 0xF0) and command[1] in READING


class NotEmulated(Layer):
    """An individual number card whose authority is not emulated."""

    def transmit(self, command: bytes) -> bytes:
        return super().transmit(command).replace(b"JPKI-EMU", b"JPKI-XXX")


class AcceptsEverySelect(Layer):
    """A card that accepts every SELECT and no other command."""

    def transmit(self, command: bytes) -> bytes:
        return b"\x90\x00" if command[1] == 0xA4 else b"\x6d\x00"


class HangingCard(Layer):
    """A card that hangs at a command until the test releases it, or for ten seconds."""

    def __init__(self, inner: Interface, hangs: Callable[[bytes], bool]) -> None:
        super().__init__(inner)
        self._hangs = hangs
        self.released = threading.Event()

    def transmit(self, command: bytes) -> bytes:
        if self._hangs(command):
            self.released.wait(SECONDS)
        return super().transmit(command)


class LeavingCard(Layer):
    """A card that leaves for good at a command."""

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
            raise CardGone("the card was removed")
        return super().transmit(command)


def in_a_row(wanted: bytes, count: int) -> Callable[[bytes], bool]:
    """Return a function that is true once `wanted` was sent `count` times without another command in between."""
    row = 0

    def complete(command: bytes) -> bool:
        nonlocal row
        row = row + 1 if command == wanted else 0
        return row >= count

    return complete


def of_image(image: Path) -> Interface:
    return ContactInterface(Chip(load_card(image)))


NUMBERS = cycle(range(4))
"""Each card goes into another slot than the previous one: pcscd notices an empty slot with a delay, and a card that is
inserted before that has to wait longer."""


def put(host: ReaderHost, image: Path, presentation: Presentation | None = None) -> Slot:
    number = next(NUMBERS)
    insert(host, number, image, presentation)
    return host.slots[number]


def hold(host: ReaderHost, interface: Interface, slot: Slot | None = None) -> Slot:
    slot = slot or host.slots[next(NUMBERS)]
    host.hold(slot, "test card", interface)
    assert slot.wait_until_powered(LIMIT)
    return slot


def check(slot: Slot, secrets: CardPins = NO_PINS, **options: Any) -> CheckReport:
    return run_checks(slot.endpoint.reader, secrets, **options)


def sent(host: ReaderHost, slot: Slot, begun: int) -> list[bytes]:
    """Return every command of a slot since a journal entry. This removes the card, so that no command is missing."""
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
    """Return the results that show a bug in a check: their detail begins with an exception's name."""
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
    """A connected card that records the commands it receives, with a given ATR."""

    def __init__(self, atr: bytes = b"") -> None:
        self._atr = atr
        self.sent: list[bytes] = []

    def transmit(self, command: bytes) -> bytes:
        self.sent.append(command)
        return b"\x90\x00"

    @property
    def status(self) -> CardStatus:
        return CardStatus(self._atr, SCARD_PROTOCOL_T1)
