"""Runs the checks on one reader. A check that fails, breaks or hangs is reported, and the run goes on if possible."""

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
"""All checks in the order in which they run, the least intrusive first."""

GROUPS = tuple(dict.fromkeys(case.group for case in CASES))

HANGS_SECONDS = 20.0
"""The timeout of a check. It ends the run, because a reader that does not respond accepts no other command."""

_BACK_SECONDS, _LOOK_SECONDS = 1.5, 0.1

Progress = Callable[[CheckResult, int, int], None]


class CheckImpossible(Exception):
    """There is no such reader, or no card in it that responds."""


def run_checks(
    reader: str,
    secrets: CardPins = CardPins(),  # noqa: B008 (a frozen value)
    groups: Iterable[str] = GROUPS,
    progress: Progress = lambda *_: None,
    hangs_seconds: float = HANGS_SECONDS,
) -> CheckReport:
    """Check a reader and its card. `progress` is called with each result, its number and the number of checks.

    Raises CheckImpossible if there is no card to check. If the reader disappears during the run, the run ends; the
    report then holds the results so far, and is not complete.
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
    """Return the ATR and the kind of the card. Raises CheckImpossible."""
    outcome: list[tuple[str, CardType] | Exception] = []

    def look() -> None:
        try:
            with connected(reader) as card:
                probe = Probe(reader, card)
                atr = card.status.atr.hex().upper()
                probe.identify()
                outcome.append((atr, probe.kind))
        except (PcscError, NoAnswer) as error:
            outcome.append(error)

    thread = threading.Thread(target=look, name="identification", daemon=True)
    thread.start()
    thread.join(seconds)
    if not outcome:
        raise CheckImpossible(f"the card in {reader!r} did not respond within {seconds:g} s")
    if isinstance(outcome[0], Exception):
        raise CheckImpossible(f"cannot connect to a card in {reader!r}: {outcome[0]}") from outcome[0]
    return outcome[0]


def _watched(
    case: CheckCase, reader: str, kind: CardType, secrets: CardPins, seconds: float
) -> tuple[CheckResult, bool]:
    """Run one check in a thread. Return its result, and whether the run can go on."""
    findings = Findings()
    done: list[tuple[CheckResult, bool]] = []
    thread = threading.Thread(
        target=lambda: done.append(_looked(case, reader, kind, secrets, findings)), name=case.name, daemon=True
    )
    thread.start()
    thread.join(seconds)
    if done:
        return done[0]
    detail = f"no response within {seconds:g} s; the run ends because the reader is still busy"
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
                        findings, CheckOutcome.NOT_APPLICABLE, f"another card is in the reader now: {why}"
                    ), True
            if case.cold:
                probe.cold_start()
            case.look(probe, findings)
    except NotApplicable as why:
        return case.result(findings, CheckOutcome.NOT_APPLICABLE, str(why)), True
    except (PcscError, NoAnswer) as error:
        present = _still_there(reader)
        detail = str(error) if present else f"{error} The card or the reader was removed."
        return case.result(findings, CheckOutcome.BROKEN, detail), present
    except Exception as error:  # a bug in one check must not lose the results of the others
        return case.result(findings, CheckOutcome.BROKEN, repr(error)), True
    if findings.wrong:
        return case.result(findings, CheckOutcome.FAILED, "; ".join(findings.wrong)), True
    return case.result(findings, CheckOutcome.OBSERVED if findings.only_observes else CheckOutcome.PASSED, ""), True


def _not_applicable(needs: Needs, kind: CardType, secrets: CardPins) -> str:
    """Return why a check does not apply, or an empty string if it does."""
    if needs is not Needs.ANY_CARD and not kind.is_number_card:
        return "the card is not an individual number card"
    if needs is Needs.AUTHENTICATION_PIN and secrets.authentication is None:
        return "no authentication PIN was given"
    if needs is Needs.SIGNATURE_PASSWORD and secrets.signature is None:
        return "no signature password was given"
    if needs in (Needs.AUTHENTICATION_PIN, Needs.SIGNATURE_PASSWORD) and not secrets.may_go_to(kind):
        return "no PIN is sent to a card that is not emulated unless its owner accepts the risk"
    return ""


def _still_there(reader: str) -> bool:
    """Return whether the reader has a card that responds, now or within 1.5 s."""
    deadline = time.monotonic() + _BACK_SECONDS
    while True:
        with suppress(PcscError), connected(reader) as card:
            if len(card.transmit(SELECT_CARD_MANAGER)) >= 2:
                return True
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK_SECONDS)
