"""The checks of a reader and its card: what they find, what they never send, and what becomes of their report."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import cycle, product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from smartcard.scard import SCARD_PROTOCOL_T1, SCARD_SHARE_EXCLUSIVE, SCARD_STATE_EMPTY, SCARD_STATE_PRESENT

from kazashi.applets import jpki
from kazashi.applets.install import load, structure
from kazashi.card.chip import Chip
from kazashi.card.image import ImageStore, read_image
from kazashi.card.store import Reference
from kazashi.reader_bridge.check.behaviour import AtrForm
from kazashi.reader_bridge.check.case import Findings, NotApplicable
from kazashi.reader_bridge.check.compare import compare
from kazashi.reader_bridge.check.junit import junit
from kazashi.reader_bridge.check.page import comparison_page, report_page
from kazashi.reader_bridge.check.probe import SELECT_CARD_MANAGER, SELECT_JPKI, Kind, Probe, Refused, Secrets, allowed
from kazashi.reader_bridge.check.result import BadReport, Outcome, Report, Result
from kazashi.reader_bridge.check.run import CASES, GROUPS, CheckImpossible, run_checks
from kazashi.reader_bridge.decoder import Decoder
from kazashi.reader_bridge.fault_script import ATRS, parse_fault_script
from kazashi.reader_bridge.host import Presentation, ReaderHost
from kazashi.reader_bridge.interface import CardGone, ContactInterface, Interface
from kazashi.reader_bridge.pcsc import CardHandle, CardStatus, connected
from kazashi.reader_bridge.pcscd import RunningPcscd
from kazashi.reader_bridge.replay import ReplayedCard
from kazashi.reader_bridge.slot import Slot
from kazashi.reader_bridge.trace import TraceWriter, read_trace
from kazashi.reader_bridge.vicc import modules_directory, program
from tests.reader_bridge.test_slots import insert, wait_for

SECONDS = 10.0
NO_PINS = Secrets()
PINS = Secrets("1234", "ABC123")
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
    return ContactInterface(Chip(load(image)))


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
    assert slot.wait_until_powered(SECONDS)
    return slot


def check(slot: Slot, secrets: Secrets = NO_PINS, **options: Any) -> Report:
    return run_checks(slot.endpoint.reader, secrets, **options)


def sent(host: ReaderHost, slot: Slot, begun: int) -> list[bytes]:
    """Every command that went over a slot; takes the card out, so that the last is noted as well."""
    host.remove(slot)
    entries, missed = host.journal.since(begun)
    assert not missed
    number = host.slots.index(slot)
    return [entry.exchange.command for entry in entries if entry.slot == number and not entry.exchange.event]


def outcomes(report: Report) -> dict[str, Outcome]:
    return {result.check: result.outcome for result in report.results}


def not_good(report: Report) -> dict[str, str]:
    return {
        result.check: f"{result.outcome.value}: {result.detail}"
        for result in report.results
        if result.outcome not in (Outcome.PASSED, Outcome.OBSERVED)
    }


def crashes(report: Report) -> dict[str, str]:
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


@needs_reader
@pytest.mark.parametrize("contactless", [False, True])
def test_nothing_is_wrong_with_our_card_and_nothing_of_it_changes(
    host: ReaderHost, image: Path, contactless: bool
) -> None:
    spend_a_try_of_each_pin(image)
    before = read_image(image)
    begun = host.journal.last
    slot = put(host, image, Presentation(contactless))
    report = check(slot)
    assert report.complete
    assert report.good
    assert report.card == Kind.EMULATED.value
    assert report.atr == ATRS["contactless-plain" if contactless else "plain"].hex().upper()
    assert not_good(report).keys() == {case.name for case in CASES if case.group == "credentials"}
    assert all("no" in why and "was given" in why for why in not_good(report).values())
    assert [result.check for result in report.results] == [case.name for case in CASES]
    assert report.seconds < 60
    commands = sent(host, slot, begun)
    assert len(commands) > len(CASES)
    assert all(reads(command, asks_for_tries=True) for command in commands)
    assert read_image(image) == before


@needs_reader
@pytest.mark.parametrize("contactless", [False, True])
def test_with_pins_our_card_signs_and_has_all_its_tries_at_the_end(
    host: ReaderHost, image: Path, contactless: bool
) -> None:
    before = read_image(image)
    report = check(put(host, image, Presentation(contactless)), PINS, groups=["credentials"])
    assert not not_good(report)
    assert report.good
    assert {name for name in outcomes(report) if name.startswith("credentials.")} == {
        "credentials.authentication", "credentials.signature", "credentials.wrong-pin",
    }  # fmt: skip
    host.close()
    assert before[0][jpki.AID].pins[jpki.AUTHENTICATION_PIN].tries_left == jpki.AUTHENTICATION_PIN.tries
    assert read_image(image) == before


@needs_reader
def test_a_report_holds_no_secret(host: ReaderHost, image: Path) -> None:
    text = check(put(host, image), Secrets("9876", "ABC123"), groups=["pins", "credentials"]).to_json()
    for secret in ("9876", "ABC123"):
        assert secret not in text
        assert secret.encode().hex().upper() not in text


@needs_reader
def test_a_mistyped_pin_does_not_block_an_emulated_card(host: ReaderHost, image: Path) -> None:
    report = check(put(host, image), Secrets("4321"), groups=["credentials"])
    assert outcomes(report)["credentials.authentication"] is Outcome.FAILED
    host.close()
    assert tries_left(image) >= 1


@needs_reader
def test_only_the_groups_that_are_asked_for_run_and_each_is_told_as_it_ends(host: ReaderHost, image: Path) -> None:
    told: list[tuple[Result, int, int]] = []
    report = check(put(host, image), groups=["pins", "atr"], progress=lambda *progress: told.append(progress))
    assert report.complete
    assert {result.group for result in report.results} == {"atr", "pins"}
    assert [result for result, _, _ in told] == list(report.results)
    assert [(number, count) for _, number, count in told] == [(n, len(told)) for n in range(1, len(told) + 1)]


@needs_reader
def test_without_a_card_there_is_nothing_to_check(host: ReaderHost, image: Path) -> None:
    slot = put(host, image)
    with connected(slot.endpoint.reader, SCARD_SHARE_EXCLUSIVE), pytest.raises(CheckImpossible):
        check(slot)
    host.remove(slot)
    wait_for(slot.endpoint.reader, SCARD_STATE_EMPTY)
    with pytest.raises(CheckImpossible, match=slot.endpoint.reader):
        check(slot)
    with pytest.raises(CheckImpossible, match="no such reader"):
        run_checks("no such reader")


BODIES = (b"", b"\0", b"\0\x80", b"\0\x80\0", b"\0\x80\x041234", b"\0\x80\0\0\x041234")
HEADS = [
    b"\0\x20", b"\0\x24", b"\0\x2c", b"\0\x88", b"\x80\x2a", b"\x80\x32", b"\x80\xa2", b"\x80\xae", b"\x01\x20",
    b"\xf0\x20", b"\x0c\x20", b"\x10\x20", b"\0\xa4", b"\0\xd6", b"\0\xe4", b"\xff\xca", b"\xff\x20",
]  # fmt: skip
ANY_COMMAND = st.one_of(
    st.binary(max_size=24),
    st.builds(lambda head, body: head + body, st.sampled_from(HEADS), st.sampled_from(BODIES)),
    st.builds(lambda head, body: head + body, st.sampled_from(HEADS), st.binary(max_size=24)),
)
FOREIGN = st.sampled_from([Kind.OTHER, Kind.NUMBER_CARD])
NO_RISK = st.builds(Secrets, st.none() | st.text(), st.none() | st.text(), st.just(False))


@given(ANY_COMMAND, FOREIGN, NO_RISK)
def test_whatever_the_bytes_a_card_that_is_not_ours_is_only_looked_at(
    command: bytes, kind: Kind, secrets: Secrets
) -> None:
    if allowed(command, kind, secrets):
        assert reads(command, asks_for_tries=kind is Kind.NUMBER_CARD)


def test_of_all_classes_and_instructions_no_other_passes_to_a_card_that_is_not_ours() -> None:
    passed = set()
    for kind, cla, ins, body in product((Kind.OTHER, Kind.NUMBER_CARD), range(256), range(256), BODIES):
        command = bytes((cla, ins)) + body
        if allowed(command, kind, PINS):
            assert reads(command, asks_for_tries=kind is Kind.NUMBER_CARD), command.hex()
            passed.add((kind, ins))
    assert passed == {
        *product((Kind.OTHER, Kind.NUMBER_CARD), READING), (Kind.NUMBER_CARD, 0x20),
    }  # fmt: skip


def test_accepted_risk_lets_pins_and_signatures_pass_to_number_cards_and_nothing_else() -> None:
    for cla, ins, body in product(range(256), range(256), BODIES):
        command = bytes((cla, ins)) + body
        assert allowed(command, Kind.OTHER, AT_RISK) is allowed(command, Kind.OTHER, Secrets()), command.hex()
        if allowed(command, Kind.NUMBER_CARD, AT_RISK) and not allowed(command, Kind.NUMBER_CARD, PINS):
            assert command[:2] in (b"\x00\x20", b"\x80\x2a"), command.hex()
    assert allowed(b"\x00\x20\x00\x80\x041234", Kind.NUMBER_CARD, AT_RISK)


@given(ANY_COMMAND, st.sampled_from(Kind), st.sampled_from([Secrets(), PINS, AT_RISK]))
def test_no_card_is_ever_changed(command: bytes, kind: Kind, secrets: Secrets) -> None:
    if allowed(command, kind, secrets):
        assert command[:2] not in (b"\x00\x24", b"\x80\x32", b"\x00\x2c", b"\x00\xd6", b"\x00\xe4")


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


@given(ANY_COMMAND, st.sampled_from(Kind), st.sampled_from([Secrets(), PINS, AT_RISK]))
def test_what_is_not_allowed_does_not_reach_the_card(command: bytes, kind: Kind, secrets: Secrets) -> None:
    card = StubCard()
    probe = Probe("reader", card, kind, secrets)
    if allowed(command, kind, secrets):
        assert probe.transmit(command) == b"\x90\x00"
        assert card.sent == [command]
    else:
        with pytest.raises(Refused):
            probe.transmit(command)
        assert not card.sent


@needs_reader
def test_a_number_card_that_is_not_ours_gets_no_pin(host: ReaderHost, image: Path) -> None:
    spend_a_try_of_each_pin(image)
    before = read_image(image)
    begun = host.journal.last
    slot = hold(host, Stranger(of_image(image)))
    report = check(slot, PINS)
    assert report.good
    assert report.card == Kind.NUMBER_CARD.value
    assert set(not_good(report).values()) == {"not applicable: no PIN is sent to a card that is not ours"}
    assert not_good(report).keys() == {case.name for case in CASES if case.group == "credentials"}
    commands = sent(host, slot, begun)
    assert SELECT_JPKI in commands
    assert len(commands) > len(CASES)
    assert [command.hex() for command in commands if not reads(command, asks_for_tries=True)] == []
    assert read_image(image) == before


@needs_reader
def test_with_the_risk_accepted_a_number_card_gets_the_right_pins_and_no_wrong_one(
    host: ReaderHost, image: Path
) -> None:
    begun = host.journal.last
    slot = hold(host, Stranger(of_image(image)))
    report = check(slot, AT_RISK, groups=["credentials"])
    assert report.good, not_good(report)
    assert outcomes(report)["credentials.authentication"] is Outcome.PASSED
    assert outcomes(report)["credentials.signature"] is Outcome.PASSED
    assert not_good(report) == {"credentials.wrong-pin": "not applicable: a wrong PIN is sent to an emulated card only"}
    pins = [command[5:] for command in sent(host, slot, begun) if command[1] == 0x20 and len(command) > 4]
    assert pins == [b"1234", b"ABC123"]


@needs_reader
def test_a_mistyped_pin_costs_a_number_card_that_is_not_ours_one_try(host: ReaderHost, image: Path) -> None:
    slot = hold(host, Stranger(of_image(image)))
    report = check(slot, Secrets("4321", risk_accepted=True), groups=["credentials"])
    assert outcomes(report)["credentials.authentication"] is Outcome.FAILED
    host.close()
    assert tries_left(image) == jpki.AUTHENTICATION_PIN.tries - 1


@needs_reader
def test_a_card_that_takes_the_place_of_ours_during_the_run_gets_no_pin(host: ReaderHost, image: Path) -> None:
    """What the first card was taken for says nothing about the second."""
    slot = put(host, image)
    begun = 0

    def swap(result: Result, *_: int) -> None:
        nonlocal begun
        if result.check == "atr.protocol":
            host.remove(slot)
            begun = host.journal.last
            hold(host, Stranger(of_image(image)), slot)

    check(slot, PINS, groups=["atr", "credentials"], progress=swap)
    assert begun
    commands = sent(host, slot, begun)
    assert [command.hex() for command in commands if not reads(command, asks_for_tries=True)] == []


@needs_reader
def test_a_card_that_agrees_to_every_select_is_no_number_card(host: ReaderHost, image: Path) -> None:
    """It may take the empty VERIFY for a wrong PIN."""
    begun = host.journal.last
    slot = hold(host, Agreeable(of_image(image)))
    report = check(slot, AT_RISK, groups=["pins", "credentials"])
    assert report.card == Kind.OTHER.value
    assert b"\x00\x20" not in {command[:2] for command in sent(host, slot, begun)}


@contextmanager
def stock_vicc(pcscd: RunningPcscd, directory: Path) -> Iterator[str]:
    """A reader that holds the stock vicc's own card."""
    endpoint = pcscd.endpoints[next(NUMBERS)]
    with (directory / "vicc.log").open("wb") as log:
        vicc = subprocess.Popen(
            [sys.executable, program(), "--type", "iso7816", "--hostname", "127.0.0.1", "--port", str(endpoint.port)],
            cwd=directory, env={**os.environ, "PYTHONPATH": str(modules_directory())}, stdin=subprocess.DEVNULL,
            stdout=log, stderr=log,
        )  # fmt: skip
        try:
            wait_for(endpoint.reader, SCARD_STATE_PRESENT)
            yield endpoint.reader
        finally:
            vicc.terminate()
            vicc.wait(SECONDS)
            wait_for(endpoint.reader, SCARD_STATE_EMPTY)


