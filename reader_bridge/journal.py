"""What went over a bench's slots, kept for whoever wants to see it: the last so many exchanges, and no more.

Writing is all that happens while a client waits for its card; whoever reads takes words and masks upon himself.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import NamedTuple

from kazashi.reader_bridge.vpcd import Exchange

KEPT = 10_000


class JournalEntry(NamedTuple):
    """One exchange: its running number over all slots, from 1, and the slot's number."""

    number: int
    slot: int
    exchange: Exchange


class Journal:
    """The last KEPT exchanges of all slots. Methods may be called from any thread."""

    def __init__(self, kept: int = KEPT) -> None:
        self._entries: deque[JournalEntry] = deque(maxlen=kept)
        self._lock = threading.Lock()
        self._last = 0

    def add(self, slot: int, exchange: Exchange) -> None:
        """Note an exchange."""
        with self._lock:
            self._last = number = self._last + 1
            self._entries.append(JournalEntry(number, slot, exchange))

    @property
    def last(self) -> int:
        """The number of the newest entry, 0 where there is none."""
        return self._last

    def since(self, number: int) -> tuple[list[JournalEntry], int]:
        """The entries after that number which are still kept, and how many are not kept any more."""
        with self._lock:
            wanted = self._last - number
            missed = max(0, wanted - len(self._entries))
            # From the new end: a follower wants a few of very many.
            entries = [self._entries[-place] for place in range(wanted - missed, 0, -1)]
        return entries, missed
