"""Dates of birth as the registry records them: with an era, and possibly with an unknown month or day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

_ERAS = (  # first day, digit in certificates
    (date(2019, 5, 1), 5),
    (date(1989, 1, 8), 4),
    (date(1926, 12, 25), 3),
    (date(1912, 7, 30), 2),
    (date(1868, 10, 23), 1),
)
"""The eras Reiwa, Heisei, Showa, Taisho and Meiji."""


@dataclass(frozen=True, slots=True)
class BirthDate:
    """A date of birth. A `month` or `day` of 0 is unknown. Raises ValueError for a date that does not exist."""

    year: int
    month: int
    day: int

    def __post_init__(self) -> None:
        if self.day and not self.month:
            raise ValueError("a date of birth with a day must also have a month")
        try:
            first = self.counted_from
        except ValueError:
            raise ValueError(f"{self} is not a date") from None
        if first < _ERAS[-1][0]:
            raise ValueError(f"a date of birth must not be before {_ERAS[-1][0]}")

    @classmethod
    def parse(cls, text: str) -> BirthDate:
        """Parse `19880417` or `1988-04-17`, with 00 for an unknown month or day. Raises ValueError."""
        digits = text.replace("-", "")
        if len(digits) != 8 or not digits.isascii() or not digits.isdigit():
            raise ValueError(f"{text!r} is not a date of birth; write 1988-04-17, with 00 for an unknown month or day")
        return cls(int(digits[:4]), int(digits[4:6]), int(digits[6:]))

    def __str__(self) -> str:
        return f"{self.year:04d}{self.month:02d}{self.day:02d}"

    @property
    def counted_from(self) -> date:
        """The day from which age is counted: the earliest possible one if the month or day is unknown."""
        return date(self.year, self.month or 1, self.day or 1)

    @property
    def _era(self) -> tuple[date, int]:
        return next(era for era in _ERAS if era[0] <= self.counted_from)

    @property
    def era_digit(self) -> str:
        """The digit of the era: 1 Meiji, 2 Taisho, 3 Showa, 4 Heisei, 5 Reiwa."""
        return str(self._era[1])

    @property
    def in_era_years(self) -> str:
        """The date as YYMMDD with the year of the era, as in the birth PIN and in reference number B."""
        return f"{self.year - self._era[0].year + 1:02d}{self.month:02d}{self.day:02d}"

    def birthday(self, year: int) -> date:
        """The birthday in a year. A birthday on 29 February is on the 28th in a common year."""
        born = self.counted_from
        try:
            return born.replace(year=year)
        except ValueError:
            return date(year, 2, 28)

    def nth_birthday_after(self, day: date, n: int) -> date:
        """The n-th birthday after a day. A birthday on that day itself is not counted."""
        return self.birthday(day.year + n - (self.birthday(day.year) > day))

    def age_on(self, day: date) -> int:
        """The age in completed years. By law a year is completed on the day before the birthday."""
        tomorrow = day + timedelta(days=1)
        return tomorrow.year - self.year - (self.birthday(tomorrow.year) > tomorrow)
