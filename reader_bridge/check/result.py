"""What a check found, and all that a run found, as values that are written to JSON and read back."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any

FORMAT = "kazashi-reader-check"
VERSION = 1


class CheckOutcome(Enum):
    """How a check ended."""

    PASSED = "passed"
    """As expected of an individual number card, or of any card."""
    FAILED = "failed"
    """Otherwise than expected."""
    OBSERVED = "observed"
    """Nothing is expected; what was seen is there to be compared."""
    NOT_APPLICABLE = "not applicable"
    """The check has no meaning for this card, or needs what was not given."""
    BROKEN = "broken"
    """The reader or the card went away, fell silent, or PC/SC failed."""


class BadReport(Exception):
    """What was given is no report of ours."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check. `observed` holds what compares between readers; `measured` holds milliseconds, which vary."""

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
    """One run. `card` is what the card was taken for; `complete` is False where the run was cut off."""

    reader: str
    card: str
    atr: str
    at: str
    seconds: float
    results: tuple[CheckResult, ...]
    complete: bool = True

    def count(self, outcome: CheckOutcome) -> int:
        """How many checks ended so."""
        return sum(result.outcome is outcome for result in self.results)

    @property
    def good(self) -> bool:
        """Whether the run came to its end, and nothing failed or broke."""
        return self.complete and not self.count(CheckOutcome.FAILED) and not self.count(CheckOutcome.BROKEN)

    def to_json(self) -> str:
        """As a JSON document."""
        document = asdict(self)
        for result in document["results"]:
            result["outcome"] = result["outcome"].value
        return json.dumps({"format": FORMAT, "version": VERSION, **document}, ensure_ascii=False, indent=1)

    @classmethod
    def from_json(cls, text: str, name: str = "the report") -> CheckReport:
        """The inverse of `to_json`. Raises BadReport, which calls the document `name`."""
        try:
            document: dict[str, Any] = json.loads(text)
            if document.pop("format") != FORMAT:
                raise BadReport(f"{name} is not a report of a reader check")
            if document.pop("version") != VERSION:
                raise BadReport(f"{name} is of another version of the format; this program reads version {VERSION}")
            results = tuple(_result(found) for found in _of(list, document.pop("results")))
            report = cls(**document, results=results)
            for text_field in (report.reader, report.card, report.atr, report.at):
                _of(str, text_field)
            _of((int, float), report.seconds)
            _of(bool, report.complete)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise BadReport(f"{name} is not a report of a reader check: {error}") from error
        return report


def _result(document: dict[str, Any]) -> CheckResult:
    """A result from JSON. Raises ValueError, KeyError and TypeError."""
    found = CheckResult(
        **{
            **document,
            "outcome": CheckOutcome(document["outcome"]),
            "observed": tuple(_of(str, line) for line in _of(list, document["observed"])),
            "expected": tuple(_of(str, line) for line in _of(list, document["expected"])),
        }
    )
    for text in (found.check, found.group, found.title, found.source, found.detail):
        _of(str, text)
    for value in _of(dict, found.measured).values():
        _of((int, float), value)
    return found


def _of(kind: type | tuple[type, ...], value: Any) -> Any:
    """The value, if it is of that kind. Raises TypeError."""
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise TypeError(f"{value!r} stands where something else should")
    return value
