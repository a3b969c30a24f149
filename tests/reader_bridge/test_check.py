"""The checks of a reader and its card: emulated cards, other cards, and recorded ones."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from smartcard.scard import SCARD_SHARE_EXCLUSIVE, SCARD_STATE_EMPTY

from kazashi.applets import jpki
from kazashi.applets.install import structure
from kazashi.assembly.errors import Exit
from kazashi.card.image import read_image
from kazashi.reader_bridge.check.compare import compare
from kazashi.reader_bridge.check.probe import SELECT_JPKI, CardPins, CardType
from kazashi.reader_bridge.check.result import CheckOutcome, CheckReport, CheckResult
from kazashi.reader_bridge.check.run import CASES, GROUPS, CheckImpossible, run_checks
from kazashi.reader_bridge.decoder import Decoder
from kazashi.reader_bridge.fault_script import ATRS
from kazashi.reader_bridge.host import Presentation, ReaderHost
from kazashi.reader_bridge.pcsc import connected
from kazashi.reader_bridge.replay import ReplayedCard
from kazashi.reader_bridge.trace import TraceWriter, read_trace
from tests.polling import LIMIT
from tests.reader_bridge.checking import (
    AT_RISK,
    PINS,
    AcceptsEverySelect,
    NotEmulated,
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
from tests.vicc import ITS_OWN, inserted, open_vpcd


@needs_reader
@pytest.mark.parametrize("contactless", [False, True])
def test_emulated_card_passes_and_is_not_changed(host: ReaderHost, image: Path, contactless: bool) -> None:
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
    assert all(reads(command, empty_verify=True) for command in commands)
    assert read_image(image) == before


@needs_reader
@pytest.mark.parametrize("contactless", [False, True])
def test_emulated_card_passes_with_pins_and_keeps_its_counters(
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
def test_report_contains_no_secret(host: ReaderHost, image: Path) -> None:
    text = check(put(host, image), CardPins("9876", "ABC123"), groups=["pins", "credentials"]).to_json()
    for secret in ("9876", "ABC123"):
        assert secret not in text
        assert secret.encode().hex().upper() not in text


@needs_reader
def test_mistyped_pin_does_not_block_an_emulated_card(host: ReaderHost, image: Path) -> None:
    report = check(put(host, image), CardPins("4321"), groups=["credentials"])
    assert outcomes(report)["credentials.authentication"] is CheckOutcome.FAILED
    host.close()
    assert tries_left(image) >= 1


@needs_reader
def test_selected_groups_run_and_report_progress(host: ReaderHost, image: Path) -> None:
    calls: list[tuple[CheckResult, int, int]] = []
    report = check(put(host, image), groups=["pins", "atr"], progress=lambda *arguments: calls.append(arguments))
    assert report.complete
    assert {result.group for result in report.results} == {"atr", "pins"}
    assert [result for result, _, _ in calls] == list(report.results)
    assert [(number, count) for _, number, count in calls] == [(n, len(calls)) for n in range(1, len(calls) + 1)]


@needs_reader
def test_check_without_a_card_is_impossible(host: ReaderHost, image: Path) -> None:
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
def test_card_that_is_not_emulated_gets_no_pin(host: ReaderHost, image: Path) -> None:
    spend_a_try_of_each_pin(image)
    before = read_image(image)
    begun = host.journal.last
    slot = hold(host, NotEmulated(of_image(image)))
    report = check(slot, PINS)
    assert report.good
    assert report.card == CardType.NUMBER_CARD.value
    assert {why.partition(":")[0] for why in not_good(report).values()} == {CheckOutcome.NOT_APPLICABLE.value}
    assert not_good(report).keys() == {case.name for case in CASES if case.group == "credentials"}
    commands = sent(host, slot, begun)
    assert SELECT_JPKI in commands
    assert len(commands) > len(CASES)
    assert [command.hex() for command in commands if not reads(command, empty_verify=True)] == []
    assert read_image(image) == before


@needs_reader
def test_with_accepted_risk_only_the_given_pins_are_sent(host: ReaderHost, image: Path) -> None:
    begun = host.journal.last
    slot = hold(host, NotEmulated(of_image(image)))
    report = check(slot, AT_RISK, groups=["credentials"])
    assert report.good, not_good(report)
    assert outcomes(report)["credentials.authentication"] is CheckOutcome.PASSED
    assert outcomes(report)["credentials.signature"] is CheckOutcome.PASSED
    assert not_good(report) == {"credentials.wrong-pin": "not applicable: a wrong PIN is sent to an emulated card only"}
    pins = [command[5:] for command in sent(host, slot, begun) if command[1] == 0x20 and len(command) > 4]
    assert pins == [b"1234", b"ABC123"]


@needs_reader
def test_mistyped_pin_costs_a_card_that_is_not_emulated_one_retry(host: ReaderHost, image: Path) -> None:
    slot = hold(host, NotEmulated(of_image(image)))
    report = check(slot, CardPins("4321", risk_accepted=True), groups=["credentials"])
    assert outcomes(report)["credentials.authentication"] is CheckOutcome.FAILED
    host.close()
    assert tries_left(image) == jpki.AUTHENTICATION_PIN.tries - 1


@needs_reader
def test_card_exchanged_during_the_run_gets_no_pin(host: ReaderHost, image: Path) -> None:
    """The second card is identified again."""
    slot = put(host, image)
    begun = 0

    def swap(result: CheckResult, *_: int) -> None:
        nonlocal begun
        if result.check == "atr.protocol":
            host.remove(slot)
            begun = host.journal.last
            hold(host, NotEmulated(of_image(image)), slot)

    check(slot, PINS, groups=["atr", "credentials"], progress=swap)
    assert begun
    commands = sent(host, slot, begun)
    assert [command.hex() for command in commands if not reads(command, empty_verify=True)] == []


@needs_reader
def test_card_that_accepts_every_select_is_another_card(host: ReaderHost, image: Path) -> None:
    """It might count the empty VERIFY as a wrong PIN, so that it must not receive one."""
    begun = host.journal.last
    slot = hold(host, AcceptsEverySelect(of_image(image)))
    report = check(slot, AT_RISK, groups=["pins", "credentials"])
    assert report.card == CardType.OTHER.value
    assert b"\x00\x20" not in {command[:2] for command in sent(host, slot, begun)}


@contextmanager
def stock_vicc(directory: Path) -> Iterator[Callable[..., CheckReport]]:
    """Yield the check, by command, of a reader with vicc's own card."""
    with open_vpcd(directory) as pcscd, inserted(pcscd, directory, *ITS_OWN) as reader:
        pins = {"KAZASHI_PIN": "1234", "KAZASHI_PASSWORD": "ABC123"}
        environment = {**os.environ, **pcscd.client_environment(), **pins}

        def checked(*groups: str, expect: int) -> CheckReport:
            options = [option for group in groups for option in ("--group", group)]
            done = subprocess.run(
                [sys.executable, "-m", "kazashi", "--world", str(directory / "w"), "reader", "check", "--json",
                 "--reader", reader, "--pin", "--password", *options],
                env=environment, capture_output=True, text=True, check=False, timeout=LIMIT,
            )  # fmt: skip
            assert done.returncode == expect, done.stderr
            return CheckReport.from_json(done.stdout)

        yield checked


