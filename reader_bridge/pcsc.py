"""A PC/SC client that returns what PC/SC returns, for tools that examine readers and cards.

pyscard's own connection objects retry commands, keep state and translate results.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from smartcard.scard import (
    SCARD_E_NO_READERS_AVAILABLE,
    SCARD_E_NO_SERVICE,
    SCARD_E_NO_SMARTCARD,
    SCARD_E_READER_UNAVAILABLE,
    SCARD_E_SERVICE_STOPPED,
    SCARD_E_UNKNOWN_READER,
    SCARD_LEAVE_CARD,
    SCARD_PCI_T0,
    SCARD_PCI_T1,
    SCARD_PROTOCOL_T0,
    SCARD_PROTOCOL_T1,
    SCARD_S_SUCCESS,
    SCARD_SCOPE_SYSTEM,
    SCARD_SHARE_SHARED,
    SCARD_W_REMOVED_CARD,
    SCARD_W_UNPOWERED_CARD,
    SCardBeginTransaction,
    SCardConnect,
    SCardControl,
    SCardDisconnect,
    SCardEndTransaction,
    SCardEstablishContext,
    SCardGetAttrib,
    SCardGetErrorMessage,
    SCardListReaders,
    SCardReconnect,
    SCardReleaseContext,
    SCardStatus,
    SCardTransmit,
)

ANY_PROTOCOL = SCARD_PROTOCOL_T0 | SCARD_PROTOCOL_T1

_UNSIGNED = 0xFFFFFFFF
_GONE = {
    code & _UNSIGNED
    for code in (
        SCARD_E_NO_READERS_AVAILABLE,
        SCARD_E_NO_SERVICE,
        SCARD_E_NO_SMARTCARD,
        SCARD_E_READER_UNAVAILABLE,
        SCARD_E_SERVICE_STOPPED,
        SCARD_E_UNKNOWN_READER,
        SCARD_W_REMOVED_CARD,
        SCARD_W_UNPOWERED_CARD,
    )
}


class PcscError(Exception):
    """A PC/SC function failed. `code` is its return code, unsigned."""

    def __init__(self, code: int, what: str = "") -> None:
        message = SCardGetErrorMessage(code)
        super().__init__(f"{what}: {message}" if what else message)
        self.code = code & _UNSIGNED

    @property
    def gone(self) -> bool:
        """Whether the card, the reader or the service is gone."""
        return self.code in _GONE


class NoSuchReader(Exception):
    """PC/SC knows no reader with that name, or several."""


@dataclass(frozen=True, slots=True)
class CardStatus:
    """The status of a connected card: its ATR, and the protocol in use (SCARD_PROTOCOL_T0 or SCARD_PROTOCOL_T1)."""

    atr: bytes
    protocol: int


class CardHandle:
    """A card in a reader. Every method raises PcscError."""

    def __init__(self, handle: Any, protocol: int) -> None:
        self._handle = handle
        self.protocol = protocol

    def transmit(self, command: bytes) -> bytes:
        """Send one command unchanged and return the response unchanged."""
        code, response = SCardTransmit(
            self._handle, SCARD_PCI_T0 if self.protocol == SCARD_PROTOCOL_T0 else SCARD_PCI_T1, list(command)
        )
        if code != SCARD_S_SUCCESS:
            raise PcscError(code)
        return bytes(value & 0xFF for value in response)

    def reconnect(self, initialization: int, share: int = SCARD_SHARE_SHARED, protocols: int = ANY_PROTOCOL) -> None:
        """Reconnect to the card. `initialization` leaves it as it is, resets it or powers it off (SCARD_LEAVE_CARD,
        SCARD_RESET_CARD, SCARD_UNPOWER_CARD)."""
        code, self.protocol = SCardReconnect(self._handle, share, protocols, initialization)
        check(code)

    def begin(self) -> None:
        """Begin a transaction. Waits while another client has one."""
        check(SCardBeginTransaction(self._handle))

    def end(self, disposition: int = SCARD_LEAVE_CARD) -> None:
        """End the transaction."""
        check(SCardEndTransaction(self._handle, disposition))

    @property
    def status(self) -> CardStatus:
        """The ATR and the protocol."""
        code, _, _, protocol, atr = SCardStatus(self._handle)
        check(code)
        return CardStatus(bytes(atr), protocol)

    def attribute(self, number: int) -> bytes:
        """Return an attribute of the reader by its number."""
        code, value = SCardGetAttrib(self._handle, number)
        check(code)
        return bytes(value)

    def control(self, number: int, data: bytes = b"") -> bytes:
        """Send a control code to the reader's driver and return its response."""
        code, value = SCardControl(self._handle, number, list(data))
        check(code)
        return bytes(value_ & 0xFF for value_ in value)

    def disconnect(self, disposition: int = SCARD_LEAVE_CARD) -> None:
        """Disconnect from the card."""
        check(SCardDisconnect(self._handle, disposition))


def check(code: int, what: str = "") -> None:
    """Raise PcscError for any return code except success. `what` is put before its message."""
    if code != SCARD_S_SUCCESS:
        raise PcscError(code, what)


@contextmanager
def context() -> Iterator[Any]:
    """Return a context manager for a context of the PC/SC resource manager. Raises PcscError."""
    code, established = SCardEstablishContext(SCARD_SCOPE_SYSTEM)
    check(code, "cannot connect to pcscd")
    try:
        yield established
    finally:
        SCardReleaseContext(established)


def reader_names() -> Sequence[str]:
    """Return the names of the readers that PC/SC knows; an empty sequence if the service does not run."""
    try:
        with context() as established:
            code, names = SCardListReaders(established, [])
            return tuple(names) if code == SCARD_S_SUCCESS else ()
    except PcscError:
        return ()


def reader_named(name: str | None) -> str:
    """Return the name of the reader called `name`, or whose name begins with it; without a name, of the only reader.

    Raises NoSuchReader, which lists the readers.
    """
    readers = reader_names()
    matches = [reader for reader in readers if reader == name] or [
        reader for reader in readers if name is None or reader.startswith(name)
    ]
    if len(matches) == 1:
        return matches[0]
    listed = "; ".join(readers) or "none (is pcscd running?)"
    if name is None:
        raise NoSuchReader(f"name a reader; the readers are: {listed}")
    raise NoSuchReader(
        f"{name or 'no name'!r} names {'several readers' if matches else 'no reader'}; the readers are: {listed}"
    )


def connect(
    established: Any, reader: str, share: int = SCARD_SHARE_SHARED, protocols: int = ANY_PROTOCOL
) -> CardHandle:
    """Connect to the card in a reader, in an established context. Raises PcscError."""
    code, handle, protocol = SCardConnect(established, reader, share, protocols)
    check(code, reader)
    return CardHandle(handle, protocol)


@contextmanager
def connected(
    reader: str, share: int = SCARD_SHARE_SHARED, protocols: int = ANY_PROTOCOL, leave: int = SCARD_LEAVE_CARD
) -> Iterator[CardHandle]:
    """Return a context manager for the card in a reader, in a context of its own. Raises PcscError.

    `leave` is the disposition of the card at the end.
    """
    with context() as established:
        card = connect(established, reader, share, protocols)
        try:
            yield card
        finally:
            SCardDisconnect(card._handle, leave)
