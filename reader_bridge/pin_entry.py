"""Entries of PINs at the emulated readers of an instance: the readers wait, and a person types somewhere else."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass, field

from kazashi.reader_bridge.pin_pad import PinCancelled, PinRequest, PinTimedOut

_LONGEST_ENTRY = 64


class NoPinWanted(Exception):
    """The slot does not wait for a PIN."""


class NotDigits(Exception):
    """A PIN pad has the keys 0 to 9 only."""


@dataclass(frozen=True, slots=True)
class WaitingEntry:
    """An entry that waits for a PIN. `seconds` are left; `typed` is the number of digits so far."""

    request: PinRequest
    typed: int
    seconds: float


@dataclass(slots=True, eq=False)
class _Entry:
    request: PinRequest
    until: float
    digits: str = ""
    ended: bool = False
    cancelled: bool = False
    changed: threading.Condition = field(default_factory=threading.Condition)


class PinEntries:
    """The entries of all slots, one for each slot at a time. A PinSource; thread-safe."""

    def __init__(self) -> None:
        self._entries: dict[int, _Entry] = {}
        self._lock = threading.Lock()

    def __call__(self, request: PinRequest) -> str:
        """Wait for the PIN and return it. Raises PinCancelled and PinTimedOut."""
        entry = _Entry(request, time.monotonic() + request.seconds)
        with self._lock:
            if request.slot in self._entries:
                raise PinCancelled("the PIN pad is in use")
            self._entries[request.slot] = entry
        try:
            with entry.changed:
                entry.changed.wait_for(lambda: entry.ended, max(0.0, entry.until - time.monotonic()))
        finally:
            with self._lock:
                del self._entries[request.slot]
        if not entry.ended:
            raise PinTimedOut(entry.digits)
        if entry.cancelled:
            raise PinCancelled("the entry was cancelled")
        return entry.digits

    def waiting(self) -> list[WaitingEntry]:
        """Return the entries that wait, by slot."""
        with self._lock:
            entries = sorted(self._entries.items())
        return [
            WaitingEntry(entry.request, len(entry.digits), max(0.0, entry.until - time.monotonic()))
            for _, entry in entries
        ]

    def press(self, slot: int, digits: str) -> None:
        """Press digit keys. The entry ends by itself when it is full, if its request says so.

        Raises NoPinWanted and NotDigits.
        """
        if not (digits.isascii() and digits.isdigit()) or len(digits) > _LONGEST_ENTRY:
            raise NotDigits("a PIN pad has the keys 0 to 9 only; type a PIN with letters into the client")
        entry = self._entry(slot)
        with entry.changed:
            for digit in digits:
                if entry.ended:
                    break
                entry.digits = (entry.digits + digit)[:_LONGEST_ENTRY]
                if entry.request.ends_when_full and len(entry.digits) >= entry.request.longest:
                    self._end(entry)

    def correct(self, slot: int) -> None:
        """Press the correction key, which takes back the last digit. Raises NoPinWanted."""
        entry = self._entry(slot)
        with entry.changed:
            entry.digits = entry.digits[:-1]

    def confirm(self, slot: int) -> None:
        """Press the confirmation key. It does nothing if the request says that the key does not end the entry.

        Raises NoPinWanted.
        """
        entry = self._entry(slot)
        with entry.changed:
            if entry.request.ends_with_key:
                self._end(entry)

    def cancel(self, slot: int) -> None:
        """Press the cancel key. Raises NoPinWanted."""
        entry = self._entry(slot)
        with entry.changed:
            entry.cancelled = True
            self._end(entry)

    def cancel_all(self, *slots: int) -> None:
        """Cancel the entries of slots, if they wait."""
        for slot in slots:
            with contextlib.suppress(NoPinWanted):
                self.cancel(slot)

    def _entry(self, slot: int) -> _Entry:
        with self._lock:
            entry = self._entries.get(slot)
        if entry is None or entry.ended:
            raise NoPinWanted(f"slot {slot} does not wait for a PIN")
        return entry

    @staticmethod
    def _end(entry: _Entry) -> None:
        entry.ended = True
        entry.changed.notify_all()
