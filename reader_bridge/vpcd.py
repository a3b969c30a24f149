"""Our end of vpcd's protocol: a TCP connection over which a virtual reader powers, resets and talks to a card.

Either we dial a reader that listens (vpcd as it usually runs), or a reader dials us: vpcd in dial-out mode, or a phone
that holds our card to a reader on a desk.

Each message is a two-byte length and a body. A body of one byte is a control (0 power off, 1 power on, 2 reset, 4 the
ATR, please), any other is a command APDU. Only the ATR and commands are answered.
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
"""pcscd looks for a card every 0.4 s, and gives one that it notices power in the same moment."""


_SILENCE_SECONDS = 2.0
"""After a control, vpcd goes on looking for the card every 0.4 s. Silence means that it waits for an answer."""


_LONGEST = 0xFFFF


class Control(Enum):
    """What vpcd asks for in a message of one byte."""

    POWER_OFF = 0
    POWER_ON = 1
    RESET = 2
    ATR = 4


class LinkState(Enum):
    """What the host at the other end has done with the card."""

    UNNOTICED = "the card was put in, and has never been given power"
    OFF = "the card was given power, and has it no more"
    STARTING = "the card has power, and its ATR was not asked for yet"
    STARTED = "the ATR was sent, and nothing has come since"
    RUNNING = "the card has power, and is in use"

    @property
    def powered(self) -> bool:
        """Whether the card has power."""
        return self in (LinkState.STARTING, LinkState.STARTED, LinkState.RUNNING)


class Exchange(NamedTuple):
    """One command and its answer: when it came (seconds since the epoch), how long the card took, both as bytes.

    Or something else that happened to the card: then `event` says what, `command` is empty, and `response` is the ATR
    where the card got power. A tuple, because one is made for every command.
    """

    at: float
    seconds: float
    command: bytes
    response: bytes
    event: str = ""


EVENTS = {Control.POWER_ON: "power on", Control.POWER_OFF: "power off", Control.RESET: "reset"}
INSERTED, REMOVED = "inserted", "removed"
FORGETTING = {*EVENTS.values(), INSERTED, REMOVED}
"""Events after which nothing is selected on a card any more."""


Observer = Callable[[Exchange], None]


class ReaderGone(Exception):
    """vpcd closed the connection, or could not be reached."""


class VpcdLink:
    """One card held to one slot of vpcd. `serve` runs in a thread of its own until `cut`.

    `patient` is for a host that dialled us, and need not be pcscd: it may be silent for as long as it likes, never
    ask for the ATR, and send a command to a card that it forgot to power, as a phone does that meets its second
    reader.
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
        self._held = 0  # bytes received and not yet taken
        self._first_poll: float | None = None
        self._state = LinkState.UNNOTICED
        self._patient = tolerates_silence
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def serve(self, on_power: Callable[[], None] = lambda: None) -> None:
        """Answer vpcd until it goes away (ReaderGone). `on_power` is called once pcscd knows of the card.

        That is with the first message after power and the ATR that follows: pcscd powers a card and looks for it
        again in one thread, and in between it tells its clients.
        """
        try:
            while True:
                message = self._receive()
                if self._state is LinkState.STARTED:
                    self._state = LinkState.RUNNING
                    on_power()
                if len(message) != 1:
                    if self._patient and not self._state.powered:
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
        """Power or reset; vpcd expects no answer."""
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
        if not self._patient:
            self._hurry()
        for observer in self._observers:
            observer(Exchange(time.time(), 0.0, b"", self._interface.atr, EVENTS[Control(code)]))

    def _hurry(self) -> None:
        """Expect the next message soon."""
        # A client may have sent this one byte as a command: on the wire they look the same, and vpcd would wait for
        # its answer for ever, with the reader locked. Should it fall silent now, the card is taken out for a moment,
        # which the client is told of.
        self._sock.settimeout(_SILENCE_SECONDS)

    def _polled(self) -> None:
        """The ATR was asked for: after power, or to see whether there is a card.

        A client's command that meets the gap between two cards has vpcd drop the old one at once, and it may find
        the new one before pcscd has looked: pcscd then never learns of the change, and never gives the new card
        power. A card that is looked at again and again without power is therefore taken out once more.
        """
        if self._state is LinkState.STARTING:
            self._state = LinkState.STARTED
        if self._first_poll is None:
            self._first_poll = time.monotonic()
        if self._unnoticed and time.monotonic() - self._first_poll > _UNNOTICED_SECONDS:
            raise ReaderGone("pcscd has not noticed that there is a new card")

    @property
    def _unnoticed(self) -> bool:
        """Whether pcscd, which gives power to every card that it notices, has not noticed this one."""
        return self._state is LinkState.UNNOTICED and not self._patient

    def cut(self) -> None:
        """Take the card away at once, whatever it is doing. `serve` then ends."""
        with contextlib.suppress(OSError):  # it may be gone already
            self._sock.shutdown(socket.SHUT_RDWR)

    def _answer(self, command: bytes) -> None:
        if self._unnoticed:
            raise ReaderGone("pcscd has not noticed that there is a new card")
        at, begun = time.time(), time.perf_counter()
        response = self._interface.transmit(command)
        seconds = time.perf_counter() - begun
        if not 0 < len(response) <= _LONGEST:
            # vpcd would wait for an answer of nothing for ever, and a longer one is no message of its.
            raise ReaderGone(f"a card that answers {len(response)} bytes is none")
        self._send(response)
        for observer in self._observers:
            observer(Exchange(at, seconds, command, response))
        if not self._interface.present:
            raise ReaderGone("the card was torn out after its answer")

    def _receive(self) -> bytes:
        """The next message. vpcd writes length and body apart and waits, with Nagle's algorithm, for the first to be
        acknowledged; so every read asks for immediate acknowledgement anew, or each APDU would cost some 43 ms."""
        buffer, held = self._buffer, self._held
        while held < 2 or held < 2 + (buffer[0] << 8 | buffer[1]):
            if _QUICKACK is not None:
                self._sock.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
            count = self._sock.recv_into(self._view[held:])
            if not count:
                raise ReaderGone("vpcd closed the connection")
            held += count
        end = 2 + (buffer[0] << 8 | buffer[1])
        if self._sock.gettimeout() is not None:  # the message that was expected soon has come
            self._sock.settimeout(None)
        message = bytes(self._view[2:end])
        self._held = held - end
        if self._held:
            buffer[: self._held] = buffer[end:held]
        return message

    def _send(self, body: bytes) -> None:
        self._sock.sendall(len(body).to_bytes(2) + body)
