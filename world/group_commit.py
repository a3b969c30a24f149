"""Group commit: writes that arrive while a transaction is being committed share the next transaction."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable
from threading import Lock
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from kazashi.world.storage import Store, StoreFailed

_Result = TypeVar("_Result")


class _Job:
    """A write that a caller is waiting for."""

    def __init__(self, action: Callable[[sa.Connection], Any]) -> None:
        self.action = action
        self.done = False
        self.result: Any = None
        self.error: Exception | None = None

    def outcome(self) -> Any:
        """Return the action's result. Raises what the write raised."""
        if self.error is not None:
            raise self.error
        return self.result


class GroupCommit:
    """Concurrent writes to one store by many threads or coroutines. A write is durable when its call returns."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: deque[_Job] = deque()
        self._lock = Lock()
        self._flushing: asyncio.Future[None] | None = None

    def run(self, action: Callable[[sa.Connection], _Result]) -> _Result:
        """Run an action in a transaction shared with other waiting actions, and return its result.

        Raises what the action raises, and StoreFailed. Nothing of it was written then, and the other actions are not
        affected. An action may be started twice.
        """
        job = _Job(action)
        self._waiting.append(job)
        self._flush(job)
        result: _Result = job.outcome()
        return result

    async def run_async(self, action: Callable[[sa.Connection], _Result]) -> _Result:
        """Run an action as `run` does, for the coroutines of one event loop. Many coroutines wait for one thread."""
        job = _Job(action)
        self._waiting.append(job)
        while not job.done:
            if self._flushing is None or self._flushing.done():
                self._flushing = asyncio.ensure_future(asyncio.to_thread(self._flush, job))
            await asyncio.shield(self._flushing)  # a caller that is cancelled does not end the others' wait
        result: _Result = job.outcome()
        return result

    def _flush(self, job: _Job) -> None:
        """Write everything that waits, unless another caller has already written this job."""
        with self._lock:
            if job.done:
                return
            batch = [self._waiting.popleft() for _ in range(len(self._waiting))]
            try:
                self._write(batch)
            except BaseException:  # the program is ending; no caller may believe that its write was committed
                for unwritten in batch:
                    if not unwritten.done:
                        unwritten.error = StoreFailed("the program ended before the write was committed")
                        unwritten.done = True
                raise

    def _write(self, batch: list[_Job]) -> None:
        error = self._commit(batch)
        outage: Exception | None = None
        for job in batch:
            # An action that fails affects only itself. If the store fails, the other jobs do not each wait for it.
            job.error = outage or (self._commit([job]) if error and len(batch) > 1 else error)
            outage = job.error if _is_outage(job.error) else None
            job.done = True

    def _commit(self, batch: list[_Job]) -> Exception | None:
        try:
            with self._store.transaction() as connection:
                for job in batch:
                    job.result = job.action(connection)
        except Exception as error:
            return error
        return None


_SQLITE_OUTAGES = {
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_READONLY,
}  # fmt: skip
_POSTGRESQL_OUTAGES = ("08", "53", "57")
"""Classes of SQLSTATE (PostgreSQL, appendix A): connection lost, no resources, operator intervention."""


def _is_outage(error: Exception | None) -> bool:
    """Whether the store itself has failed: a full disk, a lock, a lost connection.

    Databases report an action's own mistakes, such as malformed JSON, with the same class of exception.
    """
    cause = error.__cause__ if isinstance(error, StoreFailed) else None
    if isinstance(cause, sqlite3.OperationalError):
        return _sqlite_outage(cause)
    if not isinstance(cause, OperationalError):
        return False
    state = getattr(cause.orig, "sqlstate", None) or ""
    return cause.connection_invalidated or _sqlite_outage(cause.orig) or state.startswith(_POSTGRESQL_OUTAGES)


def _sqlite_outage(error: BaseException | None) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _SQLITE_OUTAGES
