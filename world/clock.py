"""The time in a world. Japan has one time zone and no summer time, and its law counts days in that zone."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Protocol

from kazashi.world.atomic_file import write_whole

JST = timezone(timedelta(hours=9), "JST")


class Clock(Protocol):
    """A source of the current time."""

    def now(self) -> datetime:
        """The current time in UTC, in whole seconds."""

    @property
    def stands(self) -> bool:
        """Whether the clock is stopped, so that it only moves when it is set."""


class SystemClock:
    """The machine's own time."""

    stands = False

    def now(self) -> datetime:
        """The current time in UTC, in whole seconds."""
        return datetime.now(UTC).replace(microsecond=0)


class FixedClock:
    """A clock that only moves when it is set, so that a run can be repeated."""

    stands = True

    def __init__(self, instant: datetime) -> None:
        self._instant = _aware(instant)

    def now(self) -> datetime:
        """The current time in UTC, in whole seconds."""
        return self._instant

    def stand(self, instant: datetime) -> None:
        """Set the clock to an instant."""
        self._instant = _aware(instant)


class WorldClock:
    """A world's clock, kept in a file that every process of the world reads.

    It either runs, at an offset from the machine's time, or it is stopped. Without a file it is the machine's time.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read: tuple[int, datetime | None, timedelta] = (0, None, timedelta())

    def now(self) -> datetime:
        """The current time in UTC, in whole seconds."""
        stopped_at, offset = self._setting()
        return stopped_at or SystemClock().now() + offset

    @property
    def stands(self) -> bool:
        """Whether the clock is stopped, so that it only moves when it is set."""
        return self._setting()[0] is not None

    def stand(self, instant: datetime) -> None:
        """Set the clock to an instant and stop it there."""
        self._write({"standing": _aware(instant).isoformat()})

    def run(self, instant: datetime | None = None) -> None:
        """Let the clock run from an instant (default: from its current time)."""
        offset = _aware(instant or self.now()) - SystemClock().now()
        self._write({"offset_seconds": int(offset.total_seconds())})

    def move(self, instant: datetime) -> None:
        """Set the clock to an instant. It stays stopped, or goes on running, as before."""
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
            setting = json.loads(self._path.read_text(encoding="ascii"))
            stopped_at = datetime.fromisoformat(setting["standing"]) if "standing" in setting else None
            self._read = (changed, stopped_at, timedelta(seconds=setting.get("offset_seconds", 0)))
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
    """The last second of a day in Japan, in UTC. Every notAfter is such an instant."""
    return datetime(day.year, day.month, day.day, 23, 59, 59, tzinfo=JST).astimezone(UTC)


def in_japan(day: date, hour: int = 0, minute: int = 0) -> datetime:
    """A time of day in Japan, in UTC."""
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=JST).astimezone(UTC)


def epoch(instant: datetime) -> int:
    """The instant in seconds since 1970, as stores keep it."""
    return int(instant.timestamp())


def from_epoch(seconds: int) -> datetime:
    """The instant, in UTC, that is given in seconds since 1970."""
    return datetime.fromtimestamp(seconds, UTC)


def instant_of(text: str) -> datetime:
    """Parse an instant: a date (midnight in Japan) or ISO 8601. Without a time zone it is in Japanese time.

    Raises ValueError with a message that shows the accepted forms.
    """
    try:
        instant = datetime.fromisoformat(text)
        return (instant if instant.tzinfo else instant.replace(tzinfo=JST)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is not a date or time; write 2027-01-31 or 2027-01-31T12:00+09:00") from None


_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def duration_of(text: str) -> timedelta:
    """Parse a duration: 90m, 12h, 400d or 2w. Raises ValueError with a message that shows the accepted forms."""
    match = re.fullmatch(r"([0-9]{1,6})([mhdw])", text)
    if not match:
        raise ValueError(f"{text!r} is not a duration; write 90m, 12h, 400d or 2w")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})
