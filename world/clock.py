"""The bench's time. Japan has one time zone and no summer time, and its law counts days in it."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Protocol

from kazashi.world.atomic_file import write_whole

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
        self._instant = _aware(instant)

    def now(self) -> datetime:
        """The present instant, in UTC, with whole seconds."""
        return self._instant

    def stand(self, instant: datetime) -> None:
        """Put the clock to an instant."""
        self._instant = _aware(instant)


class WorldClock:
    """A world's clock, kept in a file that every process of the world reads: it runs, ahead of the machine's time by
    some offset, or it stands.

    Without a file it is the machine's time.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read: tuple[int, datetime | None, timedelta] = (0, None, timedelta())

    def now(self) -> datetime:
        """The present instant, in UTC, with whole seconds."""
        standing, offset = self._setting()
        return standing or SystemClock().now() + offset

    @property
    def stands(self) -> bool:
        """Whether time passes only when somebody says so."""
        return self._setting()[0] is not None

    def stand(self, instant: datetime) -> None:
        """Put the clock to an instant, where it stands."""
        self._write({"standing": _aware(instant).isoformat()})

    def run(self, instant: datetime | None = None) -> None:
        """Let the clock run, from an instant (default: from where it is)."""
        offset = _aware(instant or self.now()) - SystemClock().now()
        self._write({"offset_seconds": int(offset.total_seconds())})

    def move(self, instant: datetime) -> None:
        """Put the clock to an instant; it stands or runs there as it did before."""
        if self.stands:
            self.stand(instant)
        else:
            self.run(instant)

    def _setting(self) -> tuple[datetime | None, timedelta]:
        try:
            changed = self._path.stat().st_mtime_ns
        except FileNotFoundError:
            return None, timedelta()
        if self._read[0] != changed:
            written = json.loads(self._path.read_text(encoding="ascii"))
            standing = datetime.fromisoformat(written["standing"]) if "standing" in written else None
            self._read = (changed, standing, timedelta(seconds=written.get("offset_seconds", 0)))
        return self._read[1], self._read[2]

    def _write(self, setting: dict[str, object]) -> None:
        write_whole(self._path, json.dumps(setting))
        self._read = (0, None, timedelta())


def _aware(instant: datetime) -> datetime:
    if instant.tzinfo is None:
        raise ValueError("a clock needs an instant with a time zone")
    return instant.astimezone(UTC).replace(microsecond=0)


def today(clock: Clock) -> date:
    """The date in Japan."""
    return clock.now().astimezone(JST).date()


def end_of_day(day: date) -> datetime:
    """The last second of a day in Japan, in UTC: the shape of every notAfter."""
    return datetime(day.year, day.month, day.day, 23, 59, 59, tzinfo=JST).astimezone(UTC)


def in_japan(day: date, hour: int = 0, minute: int = 0) -> datetime:
    """An hour of a day in Japan, in UTC."""
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=JST).astimezone(UTC)


def epoch(instant: datetime) -> int:
    """Seconds since 1970, the form in which stores keep instants."""
    return int(instant.timestamp())


def from_epoch(seconds: int) -> datetime:
    """The instant in UTC of seconds since 1970."""
    return datetime.fromtimestamp(seconds, UTC)


def instant_of(words: str) -> datetime:
    """An instant as people write one: a date (its midnight in Japan), or ISO 8601, in Japan where it has no time zone.

    Raises ValueError with words that say what is taken.
    """
    try:
        instant = datetime.fromisoformat(words)
        return (instant if instant.tzinfo else instant.replace(tzinfo=JST)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{words!r} is no instant; write 2027-01-31 or 2027-01-31T12:00+09:00") from None


_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def duration_of(words: str) -> timedelta:
    """A span of time as people write one: 90m, 12h, 400d, 2w. Raises ValueError with words that say what is taken."""
    found = re.fullmatch(r"([0-9]{1,6})([mhdw])", words)
    if not found:
        raise ValueError(f"{words!r} is no span of time; write 90m, 12h, 400d or 2w")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})
