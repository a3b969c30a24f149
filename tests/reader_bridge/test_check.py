"""The checks of a reader and its card: what they find on ours, on others, on recorded ones."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from smartcard.scard import SCARD_SHARE_EXCLUSIVE, SCARD_STATE_EMPTY, SCARD_STATE_PRESENT

from kazashi.applets import jpki
from kazashi.applets.install import structure
from kazashi.card.image import read_image
from kazashi.reader_bridge.check.compare import compare
from kazashi.reader_bridge.check.probe import SELECT_JPKI, CardPins, CardType
from kazashi.reader_bridge.check.result import CheckOutcome, CheckResult
from kazashi.reader_bridge.check.run import CASES, GROUPS, CheckImpossible, run_checks
from kazashi.reader_bridge.decoder import Decoder
from kazashi.reader_bridge.fault_script import ATRS
from kazashi.reader_bridge.host import Presentation, ReaderHost
from kazashi.reader_bridge.pcsc import connected
from kazashi.reader_bridge.pcscd import RunningPcscd
from kazashi.reader_bridge.replay import ReplayedCard
from kazashi.reader_bridge.trace import TraceWriter, read_trace
from kazashi.reader_bridge.vicc import modules_directory, program
from tests.polling import LIMIT
from tests.reader_bridge.checking import (
    AT_RISK,
    NUMBERS,
    PINS,
    Agreeable,
    Stranger,
    check,
    crashes,
    hold,
    needs_reader,
    not_good,
    of_image,
    outcomes,
    put,
    reads,
    sent,
    spend_a_try_of_each_pin,
    tries_left,
)
from tests.reader_bridge.test_slots import wait_for


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
    assert report.card == CardType.EMULATED.value
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
    text = check(put(host, image), CardPins("9876", "ABC123"), groups=["pins", "credentials"]).to_json()
    for secret in ("9876", "ABC123"):
        assert secret not in text
        assert secret.encode().hex().upper() not in text


@needs_reader
def test_a_mistyped_pin_does_not_block_an_emulated_card(host: ReaderHost, image: Path) -> None:
    report = check(put(host, image), CardPins("4321"), groups=["credentials"])
    assert outcomes(report)["credentials.authentication"] is CheckOutcome.FAILED
    host.close()
    assert tries_left(image) >= 1


@needs_reader
def test_only_the_groups_that_are_asked_for_run_and_each_is_told_as_it_ends(host: ReaderHost, image: Path) -> None:
    told: list[tuple[CheckResult, int, int]] = []
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


@needs_reader
def test_a_number_card_that_is_not_ours_gets_no_pin(host: ReaderHost, image: Path) -> None:
    spend_a_try_of_each_pin(image)
    before = read_image(image)
    begun = host.journal.last
    slot = hold(host, Stranger(of_image(image)))
    report = check(slot, PINS)
    assert report.good
    assert report.card == CardType.NUMBER_CARD.value
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
    assert outcomes(report)["credentials.authentication"] is CheckOutcome.PASSED
    assert outcomes(report)["credentials.signature"] is CheckOutcome.PASSED
    assert not_good(report) == {"credentials.wrong-pin": "not applicable: a wrong PIN is sent to an emulated card only"}
    pins = [command[5:] for command in sent(host, slot, begun) if command[1] == 0x20 and len(command) > 4]
    assert pins == [b"1234", b"ABC123"]


@needs_reader
def test_a_mistyped_pin_costs_a_number_card_that_is_not_ours_one_try(host: ReaderHost, image: Path) -> None:
    slot = hold(host, Stranger(of_image(image)))
    report = check(slot, CardPins("4321", risk_accepted=True), groups=["credentials"])
    assert outcomes(report)["credentials.authentication"] is CheckOutcome.FAILED
    host.close()
    assert tries_left(image) == jpki.AUTHENTICATION_PIN.tries - 1


@needs_reader
def test_a_card_that_takes_the_place_of_ours_during_the_run_gets_no_pin(host: ReaderHost, image: Path) -> None:
    """What the first card was taken for says nothing about the second."""
    slot = put(host, image)
    begun = 0

    def swap(result: CheckResult, *_: int) -> None:
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
    assert report.card == CardType.OTHER.value
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
            vicc.wait(LIMIT)
            wait_for(endpoint.reader, SCARD_STATE_EMPTY)


@needs_reader
def test_stock_vicc_s_card_is_another_card(pcscd: RunningPcscd, tmp_path: Path) -> None:
    """Of the checks that it survives: some commands make it crash."""
    with stock_vicc(pcscd, tmp_path) as reader:
        report = run_checks(reader, PINS, [group for group in GROUPS if group not in VICC_DIES_OF])
    assert report.complete, not_good(report)
    assert report.card == CardType.OTHER.value
    assert not crashes(report)
    assert outcomes(report)["atr.form"] is CheckOutcome.PASSED
    for case in CASES:
        if case.group in ("files", "credentials", "pins"):
            assert outcomes(report)[case.name] is CheckOutcome.NOT_APPLICABLE


VICC_DIES_OF = ("reader", "errors", "extended")


@needs_reader
def test_a_card_that_crashes_under_the_checks_is_reported(pcscd: RunningPcscd, tmp_path: Path) -> None:
    """The stock vicc does."""
    with stock_vicc(pcscd, tmp_path) as reader:
        report = run_checks(reader, PINS)
    assert not report.complete
    assert not report.good
    assert report.card == CardType.OTHER.value
    assert not crashes(report)
    assert outcomes(report)["atr.form"] is CheckOutcome.PASSED
    assert report.results[-1].outcome is CheckOutcome.BROKEN
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
    assert replayed.card == CardType.EMULATED.value
    assert outcomes(replayed) == outcomes(report)
    assert not compare(report, replayed).differing
    assert lenient.deviations == 0

    strict = ReplayedCard(trace, strict=True)
    slot = hold(host, strict)
    replayed = check(slot, PINS, groups=[group for group in GROUPS if group != "selection"])
    assert replayed.complete
    assert replayed.card == CardType.EMULATED.value
    assert outcomes(replayed)["apdu.case-1"] is CheckOutcome.PASSED, "up to here it is the recorded order"
    assert outcomes(replayed)["files.availability"] is CheckOutcome.FAILED
    assert not crashes(replayed)
    assert strict.deviations
    replayed = check(slot, groups=["atr", "errors"])
    assert replayed.complete
    assert replayed.card == CardType.OTHER.value, "it has lost its place, and answers nothing"
    assert not crashes(replayed)