@needs_reader
def test_stock_vicc_s_card_is_another_card(pcscd: RunningPcscd, tmp_path: Path) -> None:
    """Of the checks that it survives: some commands make it crash."""
    with stock_vicc(pcscd, tmp_path) as reader:
        report = run_checks(reader, PINS, [group for group in GROUPS if group not in VICC_DIES_OF])
    assert report.complete, not_good(report)
    assert report.card == Kind.OTHER.value
    assert not crashes(report)
    assert outcomes(report)["atr.form"] is Outcome.PASSED
    for case in CASES:
        if case.group in ("files", "credentials", "pins"):
            assert outcomes(report)[case.name] is Outcome.NOT_APPLICABLE


VICC_DIES_OF = ("reader", "errors", "extended")


@needs_reader
def test_a_card_that_crashes_under_the_checks_is_reported(pcscd: RunningPcscd, tmp_path: Path) -> None:
    """The stock vicc does."""
    with stock_vicc(pcscd, tmp_path) as reader:
        report = run_checks(reader, PINS)
    assert not report.complete
    assert not report.good
    assert report.card == Kind.OTHER.value
    assert not crashes(report)
    assert outcomes(report)["atr.form"] is Outcome.PASSED
    assert report.results[-1].outcome is Outcome.BROKEN
    assert report.results[-1].detail


