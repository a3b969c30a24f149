"""A PC/SC client: readers by name, a card in one of them, with nothing between us and what PC/SC answers.

pyscard's own connection objects retry, remember and translate; whoever looks at readers wants the answer as it came.
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
    """PC/SC refused. `code` is its return code, unsigned."""

    def __init__(self, code: int, what: str = "") -> None:
        words = SCardGetErrorMessage(code)
        super().__init__(f"{what}: {words}" if what else words)
        self.code = code & _UNSIGNED

    @property
    def gone(self) -> bool:
        """Whether the card, the reader or the service is not there any more."""
        return self.code in _GONE


class NoSuchReader(Exception):
    """PC/SC knows no reader of that name, or several."""


@dataclass(frozen=True, slots=True)
class CardStatus:
    """What PC/SC says of a connected card: its ATR, the protocol in use (SCARD_PROTOCOL_T0 or T1)."""

    atr: bytes
    protocol: int


class CardHandle:
    """A card in a reader. Every method raises PcscError."""

    def __init__(self, handle: Any, protocol: int) -> None:
        self._handle = handle
        self.protocol = protocol

    def transmit(self, command: bytes) -> bytes:
        """One command as it is, and the answer as it is."""
        code, response = SCardTransmit(
            self._handle, SCARD_PCI_T0 if self.protocol == SCARD_PROTOCOL_T0 else SCARD_PCI_T1, list(command)
        )
        if code != SCARD_S_SUCCESS:
            raise PcscError(code)
        return bytes(value & 0xFF for value in response)

    def reconnect(self, initialization: int, share: int = SCARD_SHARE_SHARED, protocols: int = ANY_PROTOCOL) -> None:
        """Leave the card as it is, reset it, or take its power (SCARD_LEAVE_CARD, SCARD_RESET_CARD,
        SCARD_UNPOWER_CARD)."""
        code, self.protocol = SCardReconnect(self._handle, share, protocols, initialization)
        check(code)

    def begin(self) -> None:
        """Begin a transaction; waits for that of another client."""
        check(SCardBeginTransaction(self._handle))

    def end(self, disposition: int = SCARD_LEAVE_CARD) -> None:
        """End the transaction."""
        check(SCardEndTransaction(self._handle, disposition))

    @property
    def status(self) -> CardStatus:
        """ATR and protocol."""
        code, _, _, protocol, atr = SCardStatus(self._handle)
        check(code)
        return CardStatus(bytes(atr), protocol)

    def attribute(self, number: int) -> bytes:
        """One of the reader's attributes."""
        code, value = SCardGetAttrib(self._handle, number)
        check(code)
        return bytes(value)

    def control(self, number: int, data: bytes = b"") -> bytes:
        """A control code to the reader's driver."""
        code, value = SCardControl(self._handle, number, list(data))
        check(code)
        return bytes(value_ & 0xFF for value_ in value)

    def disconnect(self, disposition: int = SCARD_LEAVE_CARD) -> None:
        """Let the card go."""
        check(SCardDisconnect(self._handle, disposition))


def check(code: int, what: str = "") -> None:
    """Raise PcscError for every return code but success."""
    if code != SCARD_S_SUCCESS:
        raise PcscError(code, what)


@contextmanager
def context() -> Iterator[Any]:
    """A context of the resource manager. Raises PcscError."""
    code, established = SCardEstablishContext(SCARD_SCOPE_SYSTEM)
    check(code, "pcscd cannot be reached")
    try:
        yield established
    finally:
        SCardReleaseContext(established)


def reader_names() -> Sequence[str]:
    """The readers that PC/SC knows; none where no service runs."""
    try:
        with context() as established:
            code, names = SCardListReaders(established, [])
            return tuple(names) if code == SCARD_S_SUCCESS else ()
    except PcscError:
        return ()


def reader_named(name: str | None) -> str:
    """The one reader that is called, or whose name begins, like `name`; without a name the only one there is.

    Raises NoSuchReader, which lists those there are.
    """
    there = reader_names()
    found = [reader for reader in there if reader == name] or [
        reader for reader in there if name is None or reader.startswith(name)
    ]
    if len(found) == 1:
        return found[0]
    listed = "; ".join(there) or "none (is pcscd running?)"
    if name is None:
        raise NoSuchReader(f"name a reader; there are: {listed}")
    raise NoSuchReader(
        f"{name or 'no name'!r} names {'several readers' if found else 'no reader'}; there are: {listed}"
    )


def connect(
    established: Any, reader: str, share: int = SCARD_SHARE_SHARED, protocols: int = ANY_PROTOCOL
) -> CardHandle:
    """Connect to the card in a reader. Raises PcscError."""
    code, handle, protocol = SCardConnect(established, reader, share, protocols)
    check(code, reader)
    return CardHandle(handle, protocol)


@contextmanager
def connected(
    reader: str, share: int = SCARD_SHARE_SHARED, protocols: int = ANY_PROTOCOL, leave: int = SCARD_LEAVE_CARD
) -> Iterator[CardHandle]:
    """The card in a reader, in a context of its own. Raises PcscError."""
    with context() as established:
        card = connect(established, reader, share, protocols)
        try:
            yield card
        finally:
            SCardDisconnect(card._handle, leave)
