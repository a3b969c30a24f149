"""The most recent exchanges of an instance's slots.

Exchanges are only stored while a client waits for its card; they are decoded and masked when they are read.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import NamedTuple

from kazashi.reader_bridge.vpcd import Exchange

KEPT = 10_000


class JournalEntry(NamedTuple):
    """One exchange, with its serial number over all slots, from 1, and the number of its slot."""

    number: int
    slot: int
    exchange: Exchange


class Journal:
    """The last KEPT exchanges of all slots. Thread-safe."""

    def __init__(self, kept: int = KEPT) -> None:
        self._entries: deque[JournalEntry] = deque(maxlen=kept)
        self._lock = threading.Lock()
        self._last = 0

    def add(self, slot: int, exchange: Exchange) -> None:
        """Add an exchange of a slot."""
        with self._lock:
            self._last = number = self._last + 1
            self._entries.append(JournalEntry(number, slot, exchange))

    @property
    def last(self) -> int:
        """The number of the newest entry, 0 if there is none."""
        return self._last

    def since(self, number: int) -> tuple[list[JournalEntry], int]:
        """Return the entries after a number that are still kept, and the number of those that are not."""
        with self._lock:
            wanted = self._last - number
            missed = max(0, wanted - len(self._entries))
            # Index from the newest entry: a follower wants the last few of many.
            entries = [self._entries[-place] for place in range(wanted - missed, 0, -1)]
        return entries, missed
