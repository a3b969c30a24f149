"""Runs the checks on one reader. A check that fails, breaks or hangs is a finding; the run goes on if it can."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from reader_bridge.check import behaviour, commands, credentials
from reader_bridge.check.case import Case, Findings, Needs, NotApplicable
from reader_bridge.check.probe import Kind, Probe, Secrets
from reader_bridge.check.result import Outcome, Report, Result
from reader_bridge.pcsc import PcscError, connected

CASES: tuple[Case, ...] = tuple(
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

Progress = Callable[[Result, int, int], None]


class CheckImpossible(Exception):
    """There is no such reader, or no card in it."""


def run_checks(
    reader: str,
    secrets: Secrets = Secrets(),  # noqa: B008 (a frozen value)
    groups: Iterable[str] = GROUPS,
    progress: Progress = lambda *_: None,
    hangs_seconds: float = HANGS_SECONDS,
) -> Report:
    """Look at a reader and the card in it. `progress` is told each result, its number and how many there will be.

    Raises CheckImpossible where there is nothing to look at. A reader that disappears on the way ends the run; the
    report then holds what was found until then, and is not complete.
    """
    wanted = set(groups)
    cases = [case for case in CASES if case.group in wanted]
    begun, at = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds")
    try:
        with connected(reader) as card:
            atr = card.status.atr.hex().upper()
            probe = Probe(reader, card, secrets=secrets)
            probe.identify()
            kind = probe.kind
    except PcscError as error:
        raise CheckImpossible(f"no card can be reached in {reader!r}: {error}") from error
    results: list[Result] = []
    for case in cases:
        result, goes_on = _watched(case, reader, kind, secrets, hangs_seconds)
        results.append(result)
        progress(result, len(results), len(cases))
        if not goes_on:
            break
    seconds = round(time.monotonic() - begun, 3)
    return Report(reader, kind.value, atr, at, seconds, tuple(results), complete=len(results) == len(cases))


def _watched(case: Case, reader: str, kind: Kind, secrets: Secrets, seconds: float) -> tuple[Result, bool]:
    """One check's result, and whether the reader can be asked anything more."""
    findings = Findings()
    done: list[tuple[Result, bool]] = []
    thread = threading.Thread(
        target=lambda: done.append(_looked(case, reader, kind, secrets, findings)), name=case.name, daemon=True
    )
    thread.start()
    thread.join(seconds)
    if done:
        return done[0]
    detail = f"no answer within {seconds:g} s; the run ends here, because the reader is still busy with it"
    return case.result(findings, Outcome.BROKEN, detail), False


def _looked(case: Case, reader: str, kind: Kind, secrets: Secrets, findings: Findings) -> tuple[Result, bool]:
    if why := _not_applicable(case.needs, kind, secrets):
        return case.result(findings, Outcome.NOT_APPLICABLE, why), True
    try:
        with connected(reader) as card:
            probe = Probe(reader, card, kind, secrets)
            if case.cold:
                probe.cold_start()
            case.look(probe, findings)
    except NotApplicable as why:
        return case.result(findings, Outcome.NOT_APPLICABLE, str(why)), True
    except PcscError as error:
        return case.result(findings, Outcome.BROKEN, str(error)), _still_there(reader)
    except Exception as error:  # a check's own defect must not take the others' findings with it
        return case.result(findings, Outcome.BROKEN, f"{type(error).__name__}: {error}"), True
    if findings.wrong:
        return case.result(findings, Outcome.FAILED, "; ".join(findings.wrong)), True
    return case.result(findings, Outcome.OBSERVED if findings.only_observes else Outcome.PASSED, ""), True


def _not_applicable(needs: Needs, kind: Kind, secrets: Secrets) -> str:
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
    """Whether the reader still has a card that can be connected to."""
    try:
        with connected(reader):
            return True
    except PcscError:
        return False
