"""A card in the same process, without a reader or pcscd, behind pyscard's own interface.

Clients are told what pyscard and pcscd tell them of a real reader; docs/conformance-table.md compares them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from weakref import WeakSet

from smartcard.CardConnection import CardConnection
from smartcard.CardConnectionDecorator import CardConnectionDecorator
from smartcard.Exceptions import CardConnectionException, NoCardException, SmartcardException
from smartcard.reader.Reader import Reader
from smartcard.scard import (
    SCARD_ATTR_DEVICE_FRIENDLY_NAME,
    SCARD_ATTR_DEVICE_SYSTEM_NAME,
    SCARD_E_INVALID_HANDLE,
    SCARD_E_NO_SMARTCARD,
    SCARD_E_NOT_TRANSACTED,
    SCARD_E_PROTO_MISMATCH,
    SCARD_E_SHARING_VIOLATION,
    SCARD_E_UNSUPPORTED_FEATURE,
    SCARD_LEAVE_CARD,
    SCARD_RESET_CARD,
    SCARD_SHARE_DIRECT,
    SCARD_SHARE_EXCLUSIVE,
    SCARD_SHARE_SHARED,
    SCARD_UNPOWER_CARD,
    SCARD_W_REMOVED_CARD,
    SCARD_W_RESET_CARD,
    SCardGetErrorMessage,
)

from kazashi.card.atr import offered_protocols
from kazashi.card.chip import NotPowered
from kazashi.reader_bridge.emulated_reader import EmulatedReader
from kazashi.reader_bridge.interface import CardGone, Interface, NotSupportedByReader, ReaderFailed
from kazashi.reader_bridge.profile import ReaderProfile

_NAMES = {
    CardConnection.T0_protocol: "T0",
    CardConnection.T1_protocol: "T1",
    CardConnection.RAW_protocol: "RAW",
    CardConnection.T0_protocol | CardConnection.T1_protocol: "T0 or T1",
}
_ANY_PROTOCOL = CardConnection.T0_protocol | CardConnection.T1_protocol


class InProcessReader(Reader):  # type: ignore[misc]  # pyscard has no types
    """A pyscard reader that exists in this process only, into which cards can be inserted.

    With a profile, it answers as the first slot of such a reader. A plain reader, as that of `kazashi up`, has no
    attribute but its name, and no control codes.
    """

    def __init__(self, name: str = "Kazashi in process", profile: ReaderProfile | None = None) -> None:
        super().__init__(name)
        self._emulated = None if profile is None else EmulatedReader(profile)
        self.card: Interface | None = None
        self._connections: WeakSet[InProcessConnection] = WeakSet()
        self._lock = threading.RLock()

    def insert(self, card: Interface) -> None:
        """Insert a card. A card that is in the reader already is removed first."""
        with self._lock:
            self.remove()
            self.card = card if self._emulated is None else self._emulated.insert(0, card)

    def remove(self) -> None:
        """Remove the card, if there is one."""
        with self._lock:
            if self.card is not None:
                self._tell(SCARD_W_REMOVED_CARD)
                self.card.power_off()
                self.card = None
                if self._emulated is not None:
                    self._emulated.remove(0)

    def createConnection(self) -> CardConnectionDecorator:
        """Return a connection that is not connected yet."""
        return CardConnectionDecorator(InProcessConnection(self))

    def _tell(self, event: int, *, by: InProcessConnection | None = None) -> None:
        """Tell every connection but the one that caused it that the card was reset or removed."""
        for connection in list(self._connections):
            if connection is not by and connection._event != SCARD_W_REMOVED_CARD:
                connection._event = event

    def _present(self) -> Interface | None:
        """Return the card, unless it has left the reader by itself, of which the connections are told."""
        if self.card is not None and not self.card.present:
            self._tell(SCARD_W_REMOVED_CARD)
            return None
        return self.card

    def _initialise(self, card: Interface, how: int, by: InProcessConnection) -> None:
        """Reset the card or power it off, and tell the other connections."""
        if how in (SCARD_RESET_CARD, SCARD_UNPOWER_CARD):
            self._tell(SCARD_W_RESET_CARD, by=by)
            if how == SCARD_RESET_CARD:
                card.reset()
            else:
                card.power_off()


class InProcessConnection(CardConnection):  # type: ignore[misc]
    """A `smartcard.CardConnection` to an InProcessReader, with the errors of pyscard's own. Thread-safe."""

    def __init__(self, reader: InProcessReader) -> None:
        super().__init__(reader.name)
        self._reader = reader
        self._lock = reader._lock
        self._mode: int | None = None  # None while there is no connection
        self._active = 0  # the protocol agreed with the card, 0 without one
        self._event = 0  # why the connection is of no use until the client reconnects
        self._disposition = SCARD_UNPOWER_CARD
        self._released = False

    def __del__(self) -> None:
        """Release a connection that nobody uses any more, as pyscard's own does."""
        self.release()

    def connect(self, protocol: int | None = None, mode: int | None = None, disposition: int | None = None) -> None:
        """Connect to the card, which gets power if it has none; with SCARD_SHARE_DIRECT, to the reader only.

        Raises NoCardException if there is no card, and CardConnectionException if the card does not have the protocol
        or another connection has the reader.
        """
        super().connect(protocol)
        with self._lock:
            if self._released:
                raise CardConnectionException("Context already released")
            self._close()
            self._open(protocol, SCARD_SHARE_SHARED if mode is None else mode, SCARD_LEAVE_CARD, "connect")
            self._disposition = SCARD_UNPOWER_CARD if disposition is None else disposition

    def reconnect(self, protocol: int | None = None, mode: int | None = None, disposition: int | None = None) -> None:
        """Connect again to the same card or to one inserted since, and leave, reset (the default) or unpower it.

        Raises the exceptions of `connect`, after which there is no connection.
        """
        super().reconnect(protocol)
        with self._lock:
            self._require_open()
            self._close()
            self._disposition = SCARD_RESET_CARD if disposition is None else disposition
            self._open(protocol, SCARD_SHARE_SHARED if mode is None else mode, self._disposition, "reconnect")

    def disconnect(self) -> None:
        """Disconnect. The card is unpowered unless `connect` was called with another disposition, and then other
        connections to it have to reconnect."""
        if self._mode is None:
            return
        super().disconnect()
        with self._lock:
            card = self._reader._present()
            if card is not None and self._event != SCARD_W_REMOVED_CARD:
                self._reader._initialise(card, self._disposition, self)
            self._close()

    def release(self) -> None:
        """Disconnect for good."""
        if not self._released:
            super().release()
            self.disconnect()
            self._released = True

    def getATR(self) -> list[int]:
        """Return the ATR as a list of integers; it is empty if there is no card."""
        with self._lock:
            self._require_open()
            card = self._reader._present()
            self._require_no_event("Failed to get status: ")
            return list(card.atr) if card is not None else []

    def doTransmit(self, command: list[int], protocol: int | None = None) -> tuple[list[int], int, int]:
        """Send one command and return the data, SW1 and SW2 of its response.

        Raises CardConnectionException if there is no connection, the card was removed or reset by another connection,
        or the protocol is not the connection's.
        """
        protocol = self.getProtocol() if protocol is None else protocol
        if protocol not in _NAMES or protocol == _ANY_PROTOCOL:
            raise CardConnectionException(
                "Invalid protocol in transmit: must be CardConnection.T0_protocol, CardConnection.T1_protocol, or "
                "CardConnection.RAW_protocol"
            )
        failed = f"Failed to transmit with protocol {_NAMES[protocol]}. "
        with self._lock:
            self._require_open()
            card = self._reader._present()
            self._require_no_event(failed)
            if card is None:
                raise _error(failed, SCARD_E_NO_SMARTCARD)
            if protocol not in (self._active, CardConnection.RAW_protocol):
                raise _error(failed, SCARD_E_PROTO_MISMATCH)
            try:
                response = card.transmit(bytes(command))
            except CardGone as error:
                self._reader._tell(SCARD_W_REMOVED_CARD)
                raise _error(failed, SCARD_W_REMOVED_CARD) from error
            except (NotPowered, ReaderFailed) as error:
                raise _error(failed, SCARD_E_NOT_TRANSACTED) from error
        if len(response) < 2:
            raise CardConnectionException("Card returned no valid response", hresult=0)
        return list(response[:-2]), response[-2], response[-1]

    def doControl(self, controlCode: int, command: list[int] | None = None) -> list[int]:
        """Return the reader's answer to a control code. Raises SmartcardException if it has none."""
        data = bytes(command or ())
        return self._asked("Failed to control ", lambda reader: reader.control(0, controlCode & 0xFFFFFFFF, data))

    def doGetAttrib(self, attribId: int) -> list[int]:
        """Return an attribute of the reader (SCARD_ATTR_*). Raises SmartcardException if it does not have it."""
        if attribId in (SCARD_ATTR_DEVICE_FRIENDLY_NAME, SCARD_ATTR_DEVICE_SYSTEM_NAME):  # pcscd answers these itself
            return [*self._reader.name.encode(), 0]
        return self._asked("Failed to getAttrib ", lambda reader: reader.attribute(0, attribId))

    def _asked(self, failed: str, ask: Callable[[EmulatedReader], bytes]) -> list[int]:
        with self._lock:
            emulated = self._reader._emulated
            try:
                if self._mode is None:
                    raise _smartcard_error(failed, SCARD_E_INVALID_HANDLE)
                if emulated is None:
                    raise _smartcard_error(failed, SCARD_E_UNSUPPORTED_FEATURE)
                return list(ask(emulated))
            except NotSupportedByReader as error:
                raise _smartcard_error(failed, SCARD_E_UNSUPPORTED_FEATURE) from error
            except ReaderFailed as error:
                raise _smartcard_error(failed, SCARD_E_NOT_TRANSACTED) from error
            except CardGone as error:
                raise _smartcard_error(failed, SCARD_E_NO_SMARTCARD) from error

    def _open(self, protocol: int | None, mode: int, how: int, verb: str) -> None:
        """Connect as pcscd does, and agree on a protocol."""
        wanted = protocol or self.getProtocol()
        failed = f"Unable to {verb} with protocol: {_NAMES.get(wanted, str(wanted))}. "
        others = [connection._mode for connection in list(self._reader._connections)]
        if SCARD_SHARE_EXCLUSIVE in others or (mode == SCARD_SHARE_EXCLUSIVE and others):
            raise _error(failed, SCARD_E_SHARING_VIOLATION)
        card = self._reader._present()
        active = wanted & _ANY_PROTOCOL
        if mode != SCARD_SHARE_DIRECT:
            if card is None:
                raise NoCardException(f"Unable to {verb}", hresult=SCARD_E_NO_SMARTCARD)
            try:
                self._reader._initialise(card, how, self)
                if how != SCARD_LEAVE_CARD or verb == "connect":
                    card.power_on()
            except CardGone as error:
                raise NoCardException(f"Unable to {verb}", hresult=SCARD_E_NO_SMARTCARD) from error
            offered = {1 << number for number in offered_protocols(card.atr)}
            active = next((number for number in (2, 1) if number in offered and number & wanted), 0)
            try:
                if active and self._reader._emulated is not None:
                    self._reader._emulated.protocol(0, active)
            except NotSupportedByReader:
                active = 0
            if not active:
                raise _error(failed, SCARD_E_PROTO_MISMATCH)
        self._mode, self._event = mode, 0
        self._active = active if mode != SCARD_SHARE_DIRECT else 0
        self._reader._connections.add(self)
        self.setProtocol(active)

    def _close(self) -> None:
        self._reader._connections.discard(self)
        self._mode = None

    def _require_open(self) -> None:
        if self._mode is None:
            raise CardConnectionException("Card not connected")

    def _require_no_event(self, failed: str) -> None:
        if self._event:
            raise _error(failed, self._event)


def _error(failed: str, code: int) -> CardConnectionException:
    return CardConnectionException(failed + SCardGetErrorMessage(code), hresult=code)


def _smartcard_error(failed: str, code: int) -> SmartcardException:
    return SmartcardException(failed + SCardGetErrorMessage(code), hresult=code)
