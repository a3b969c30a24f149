"""The generations of an authority's key: a new self-signed certificate under the same name every few years."""

from __future__ import annotations

from datetime import date, datetime, time

from world.clock import JST

_FIRST_DAYS = (date(2015, 10, 20), date(2019, 9, 15), date(2023, 7, 16))
_MONTHS_BETWEEN = 46
"""What lies between the days above is 46 or 47 months; later generations are expected at the same pace."""


def first_day(generation: int) -> date:
    """The day on which a generation (1, 2, ...) begins."""
    if generation <= len(_FIRST_DAYS):
        return _FIRST_DAYS[generation - 1]
    last = _FIRST_DAYS[-1]
    months = last.year * 12 + last.month - 1 + (generation - len(_FIRST_DAYS)) * _MONTHS_BETWEEN
    return date(months // 12, months % 12 + 1, last.day)


def begins(generation: int) -> datetime:
    """The instant from which a generation's own certificate is valid."""
    return datetime.combine(first_day(generation), time(10, 0, 0), JST)


def issuing_at(instant: datetime) -> int:
    """The generation that signs at an instant: it takes over on the first of the month after it began.

    Raises ValueError before the first generation.
    """
    day = instant.astimezone(JST).date()
    if day < first_day(1):
        raise ValueError(f"no authority existed on {day}")
    generation = 1
    while _takes_over(generation + 1) <= day:
        generation += 1
    return generation


def _takes_over(generation: int) -> date:
    first = first_day(generation)
    return date(first.year + first.month // 12, first.month % 12 + 1, 1)
