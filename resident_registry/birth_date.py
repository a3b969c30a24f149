"""Dates of birth as the registry holds them: with an era, and with a month or day that may be unknown."""

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
"""Reiwa, Heisei, Showa, Taisho, Meiji."""


@dataclass(frozen=True, slots=True)
class BirthDate:
    """A date of birth; `month` or `day` 0 is unknown. Raises ValueError for a date that does not exist."""

    year: int
    month: int
    day: int

    def __post_init__(self) -> None:
        if self.day and not self.month:
            raise ValueError("a known day needs a known month")
        if self.counted_from < _ERAS[-1][0]:
            raise ValueError(f"nobody in the registry was born before {_ERAS[-1][0]}")

    @classmethod
    def parse(cls, words: str) -> BirthDate:
        """The date in `19880417` or `1988-04-17`; 00 for an unknown month or day. Raises ValueError."""
        digits = words.replace("-", "")
        if len(digits) != 8 or not digits.isascii() or not digits.isdigit():
            raise ValueError(f"{words!r} is no date of birth; write 1988-04-17, with 00 for what is unknown")
        return cls(int(digits[:4]), int(digits[4:6]), int(digits[6:]))

    def __str__(self) -> str:
        return f"{self.year:04d}{self.month:02d}{self.day:02d}"

    @property
    def counted_from(self) -> date:
        """The day from which age is counted: the first that an unknown part allows."""
        return date(self.year, self.month or 1, self.day or 1)

    @property
    def _era(self) -> tuple[date, int]:
        return next(era for era in _ERAS if era[0] <= self.counted_from)

    @property
    def era_digit(self) -> str:
        """1 Meiji, 2 Taisho, 3 Showa, 4 Heisei, 5 Reiwa."""
        return str(self._era[1])

    @property
    def in_era_years(self) -> str:
        """YYMMDD with the year of the era, as the birth PIN and reference number B have it."""
        return f"{self.year - self._era[0].year + 1:02d}{self.month:02d}{self.day:02d}"

    def birthday(self, year: int) -> date:
        """The birthday in a year; 28 February stands for the 29th in a common year."""
        born = self.counted_from
        try:
            return born.replace(year=year)
        except ValueError:
            return date(year, 2, 28)

    def nth_birthday_after(self, day: date, n: int) -> date:
        """The n-th birthday that comes after a day (a birthday on that very day is not counted)."""
        return self.birthday(day.year + n - (self.birthday(day.year) > day))

    def age_on(self, day: date) -> int:
        """Completed years of age. The law completes a year on the eve of the birthday."""
        tomorrow = day + timedelta(days=1)
        return tomorrow.year - self.year - (self.birthday(tomorrow.year) > tomorrow)
