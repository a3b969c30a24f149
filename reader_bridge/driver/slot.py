"""A slot whose reader is our own driver: one connection for as long as both sides run, over which cards come and go."""

from __future__ import annotations

import contextlib
import logging
import os
import pwd
import socket
import struct
import threading
import time
from typing import Protocol

from kazashi.card.chip import NotPowered
from kazashi.reader_bridge.driver.protocol import (
    VERSION,
    BadMessage,
    Disconnected,
    DriverMessage,
    Kind,
    Presence,
    Receiver,
    ReplyCode,
    packed,
)
from kazashi.reader_bridge.endpoint import DriverEndpoint
from kazashi.reader_bridge.interface import CardGone, Interface, NotSupportedByReader, ProtocolRefused, ReaderFailed
from kazashi.reader_bridge.slot import Slot
from kazashi.reader_bridge.vpcd import Exchange, Observer

_log = logging.getLogger(__name__)

_GREETING_SECONDS = 1.0
_POLL_SECONDS = 0.05
"""How often a card is looked for that has left and does not say when it comes back."""
_SHORTEST_SECONDS = 0.001
"""The shortest time until a card is looked for again. A socket with a timeout of 0 would not wait at all."""
_BUSY_SECONDS = 10.0
"""The longest time that a card may need for a command after its removal."""
_VISIBLE_SECONDS = 2.0
"""How long a removal is waited for until PC/SC clients can see it."""
_PATIENCE_SECONDS = 2.0
"""How often the driver, which gives up after ten seconds, is told that a card still works on a command."""
_LONGEST_RESPONSE = 65536 + 2
_EVENTS = {Kind.POWER_UP: "power on", Kind.POWER_DOWN: "power off", Kind.RESET: "reset"}
_PEER = struct.Struct("3i")  # struct ucred: process, user, group

Answer = tuple[ReplyCode, bytes]
_DONE = bytes((ReplyCode.DONE,))


class ReaderFunctions(Protocol):
    """What a reader does by itself, apart from its card. Every method may raise NotSupportedByReader and ReaderFailed,
    and `control` CardGone."""

    def attribute(self, slot: int, tag: int) -> bytes:
        """Return the value of an attribute (SCARD_ATTR_*)."""

    def set_attribute(self, slot: int, tag: int, value: bytes) -> None:
        """Set an attribute."""

    def control(self, slot: int, code: int, data: bytes) -> bytes:
        """Return the answer to a control code."""

    def protocol(self, slot: int, number: int) -> None:
        """Choose a protocol (1 for T=0, 2 for T=1) for the card."""


