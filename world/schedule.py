"""What happens by the clock: jobs that say when they are due next, and the order in which they are done."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from kazashi.world.clock import WorldClock, from_epoch


@dataclass(frozen=True, slots=True)
class Job:
    """Something that is to be done at certain instants.

    `due` answers the next instant, None where nothing waits; `run` does what is due now and is safe to repeat. That the
    instant then moves on is the job's own doing, in its own store: a job cut off is simply still due.
    """

    name: str
    due: Callable[[], datetime | None]
    run: Callable[[], object]


AT_ONCE = from_epoch(0)
"""When a job is due that waits for nothing. The present instant would not do: a second may pass meanwhile."""


class Schedule:
    """The jobs of one world. One process at a time carries them out."""

    def __init__(self, lock: Path, jobs: Sequence[Job]) -> None:
        self._lock = lock
        self._jobs = jobs

    def next(self, now: datetime = AT_ONCE, without: Collection[Job] = ()) -> tuple[datetime, Job] | None:
        """The job that is due first, and when. Of those at one instant, and of all that are due by `now`, the one named
        first: lists are made after what should stand in them has come in."""
        due = [(instant, job) for job in self._jobs if job not in without and (instant := job.due()) is not None]
        return min(due, key=lambda found: max(found[0], now), default=None)

    def run_due(self, now: datetime) -> int:
        """Do all that is due by now; answers how many jobs were run."""
        with self._held():
            return self._run_until(lambda: now, lambda instant: instant <= now)

    def advance(self, clock: WorldClock, until: datetime, progress: Callable[[datetime], None] = lambda _: None) -> int:
        """Take the clock to an instant, stopping at every job on the way; answers how many jobs were run.

        `progress` is told every instant at which the clock stops.
        """

        def reached(instant: datetime) -> bool:
            if instant > until:
                return False
            if instant > clock.now():
                clock.move(instant)
                progress(instant)
            return True

        with self._held():
            done = self._run_until(clock.now, reached)
            clock.move(until)
        progress(until)
        return done

    def _run_until(self, now: Callable[[], datetime], reached: Callable[[datetime], bool]) -> int:
        done, stuck, last = 0, set[Job](), None
        while (found := self.next(now(), stuck)) and reached(found[0]):
            instant, job = found
            if last is None or instant > last:
                stuck.clear()  # what could not be done then may be possible now
            last = instant if last is None else max(last, instant)
            job.run()
            done += 1
            if (left := job.due()) is not None and left <= instant:
                stuck.add(job)  # it could not be done, a receiver being down; it stays due and holds up no other
        return done

    @contextmanager
    def _held(self) -> Iterator[None]:
        self._lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._lock.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
