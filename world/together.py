"""Many small writes in few transactions: what comes while one is written goes with the next (group commit)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import Lock
from typing import Any, TypeVar

import sqlalchemy as sa

from kazashi.world.storage import Store

_Found = TypeVar("_Found")


class _Job:
    """A write that somebody waits for."""

    def __init__(self, action: Callable[[sa.Connection], Any]) -> None:
        self.action = action
        self.done = False
        self.found: Any = None
        self.error: Exception | None = None


class Together:
    """Writes of one store, by many threads at once. Each is durable when its caller goes on."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: deque[_Job] = deque()
        self._lock = Lock()

    def do(self, action: Callable[[sa.Connection], _Found]) -> _Found:
        """What an action answers that writes within a transaction, shared with whatever else waits. Raises what it
        raises; then nothing of it was written, and the others are not touched. It may be begun twice."""
        job = _Job(action)
        self._waiting.append(job)
        with self._lock:  # whoever gets here first writes for all who wait
            if not job.done:
                batch = [self._waiting.popleft() for _ in range(len(self._waiting))]
                self._write(batch)
        if job.error is not None:
            raise job.error
        found: _Found = job.found
        return found

    def _write(self, batch: list[_Job]) -> None:
        try:
            with self._store.transaction() as connection:
                for job in batch:
                    job.found = job.action(connection)
        except Exception as error:
            if len(batch) > 1:
                for job in batch:
                    self._write([job])
                return
            batch[0].error = error
        for job in batch:
            job.done = True
