"""Sockets that listen on a port of `localhost`, which is one address of each family.

A program that looks `localhost` up may use 127.0.0.1 or ::1, and some programs use only the first that they get. A
server that listened on one of them alone would also leave the other one's port to any other user of the machine.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator

_LOOPBACK = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))
_BACKLOG = 2048


def listening_sockets(port: int) -> list[socket.socket]:
    """Return listening sockets at the loopback addresses that the machine has. Raises OSError if a port is in use."""
    sockets: list[socket.socket] = []
    try:
        for family, address in loopback_addresses():
            sockets.append(socket.create_server((address, port), family=family, backlog=_BACKLOG))
    except OSError:
        for one in sockets:
            one.close()
        raise
    return sockets


def is_free(port: int) -> bool:
    """Whether a server can listen on a port of `localhost`."""
    for family, address in loopback_addresses():
        with socket.socket(family) as probe:
            if probe.connect_ex((address, port)) == 0:  # a server accepts connections, perhaps on all addresses
                return False
    try:
        sockets = listening_sockets(port)
    except OSError:
        return False
    for one in sockets:
        one.close()
    return True


def loopback_addresses() -> Iterator[tuple[socket.AddressFamily, str]]:
    """The families and loopback addresses that the machine has: 127.0.0.1, and ::1 unless IPv6 is switched off."""
    for family, address in _LOOPBACK:
        try:
            with socket.socket(family) as probe:
                probe.bind((address, 0))
        except OSError:
            continue
        yield family, address
