"""Two reports beside each other: what a reader or a card does otherwise than another."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from kazashi.reader_bridge.check.result import CheckOutcome, CheckReport, CheckResult


@dataclass(frozen=True, slots=True)
class Pair:
    """One check in both reports; None where a report lacks it. `only_a` and `only_b` are what just one of them saw."""

    check: str
    title: str
    a: CheckResult | None
    b: CheckResult | None
    only_a: tuple[str, ...] = ()
    only_b: tuple[str, ...] = ()

    @property
    def group(self) -> str:
        """The check's group."""
        return self.check.partition(".")[0]

    @property
    def differs(self) -> bool:
        """Whether the two differ in more than time."""
        return (
            self.a is None or self.b is None or self.a.outcome is not self.b.outcome or bool(self.only_a + self.only_b)
        )

    @property
    def times(self) -> tuple[float, float] | None:
        """The median milliseconds of both, where both were timed."""
        medians = [found.measured.get("median ms") if found else None for found in (self.a, self.b)]
        return (medians[0], medians[1]) if medians[0] is not None and medians[1] is not None else None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two reports and their checks, side by side, in the order in which they ran."""

    a: CheckReport
    b: CheckReport
    pairs: tuple[Pair, ...]

    @property
    def differing(self) -> tuple[Pair, ...]:
        """The pairs that differ."""
        return tuple(pair for pair in self.pairs if pair.differs)


def compare(a: CheckReport, b: CheckReport) -> Comparison:
    """Put two reports beside each other. A check that means nothing for one of the cards still shows the difference."""
    of_a, of_b = ({result.check: result for result in report.results} for report in (a, b))
    return Comparison(
        a, b, tuple(_pair(name, of_a.get(name), of_b.get(name)) for name in dict.fromkeys([*of_a, *of_b]))
    )


def _pair(name: str, a: CheckResult | None, b: CheckResult | None) -> Pair:
    either = a or b
    assert either is not None
    seen_a, seen_b = _seen(a), _seen(b)
    only_a, only_b = _beyond(seen_a, seen_b), _beyond(seen_b, seen_a)
    if seen_a != seen_b and not only_a + only_b:  # the same in another order
        only_a, only_b = seen_a, seen_b
    return Pair(name, either.title, a, b, only_a, only_b)


def _seen(result: CheckResult | None) -> tuple[str, ...]:
    return result.observed if result is not None and result.outcome is not CheckOutcome.NOT_APPLICABLE else ()


def _beyond(seen: tuple[str, ...], others: tuple[str, ...]) -> tuple[str, ...]:
    """What was seen more often than the other one saw it, in its order."""
    left = Counter(others)
    beyond = []
    for line in seen:
        if left[line]:
            left[line] -= 1
        else:
            beyond.append(line)
    return tuple(beyond)
