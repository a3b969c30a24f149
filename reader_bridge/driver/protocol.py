"""The messages between the driver in pcscd and the host of a slot (docs/driver.md).

A message is a length (4 bytes, big-endian) of what follows, a kind, and a body. The driver connects and sends HELLO;
the host replies with HELLO. From then on every request gets one REPLY, and both sides may send what needs no reply.
"""

from __future__ import annotations

import socket
import time
from enum import IntEnum
from typing import NamedTuple

VERSION = 1
LONGEST = 0x11000
"""The greatest number of bytes in a message's kind and body. The longest command APDU has 65,544 bytes."""


class Kind(IntEnum):
    """What a message is: of the driver up to SETTLED, of the host from REPLY on; HELLO is of both."""

    HELLO = 0x00
    POWER_UP = 0x01
    POWER_DOWN = 0x02
    RESET = 0x03
    TRANSMIT = 0x04
    CONTROL = 0x05
    GET_ATTRIBUTE = 0x06
    SET_ATTRIBUTE = 0x07
    PROTOCOL = 0x08
    SETTLED = 0x09
    REPLY = 0x80
    PRESENCE = 0x81
    MORE_TIME = 0x82


class Presence(IntEnum):
    """What can be seen of a slot: the body of PRESENCE and SETTLED, and the second byte of the host's HELLO."""

    EMPTY = 0
    CARD = 1
    UNPLUGGED = 2


class ReplyCode(IntEnum):
    """The first byte of a reply."""

    DONE = 0
    CARD_ABSENT = 1
    CARD_MUTE = 2
    FAILED = 3
    UNSUPPORTED = 4
    PROTOCOL_REFUSED = 5


class BadMessage(Exception):
    """The other side sent something that is not a message of this protocol, or a message out of turn."""


class Disconnected(Exception):
    """The other side closed the connection."""


class DriverMessage(NamedTuple):
    """A received message."""

    kind: int
    body: bytes


def packed(kind: Kind, body: bytes = b"") -> bytes:
    """Return the bytes of a message."""
    return (1 + len(body)).to_bytes(4) + bytes((kind,)) + body


class Receiver:
    """Splits what arrives on a connection into messages."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = bytearray(4 + LONGEST)
        self._view = memoryview(self._buffer)
        self._filled = 0

    def next(self, seconds: float | None = None) -> DriverMessage:
        """Return the next message. Raises Disconnected, BadMessage, TimeoutError and OSError.

        All of it must arrive within `seconds`; the connection has a time-out of its own if this is None.
        """
        buffer = self._buffer
        deadline = None if seconds is None else time.monotonic() + seconds
        while (end := self._end()) > self._filled:
            if deadline is not None:
                if (left := deadline - time.monotonic()) <= 0:
                    raise TimeoutError("half a message")
                self._connection.settimeout(left)
            count = self._connection.recv_into(self._view[self._filled :])
            if not count:
                raise Disconnected
            self._filled += count
        message = DriverMessage(buffer[4], bytes(self._view[5:end]))
        left = self._filled - end
        if left:
            buffer[:left] = buffer[end : self._filled]
        self._filled = left
        return message

    def _end(self) -> int:
        """Return where the first message ends, or what is needed to know that."""
        if self._filled < 5:
            return 5
        length = int.from_bytes(self._view[:4])
        if not 1 <= length <= LONGEST:
            raise BadMessage(f"a message of {length} bytes")
        return max(5, 4 + length)
