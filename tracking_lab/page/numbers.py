"""Numbers as people read them: three significant digits, with the unit and the interval."""

from __future__ import annotations

import math

from kazashi.tracking_lab.metrics import Estimate, Share
from kazashi.tracking_lab.page.charts import Point
from kazashi.tracking_lab.page.model import Shown
from kazashi.tracking_lab.page.words import Words
from kazashi.tracking_lab.results import Unit

PERCENT = "\N{NO-BREAK SPACE}%"

_NO_COUNTS = frozenset({
    Unit.SHARE, Unit.TRUTH, Unit.BITS, Unit.BYTES, Unit.SECONDS, Unit.DAYS, Unit.SERVICES, Unit.STEPS, Unit.ACTORS,
})  # fmt: skip
"""The units of numbers that do not count people, or what is about a person."""


class Numbers:
    """Writes numbers in a language. Counts from 1 to below `least` are not shown, nor are shares that would reveal such
    a count; 0 shows everything."""

    def __init__(self, words: Words, least: int = 0) -> None:
        self._words = words
        self.least = least

    def few(self, count: int, unit: Unit | None = None) -> bool:
        """Whether a count is too small to be shown. Days, services and the like are not counts of people's data."""
        return 0 < count < self.least and unit not in _NO_COUNTS

    def withheld(self, share: Share) -> bool:
        """Whether a share reveals a count that is too small to be shown."""
        return any(map(self.few, (share.count, share.total, share.total - share.count)))

    def count(self, count: int, unit: Unit | None = None) -> Shown:
        """A count, with its unit if that does not stand in the heading."""
        number = self._words("page.few", least=self.least) if self.few(count, unit) else f"{count:,}"
        return Shown(self._with(number, unit) if unit else number)

    def share(self, share: Share) -> Shown:
        """A share in per cent."""
        if self.withheld(share):
            return Shown(self._words("page.hidden"))
        if not share.total:
            return Shown(self._words("page.none"))
        low, high = share.interval
        basis = self._words("page.of", count=f"{share.count:,}", total=f"{share.total:,}")
        return Shown(percent(share), self.interval(100 * low, 100 * high, PERCENT), basis)

    def in_words(self, share: Share) -> str:
        """A share for a sentence, without its interval."""
        text = self.share(share).text
        return self._words("page.over", number=text[1:]) if text.startswith(">") else text

    def interval(self, low: float, high: float, unit: str = "") -> str:
        """The bounds of an interval. A bound below 100 % is never shown as 100 %."""
        lower = ">99.9" if unit == PERCENT and low < 100 and digits(low) == "100" else digits(low)
        return self._words("page.range", low=lower, high=digits(high)) + unit

    def ratio(self, value: float | Estimate) -> Shown:
        """A number without a unit, with its interval if it is an estimate."""
        if isinstance(value, Estimate):
            if math.isnan(value.value):
                return Shown(self._words("page.none"))
            return Shown(digits(value.value), self.interval(value.low, value.high))
        return Shown(self._words("page.none") if math.isnan(value) else digits(value))

    def quantity(self, value: float | Estimate, unit: Unit) -> Shown:
        """A number with its unit, and its interval if it is an estimate."""
        if isinstance(value, Estimate):
            shown = self.quantity(value.value, unit)
            known = not math.isnan(value.value) and not self.few(round(value.value), unit)
            return Shown(shown.text, self.interval(value.low, value.high)) if known else shown
        if isinstance(value, int):
            return self.count(value, unit)
        if math.isnan(value):
            return Shown(self._words("page.none"))
        return Shown(self._with(digits(value), unit))

    def _with(self, number: str, unit: Unit) -> str:
        name = self._words(f"{'unit' if number == '1' else 'units'}.{unit.value}")
        return self._words("page.quantity", number=number, unit=name)

    def point(self, value: Share | Estimate) -> Point | None:
        """A point of a chart, None if it is not shown."""
        if isinstance(value, Share):
            if self.withheld(value) or not value.total:
                return None
            return Point(value.value, *value.interval, percent(value))
        return None if math.isnan(value.value) else Point(value.value, value.low, value.high, digits(value.value))


def digits(value: float) -> str:
    """A number with three significant digits, in full: no exponent, and a comma at every thousand. What is left of
    rounding errors is 0."""
    if abs(value) < 1e-9:
        return "0"
    place = 2 - math.floor(math.log10(abs(value)))
    rounded = round(value, place)
    place = 2 - math.floor(math.log10(abs(rounded)))
    return f"{rounded:,.{max(0, place)}f}".replace("-", "\N{MINUS SIGN}")


def percent(share: Share) -> str:
    """A share in per cent. A share below 1 is never shown as 100 %."""
    text = digits(100 * share.value)
    return f"{'>99.9' if share.count < share.total and float(text) >= 100 else text}{PERCENT}"
