"""A program in pcscd's network namespace that connects to vpcd's ports for one user: `python doorway.py SOCKET`.

vpcd listens on every address of its namespace and does not ask who connects. In a namespace of its own, which has
nothing but a loopback interface, nobody reaches it but through this program: it listens on a unix socket that only its
owner may open. A client sends a port, and gets a connected socket (SCM_RIGHTS, unix(7)), so that no byte of a card
passes through here.

It uses the standard library alone and is run by its path, so that it starts quickly.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import sys

_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1  # netdevice(7)
_PORT = struct.Struct("!H")


def connect(door: str, port: int) -> socket.socket:
    """Return a connection to a port behind a door. Raises OSError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        client.settimeout(5)
        client.connect(door)
        client.send(_PORT.pack(port))
        answer, descriptors, _, _ = socket.recv_fds(client, 1, 1)
        if answer != b"+" or not descriptors:
            raise ConnectionRefusedError(f"nothing listens on port {port} behind {door}")
        return socket.socket(fileno=descriptors[0])


def raise_loopback() -> None:
    """Switch the namespace's loopback interface on."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh14x", b"lo", 0)
        (flags,) = struct.unpack("16xh14x", fcntl.ioctl(control, _SIOCGIFFLAGS, request))
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _IFF_UP))


def serve(door: str) -> None:
    """Serve until the process is ended."""
    raise_loopback()
    os.umask(0o177)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(door)
        listening.listen(64)
        while True:
            client, _ = listening.accept()
            with client:
                try:
                    client.settimeout(5)
                    (port,) = _PORT.unpack(client.recv(_PORT.size))
                    with socket.create_connection(("127.0.0.1", port), 5) as inside:
                        inside.settimeout(None)
                        socket.send_fds(client, [b"+"], [inside.fileno()])
                except (OSError, struct.error):
                    continue  # vpcd does not listen yet; the client tries again


if __name__ == "__main__":
    serve(sys.argv[1])
