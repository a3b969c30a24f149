"""Self-contained HTML pages of one report, or of the comparison of two."""

from __future__ import annotations

from itertools import groupby

from jinja2 import Environment, PackageLoader, StrictUndefined

from kazashi.reader_bridge.check.compare import Comparison
from kazashi.reader_bridge.check.result import CheckOutcome, CheckReport

_WORDS = {
    CheckOutcome.PASSED: "as expected",
    CheckOutcome.FAILED: "not as expected",
    CheckOutcome.OBSERVED: "observed",
    CheckOutcome.NOT_APPLICABLE: "does not apply",
    CheckOutcome.BROKEN: "could not be carried out",
}

_ENVIRONMENT = Environment(
    loader=PackageLoader("kazashi.reader_bridge.check"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
    lstrip_blocks=True, keep_trailing_newline=True,
)  # fmt: skip
"""Every value is escaped."""


def report_page(report: CheckReport) -> str:
    """Return one report as an HTML page."""
    grouped = groupby(report.results, key=lambda result: result.group)
    return _rendered("report.html", report=report, groups=[(group, list(results)) for group, results in grouped])


def comparison_page(comparison: Comparison) -> str:
    """Return two reports as an HTML page: differences first, then times as bars, then all results."""
    grouped = groupby(comparison.pairs, key=lambda pair: pair.group)
    return _rendered(
        "comparison.html", a=comparison.a, b=comparison.b, pairs=comparison.pairs, differing=comparison.differing,
        groups=[(group, list(pairs)) for group, pairs in grouped],
    )  # fmt: skip


def _rendered(template: str, **values: object) -> str:
    return _ENVIRONMENT.get_template(template).render(values, Outcome=CheckOutcome, words=_WORDS)