@needs_reader
def test_a_replayed_card_is_found_as_the_recorded_one_was_and_one_that_is_asked_otherwise_is_reported(
    host: ReaderHost, image: Path, tmp_path: Path
) -> None:
    begun = host.journal.last
    slot = put(host, image)
    report = check(slot, PINS)
    assert report.good
    host.remove(slot)
    entries, missed = host.journal.since(begun)
    assert not missed
    with TraceWriter(tmp_path / "trace", slot.endpoint.reader, Decoder(structure()), unmasked=True) as writer:
        for entry in entries:
            writer.write(entry.exchange)
    trace = read_trace(tmp_path / "trace")

    lenient = ReplayedCard(trace, strict=False)
    replayed = check(hold(host, lenient), PINS)
    assert replayed.card == Kind.EMULATED.value
    assert outcomes(replayed) == outcomes(report)
    assert not compare(report, replayed).differing
    assert lenient.deviations == 0

    strict = ReplayedCard(trace, strict=True)
    slot = hold(host, strict)
    replayed = check(slot, PINS, groups=[group for group in GROUPS if group != "selection"])
    assert replayed.complete
    assert replayed.card == Kind.EMULATED.value
    assert outcomes(replayed)["apdu.case-1"] is Outcome.PASSED, "up to here it is the recorded order"
    assert outcomes(replayed)["files.availability"] is Outcome.FAILED
    assert not crashes(replayed)
    assert strict.deviations
    replayed = check(slot, groups=["atr", "errors"])
    assert replayed.complete
    assert replayed.card == Kind.OTHER.value, "it has lost its place, and answers nothing"
    assert not crashes(replayed)


