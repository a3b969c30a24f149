"""Results of checks and reports of runs, with their JSON format."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any

from kazashi.world.place_in_file import place_of

FORMAT = "kazashi-reader-check"
VERSION = 1


class CheckOutcome(Enum):
    """How a check ended."""

    PASSED = "passed"
    """The result is as expected of an individual number card, or of any card."""
    FAILED = "failed"
    """The result is not as expected."""
    OBSERVED = "observed"
    """There is no expectation; the observations are for comparison."""
    NOT_APPLICABLE = "not applicable"
    """The check does not apply to this card, or needs a PIN that was not given."""
    BROKEN = "broken"
    """The reader or the card was removed or stopped responding, PC/SC failed, or the check has a bug."""


class BadReport(Exception):
    """The document is not a report of a reader check."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check. `observed` can be compared between readers; `measured` is in milliseconds and varies."""

    check: str
    group: str
    title: str
    source: str
    outcome: CheckOutcome
    observed: tuple[str, ...] = ()
    expected: tuple[str, ...] = ()
    detail: str = ""
    measured: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CheckReport:
    """The report of one run. `card` is the kind of card; `complete` is False if the run was cut off."""

    reader: str
    card: str
    atr: str
    at: str
    seconds: float
    results: tuple[CheckResult, ...]
    complete: bool = True

    def count(self, outcome: CheckOutcome) -> int:
        """Return the number of checks with an outcome."""
        return sum(result.outcome is outcome for result in self.results)

    @property
    def good(self) -> bool:
        """Whether the run is complete and no check failed or broke."""
        return self.complete and not self.count(CheckOutcome.FAILED) and not self.count(CheckOutcome.BROKEN)

    def to_json(self) -> str:
        """Return the report as a JSON document."""
        document = asdict(self)
        for result in document["results"]:
            result["outcome"] = result["outcome"].value
        return json.dumps({"format": FORMAT, "version": VERSION, **document}, ensure_ascii=False, indent=1)

    @classmethod
    def from_json(cls, text: str, name: str = "the report") -> CheckReport:
        """Read a report from JSON, the inverse of `to_json`. Raises BadReport; `name` is the document's name in it."""
        try:
            document: dict[str, Any] = json.loads(text)
            if document.pop("format") != FORMAT:
                raise BadReport(f"{name} is not a report of a reader check")
            if document.pop("version") != VERSION:
                raise BadReport(f"{name} has another version of the format; this program reads version {VERSION}")
            results = tuple(_result(result) for result in _of(list, document.pop("results")))
            report = cls(**document, results=results)
            for text_field in (report.reader, report.card, report.atr, report.at):
                _of(str, text_field)
            _of((int, float), report.seconds)
            _of(bool, report.complete)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise BadReport(f"{name} is not a report of a reader check{place_of(error)}") from error
        return report


def _result(document: dict[str, Any]) -> CheckResult:
    """Return a result from JSON. Raises ValueError, KeyError and TypeError."""
    result = CheckResult(
        **{
            **document,
            "outcome": CheckOutcome(document["outcome"]),
            "observed": tuple(_of(str, line) for line in _of(list, document["observed"])),
            "expected": tuple(_of(str, line) for line in _of(list, document["expected"])),
        }
    )
    for text in (result.check, result.group, result.title, result.source, result.detail):
        _of(str, text)
    for value in _of(dict, result.measured).values():
        _of((int, float), value)
    return result


def _of(kind: type | tuple[type, ...], value: Any) -> Any:
    """Return the value if it has the right type. Raises TypeError."""
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise TypeError(f"{value!r} has the wrong type")
    return value
