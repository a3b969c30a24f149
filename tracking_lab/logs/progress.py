"""How far an import has come: its steps, and within a step the share of the query that DuckDB has done."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

import duckdb

Progress = Callable[[str, float], object]
"""Called with the name of a step, and the share of the whole import that is done."""

_POLL_SECONDS = 0.25

_SHARES = {"looking": 0.04, "reading": 0.46, "handles": 0.18, "uses": 0.12, "tables": 0.12, "checking": 0.08}
"""The share of the time that each part of an import of ten million rows takes (measured)."""


class ImportProgress:
    """Calls a function as an import goes on, also while a query runs. The share never goes back."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, report: Progress) -> None:
        self._connection, self._report = connection, report
        self._step, self._before, self._share, self._done = "", 0.0, 0.0, 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True)

    def step(self, part: str, words: str, of: float = 1.0) -> None:
        """Begin a step: `of` is its share of a part, which is a key of _SHARES."""
        self._before = min(1.0, self._before + self._share)
        self._step, self._share = words, _SHARES[part] * of
        self._tell(self._before)

    def _tell(self, done: float) -> None:
        self._done = max(self._done, min(done, 1.0))
        self._report(self._step, self._done)

    def _poll(self) -> None:
        while not self._ended.wait(_POLL_SECONDS):
            percent = self._connection.query_progress()
            if self._step and 0 <= percent <= 100:
                self._tell(self._before + self._share * percent / 100)

    def __enter__(self) -> ImportProgress:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