def wait_for_threads(name: str) -> None:
    """Until the thread of a check that was given up, or one that a check has left behind, has ended."""
    for thread in threading.enumerate():
        if name in thread.name:
            thread.join(SECONDS)
            assert not thread.is_alive()


FAULTS = {
    "answers that lack a byte": "faults: [{truncate: 1, when: {chance: 0.2}}]",
    "tries of which half a status word is told": "faults: [{truncate: 1, when: {matching: 0020}}]",
    "answers that lack everything": "faults: [{truncate: 300, when: {chance: 0.03}}]",
    "answers that are too long": "faults: [{overlong: 3, when: {chance: 0.3}}]",
    "wrong status words": "faults: [{status: 6F00, when: {every: 20}}]",
    "T=0": "{protocol: T=0}",
    "a reader of short commands": "{limit: 261}",
    "no tries left": "tries: {JPKI authentication PIN: 0, JPKI signature password: 1}",
}


@needs_reader
@pytest.mark.parametrize("names", [list(FAULTS)[:4], list(FAULTS)[4:]], ids=["answers", "readers"])
def test_faults_are_findings_and_crash_no_check(host: ReaderHost, image: Path, names: list[str]) -> None:
    for slot, name in zip(host.slots, names, strict=False):
        own = Path(shutil.copy(image, image.with_name(f"{name}.card")))
        host.insert(slot, name, own, Presentation(faults=parse_fault_script(FAULTS[name])))
    for slot, name in zip(host.slots, names, strict=False):
        assert slot.wait_until_powered(SECONDS)
        groups = [group for group in GROUPS if group != "concurrency"]
        report = check(slot, PINS, groups=groups, hangs_seconds=0.5)
        assert not_good(report), name
        assert not report.good, name
        assert crashes(report) == {}, name
        host.remove(slot)
        wait_for_threads(report.results[-1].check)


