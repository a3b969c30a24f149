"""Reports of the checks as JSON, JUnit and HTML, and comparisons of reports."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kazashi.reader_bridge.check.compare import compare
from kazashi.reader_bridge.check.junit import junit
from kazashi.reader_bridge.check.page import comparison_page, report_page
from kazashi.reader_bridge.check.result import BadReport, CheckOutcome, CheckReport, CheckResult

pytestmark = pytest.mark.unit

RESULT = CheckResult(
    "files.one", "files", "A file", "docs/card.md", CheckOutcome.PASSED, ("00B0000004: 9000",), ("9000",)
)
OTHER_RESULT = CheckResult(
    "timing.two", "timing", "A time", "measured", CheckOutcome.OBSERVED, ("SELECT: 9000",), measured={"median ms": 1.5}
)
REPORT = CheckReport("Reader 00 00", "a card", "3B00", "2030-01-02T03:04:05+00:00", 0.5, (RESULT, OTHER_RESULT))

TEXTS = st.text(max_size=12)
LINES = st.lists(TEXTS, max_size=3).map(tuple)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
RESULTS = st.builds(
    CheckResult, TEXTS, TEXTS, TEXTS, TEXTS, st.sampled_from(CheckOutcome), LINES, LINES, TEXTS,
    st.dictionaries(TEXTS, FINITE, max_size=2),
)  # fmt: skip
REPORTS = st.builds(
    CheckReport, TEXTS, TEXTS, TEXTS, TEXTS, FINITE, st.lists(RESULTS, max_size=4).map(tuple), st.booleans()
)


@given(REPORTS)
def test_report_is_read_back_as_written(report: CheckReport) -> None:
    assert CheckReport.from_json(report.to_json()) == report


def test_truncated_report_is_rejected() -> None:
    text = REPORT.to_json()
    for end in range(len(text)):
        with pytest.raises(BadReport):
            CheckReport.from_json(text[:end])


@pytest.mark.parametrize(
    "text",
    ["", "null", "true", "1", "[]", "{}", '"text"', "rubbish", "[" * 100_000, '{"a":' * 100_000, "9" * 10_000, "\0"],
    ids=lambda text: text[:6] or "nothing",
)
def test_error_names_the_document_that_is_not_a_report(text: str) -> None:
    with pytest.raises(BadReport, match="of-mine"):
        CheckReport.from_json(text, "of-mine")


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
def test_report_with_an_invalid_field_is_rejected(what: str) -> None:
    document = json.loads(REPORT.to_json())
    assert CheckReport.from_json(json.dumps(document)) == REPORT
    WRONG[what](document)
    with pytest.raises(BadReport):
        CheckReport.from_json(json.dumps(document))


def test_run_is_good_if_complete_and_nothing_failed() -> None:
    assert REPORT.good
    assert not replace(REPORT, complete=False).good
    for outcome in CheckOutcome:
        report = replace(REPORT, results=(RESULT, replace(OTHER_RESULT, outcome=outcome)))
        assert report.good is (outcome not in (CheckOutcome.FAILED, CheckOutcome.BROKEN))
        assert report.count(outcome) == (2 if outcome is CheckOutcome.PASSED else 1)


@given(REPORTS)
def test_junit_is_well_formed_and_its_counts_are_right(report: CheckReport) -> None:
    suite = ET.fromstring(junit(report))
    tags = Counter(element.tag for element in suite.iter())
    assert suite.tag == "testsuite"
    assert int(suite.attrib["tests"]) == tags["testcase"] == len(report.results) + (not report.complete)
    assert int(suite.attrib["failures"]) == tags["failure"] == report.count(CheckOutcome.FAILED)
    assert int(suite.attrib["errors"]) == tags["error"] == report.count(CheckOutcome.BROKEN) + (not report.complete)
    assert int(suite.attrib["skipped"]) == tags["skipped"] == report.count(CheckOutcome.NOT_APPLICABLE)


def test_junit_contains_failures_and_their_details() -> None:
    failed = replace(
        RESULT, outcome=CheckOutcome.FAILED, detail="<b> & 'not' \"so\"", observed=("one & two", "<three>")
    )
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


def test_pages_escape_every_value() -> None:
    results = tuple(
        CheckResult(EVIL, EVIL, EVIL, EVIL, outcome, (EVIL,), (EVIL,), EVIL, {EVIL: 1.0, "median ms": 2.0})
        for outcome in CheckOutcome
    )
    for one in results:
        evil = CheckReport(EVIL, EVIL, EVIL, EVIL, 1.0, (one,), complete=False)
        harmless = replace(REPORT, results=(replace(RESULT, check=EVIL, measured={"median ms": 1.0}),))
        for page in (
            report_page(evil), comparison_page(compare(evil, harmless)), comparison_page(compare(harmless, evil)),
            comparison_page(compare(evil, REPORT)),
        ):  # fmt: skip
            assert "&lt;script&gt;" in page
            assert "<script" not in page
            assert "alert('" not in page


def test_report_page_shows_every_check_and_its_outcome() -> None:
    results = tuple(
        replace(RESULT, check=f"files.{number}", outcome=outcome, detail=f"because of {number}")
        for number, outcome in enumerate(CheckOutcome)
    )
    page = report_page(replace(REPORT, results=results))
    for result in results:
        assert result.check in page
        assert result.detail in page
        assert f'class="{result.outcome.value.replace(" ", "-")}">' in page
    assert "cut off" not in page
    assert "cut off" in report_page(replace(REPORT, complete=False))


def test_comparison_page_shows_which_checks_differ() -> None:
    other = replace(REPORT, reader="Other 00 00", results=(replace(RESULT, outcome=CheckOutcome.FAILED), OTHER_RESULT))
    page = comparison_page(compare(REPORT, other))
    differences, _, rest = page.partition("<h2>Time</h2>")
    assert "Differences (1 of 2)" in differences
    assert "files.one" in differences
    assert "timing.two" not in differences
    assert "files.one" in rest
    assert "timing.two" in rest
    assert page.count('class="differs"') == 1
    assert "1.50 ms" in rest
    same = comparison_page(compare(REPORT, replace(REPORT, reader="Other 00 00")))
    assert "Differences (0 of 2)" in same
    assert "No differences except in time." in same
    assert 'class="differs"' not in same


@given(REPORTS)
def test_report_does_not_differ_from_itself(report: CheckReport) -> None:
    assert compare(report, report).differing == ()


FEW_LINES = st.lists(st.sampled_from(["00B0000004: 6981", "00B0000004: 6982", "00A40000: 9000"]), max_size=4).map(tuple)


@given(RESULTS, FEW_LINES, FEW_LINES)
def test_changed_observation_is_a_difference(
    result: CheckResult, before: tuple[str, ...], after: tuple[str, ...]
) -> None:
    """The same responses in another order are a difference too."""
    first, second = (replace(REPORT, results=(replace(result, observed=lines),)) for lines in (before, after))
    compared = result.outcome is not CheckOutcome.NOT_APPLICABLE
    assert bool(compare(first, second).differing) is (compared and before != after)


@given(RESULTS, st.sampled_from(CheckOutcome))
def test_changed_outcome_is_a_difference(result: CheckResult, outcome: CheckOutcome) -> None:
    comparison = compare(
        replace(REPORT, results=(result,)), replace(REPORT, results=(replace(result, outcome=outcome),))
    )
    assert bool(comparison.differing) is (result.outcome is not outcome)


def test_observations_of_one_report_are_on_its_side() -> None:
    other = replace(RESULT, observed=("00B0000004: 6982",))
    (pair,) = compare(REPORT, replace(REPORT, results=(other, OTHER_RESULT))).differing
    assert (pair.check, pair.group, pair.title) == ("files.one", "files", "A file")
    assert (pair.only_a, pair.only_b) == (RESULT.observed, other.observed)


def test_check_missing_in_one_report_is_a_difference() -> None:
    shorter = replace(REPORT, results=(OTHER_RESULT,))
    (pair,) = compare(REPORT, shorter).differing
    assert (pair.check, pair.a, pair.b) == ("files.one", RESULT, None)
    (pair,) = compare(shorter, REPORT).differing
    assert (pair.check, pair.a, pair.b) == ("files.one", None, RESULT)


def test_times_are_shown_but_are_not_a_difference() -> None:
    slower = replace(OTHER_RESULT, measured={"median ms": 99.0, "longest ms": 100.0})
    comparison = compare(REPORT, replace(REPORT, results=(RESULT, slower), seconds=9.0, at="later"))
    assert comparison.differing == ()
    assert [pair.times for pair in comparison.pairs] == [None, (1.5, 99.0)]