class DriverSlot(Slot):
    """A slot that the driver reaches by a unix socket. It learns from the driver what PC/SC clients can see."""

    endpoint: DriverEndpoint

    def __init__(self, endpoint: DriverEndpoint, *observers: Observer, reader: ReaderFunctions | None = None) -> None:
        """Make an empty slot, and listen for the driver. Raises OSError if the socket cannot be made.

        `observers` are called with every exchange, in the slot's own thread, after the response was sent. A slot
        without `reader` has no attributes and no control codes, and takes every protocol.
        """
        super().__init__(endpoint)
        self._observers = observers
        self._reader = reader
        self._state = threading.Condition()  # guards what follows, and sending
        self._interface: Interface | None = None
        self._connection: socket.socket | None = None
        self.unplugged = False
        self._told = Presence.EMPTY  # what the driver was told last
        self._visible = Presence.EMPTY  # what PC/SC clients can see
        self._stale = False  # whether requests may still be for a card whose removal pcscd has not noticed
        self._request_at: float | None = None  # when a request came that has no reply yet
        self._busy = False  # whether the card is in use, even if its request was replied to
        self._closed = False
        self._complaint = ""
        self._listening = _listen(endpoint)
        self._thread = threading.Thread(target=self._run, name=f"slot {endpoint.reader}", daemon=True)
        self._thread.start()
        _PATIENCE.watch(self)

    @property
    def occupied(self) -> bool:
        """Whether there is a card in the slot."""
        return self._interface is not None

    def insert(self, interface: Interface) -> None:
        """Insert a card. Raises SlotBusy if the slot holds one already."""
        with self._state:
            self._refuse_second_card()
            self._interface = interface
            self._tell(self._presence())

    def remove(self) -> None:
        """Remove the card, if there is one, even in the middle of a command, and wait until PC/SC clients can see it.

        Return after two seconds if pcscd does not notice.
        """
        with self._state:
            interface, self._interface = self._interface, None
            if interface is None:
                return
            self._lose(interface)

    def unplug(self) -> None:
        """Unplug the reader, even in the middle of a command, and wait until PC/SC clients can see it.

        A card stays in it, without power. Return after two seconds if pcscd does not notice.
        """
        with self._state:
            self.unplugged = True
            self._lose(self._interface)

    def plug(self) -> None:
        """Plug the reader in again, and wait until PC/SC clients can see it, at most two seconds."""
        with self._state:
            self.unplugged = False
            self._tell(self._presence())
            self._state.wait_for(self._is_visible, _VISIBLE_SECONDS)

    def _lose(self, interface: Interface | None) -> None:
        """Tell the driver that the card, if there was one, is out of its reach, and wait until that can be seen."""
        self._reply(ReplyCode.CARD_ABSENT)
        self._tell(self._presence())
        self._state.wait_for(lambda: not self._busy, _BUSY_SECONDS)
        if interface is not None:
            interface.power_off()
        self._state.wait_for(self._is_visible, _VISIBLE_SECONDS)

    def _is_visible(self) -> bool:
        """Whether PC/SC clients can see what the driver was told last, or there is no pcscd."""
        return self._connection is None or self._visible is self._told

    def wait_until_powered(self, seconds: float) -> bool:
        """Wait until PC/SC clients can see the inserted card. Return False after a timeout of `seconds`."""
        with self._state:
            return self._state.wait_for(lambda: self._visible is self._told is Presence.CARD, seconds)

    def close(self) -> None:
        """Remove the card, end the connection, and remove the socket. Do nothing the second time."""
        self.remove()
        with self._state:
            if self._closed:
                return
            self._closed = True
            _PATIENCE.forget(self)
            for end in (self._connection, self._listening):
                if end is not None:
                    with contextlib.suppress(OSError):  # the other side may have closed it
                        end.shutdown(socket.SHUT_RDWR)
        self._thread.join(_BUSY_SECONDS)
        self._listening.close()
        (self.endpoint.directory / str(self.endpoint.number)).unlink(missing_ok=True)

    def ask_for_time(self, now: float) -> None:
        """Tell the driver that the card works on a command, if it does so since some seconds. `now` is monotonic."""
        with self._state:
            if self._request_at is not None and now - self._request_at >= _PATIENCE_SECONDS:
                self._send(Kind.MORE_TIME)

    def _run(self) -> None:
        while not self._closed:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            try:
                self._serve(connection)
            except (BadMessage, TimeoutError) as error:
                self._complain(f"what connected is not the driver: {error}")
            except (Disconnected, OSError):
                pass
            finally:
                with self._state:
                    self._connection = None
                    self._request_at = None
                    self._visible = self._told = Presence.EMPTY
                    self._stale = self._busy = False
                    self._state.notify_all()
                    interface = self._interface
                if interface is not None:
                    interface.power_off()
                connection.close()

    def _serve(self, connection: socket.socket) -> None:
        """Serve one connection of the driver until it ends."""
        _, user, _ = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        if user not in _drivers_users():
            self._complain(f"user {user} connected, who may not run pcscd")
            return
        receiver = Receiver(connection)
        hello = receiver.next(_GREETING_SECONDS)
        if hello != DriverMessage(Kind.HELLO, bytes((VERSION, self.endpoint.number))):
            raise BadMessage(f"its greeting is {hello.kind:02X} {hello.body.hex()}")
        with self._state:
            self._connection = connection
            self._told = self._presence()
            self._send(Kind.HELLO, bytes((VERSION, self._told)))
        self._complaint = ""
        timeout: float | None = None
        connection.settimeout(timeout)
        while True:
            interface = self._interface
            seconds = interface.changes_in if interface is not None else None
            if seconds is None and interface is not None and self._told is Presence.EMPTY:
                seconds = _POLL_SECONDS
            if timeout != (timeout := None if seconds is None else max(seconds, _SHORTEST_SECONDS)):
                connection.settimeout(timeout)
            try:
                message = receiver.next()
            except TimeoutError:
                with self._state:
                    self._tell(self._presence())
                continue
            if message.kind == Kind.SETTLED and len(message.body) == 1 and message.body[0] <= Presence.UNPLUGGED:
                with self._state:
                    self._visible = Presence(message.body[0])
                    self._stale &= self._visible is Presence.CARD
                    self._state.notify_all()
            else:
                self._handle(message)

    def _handle(self, message: DriverMessage) -> None:
        """Reply to a request."""
        at = time.time()
        begun = time.perf_counter()
        with self._state:
            interface = self._interface if self._told is Presence.CARD and not self._stale else None
            self._request_at = time.monotonic()
            self._busy = True
        gone = False
        outcome, body = ReplyCode.FAILED, b""
        try:
            outcome, body = self._answer(interface, message)
        except CardGone:
            outcome, gone = ReplyCode.CARD_ABSENT, True
        except (NotPowered, ReaderFailed):
            pass
        except ProtocolRefused:
            outcome = ReplyCode.PROTOCOL_REFUSED
        except BadMessage:
            raise
        except NotSupportedByReader:
            outcome = ReplyCode.PROTOCOL_REFUSED if message.kind == Kind.PROTOCOL else ReplyCode.UNSUPPORTED
        except Exception:  # a mistake in a card's program costs its client an error, and not everybody the slot
            _log.exception("%s: the card failed at %s", self.endpoint.reader, message.body[:6].hex())
        finally:
            seconds = time.perf_counter() - begun
            with self._state:
                self._busy = False
                self._reply(outcome, body)
                if gone:
                    self._tell(Presence.EMPTY)
                self._tell(self._presence())
                if interface is not self._interface or self.unplugged:  # a removal waits for this
                    self._state.notify_all()
        if message.kind == Kind.TRANSMIT:
            if outcome is ReplyCode.DONE:
                self._observe(Exchange(at, seconds, message.body[1:], body))
        elif interface is not None and message.kind in _EVENTS:
            self._observe(Exchange(at, 0.0, b"", interface.atr, _EVENTS[Kind(message.kind)]))

    def _answer(self, interface: Interface | None, message: DriverMessage) -> Answer:
        """Return the outcome of a request. Raises CardGone, NotPowered, NotSupportedByReader and BadMessage."""
        kind, body = message
        if kind == Kind.TRANSMIT and body:
            if interface is None:
                return ReplyCode.CARD_ABSENT, b""
            response = interface.transmit(body[1:])
            return (ReplyCode.DONE, response) if 0 < len(response) <= _LONGEST_RESPONSE else (ReplyCode.FAILED, b"")
        if kind in _EVENTS and not body:
            if interface is None:
                return ReplyCode.DONE if kind == Kind.POWER_DOWN else ReplyCode.CARD_ABSENT, b""
            {Kind.POWER_UP: interface.power_on, Kind.POWER_DOWN: interface.power_off, Kind.RESET: interface.reset}[
                Kind(kind)
            ]()
            atr = interface.atr
            if kind == Kind.POWER_DOWN:
                return ReplyCode.DONE, b""
            return (ReplyCode.DONE, atr) if atr else (ReplyCode.CARD_MUTE, b"")
        number = self.endpoint.number
        if kind == Kind.PROTOCOL and len(body) == 5:
            if interface is not None:
                interface.negotiate(body[0])
            if self._reader is not None:
                self._reader.protocol(number, body[0])
            return ReplyCode.DONE, b""
        code, data = int.from_bytes(body[:4]), body[4:]
        if len(body) < 4 or kind not in (Kind.GET_ATTRIBUTE, Kind.SET_ATTRIBUTE, Kind.CONTROL):
            raise BadMessage(f"a message of kind {kind:02X} with {len(body)} bytes")
        if self._reader is None:
            raise NotSupportedByReader
        if kind == Kind.GET_ATTRIBUTE:
            return ReplyCode.DONE, self._reader.attribute(number, code)
        if kind == Kind.SET_ATTRIBUTE:
            self._reader.set_attribute(number, code, data)
            return ReplyCode.DONE, b""
        return ReplyCode.DONE, self._reader.control(number, code, data)

    def _observe(self, exchange: Exchange) -> None:
        for observer in self._observers:
            observer(exchange)

    def _presence(self) -> Presence:
        if self.unplugged:
            return Presence.UNPLUGGED
        return Presence.CARD if self._interface is not None and self._interface.present else Presence.EMPTY

    def _tell(self, presence: Presence) -> None:
        if self._connection is not None and presence is not self._told:
            self._told = presence
            self._stale |= self._visible is Presence.CARD and presence is not Presence.CARD
            self._send(Kind.PRESENCE, bytes((presence,)))

    def _reply(self, outcome: ReplyCode, body: bytes = b"") -> None:
        """Reply to the open request, unless it was replied to because the card was removed."""
        if self._request_at is not None:
            self._request_at = None
            self._send(Kind.REPLY, bytes((outcome,)) + body)

    def _send(self, kind: Kind, body: bytes = b"") -> None:
        if self._connection is not None:
            with contextlib.suppress(OSError):  # the thread that receives notices it
                self._connection.sendall(packed(kind, body))

    def _complain(self, text: str) -> None:
        """Log a fault once until the slot has worked again."""
        if text != self._complaint:
            _log.error("%s: %s", self.endpoint.reader, text)
            self._complaint = text


