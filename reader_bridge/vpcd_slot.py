"""A slot whose reader is vpcd, or a host that dials in: a connection for as long as a card is inserted."""

from __future__ import annotations

import threading

from kazashi.reader_bridge.endpoint import DialledEndpoint, VpcdEndpoint
from kazashi.reader_bridge.interface import Interface
from kazashi.reader_bridge.pcscd_view import wait_until_empty
from kazashi.reader_bridge.slot import Slot
from kazashi.reader_bridge.vpcd import Observer, ReaderGone, VpcdLink

_JOIN_SECONDS = 10
_PRESENCE_SECONDS = 0.1
_VISIBLE_SECONDS = 5.0
"""How long a removal is waited for until PC/SC clients can see it. pcscd polls vpcd every 0.4 s."""


class VpcdSlot(Slot):
    """A slot of vpcd, which learns of a card from a connection, and of its removal from the connection's end."""

    endpoint: VpcdEndpoint | DialledEndpoint

    def __init__(self, endpoint: VpcdEndpoint | DialledEndpoint, *observers: Observer) -> None:
        """Make an empty slot.

        `observers` are called with every exchange, in the slot's own thread, after the response was sent.
        """
        super().__init__(endpoint)
        self._lock = threading.Lock()
        self._holder: _Holder | None = None
        self._observers = observers

    @property
    def occupied(self) -> bool:
        """Whether there is a card in the slot."""
        return self._holder is not None

    def insert(self, interface: Interface) -> None:
        """Insert a card. Raises SlotBusy if the slot holds one already."""
        with self._lock:
            self._refuse_second_card()
            self._holder = _Holder(self.endpoint, interface, self._observers)
            self._holder.start()

    def remove(self) -> None:
        """Remove the card, if there is one, even in the middle of a command, and wait until PC/SC clients can see it.

        Return after five seconds if pcscd does not notice.
        """
        with self._lock:
            if self._take_out() and isinstance(self.endpoint, VpcdEndpoint):
                wait_until_empty(self.endpoint.reader, self.endpoint.pcscd, _VISIBLE_SECONDS)

    def close(self) -> None:
        """Remove the card without waiting."""
        with self._lock:
            self._take_out()

    def _take_out(self) -> bool:
        """End the connection. Return whether PC/SC clients can see the card until pcscd notices."""
        holder, self._holder = self._holder, None
        if holder is None:
            return False
        seen = holder.powered.is_set()
        holder.stop()
        return seen

    def wait_until_powered(self, seconds: float) -> bool:
        """Wait until a reader has powered the inserted card. Return False after a timeout of `seconds`."""
        holder = self._holder
        return holder is not None and holder.powered.wait(seconds)


class _Holder(threading.Thread):
    """Serves one card at one endpoint until it is stopped, over any number of connections."""

    def __init__(
        self, endpoint: VpcdEndpoint | DialledEndpoint, interface: Interface, observers: tuple[Observer, ...]
    ) -> None:
        super().__init__(name=f"slot {endpoint.reader}", daemon=True)
        self.powered = threading.Event()
        self._endpoint = endpoint
        self._interface = interface
        self._observers = observers
        self._stopped = threading.Event()
        self._link: VpcdLink | None = None
        self._link_lock = threading.Lock()

    def run(self) -> None:
        """Connect and serve the card, again and again."""
        while True:
            while not self._interface.present and not self._stopped.wait(_PRESENCE_SECONDS):
                pass
            sock = self._endpoint.meet(self._stopped)
            with self._link_lock:
                if sock is None or self._stopped.is_set():
                    if sock is not None:
                        sock.close()
                    return
                self._link = VpcdLink(
                    sock, self._interface, self._observers, tolerates_silence=self._endpoint.tolerates_silence
                )
            try:
                self._link.serve(self.powered.set)
            except ReaderGone:
                self.powered.clear()

    def stop(self) -> None:
        """Remove the card and wait until it is not in use any more."""
        with self._link_lock:
            self._stopped.set()
            if self._link is not None:
                self._link.cut()
        self.join(_JOIN_SECONDS)
