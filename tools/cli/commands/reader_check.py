"""`kazashi reader check` and `compare`: what a reader and the card in it do, and where two of them differ."""

from __future__ import annotations

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
    """Where a report is written, in which forms."""

    out: Path | None
    html: Path | None
    junit: Path | None

    def write(self, report: CheckReport) -> None:
        from kazashi.reader_bridge.check.junit import junit
        from kazashi.reader_bridge.check.page import report_page

        for path, form in ((self.out, type(report).to_json), (self.html, report_page), (self.junit, junit)):
            if path is not None:
                path.write_text(form(report), encoding="utf-8")


def _secrets(pin: str | None, password: str | None, risk: str) -> CardPins:
    """What may be sent to the card. Raises UsageError."""
    from kazashi.assembly.errors import UsageError
    from kazashi.card.pin import FOUR_DIGITS, SIGNATURE_PASSWORD
    from kazashi.reader_bridge.check.probe import ACCEPTED_RISK, CardPins

    if risk and risk != ACCEPTED_RISK:
        raise UsageError(f"to send PINs to a card that is not ours, write exactly: --risk {ACCEPTED_RISK!r}")
    if pin is not None and not FOUR_DIGITS.accepts(pin.encode()):
        raise UsageError(f"--pin takes {FOUR_DIGITS.words}; nothing was sent")
    if password is not None:
        password = password.upper()
        if not SIGNATURE_PASSWORD.accepts(password.encode()):
            raise UsageError("--password takes 6 to 16 letters and digits; nothing was sent")
    return CardPins(pin, password, risk_accepted=bool(risk))


@click.command("check")
@click.option("--reader", "name", metavar="NAME", help="A reader's name or its beginning (default: the only one).")
@click.option("--emulated", is_flag=True, help="An emulated card in a reader of its own, instead of --reader.")
@click.option("--contactless", is_flag=True, help="With --emulated: hold the card to a contactless reader.")
@click.option("--group", "groups", multiple=True, metavar="GROUP", help="Only these groups of checks.")
@gathered(
    "secrets", _secrets,
    click.option("--pin", metavar="DIGITS", help="The authentication PIN; without it none is ever sent."),
    click.option("--password", metavar="WORD", help="The signature password; without it none is ever sent."),
    click.option("--risk", metavar="WORDS", default="",
                 help="What you must write to send PINs to a card that is not ours."),
)  # fmt: skip
@gathered(
    "files", _ReportFiles,
    click.option("--out", type=_FILE, metavar="FILE", help="Keep the report, for `kazashi reader compare`."),
    click.option("--html", type=_FILE, metavar="FILE", help="The report as a page."),
    click.option("--junit", type=_FILE, metavar="FILE", help="The report as JUnit XML."),
)  # fmt: skip
@json_option
@click.pass_context
def reader_check(
    context: click.Context, name: str | None, emulated: bool, contactless: bool, groups: tuple[str, ...],
    secrets: CardPins, files: _ReportFiles, as_json: bool,
) -> int:  # fmt: skip
    """Check a reader and the card in it, real or emulated.

    Nothing is written to the card. No PIN is sent unless you give one, and to a card that is not ours only if you also
    say in words that you accept the risk. Exit 1 where something is otherwise than an individual number card has it.
    """
    from contextlib import nullcontext

    from kazashi.assembly.errors import Exit, UsageError
    from kazashi.assembly.readers import emulated_reader, reader_named
    from kazashi.reader_bridge.check.run import GROUPS, run_checks

    if unknown := set(groups) - set(GROUPS):
        raise UsageError(f"no group is called {', '.join(sorted(unknown))}; the groups are {', '.join(GROUPS)}")
    if emulated and name:
        raise UsageError("--emulated and --reader contradict each other")
    if contactless and not emulated:
        raise UsageError("--contactless is for --emulated; a real card is held as it is held")
    where = (
        emulated_reader(contactless=contactless) if emulated else nullcontext(reader_named(world_if_any(context), name))
    )
    with where as reader:
        report = run_checks(reader, secrets, groups or GROUPS, lambda *told: None if as_json else _tell(*told))
    files.write(report)
    click.echo(report.to_json() if as_json else _sum(report))
    if not report.complete:
        click.echo("kazashi: the run was cut off: the reader or its card went away or fell silent", err=True)
        return Exit.ENVIRONMENT
    return Exit.OK if report.good else Exit.NEGATIVE


@click.command("compare")
@click.argument("a", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("b", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--html", type=_FILE, metavar="FILE", help="The comparison as a page.")
@replies
def reader_compare(a: Path, b: Path, html: Path | None) -> Reply:
    """Show where two reports differ.

    Exit 1 if they do in more than time.
    """
    from kazashi.assembly.errors import Exit
    from kazashi.reader_bridge.check.compare import compare
    from kazashi.reader_bridge.check.page import comparison_page
    from kazashi.reader_bridge.check.result import CheckReport

    first, second = (
        CheckReport.from_json(path.read_text(encoding="utf-8", errors="replace"), str(path)) for path in (a, b)
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


def _tell(result: CheckResult, number: int, count: int) -> None:
    """A result as it comes; while somebody watches, how far the run is."""
    mark = click.style(f"{result.outcome.value:14}", fg=_COLOURS[result.outcome.value])
    seen = "; ".join([*result.observed, *(f"{name} {value:.2f}" for name, value in result.measured.items())])
    detail = result.detail or (seen if result.outcome.value == "observed" else "")
    click.echo(f"{mark} {result.check:34} {result.title}" + (f": {detail}" if detail else ""))
    if sys.stderr.isatty() and number < count:
        click.echo(f"{number} of {count}\r", nl=False, err=True)


def _sum(report: CheckReport) -> str:
    from kazashi.reader_bridge.check.result import CheckOutcome

    counts = ", ".join(f"{report.count(found)} {found.value}" for found in CheckOutcome if report.count(found))
    return f"{report.reader}: {report.card}, ATR {report.atr}\n{counts}, in {report.seconds:.1f} s"


def _differences(comparison: Comparison) -> str:
    lines = [f"A  {comparison.a.reader}: {comparison.a.card}", f"B  {comparison.b.reader}: {comparison.b.card}"]
    for pair in comparison.differing:
        lines.append(f"{pair.check}: {pair.title}")
        for name, found, only in (("A", pair.a, pair.only_a), ("B", pair.b, pair.only_b)):
            outcome = found.outcome.value if found else "not in this report"
            lines.append(f"   {name}  {outcome}" + (f" ({found.detail})" if found and found.detail else ""))
            lines += [f"        {line}" for line in only]
    for pair in comparison.pairs:
        if pair.times:
            lines.append(f"{pair.title}: A {pair.times[0]:.2f} ms, B {pair.times[1]:.2f} ms")
    lines.append(f"{len(comparison.differing)} of {len(comparison.pairs)} checks differ")
    return "\n".join(lines)