@needs_reader
def test_card_of_vicc_is_another_card(tmp_path: Path) -> None:
    """This leaves out the groups whose commands make vicc crash."""
    with stock_vicc(tmp_path) as checked:
        report = checked(*(group for group in GROUPS if group not in VICC_CRASHES_ON), expect=Exit.OK)
    assert report.complete, not_good(report)
    assert report.card == CardType.OTHER.value
    assert not crashes(report)
    assert outcomes(report)["atr.form"] is CheckOutcome.PASSED
    for case in CASES:
        if case.group in ("files", "credentials", "pins"):
            assert outcomes(report)[case.name] is CheckOutcome.NOT_APPLICABLE


VICC_CRASHES_ON = ("reader", "errors", "extended")


@needs_reader
def test_card_that_crashes_is_reported(tmp_path: Path) -> None:
    """vicc crashes during the full run."""
    with stock_vicc(tmp_path) as checked:
        report = checked(expect=Exit.ENVIRONMENT)
    assert not report.complete
    assert not report.good
    assert report.card == CardType.OTHER.value
    assert not crashes(report)
    assert outcomes(report)["atr.form"] is CheckOutcome.PASSED
    assert report.results[-1].outcome is CheckOutcome.BROKEN
    assert report.results[-1].detail


@needs_reader
def test_replayed_card_has_the_results_of_the_recorded_one(host: ReaderHost, image: Path, tmp_path: Path) -> None:
    """A strict replay fails from the first command that is not in the recorded order."""
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
    assert outcomes(replayed)["apdu.case-1"] is CheckOutcome.PASSED, "the commands are in the recorded order until here"
    assert outcomes(replayed)["files.availability"] is CheckOutcome.FAILED
    assert not crashes(replayed)
    assert strict.deviations
    replayed = check(slot, groups=["atr", "errors"])
    assert replayed.complete
    assert replayed.card == CardType.OTHER.value, "it returns 6F00 to every command"
    assert not crashes(replayed)
