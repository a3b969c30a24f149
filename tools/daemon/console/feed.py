"""The live trace for pages: one follower of the bench for all of them, and a bounded past."""

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
"""How many lines the past has. A page that falls further behind is told how many it has missed."""

_RETRY_SECONDS = 1.0


class Feed:
    """Lines of the trace, decoded and masked, as the bench has them. Methods may be called from any thread."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._lines: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._lock = threading.Lock()
        self._count = 0
        threading.Thread(target=self._run, name="feed", daemon=True).start()

    @property
    def count(self) -> int:
        """How many lines there ever were."""
        return self._count

    def since(self, number: int, most: int) -> tuple[list[dict[str, Any]], int, int]:
        """Lines after that number, the newest `most` of them; how many there are now; and how many are left out."""
        with self._lock:
            wanted = min(self._count - number, len(self._lines), most)
            return [self._lines[-place] for place in range(wanted, 0, -1)], self._count, self._count - number - wanted

    def _run(self) -> None:
        while True:
            with suppress(NotRunning, ControlRejected, OSError):  # the bench is not up yet, or not any more
                self._follow()
            time.sleep(_RETRY_SECONDS)

    def _follow(self) -> None:
        decoders = Decoders()
        for found in follow(self._world, backlog=200):
            lines = []
            for one in found:
                decoded = decoders.decode(one)
                lines.append(
                    {"slot": one.slot, "reader": one.reader, "at": one.exchange.at, "ms": one.exchange.seconds * 1000,
                     "event": one.exchange.event, "words": decoded.words, "command": decoded.command,
                     "response": decoded.response, "missed": one.missed}
                )  # fmt: skip
            with self._lock:
                self._lines.extend(lines)
                self._count += len(lines)
