"""The card side of vpcd's protocol: a TCP connection over which a virtual reader powers, resets and uses a card.

Either the card side connects to a reader that listens (vpcd's usual mode), or a reader connects to it: vpcd in dial-out
mode, or a phone that presents the card to a real reader.

Each message is a two-byte length and a body. A body of one byte is a control (0 power off, 1 power on, 2 reset, 4 get
ATR); any other body is a command APDU. Only the ATR request and commands get a response.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

from kazashi.card.chip import NotPowered
from kazashi.reader_bridge.interface import CardGone, Interface

_log = logging.getLogger(__name__)
_QUICKACK = getattr(socket, "TCP_QUICKACK", None)  # Linux only


_UNNOTICED_SECONDS = 0.7
"""pcscd polls for a card every 0.4 s, and powers a new card as soon as it notices it."""


_SILENCE_SECONDS = 2.0
"""After a control, vpcd goes on polling for the card every 0.4 s. Silence means that it waits for a response."""


_LONGEST = 0xFFFF


class Control(Enum):
    """A message of one byte from vpcd."""

    POWER_OFF = 0
    POWER_ON = 1
    RESET = 2
    ATR = 4


class LinkState(Enum):
    """The state of the card as the host knows it."""

    UNNOTICED = "the card was inserted and has not been powered yet"
    OFF = "the card was powered and then powered off"
    STARTING = "the card has power, and its ATR was not requested yet"
    STARTED = "the ATR was sent, and nothing was received since"
    RUNNING = "the card has power and is in use"

    @property
    def powered(self) -> bool:
        """Whether the card has power."""
        return self in (LinkState.STARTING, LinkState.STARTED, LinkState.RUNNING)


class Exchange(NamedTuple):
    """One command and its response, or another event.

    `at` is when the command was received, in seconds since the epoch; `seconds` is how long the card took. For an event
    that is not a command, `event` names it, `command` is empty, and `response` is the ATR if the card has power. This
    is a tuple because one is made for every command.
    """

    at: float
    seconds: float
    command: bytes
    response: bytes
    event: str = ""


EVENTS = {Control.POWER_ON: "power on", Control.POWER_OFF: "power off", Control.RESET: "reset"}
INSERTED, REMOVED = "inserted", "removed"
FORGETTING = {*EVENTS.values(), INSERTED, REMOVED}
"""Events that clear what is selected on a card."""


Observer = Callable[[Exchange], None]


class ReaderGone(Exception):
    """The connection to vpcd was closed, or the card must be removed from it."""


class VpcdLink:
    """The connection of one card to one slot of vpcd. `serve` runs in its own thread until `cut` is called.

    `tolerates_silence` is for a host that dialled in, which may not be pcscd: it may be silent for any time, never
    request the ATR, and send a command to a card that it did not power, as a phone does at its second reader.
    """

    def __init__(
        self,
        sock: socket.socket,
        interface: Interface,
        observers: tuple[Observer, ...],
        *,
        tolerates_silence: bool = False,
    ) -> None:
        self._sock = sock
        self._interface = interface
        self._observers = observers
        self._buffer = bytearray(2 * (2 + 0xFFFF))
        self._view = memoryview(self._buffer)
        self._buffered = 0  # bytes received and not yet consumed
        self._first_poll: float | None = None
        self._state = LinkState.UNNOTICED
        self._tolerates_silence = tolerates_silence
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def serve(self, on_power: Callable[[], None] = lambda: None) -> None:
        """Serve vpcd until the connection ends; then raise ReaderGone. `on_power` is called once pcscd knows the card.

        That is at the first message after power-on and the ATR request that follows it: pcscd powers a card and polls
        for it again in one thread, and notifies its clients in between.
        """
        try:
            while True:
                message = self._receive()
                if self._state is LinkState.STARTED:
                    self._state = LinkState.RUNNING
                    on_power()
                if len(message) != 1:
                    if self._tolerates_silence and not self._state.powered:
                        self._interface.power_on()
                        self._state = LinkState.RUNNING
                        on_power()
                    self._answer(message)
                elif message[0] == Control.ATR.value:
                    self._send(self._interface.atr)
                    self._polled()
                else:
                    self._control(message[0])
        except (OSError, NotPowered, CardGone) as error:
            raise ReaderGone(str(error)) from error
        finally:
            self._interface.power_off()
            self._sock.close()

    def _control(self, code: int) -> None:
        """Handle a power or reset control. vpcd expects no response."""
        match code:
            case Control.POWER_OFF.value:
                self._interface.power_off()
                if self._state is not LinkState.UNNOTICED:
                    self._state = LinkState.OFF
            case Control.POWER_ON.value:
                self._interface.power_on()
                self._state = LinkState.STARTING
            case Control.RESET.value:
                self._interface.reset()
                self._state = LinkState.STARTING
            case _:
                _log.warning("vpcd sent the unknown control %02X", code)
                return
        if not self._tolerates_silence:
            self._expect_message()
        for observer in self._observers:
            observer(Exchange(time.time(), 0.0, b"", self._interface.atr, EVENTS[Control(code)]))

    def _expect_message(self) -> None:
        """Set a timeout for the next message."""
        # A client may have sent this one byte as a command. The two look the same on the wire, and vpcd would wait for
        # a response forever, with the reader locked. If vpcd is silent now, the card is removed for a moment, which
        # the client can see.
        self._sock.settimeout(_SILENCE_SECONDS)

    def _polled(self) -> None:
        """Handle a request for the ATR, which vpcd sends after power-on and to poll for the card.

        A client's command between two cards makes vpcd drop the old one at once, and vpcd may find the new one before
        pcscd polls again. pcscd then never learns of the change and never powers the new card. A card that is polled
        repeatedly without being powered is therefore removed once more.
        """
        if self._state is LinkState.STARTING:
            self._state = LinkState.STARTED
        if self._first_poll is None:
            self._first_poll = time.monotonic()
        if self._unnoticed and time.monotonic() - self._first_poll > _UNNOTICED_SECONDS:
            raise ReaderGone("pcscd has not noticed the new card")

    @property
    def _unnoticed(self) -> bool:
        """Whether pcscd has not noticed this card yet; it powers every card that it notices."""
        return self._state is LinkState.UNNOTICED and not self._tolerates_silence

    def cut(self) -> None:
        """Remove the card at once, even in the middle of a command. `serve` then ends."""
        with contextlib.suppress(OSError):  # the connection may be closed already
            self._sock.shutdown(socket.SHUT_RDWR)

    def _answer(self, command: bytes) -> None:
        if self._unnoticed:
            raise ReaderGone("pcscd has not noticed the new card")
        at, begun = time.time(), time.perf_counter()
        response = self._interface.transmit(command)
        seconds = time.perf_counter() - begun
        if not 0 < len(response) <= _LONGEST:
            # vpcd would wait forever after an empty response, and a longer one does not fit in a message.
            raise ReaderGone(f"a response of {len(response)} bytes cannot be sent to vpcd")
        self._send(response)
        for observer in self._observers:
            observer(Exchange(at, seconds, command, response))
        if not self._interface.present:
            raise ReaderGone("the card was removed after its response")

    def _receive(self) -> bytes:
        """Return the next message.

        vpcd writes length and body separately and, with Nagle's algorithm, waits for the acknowledgement of the first.
        Every read therefore requests immediate acknowledgement; otherwise each APDU would take some 43 ms longer.
        """
        buffer, size = self._buffer, self._buffered
        while size < 2 or size < 2 + (buffer[0] << 8 | buffer[1]):
            if _QUICKACK is not None:
                self._sock.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
            count = self._sock.recv_into(self._view[size:])
            if not count:
                raise ReaderGone("vpcd closed the connection")
            size += count
        end = 2 + (buffer[0] << 8 | buffer[1])
        if self._sock.gettimeout() is not None:  # the expected message has arrived
            self._sock.settimeout(None)
        message = bytes(self._view[2:end])
        self._buffered = size - end
        if self._buffered:
            buffer[: self._buffered] = buffer[end:size]
        return message

    def _send(self, body: bytes) -> None:
        self._sock.sendall(len(body).to_bytes(2) + body)
