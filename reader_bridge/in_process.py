"""A card in the same process, without a reader or pcscd, behind pyscard's own interface."""

from __future__ import annotations

from smartcard.CardConnection import CardConnection
from smartcard.Exceptions import CardConnectionException, NoCardException
from smartcard.reader.Reader import Reader
from smartcard.scard import (
    SCARD_E_UNSUPPORTED_FEATURE,
    SCARD_UNPOWER_CARD,
    SCARD_W_REMOVED_CARD,
)

from kazashi.reader_bridge.interface import CardGone, Interface


class InProcessReader(Reader):  # type: ignore[misc]  # pyscard has no types
    """A pyscard reader that exists in this process only, into which cards can be inserted."""

    def __init__(self, name: str = "Kazashi in process") -> None:
        super().__init__(name)
        self.card: Interface | None = None

    def insert(self, card: Interface) -> None:
        """Insert a card. A card that is in the reader already is removed first."""
        self.remove()
        self.card = card

    def remove(self) -> None:
        """Remove the card, if there is one."""
        if self.card is not None:
            self.card.power_off()
            self.card = None

    def createConnection(self) -> InProcessConnection:
        """Return a connection that is not connected yet."""
        return InProcessConnection(self)


class InProcessConnection(CardConnection):  # type: ignore[misc]
    """A `smartcard.CardConnection` to the card in an InProcessReader, T=1."""

    def __init__(self, reader: InProcessReader) -> None:
        super().__init__(reader)
        self._reader = reader
        self._card: Interface | None = None
        self._disposition = SCARD_UNPOWER_CARD
        self.setProtocol(CardConnection.T1_protocol)

    def connect(self, protocol: object = None, mode: object = None, disposition: int | None = None) -> None:
        """Power the card on, as the first connection to a reader does. Raises NoCardException if there is no card."""
        super().connect(protocol, mode, disposition)
        if self._reader.card is None or not self._reader.card.present:
            raise NoCardException("there is no card in the reader", hresult=SCARD_W_REMOVED_CARD)
        if disposition is not None:
            self._disposition = disposition
        self._card = self._reader.card
        self._card.power_on()

    def reconnect(self, protocol: object = None, mode: object = None, disposition: int | None = None) -> None:
        """Reset the card, or power it off and on if `disposition` is SCARD_UNPOWER_CARD.

        Raises CardConnectionException if there is no connection or the card was removed.
        """
        super().reconnect(protocol, mode, disposition)
        card = self._present()
        if disposition == SCARD_UNPOWER_CARD:
            card.power_off()
            card.power_on()
        else:
            card.reset()

    def disconnect(self) -> None:
        """Disconnect from the card. It is powered off unless `connect` was called with another disposition."""
        super().disconnect()
        if self._card is not None and self._disposition == SCARD_UNPOWER_CARD:
            self._card.power_off()
        self._card = None

    def getATR(self) -> list[int]:
        """Return the ATR as a list of integers."""
        return list(self._present().atr)

    def doTransmit(self, command: list[int], protocol: object) -> tuple[list[int], int, int]:
        """Send one command and return the data, SW1 and SW2 of its response.

        Raises CardConnectionException if there is no connection or the card was removed.
        """
        try:
            response = self._present().transmit(bytes(command))
        except CardGone as error:
            raise CardConnectionException(str(error), hresult=SCARD_W_REMOVED_CARD) from error
        return list(response[:-2]), response[-2], response[-1]

    def doControl(self, controlCode: int, command: list[int]) -> list[int]:
        """Raise CardConnectionException: without a driver there are no control codes."""
        raise CardConnectionException("the in-process reader has no control codes", hresult=SCARD_E_UNSUPPORTED_FEATURE)

    def doGetAttrib(self, attribId: int) -> list[int]:
        """Raise CardConnectionException: without a driver there are no attributes."""
        raise CardConnectionException("the in-process reader has no attributes", hresult=SCARD_E_UNSUPPORTED_FEATURE)

    def _present(self) -> Interface:
        if self._card is None:
            raise CardConnectionException("the connection is not open; call connect() first")
        if self._reader.card is not self._card or not self._card.present:
            raise CardConnectionException("the card was removed", hresult=SCARD_W_REMOVED_CARD)
        return self._card