class _Patience:
    """A thread that lets every slot tell the driver when a card needs more time."""

    def __init__(self) -> None:
        self._slots: set[DriverSlot] = set()
        self._changed = threading.Condition()
        self._running = False

    def watch(self, slot: DriverSlot) -> None:
        """Look after a slot until `forget`."""
        with self._changed:
            self._slots.add(slot)
            if not self._running:
                self._running = True
                threading.Thread(target=self._run, name="patience", daemon=True).start()

    def forget(self, slot: DriverSlot) -> None:
        """Look after a slot no more."""
        with self._changed:
            self._slots.discard(slot)

    def _run(self) -> None:
        while True:
            time.sleep(_PATIENCE_SECONDS)
            with self._changed:
                if not self._slots:
                    self._running = False
                    return
                slots = list(self._slots)
            for slot in slots:
                slot.ask_for_time(time.monotonic())


_PATIENCE = _Patience()


def _listen(endpoint: DriverEndpoint) -> socket.socket:
    """Return a socket that listens at a slot's place, instead of what a killed process left there."""
    place = endpoint.directory / str(endpoint.number)
    made = place.with_name(f"{place.name}.{os.getpid()}")
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        made.unlink(missing_ok=True)
        listening.bind(os.fspath(made))
        made.chmod(0o666)  # pcscd may run as a user of its own; the peer's user is checked on both sides
        listening.listen(1)
        made.rename(place)
    except OSError:
        listening.close()
        raise
    return listening


def _drivers_users() -> set[int]:
    """Return the users as which pcscd may run: root, this one, and the one that newer packages make for it."""
    users = {0, os.geteuid()}
    with contextlib.suppress(KeyError):
        users.add(pwd.getpwnam("pcscd").pw_uid)
    return users
