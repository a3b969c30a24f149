"""Where a slot and a reader connect: a socket of ours to which the driver in pcscd connects, a port on which vpcd
listens, or a port of ours to which a reader's host dials."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from dataclasses import dataclass
from pathlib import Path

from kazashi.reader_bridge import doorway

SYSTEM_DIRECTORY = Path("/run/pcscd")
"""pcscd's own directory, whose path is fixed."""
SOCKET_NAME = "pcscd.comm"

_ACCEPT_SECONDS = 0.2
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5


class PortTaken(Exception):
    """The port of a dial-in slot is in use, or cannot be listened on."""


@dataclass(frozen=True, slots=True)
class DriverEndpoint:
    """One slot of a reader of our own driver: its name in PC/SC, the reader's directory, and the number of the slot.

    The slot listens on the socket in the directory that is named like the number.
    """

    reader: str
    directory: Path
    number: int

    open_port = None
    tolerates_silence = False

    def is_hosted(self) -> bool:
        """Return whether a program listens in the slot, which would lose it to a second one."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)
            try:
                probe.connect(os.fspath(self.directory / str(self.number)))
            except BlockingIOError:
                return True  # it listens, and others wait before us
            except OSError:
                return False
            return True


@dataclass(frozen=True, slots=True)
class VpcdEndpoint:
    """One slot of a virtual reader: its name in PC/SC, and the address on which vpcd listens.

    If vpcd's ports are in a network namespace, `door` is the socket of the program that connects to them. `pcscd` is
    the socket of the pcscd that has the reader.
    """

    reader: str
    host: str
    port: int
    door: str = ""
    pcscd: Path = SYSTEM_DIRECTORY / SOCKET_NAME

    tolerates_silence = False
    """A silent vpcd is an error: the link has timeouts."""

    @property
    def open_port(self) -> int | None:
        """The port to which everybody can connect who can reach this machine."""
        return None if self.door else self.port

    def meet(self, stop: threading.Event) -> socket.socket | None:
        """Return a connection as soon as vpcd listens, or None once `stop` is set."""
        pause = _FIRST_PAUSE
        while not stop.is_set():
            try:
                if self.door:
                    return doorway.connect(self.door, self.port)
                return socket.create_connection((self.host, self.port), timeout=None)
            except OSError:
                stop.wait(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
        return None


@dataclass(frozen=True, slots=True)
class DialledEndpoint:
    """A slot that waits for a host to dial in, as vicc does in its reversed mode: a phone in front of a reader, or
    vpcd in dial-out mode.

    It listens only while it has a card and no connection, so that a second host is rejected at once instead of waiting
    in vain.
    """

    reader: str
    host: str
    port: int

    tolerates_silence = True

    @property
    def open_port(self) -> int:
        """The port to which everybody can connect who can reach the host's address."""
        return self.port

    def check(self) -> None:
        """Raise PortTaken if the port cannot be listened on."""
        self._listening().close()

    def meet(self, stop: threading.Event) -> socket.socket | None:
        """Wait for a host and return its connection, or None once `stop` is set."""
        listening = None
        while not stop.is_set():
            if listening is None:
                with contextlib.suppress(PortTaken):  # it may be free again later
                    listening = self._listening()
                if listening is None:
                    stop.wait(_LONGEST_PAUSE)
                    continue
            try:
                dialled, _ = listening.accept()
            except TimeoutError:
                continue
            dialled.settimeout(None)
            listening.close()
            return dialled
        if listening is not None:
            listening.close()
        return None

    def _listening(self) -> socket.socket:
        try:
            listening = socket.create_server((self.host, self.port), backlog=1)
        except OSError as error:
            raise PortTaken(f"cannot listen on {self.host} port {self.port}: {error.strerror or error}") from error
        listening.settimeout(_ACCEPT_SECONDS)
        return listening


AnyEndpoint = DriverEndpoint | VpcdEndpoint | DialledEndpoint


def dialled_endpoint(address: str) -> DialledEndpoint:
    """Return the endpoint at `PORT` or `HOST:PORT`; the host defaults to loopback. Raises ValueError."""
    host, _, port = address.rpartition(":")
    if not (port.isascii() and port.isdigit() and len(port) <= 5) or not 0 < int(port) < 65536:
        raise ValueError(f"{address!r} is not PORT or HOST:PORT")
    host = host or "127.0.0.1"
    return DialledEndpoint(f"dial-in {port}", host, int(port))
