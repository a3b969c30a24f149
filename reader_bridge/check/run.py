"""Runs the checks on one reader. A check that fails, breaks or hangs is a finding; the run goes on if it can."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime

from kazashi.reader_bridge.check import behaviour, commands, credentials
from kazashi.reader_bridge.check.case import CheckCase, Findings, Needs, NotApplicable
from kazashi.reader_bridge.check.probe import SELECT_CARD_MANAGER, CardPins, CardType, NoAnswer, Probe
from kazashi.reader_bridge.check.result import CheckOutcome, CheckReport, CheckResult
from kazashi.reader_bridge.pcsc import PcscError, connected

CASES: tuple[CheckCase, ...] = tuple(
    sorted(
        (*behaviour.CASES, *commands.CASES, *credentials.CASES),
        key=lambda case: (
            "atr", "reader", "apdu", "selection", "files", "errors", "pins", "extended", "timing", "reset",
            "concurrency", "credentials",
        ).index(case.group),
    )
)  # fmt: skip
"""Every check, in the order in which they run: the gentle ones first."""

GROUPS = tuple(dict.fromkeys(case.group for case in CASES))

HANGS_SECONDS = 20.0
"""A check that takes longer is given up, and the run with it: a reader that is silent cannot be asked anything else."""

_BACK_SECONDS, _LOOK_SECONDS = 1.5, 0.1

Progress = Callable[[CheckResult, int, int], None]


class CheckImpossible(Exception):
    """There is no such reader, or no card in it."""


def run_checks(
    reader: str,
    secrets: CardPins = CardPins(),  # noqa: B008 (a frozen value)
    groups: Iterable[str] = GROUPS,
    progress: Progress = lambda *_: None,
    hangs_seconds: float = HANGS_SECONDS,
) -> CheckReport:
    """Look at a reader and the card in it. `progress` is told each result, its number and how many there will be.

    Raises CheckImpossible where there is nothing to look at. A reader that disappears on the way ends the run; the
    report then holds what was found until then, and is not complete.
    """
    wanted = set(groups)
    cases = [case for case in CASES if case.group in wanted]
    begun, at = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds")
    atr, kind = _identified(reader, hangs_seconds)
    results: list[CheckResult] = []
    for case in cases:
        result, goes_on = _watched(case, reader, kind, secrets, hangs_seconds)
        results.append(result)
        progress(result, len(results), len(cases))
        if not goes_on:
            break
    seconds = round(time.monotonic() - begun, 3)
    return CheckReport(reader, kind.value, atr, at, seconds, tuple(results), complete=len(results) == len(cases))


def _identified(reader: str, seconds: float) -> tuple[str, CardType]:
    """The ATR of the card and what it is. Raises CheckImpossible."""
    found: list[tuple[str, CardType] | Exception] = []

    def look() -> None:
        try:
            with connected(reader) as card:
                probe = Probe(reader, card)
                atr = card.status.atr.hex().upper()
                probe.identify()
                found.append((atr, probe.kind))
        except (PcscError, NoAnswer) as error:
            found.append(error)

    thread = threading.Thread(target=look, name="identification", daemon=True)
    thread.start()
    thread.join(seconds)
    if not found:
        raise CheckImpossible(f"the card in {reader!r} has not answered within {seconds:g} s")
    if isinstance(found[0], Exception):
        raise CheckImpossible(f"no card can be reached in {reader!r}: {found[0]}") from found[0]
    return found[0]


def _watched(
    case: CheckCase, reader: str, kind: CardType, secrets: CardPins, seconds: float
) -> tuple[CheckResult, bool]:
    """One check's result, and whether the reader can be asked anything more."""
    findings = Findings()
    done: list[tuple[CheckResult, bool]] = []
    thread = threading.Thread(
        target=lambda: done.append(_looked(case, reader, kind, secrets, findings)), name=case.name, daemon=True
    )
    thread.start()
    thread.join(seconds)
    if done:
        return done[0]
    detail = f"no answer within {seconds:g} s; the run ends here, because the reader is still busy with it"
    return case.result(findings, CheckOutcome.BROKEN, detail), False


def _looked(
    case: CheckCase, reader: str, kind: CardType, secrets: CardPins, findings: Findings
) -> tuple[CheckResult, bool]:
    if why := _not_applicable(case.needs, kind, secrets):
        return case.result(findings, CheckOutcome.NOT_APPLICABLE, why), True
    try:
        with connected(reader) as card:
            probe = Probe(reader, card, kind, secrets)
            if case.verifies:
                probe.identify()
                if why := _not_applicable(case.needs, probe.kind, secrets):
                    return case.result(
                        findings, CheckOutcome.NOT_APPLICABLE, f"another card lies there by now: {why}"
                    ), True
            if case.cold:
                probe.cold_start()
            case.look(probe, findings)
    except NotApplicable as why:
        return case.result(findings, CheckOutcome.NOT_APPLICABLE, str(why)), True
    except (PcscError, NoAnswer) as error:
        there = _still_there(reader)
        detail = str(error) if there else f"{error} The card has left the reader, or the reader is away."
        return case.result(findings, CheckOutcome.BROKEN, detail), there
    except Exception as error:  # a check's own defect must not take the others' findings with it
        return case.result(findings, CheckOutcome.BROKEN, repr(error)), True
    if findings.wrong:
        return case.result(findings, CheckOutcome.FAILED, "; ".join(findings.wrong)), True
    return case.result(findings, CheckOutcome.OBSERVED if findings.only_observes else CheckOutcome.PASSED, ""), True


def _not_applicable(needs: Needs, kind: CardType, secrets: CardPins) -> str:
    """Why a check means nothing here; empty where it does."""
    if needs is not Needs.ANY_CARD and not kind.is_number_card:
        return "the card is no individual number card"
    if needs is Needs.AUTHENTICATION_PIN and secrets.authentication is None:
        return "no authentication PIN was given"
    if needs is Needs.SIGNATURE_PASSWORD and secrets.signature is None:
        return "no signature password was given"
    if needs in (Needs.AUTHENTICATION_PIN, Needs.SIGNATURE_PASSWORD) and not secrets.may_go_to(kind):
        return "no PIN is sent to a card that is not ours"
    return ""


def _still_there(reader: str) -> bool:
    """Whether the reader has a card that answers, or has one again within a moment."""
    deadline = time.monotonic() + _BACK_SECONDS
    while True:
        with suppress(PcscError), connected(reader) as card:
            if len(card.transmit(SELECT_CARD_MANAGER)) >= 2:
                return True
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK_SECONDS)