@needs_reader
def test_a_card_that_is_taken_away_between_two_checks_ends_the_run(host: ReaderHost, image: Path) -> None:
    told: list[Result] = []

    def take(result: Result, number: int, _: int) -> None:
        told.append(result)
        if number == 10:
            host.remove(slot)

    slot = put(host, image)
    begun = time.monotonic()
    report = check(slot, progress=take)
    assert time.monotonic() - begun < SECONDS
    assert not report.complete
    assert not report.good
    assert list(report.results) == told
    assert 10 < len(told) < len(CASES)
    assert not not_good(replace(report, results=report.results[:10]))
    assert report.results[-1].outcome is Outcome.BROKEN
    assert re.search("card|reader", report.results[-1].detail, re.IGNORECASE)
    assert not crashes(report)


@needs_reader
@pytest.mark.parametrize(
    ("command", "count", "name"),
    [
        (bytes.fromhex("00CA123400"), 1, "errors.absent-object"),
        (bytes.fromhex("00200080"), 3, "pins.asking-is-free"),
        (bytes.fromhex("0084000008"), 7, "timing.challenge"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_card_that_is_torn_out_in_the_middle_of_a_check_ends_the_run(
    host: ReaderHost, image: Path, command: bytes, count: int, name: str
) -> None:
    slot = hold(host, Leaver(of_image(image), in_a_row(command, count)))
    begun = time.monotonic()
    report = check(slot)
    assert time.monotonic() - begun < SECONDS
    assert not report.complete
    assert not crashes(report)
    found = outcomes(report)
    names = list(found)
    assert found[name] in (Outcome.FAILED, Outcome.BROKEN), "vpcd passes a lost card off as an empty answer"
    assert not not_good(replace(report, results=report.results[: names.index(name)]))
    assert report.results[-1].outcome is Outcome.BROKEN
    assert len(names) - names.index(name) <= 2, "at most one more check is tried before the run ends"


@needs_reader
def test_a_card_that_is_torn_out_of_a_transaction_is_reported_and_no_thread_ends_in_a_traceback(
    host: ReaderHost, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stray: list[str] = []
    monkeypatch.setattr(threading, "excepthook", lambda thrown: stray.append(repr(thrown.exc_value)))
    slot = hold(host, Leaver(of_image(image), in_a_row(SELECT_CARD_MANAGER, 50)))
    report = check(slot, groups=["concurrency"])
    host.remove(slot)
    wait_for_threads("(ask)")
    assert not stray
    assert not report.complete
    assert not crashes(report)
    assert outcomes(report)["concurrency.transaction"] in (Outcome.FAILED, Outcome.BROKEN)


@needs_reader
def test_a_card_that_hangs_is_given_up(host: ReaderHost, image: Path) -> None:
    sleeper = Sleeper(of_image(image), in_a_row(bytes.fromhex("0084000008"), 3))
    slot = hold(host, sleeper)
    begun = time.monotonic()
    report = check(slot, groups=["atr", "selection", "timing"], hangs_seconds=0.5)
    taken = time.monotonic() - begun
    sleeper.woken.set()
    assert taken < SECONDS / 2
    assert not report.complete
    last = report.results[-1]
    assert (last.check, last.outcome) == ("timing.challenge", Outcome.BROKEN)
    assert "0.5 s" in last.detail
    assert len(report.results) > 10
    assert not not_good(replace(report, results=report.results[:-1]))
    wait_for_threads(last.check)


@needs_reader
def test_a_card_that_hangs_from_its_first_command_on_is_given_up(host: ReaderHost, image: Path) -> None:
    sleeper = Sleeper(of_image(image), lambda _: True)
    slot = hold(host, sleeper)
    waking = threading.Timer(4, sleeper.woken.set)
    waking.start()
    begun = time.monotonic()
    try:
        with suppress(CheckImpossible):
            assert not check(slot, hangs_seconds=0.5).complete
        assert time.monotonic() - begun < 3
    finally:
        sleeper.woken.set()
        waking.cancel()
        waking.join()
        wait_for_threads("(ask)")


RESULT = Result("files.one", "files", "A file", "docs/card.md", Outcome.PASSED, ("00B0000004: 9000",), ("9000",))
OTHER_RESULT = Result(
    "timing.two", "timing", "A time", "measured", Outcome.OBSERVED, ("SELECT: 9000",), measured={"median ms": 1.5}
)
REPORT = Report("Reader 00 00", "a card", "3B00", "2030-01-02T03:04:05+00:00", 0.5, (RESULT, OTHER_RESULT))

TEXTS = st.text(max_size=12)
LINES = st.lists(TEXTS, max_size=3).map(tuple)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
RESULTS = st.builds(
    Result, TEXTS, TEXTS, TEXTS, TEXTS, st.sampled_from(Outcome), LINES, LINES, TEXTS,
    st.dictionaries(TEXTS, FINITE, max_size=2),
)  # fmt: skip
REPORTS = st.builds(Report, TEXTS, TEXTS, TEXTS, TEXTS, FINITE, st.lists(RESULTS, max_size=4).map(tuple), st.booleans())


@settings(deadline=None)
@given(REPORTS)
def test_a_report_is_read_back_as_it_was_written(report: Report) -> None:
    assert Report.from_json(report.to_json()) == report


def test_a_report_that_breaks_off_anywhere_is_none() -> None:
    text = REPORT.to_json()
    for end in range(len(text)):
        with pytest.raises(BadReport):
            Report.from_json(text[:end])


@pytest.mark.parametrize(
    "text",
    ["", "null", "true", "1", "[]", "{}", '"text"', "rubbish", "[" * 100_000, '{"a":' * 100_000, "9" * 10_000, "\0"],
    ids=lambda text: text[:6] or "nothing",
)
def test_what_is_no_report_is_told_by_its_name(text: str) -> None:
    with pytest.raises(BadReport, match="of-mine"):
        Report.from_json(text, "of-mine")


WRONG: dict[str, Callable[[dict[str, Any]], object]] = {
    "another format": lambda document: document.update(format="kazashi-trace"),
    "another version": lambda document: document.update(version=2),
    "no format": lambda document: document.pop("format"),
    "no version": lambda document: document.pop("version"),
    "no reader": lambda document: document.pop("reader"),
    "no results": lambda document: document.pop("results"),
    "an unknown field": lambda document: document.update(more=1),
    "a reader that is a number": lambda document: document.update(reader=5),
    "a card that is nothing": lambda document: document.update(card=None),
    "an ATR that is a list": lambda document: document.update(atr=["3B"]),
    "seconds in words": lambda document: document.update(seconds="a while"),
    "completeness in words": lambda document: document.update(complete="no"),
    "results that are a number": lambda document: document.update(results=3),
    "results that are words": lambda document: document.update(results=["passed"]),
    "a wrong outcome": lambda document: document["results"][0].update(outcome="splendid"),
    "an outcome that is a list": lambda document: document["results"][0].update(outcome=[]),
    "no outcome": lambda document: document["results"][0].pop("outcome"),
    "no check": lambda document: document["results"][0].pop("check"),
    "an unknown field of a result": lambda document: document["results"][0].update(more=1),
    "a title that is a number": lambda document: document["results"][0].update(title=1),
    "a detail that is nothing": lambda document: document["results"][0].update(detail=None),
    "observations that are nothing": lambda document: document["results"][0].update(observed=None),
    "observations that are one text": lambda document: document["results"][0].update(observed="9000"),
    "an observation that is a number": lambda document: document["results"][0].update(observed=[1]),
    "an expectation that is a number": lambda document: document["results"][0].update(expected=[1]),
    "measures that are a list": lambda document: document["results"][1].update(measured=[]),
    "a measure in words": lambda document: document["results"][1].update(measured={"median ms": "long"}),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_report_with_something_wrong_in_it_is_none(what: str) -> None:
    document = json.loads(REPORT.to_json())
    assert Report.from_json(json.dumps(document)) == REPORT
    WRONG[what](document)
    with pytest.raises(BadReport):
        Report.from_json(json.dumps(document))


def test_a_run_is_good_if_it_came_to_its_end_and_nothing_failed() -> None:
    assert REPORT.good
    assert not replace(REPORT, complete=False).good
    for outcome in Outcome:
        report = replace(REPORT, results=(RESULT, replace(OTHER_RESULT, outcome=outcome)))
        assert report.good is (outcome not in (Outcome.FAILED, Outcome.BROKEN))
        assert report.count(outcome) == (2 if outcome is Outcome.PASSED else 1)


@settings(deadline=None)
@given(REPORTS)
def test_junit_is_well_formed_and_its_counts_agree(report: Report) -> None:
    suite = ET.fromstring(junit(report))
    found = Counter(element.tag for element in suite.iter())
    assert suite.tag == "testsuite"
    assert int(suite.attrib["tests"]) == found["testcase"] == len(report.results) + (not report.complete)
    assert int(suite.attrib["failures"]) == found["failure"] == report.count(Outcome.FAILED)
    assert int(suite.attrib["errors"]) == found["error"] == report.count(Outcome.BROKEN) + (not report.complete)
    assert int(suite.attrib["skipped"]) == found["skipped"] == report.count(Outcome.NOT_APPLICABLE)


def test_junit_says_what_failed_and_why() -> None:
    failed = replace(RESULT, outcome=Outcome.FAILED, detail="<b> & 'not' \"so\"", observed=("one & two", "<three>"))
    suite = ET.fromstring(junit(replace(REPORT, results=(failed, OTHER_RESULT), complete=False)))
    first, second, end = suite.findall("testcase")
    failure = first.find("failure")
    assert failure is not None
    assert failure.attrib["message"] == failed.detail
    assert failure.text == "one & two\n<three>"
    assert first.attrib == {"classname": "files", "name": "files.one: A file"}
    assert second.findtext("system-out") == "SELECT: 9000\nmedian ms: 1.5"
    assert second.find("failure") is None
    assert end.find("error") is not None
    assert suite.attrib["timestamp"] == REPORT.at


EVIL = "<script>alert('\"&')</script>"


def test_no_page_lets_through_what_it_was_given() -> None:
    results = tuple(
        Result(EVIL, EVIL, EVIL, EVIL, outcome, (EVIL,), (EVIL,), EVIL, {EVIL: 1.0, "median ms": 2.0})
        for outcome in Outcome
    )
    for one in results:
        evil = Report(EVIL, EVIL, EVIL, EVIL, 1.0, (one,), complete=False)
        harmless = replace(REPORT, results=(replace(RESULT, check=EVIL, measured={"median ms": 1.0}),))
        for page in (
            report_page(evil), comparison_page(compare(evil, harmless)), comparison_page(compare(harmless, evil)),
            comparison_page(compare(evil, REPORT)),
        ):  # fmt: skip
            assert "&lt;script&gt;" in page
            assert "<script" not in page
            assert "alert('" not in page


def test_the_page_of_a_report_shows_every_check_and_how_it_ended() -> None:
    results = tuple(
        replace(RESULT, check=f"files.{number}", outcome=outcome, detail=f"because of {number}")
        for number, outcome in enumerate(Outcome)
    )
    page = report_page(replace(REPORT, results=results))
    for result in results:
        assert result.check in page
        assert result.detail in page
        assert f"class={result.outcome.value.replace(' ', '-')}>" in page
    assert "cut off" not in page
    assert "cut off" in report_page(replace(REPORT, complete=False))


def test_the_page_of_a_comparison_says_which_checks_differ() -> None:
    other = replace(REPORT, reader="Other 00 00", results=(replace(RESULT, outcome=Outcome.FAILED), OTHER_RESULT))
    page = comparison_page(compare(REPORT, other))
    differences, _, rest = page.partition("<h2>Time</h2>")
    assert "What differs (1 of 2)" in differences
    assert "files.one" in differences
    assert "timing.two" not in differences
    assert "files.one" in rest
    assert "timing.two" in rest
    assert page.count("class=differs") == 1
    assert "1.50 ms" in rest
    same = comparison_page(compare(REPORT, replace(REPORT, reader="Other 00 00")))
    assert "What differs (0 of 2)" in same
    assert "Nothing but time." in same
    assert "class=differs" not in same


@settings(deadline=None)
@given(REPORTS)
def test_a_report_differs_in_nothing_from_itself(report: Report) -> None:
    assert compare(report, report).differing == ()


FEW_LINES = st.lists(st.sampled_from(["00B0000004: 6981", "00B0000004: 6982", "00A40000: 9000"]), max_size=4).map(tuple)


@given(RESULTS, FEW_LINES, FEW_LINES)
def test_a_changed_observation_is_a_difference(result: Result, before: tuple[str, ...], after: tuple[str, ...]) -> None:
    """Also where the same answers come in another order."""
    first, second = (replace(REPORT, results=(replace(result, observed=seen),)) for seen in (before, after))
    compared = result.outcome is not Outcome.NOT_APPLICABLE
    assert bool(compare(first, second).differing) is (compared and before != after)


@given(RESULTS, st.sampled_from(Outcome))
def test_a_changed_outcome_is_a_difference(result: Result, outcome: Outcome) -> None:
    comparison = compare(
        replace(REPORT, results=(result,)), replace(REPORT, results=(replace(result, outcome=outcome),))
    )
    assert bool(comparison.differing) is (result.outcome is not outcome)


def test_what_only_one_of_two_saw_stands_on_its_side() -> None:
    other = replace(RESULT, observed=("00B0000004: 6982",))
    (pair,) = compare(REPORT, replace(REPORT, results=(other, OTHER_RESULT))).differing
    assert (pair.check, pair.group, pair.title) == ("files.one", "files", "A file")
    assert (pair.only_a, pair.only_b) == (RESULT.observed, other.observed)


def test_a_check_that_one_report_lacks_is_a_difference() -> None:
    shorter = replace(REPORT, results=(OTHER_RESULT,))
    (pair,) = compare(REPORT, shorter).differing
    assert (pair.check, pair.a, pair.b) == ("files.one", RESULT, None)
    (pair,) = compare(shorter, REPORT).differing
    assert (pair.check, pair.a, pair.b) == ("files.one", None, RESULT)


def test_time_is_no_difference_and_is_told() -> None:
    slower = replace(OTHER_RESULT, measured={"median ms": 99.0, "longest ms": 100.0})
    comparison = compare(REPORT, replace(REPORT, results=(RESULT, slower), seconds=9.0, at="later"))
    assert comparison.differing == ()
    assert [pair.times for pair in comparison.pairs] == [None, (1.5, 99.0)]


INTERFACE_BYTES = {
    "plain": ({1}, True, 8), "extended": ({1}, True, 8), "short": ({1}, True, 7), "reader-made-1": ({1}, True, 11),
    "reader-made-2": ({1}, True, 11), "contactless-plain": ({0, 1}, True, 4), "contactless-second": ({0, 1}, True, 4),
    "contactless-third": ({0, 1}, True, 4), "contactless-fourth": ({0, 1}, True, 4), "T=0": ({0}, False, 4),
    "T=0 and T=1": ({0, 1}, True, 4),
}  # fmt: skip
"""For each ATR what it offers, whether a check byte ends it, and where its interface bytes end."""


def offered_protocols(atr: bytes) -> tuple[set[int], bool]:
    form = AtrForm.of(atr)
    return set(form.offered), form.check_byte


@pytest.mark.parametrize("name", ATRS)
def test_the_protocols_that_an_atr_offers(name: str) -> None:
    offered, check_byte, end = INTERFACE_BYTES[name]
    assert offered_protocols(ATRS[name]) == (offered, check_byte)
    assert offered_protocols(ATRS[name][:end]) == (offered, check_byte)


@pytest.mark.parametrize("name", ATRS)
def test_an_atr_that_breaks_off_within_its_interface_bytes_is_told(name: str) -> None:
    for end in range(INTERFACE_BYTES[name][2]):
        with pytest.raises(NotApplicable):
            offered_protocols(ATRS[name][:end])


@given(st.binary(max_size=40) | st.binary(max_size=8).map(lambda tail: b"\x3b\xf0" + tail))
def test_any_bytes_are_an_atr_or_are_told_not_to_be_one(atr: bytes) -> None:
    with suppress(NotApplicable):
        offered, check_byte = offered_protocols(atr)
        assert offered
        assert offered <= set(range(16))
        assert check_byte is (offered != {0})


def atr_form(atr: bytes) -> Findings:
    """What the check of an ATR's form writes down about one."""
    findings = Findings()
    (case,) = [case for case in CASES if case.name == "atr.form"]
    case.look(Probe("reader", StubCard(atr)), findings)
    return findings


@pytest.mark.parametrize("name", ATRS)
def test_the_atr_s_of_cards_are_well_formed(name: str) -> None:
    assert atr_form(ATRS[name]).wrong == []


@pytest.mark.parametrize(
    "atr",
    [
        "3CE000FF8131FE4514", "3BE000FF8131FE4515", "3BE000FF8131FE45", "3BE000FF81", "3BE000", "3B60", "3B",
        "3B620000AA", "3B6000000000", "3B" + "00" * 33,
    ],
)  # fmt: skip
def test_a_malformed_atr_is_found(atr: str) -> None:
    assert atr_form(bytes.fromhex(atr)).wrong
