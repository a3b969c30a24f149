"""Checks of a card that fails, is removed or hangs during the run."""

from __future__ import annotations

import re
import shutil
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from kazashi.reader_bridge.check.probe import SELECT_CARD_MANAGER
from kazashi.reader_bridge.check.result import CheckOutcome, CheckResult
from kazashi.reader_bridge.check.run import CASES, GROUPS, CheckImpossible
from kazashi.reader_bridge.fault_script import parse_fault_script
from kazashi.reader_bridge.host import Presentation, ReaderHost
from tests.polling import LIMIT
from tests.reader_bridge.checking import (
    PINS,
    SECONDS,
    HangingCard,
    LeavingCard,
    check,
    crashes,
    hold,
    in_a_row,
    needs_reader,
    not_good,
    of_image,
    outcomes,
    put,
)


def wait_for_threads(name: str) -> None:
    """Wait for the thread of a check that timed out, or for a thread that a check started."""
    for thread in threading.enumerate():
        if name in thread.name:
            thread.join(LIMIT)
            assert not thread.is_alive()


FAULTS = {
    "responses without the last byte": "faults: [{truncate: 1, when: {chance: 0.2}}]",
    "PIN queries with half a status word": "faults: [{truncate: 1, when: {matching: 0020}}]",
    "empty responses": "faults: [{truncate: 300, when: {chance: 0.03}}]",
    "responses that are too long": "faults: [{overlong: 3, when: {chance: 0.3}}]",
    "wrong status words": "faults: [{status: 6F00, when: {every: 20}}]",
    "T=0": "{protocol: T=0}",
    "a reader for short commands only": "{limit: 261}",
    "no retries left": "tries: {JPKI authentication PIN: 0, JPKI signature password: 1}",
}


@needs_reader
@pytest.mark.parametrize("names", [list(FAULTS)[:4], list(FAULTS)[4:]], ids=["responses", "readers"])
def test_faults_are_reported_and_no_check_crashes(host: ReaderHost, image: Path, names: list[str]) -> None:
    for slot, name in zip(host.slots, names, strict=False):
        copy = Path(shutil.copy(image, image.with_name(f"{name}.card")))
        host.insert(slot, name, copy, Presentation(faults=parse_fault_script(FAULTS[name])))
    for slot, name in zip(host.slots, names, strict=False):
        assert slot.wait_until_powered(LIMIT)
        groups = [group for group in GROUPS if group != "concurrency"]
        report = check(slot, PINS, groups=groups, hangs_seconds=0.5)
        assert not_good(report), name
        assert not report.good, name
        assert crashes(report) == {}, name
        host.remove(slot)
        wait_for_threads(report.results[-1].check)


@needs_reader
def test_card_removed_between_two_checks_ends_the_run(host: ReaderHost, image: Path) -> None:
    progress: list[CheckResult] = []

    def remove(result: CheckResult, number: int, _: int) -> None:
        progress.append(result)
        if number == 10:
            host.remove(slot)

    slot = put(host, image)
    begun = time.monotonic()
    report = check(slot, progress=remove)
    assert time.monotonic() - begun < SECONDS
    assert not report.complete
    assert not report.good
    assert list(report.results) == progress
    assert 10 < len(progress) < len(CASES)
    assert not not_good(replace(report, results=report.results[:10]))
    assert report.results[-1].outcome is CheckOutcome.BROKEN
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
def test_card_removed_during_a_check_ends_the_run(
    host: ReaderHost, image: Path, command: bytes, count: int, name: str
) -> None:
    slot = hold(host, LeavingCard(of_image(image), in_a_row(command, count)))
    begun = time.monotonic()
    report = check(slot)
    assert time.monotonic() - begun < SECONDS
    assert not report.complete
    assert not crashes(report)
    by_check = outcomes(report)
    names = list(by_check)
    assert by_check[name] in (CheckOutcome.FAILED, CheckOutcome.BROKEN), "vpcd reports a lost card as an empty response"
    assert not not_good(replace(report, results=report.results[: names.index(name)]))
    assert report.results[-1].outcome is CheckOutcome.BROKEN
    assert len(names) - names.index(name) <= 2, "at most one more check is tried before the run ends"


@needs_reader
def test_card_removed_during_a_transaction_is_reported_without_tracebacks(
    host: ReaderHost, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exceptions: list[str] = []
    monkeypatch.setattr(threading, "excepthook", lambda arguments: exceptions.append(repr(arguments.exc_value)))
    slot = hold(host, LeavingCard(of_image(image), in_a_row(SELECT_CARD_MANAGER, 50)))
    report = check(slot, groups=["concurrency"])
    host.remove(slot)
    wait_for_threads("(second client)")
    assert not exceptions
    assert not report.complete
    assert not crashes(report)
    assert outcomes(report)["concurrency.transaction"] in (CheckOutcome.FAILED, CheckOutcome.BROKEN)


@needs_reader
def test_check_of_a_hanging_card_times_out(host: ReaderHost, image: Path) -> None:
    card = HangingCard(of_image(image), in_a_row(bytes.fromhex("0084000008"), 3))
    slot = hold(host, card)
    begun = time.monotonic()
    report = check(slot, groups=["atr", "selection", "timing"], hangs_seconds=0.5)
    seconds = time.monotonic() - begun
    card.released.set()
    assert seconds < SECONDS / 2
    assert not report.complete
    last = report.results[-1]
    assert (last.check, last.outcome) == ("timing.challenge", CheckOutcome.BROKEN)
    assert "0.5 s" in last.detail
    assert len(report.results) > 10
    assert not not_good(replace(report, results=report.results[:-1]))
    wait_for_threads(last.check)


@needs_reader
def test_run_on_a_card_that_hangs_at_once_times_out(host: ReaderHost, image: Path) -> None:
    card = HangingCard(of_image(image), lambda _: True)
    slot = hold(host, card)
    timer = threading.Timer(4, card.released.set)
    timer.start()
    begun = time.monotonic()
    try:
        with suppress(CheckImpossible):
            assert not check(slot, hangs_seconds=0.5).complete
        assert time.monotonic() - begun < 3
    finally:
        card.released.set()
        timer.cancel()
        timer.join()
        wait_for_threads("(second client)")
