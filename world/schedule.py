"""Scheduled jobs: when each is due, and the order in which they run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from kazashi.world.clock import WorldClock, from_epoch
from kazashi.world.process_lock import exclusive


@dataclass(frozen=True, slots=True)
class Job:
    """Work that is to be done at certain instants.

    `due` returns the next instant, or None if nothing waits. `run` does what is due now, and is safe to repeat. The job
    itself moves the instant on, in its own store, so a job that was interrupted is still due.
    """

    name: str
    due: Callable[[], datetime | None]
    run: Callable[[], object]


AT_ONCE = from_epoch(0)
"""The due time of a job that waits for nothing. The current time would not do: a second may pass in between."""


class Schedule:
    """The jobs of one world. One process at a time runs them."""

    def __init__(self, lock: Path, jobs: Sequence[Job]) -> None:
        self._lock = lock
        self._jobs = jobs

    def next(self, now: datetime = AT_ONCE, without: Collection[Job] = ()) -> tuple[datetime, Job] | None:
        """Return the job that is due first, and when.

        Among jobs due at the same instant, and among all that are due by `now`, it is the first in the list of jobs.
        Revocation lists are therefore made after the revocations that belong on them have arrived.
        """
        due = [(instant, job) for job in self._jobs if job not in without and (instant := job.due()) is not None]
        return min(due, key=lambda entry: max(entry[0], now), default=None)

    def run_due(self, now: datetime) -> int:
        """Run all jobs that are due by `now`, and return how many were run."""
        with exclusive(self._lock):
            return self._run_until(lambda: now, lambda instant: instant <= now)

    def advance(self, clock: WorldClock, until: datetime, progress: Callable[[datetime], None] = lambda _: None) -> int:
        """Move the clock to an instant, run every job that becomes due on the way, and return how many were run.

        `progress` gets every instant at which the clock stops.
        """

        def reached(instant: datetime) -> bool:
            if instant > until:
                return False
            if instant > clock.now():
                clock.move(instant)
                progress(instant)
            return True

        with exclusive(self._lock):
            done = self._run_until(clock.now, reached)
            clock.move(until)
        progress(until)
        return done

    def _run_until(self, now: Callable[[], datetime], reached: Callable[[datetime], bool]) -> int:
        done, stuck, last = 0, set[Job](), None
        while (entry := self.next(now(), stuck)) and reached(entry[0]):
            instant, job = entry
            if last is None or instant > last:
                stuck.clear()  # what failed then may succeed now
            last = instant if last is None else max(last, instant)
            job.run()
            done += 1
            if (still_due := job.due()) is not None and still_due <= instant:
                stuck.add(job)  # it could not be done because a receiver is down; it stays due and blocks no other job
        return done
