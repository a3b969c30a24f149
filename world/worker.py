"""Background work in a thread: in rounds, when there is something to do, with a retry after a failure."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Worker:
    """Does rounds of work in its own thread, when it is called and every `pause` seconds.

    `trouble` says why the last round failed. It is empty if the round succeeded.
    """

    def __init__(
        self, name: str, work: Callable[[], object], *, pause: float, gather: float = 0.0,
        after: Callable[[str], object] = lambda _: None, close: Callable[[], object] = lambda: None,
    ) -> None:  # fmt: skip
        """Prepare the thread; `start` starts it.

        `work` does one round, and returns whether another is to follow at once. An exception ends the round, and the
        next one tries again. Each round begins after `gather` seconds, in which more work may arrive. `after` gets the
        trouble after each round. `close` releases what the work has open. Both are called in the thread.
        """
        self.trouble = "nothing was done yet"
        self._work = work
        self._pause = pause
        self._gather = gather
        self._after = after
        self._close = close
        self._called = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread. It begins with the work that is already waiting."""
        self._called.set()
        self._thread.start()

    def call(self) -> None:
        """Start a round now."""
        self._called.set()

    def stop(self, seconds: float | None = None) -> None:
        """Stop after the current round. Wait for its end, but not longer than `seconds`."""
        self._ended.set()
        self._called.set()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def _run(self) -> None:
        try:
            while True:
                self._called.wait(self._pause)
                self._called.clear()
                if self._ended.is_set():
                    return
                self._round()
                self._after(self.trouble)
        finally:
            self._close()

    def _round(self) -> None:
        try:
            while not self._ended.wait(self._gather) and self._work():
                pass
            self.trouble = ""
        except Exception as error:  # a full disk, no connection, a bug: all work still waits
            self.trouble = str(error) or repr(error)
