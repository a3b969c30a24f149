"""The bench's time. Japan has one time zone and no summer time, and its law counts days in it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Protocol

JST = timezone(timedelta(hours=9), "JST")


class Clock(Protocol):
    """Where the time comes from."""

    def now(self) -> datetime:
        """The present instant, in UTC, with whole seconds."""


class SystemClock:
    """The machine's own time."""

    def now(self) -> datetime:
        """The present instant, in UTC, with whole seconds."""
        return datetime.now(UTC).replace(microsecond=0)


class FixedClock:
    """A clock that stands where it was put, so that a run can be repeated."""

    def __init__(self, instant: datetime) -> None:
        if instant.tzinfo is None:
            raise ValueError("a clock needs an instant with a time zone")
        self._instant = instant.astimezone(UTC).replace(microsecond=0)

    def now(self) -> datetime:
        """The present instant, in UTC, with whole seconds."""
        return self._instant


def today(clock: Clock) -> date:
    """The date in Japan."""
    return clock.now().astimezone(JST).date()


def end_of_day(day: date) -> datetime:
    """The last second of a day in Japan, in UTC: the shape of every notAfter."""
    return datetime(day.year, day.month, day.day, 23, 59, 59, tzinfo=JST).astimezone(UTC)
