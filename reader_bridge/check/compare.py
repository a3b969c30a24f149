"""The comparison of two reports: how two readers or cards differ."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from kazashi.reader_bridge.check.result import CheckOutcome, CheckReport, CheckResult


@dataclass(frozen=True, slots=True)
class Pair:
    """One check in two reports; None if a report lacks it. `only_a` and `only_b`: observations of one report only."""

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
        """Whether the two results differ in more than time."""
        return (
            self.a is None or self.b is None or self.a.outcome is not self.b.outcome or bool(self.only_a + self.only_b)
        )

    @property
    def times(self) -> tuple[float, float] | None:
        """The medians of both in milliseconds, or None unless both were timed."""
        medians = [result.measured.get("median ms") if result else None for result in (self.a, self.b)]
        return (medians[0], medians[1]) if medians[0] is not None and medians[1] is not None else None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two reports, and pairs of their results in the order in which the checks ran."""

    a: CheckReport
    b: CheckReport
    pairs: tuple[Pair, ...]

    @property
    def differing(self) -> tuple[Pair, ...]:
        """The pairs that differ."""
        return tuple(pair for pair in self.pairs if pair.differs)


def compare(a: CheckReport, b: CheckReport) -> Comparison:
    """Compare two reports. A check that does not apply to one of the cards counts as a difference."""
    of_a, of_b = ({result.check: result for result in report.results} for report in (a, b))
    return Comparison(
        a, b, tuple(_pair(name, of_a.get(name), of_b.get(name)) for name in dict.fromkeys([*of_a, *of_b]))
    )


def _pair(name: str, a: CheckResult | None, b: CheckResult | None) -> Pair:
    either = a or b
    assert either is not None
    observed_a, observed_b = _observed(a), _observed(b)
    only_a, only_b = _difference(observed_a, observed_b), _difference(observed_b, observed_a)
    if observed_a != observed_b and not only_a + only_b:  # the same in another order
        only_a, only_b = observed_a, observed_b
    return Pair(name, either.title, a, b, only_a, only_b)


def _observed(result: CheckResult | None) -> tuple[str, ...]:
    return result.observed if result is not None and result.outcome is not CheckOutcome.NOT_APPLICABLE else ()


def _difference(observed: tuple[str, ...], others: tuple[str, ...]) -> tuple[str, ...]:
    """Return the multiset difference of two lists of observations, in the order of the first."""
    left = Counter(others)
    difference = []
    for line in observed:
        if left[line]:
            left[line] -= 1
        else:
            difference.append(line)
    return tuple(difference)
