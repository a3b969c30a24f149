"""`kazashi reader check` and `compare`: check a reader and its card, and compare two reports."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kazashi.tools.cli.commands.shared import Reply, gathered, json_option, replies, world_if_any

if TYPE_CHECKING:
    from kazashi.reader_bridge.check.compare import Comparison
    from kazashi.reader_bridge.check.probe import CardPins
    from kazashi.reader_bridge.check.result import CheckReport, CheckResult

_FILE = click.Path(dir_okay=False, path_type=Path)


@dataclass(frozen=True, slots=True)
class _ReportFiles:
    """The files that a report is written to, in three formats."""

    out: Path | None
    html: Path | None
    junit: Path | None

    def write(self, report: CheckReport) -> None:
        from kazashi.reader_bridge.check.junit import junit
        from kazashi.reader_bridge.check.page import report_page

        for path, rendered in ((self.out, type(report).to_json), (self.html, report_page), (self.junit, junit)):
            if path is not None:
                path.write_text(rendered(report), encoding="utf-8")


_ASKED = "ask"
"""The value of an option for a PIN that stands alone: the PIN is asked for."""


@dataclass(frozen=True, slots=True)
class _Secrets:
    """The options for PINs, as given."""

    pin: str | None
    password: str | None
    risk: str

    def card_pins(self, *, emulated: bool) -> CardPins:
        """Return the PINs that may be sent to the card. Raises UsageError."""
        return _card_pins(
            _secret("--pin", "KAZASHI_PIN", self.pin, emulated),
            _secret("--password", "KAZASHI_PASSWORD", self.password, emulated),
            self.risk,
        )


def _secret(option: str, variable: str, given: str | None, emulated: bool) -> str | None:
    """Return the PIN of an option: from the environment, or from the person at the terminal. The PIN of a card that may
    be real must not stand on the command line. Raises UsageError."""
    from kazashi.assembly.errors import UsageError

    if given is None:
        return None
    if given != _ASKED:
        if not emulated:
            raise UsageError(
                f"everybody on this machine can see the command line, and the shell keeps it; write {option} alone to"
                f" be asked, or set {variable}; nothing was sent"
            )
        return given
    if (value := os.environ.get(variable)) is not None:
        return value
    if not sys.stdin.isatty():
        raise UsageError(f"{option} cannot be asked for without a terminal; set {variable}; nothing was sent")
    return str(click.prompt(option.removeprefix("--"), hide_input=True, err=True))


def _card_pins(pin: str | None, password: str | None, risk: str) -> CardPins:
    from kazashi.assembly.errors import UsageError
    from kazashi.card.pin import FOUR_DIGITS, SIGNATURE_PASSWORD
    from kazashi.reader_bridge.check.probe import ACCEPTED_RISK, CardPins

    if risk and risk != ACCEPTED_RISK:
        raise UsageError(f"to send PINs to a card that is not emulated, write exactly: --risk {ACCEPTED_RISK!r}")
    if pin is not None and not FOUR_DIGITS.accepts(pin.encode()):
        raise UsageError(f"--pin takes {FOUR_DIGITS.words}; nothing was sent")
    if password is not None:
        password = password.upper()
        if not SIGNATURE_PASSWORD.accepts(password.encode()):
            raise UsageError("--password takes 6 to 16 letters and digits; nothing was sent")
    return CardPins(pin, password, risk_accepted=bool(risk))


@click.command("check")
@click.option("--reader", "name", metavar="NAME", help="A reader's name or its beginning (default: the only one).")
@click.option("--emulated", is_flag=True, help="Check an emulated card in its own reader, instead of --reader.")
@click.option("--contactless", is_flag=True, help="With --emulated: use a contactless reader.")
@click.option("--group", "groups", multiple=True, metavar="GROUP", help="Run only this group of checks.")
@gathered(
    "secrets", _Secrets,
    click.option("--pin", is_flag=False, flag_value=_ASKED, metavar="[DIGITS]",
                 help="Send the authentication PIN. It is asked for, or taken from KAZASHI_PIN; with --emulated it may"
                 " be given here."),
    click.option("--password", is_flag=False, flag_value=_ASKED, metavar="[WORD]",
                 help="Send the signature password. It is asked for, or taken from KAZASHI_PASSWORD; with --emulated it"
                 " may be given here."),
    click.option("--risk", metavar="WORDS", default="",
                 help="The sentence that you must write to send PINs to a card that is not emulated."),
)  # fmt: skip
@gathered(
    "files", _ReportFiles,
    click.option("--out", type=_FILE, metavar="FILE", help="Write the report, for `kazashi reader compare`."),
    click.option("--html", type=_FILE, metavar="FILE", help="Write the report as an HTML page."),
    click.option("--junit", type=_FILE, metavar="FILE", help="Write the report as JUnit XML."),
)  # fmt: skip
@json_option
@click.pass_context
def reader_check(
    context: click.Context, name: str | None, emulated: bool, contactless: bool, groups: tuple[str, ...],
    secrets: _Secrets, files: _ReportFiles, as_json: bool,
) -> int:  # fmt: skip
    """Check a reader and the card in it.

    The card may be real or emulated. Nothing is written to it. No PIN is sent unless you give one, and to a card that
    is not emulated only if you also accept the risk in words (--risk). The exit status is 1 if the card differs from an
    individual number card.
    """
    from contextlib import nullcontext

    from kazashi.assembly.errors import Exit, UsageError
    from kazashi.assembly.readers import emulated_reader, reader_named
    from kazashi.reader_bridge.check.run import GROUPS, run_checks

    if unknown := set(groups) - set(GROUPS):
        raise UsageError(f"there is no group {', '.join(sorted(unknown))}; the groups are {', '.join(GROUPS)}")
    if emulated and name:
        raise UsageError("--emulated and --reader contradict each other")
    if contactless and not emulated:
        raise UsageError("--contactless needs --emulated; a real card is checked in the reader that it is in")
    pins = secrets.card_pins(emulated=emulated)
    source = (
        emulated_reader(contactless=contactless) if emulated else nullcontext(reader_named(world_if_any(context), name))
    )
    with source as reader:
        report = run_checks(reader, pins, groups or GROUPS, lambda *result: None if as_json else _show(*result))
    files.write(report)
    click.echo(report.to_json() if as_json else _summary(report))
    if not report.complete:
        click.echo("kazashi: the checks are incomplete: the reader or its card was removed or stopped responding",
                   err=True)  # fmt: skip
        return Exit.ENVIRONMENT
    return Exit.OK if report.good else Exit.NEGATIVE


@click.command("compare")
@click.argument("a", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("b", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--html", type=_FILE, metavar="FILE", help="Write the comparison as an HTML page.")
@replies
def reader_compare(a: Path, b: Path, html: Path | None) -> Reply:
    """Show how two reports differ.

    The exit status is 1 if they differ in more than times.
    """
    from kazashi.assembly.errors import Exit
    from kazashi.reader_bridge.check.compare import compare
    from kazashi.reader_bridge.check.page import comparison_page
    from kazashi.reader_bridge.check.result import CheckReport
    from kazashi.world.input_file import LARGE, read_text_input

    first, second = (
        CheckReport.from_json(read_text_input(path, LARGE, errors="replace"), str(path)) for path in (a, b)
    )
    comparison = compare(first, second)
    if html is not None:
        html.write_text(comparison_page(comparison), encoding="utf-8")
    rows = [
        {"check": pair.check, "a": pair.a and pair.a.outcome.value, "b": pair.b and pair.b.outcome.value,
         "only_a": pair.only_a, "only_b": pair.only_b}
        for pair in comparison.differing
    ]  # fmt: skip
    return Reply(rows, _differences(comparison), Exit.NEGATIVE if comparison.differing else Exit.OK)


_COLOURS = {"passed": "green", "failed": "red", "broken": "red", "observed": "yellow", "not applicable": None}


def _show(result: CheckResult, number: int, count: int) -> None:
    """Print a result and, on a terminal, how many of the checks are done."""
    outcome = click.style(f"{result.outcome.value:14}", fg=_COLOURS[result.outcome.value])
    values = "; ".join([*result.observed, *(f"{name} {value:.2f}" for name, value in result.measured.items())])
    detail = result.detail or (values if result.outcome.value == "observed" else "")
    click.echo(f"{outcome} {result.check:34} {result.title}" + (f": {detail}" if detail else ""))
    if sys.stderr.isatty() and number < count:
        click.echo(f"{number} of {count}\r", nl=False, err=True)


def _summary(report: CheckReport) -> str:
    from kazashi.reader_bridge.check.result import CheckOutcome

    counts = ", ".join(f"{report.count(outcome)} {outcome.value}" for outcome in CheckOutcome if report.count(outcome))
    return f"{report.reader}: {report.card}, ATR {report.atr}\n{counts}, in {report.seconds:.1f} s"


def _differences(comparison: Comparison) -> str:
    lines = [f"A  {comparison.a.reader}: {comparison.a.card}", f"B  {comparison.b.reader}: {comparison.b.card}"]
    for pair in comparison.differing:
        lines.append(f"{pair.check}: {pair.title}")
        for name, result, only in (("A", pair.a, pair.only_a), ("B", pair.b, pair.only_b)):
            outcome = result.outcome.value if result else "not in this report"
            lines.append(f"   {name}  {outcome}" + (f" ({result.detail})" if result and result.detail else ""))
            lines += [f"        {line}" for line in only]
    for pair in comparison.pairs:
        if pair.times:
            lines.append(f"{pair.title}: A {pair.times[0]:.2f} ms, B {pair.times[1]:.2f} ms")
    lines.append(f"{len(comparison.differing)} of {len(comparison.pairs)} checks differ")
    return "\n".join(lines)
