"""The live trace for the console's pages: one follower of the instance for all pages, with a bounded backlog."""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import suppress
from typing import Any

from kazashi.assembly.traces import Decoders, follow
from kazashi.reader_bridge.control import ControlRejected, NotRunning
from kazashi.world.home import World

KEPT = 2_000
"""How many lines are kept. A page that falls further behind is told how many lines it has missed."""

_RETRY_SECONDS = 1.0


class Feed:
    """The lines of the instance's trace, decoded and masked. Methods may be called from any thread."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._lines: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._lock = threading.Lock()
        self._count = 0
        threading.Thread(target=self._run, name="feed", daemon=True).start()

    @property
    def count(self) -> int:
        """How many lines there have been so far, including those no longer kept."""
        return self._count

    def since(self, number: int, most: int) -> tuple[list[dict[str, Any]], int, int]:
        """Return the newest `most` of the lines after line `number`, the present count, and how many lines after
        `number` are left out."""
        with self._lock:
            size = min(self._count - number, len(self._lines), most)
            return [self._lines[-place] for place in range(size, 0, -1)], self._count, self._count - number - size

    def _run(self) -> None:
        while True:
            with suppress(NotRunning, ControlRejected, OSError):  # the instance has not started yet, or has stopped
                self._follow()
            time.sleep(_RETRY_SECONDS)

    def _follow(self) -> None:
        decoders = Decoders()
        for batch in follow(self._world, backlog=200):
            lines = []
            for followed in batch:
                decoded, exchange = decoders.decode(followed), followed.exchange
                lines.append(
                    {"slot": followed.slot, "reader": followed.reader, "at": exchange.at, "ms": exchange.seconds * 1000,
                     "event": exchange.event, "words": decoded.words, "command": decoded.command,
                     "response": decoded.response, "rule": decoded.rule, "source": decoded.source,
                     "missed": followed.missed}
                )  # fmt: skip
            with self._lock:
                self._lines.extend(lines)
                self._count += len(lines)
