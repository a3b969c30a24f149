"""A card in a real reader, relayed to a slot: the slot's commands go to the reader, and its responses come back."""

from __future__ import annotations

from contextlib import ExitStack

from smartcard.scard import SCARD_PROTOCOL_T1, SCARD_RESET_CARD, SCARD_UNPOWER_CARD

from kazashi.reader_bridge.interface import CardGone
from kazashi.reader_bridge.pcsc import ANY_PROTOCOL, CardHandle, PcscError, connected

_LOOK_SECONDS = 0.05


class RelayedCard:
    """The card in a PC/SC reader, as a card interface. While the reader is empty, so is the slot."""

    def __init__(self, reader: str) -> None:
        self._reader = reader
        self._stack = ExitStack()
        self._card: CardHandle | None = None

    @property
    def present(self) -> bool:
        """Whether there is a card in the reader."""
        try:
            _ = self.atr
        except CardGone:
            return False
        return True

    @property
    def changes_in(self) -> float:
        """The card leaves with the one in the reader."""
        return _LOOK_SECONDS

    @property
    def atr(self) -> bytes:
        """The card's own ATR. A slot reads it to find out whether the card is still present. Raises CardGone."""
        try:
            return self._reach().status.atr
        except PcscError as error:
            raise self._gone(error) from error

    def power_on(self) -> None:
        """Connect to the card. Raises CardGone."""
        self._reach()

    def power_off(self) -> None:
        """Disconnect from the card and power it off."""
        self._card = None
        self._stack.close()

    def reset(self) -> None:
        """Reset the card. Raises CardGone."""
        card = self._reach()
        try:
            card.reconnect(SCARD_RESET_CARD)
        except PcscError as error:
            raise self._gone(error) from error

    def negotiate(self, protocol: int) -> None:
        """Do nothing: the protocol was chosen when the card was connected to."""

    def transmit(self, command: bytes) -> bytes:
        """Return the card's response. Raises CardGone, which the slot reports as a removed card."""
        try:
            return self._reach().transmit(command)
        except PcscError as error:
            raise self._gone(error) from error

    def _reach(self) -> CardHandle:
        if self._card is None:
            try:
                # T=1 first: a card that offers both protocols should use T=1, as the emulated cards do.
                for protocols in (SCARD_PROTOCOL_T1, ANY_PROTOCOL):
                    try:
                        self._card = self._stack.enter_context(
                            connected(self._reader, protocols=protocols, leave=SCARD_UNPOWER_CARD)
                        )
                        break
                    except PcscError:
                        if protocols == ANY_PROTOCOL:
                            raise
                assert self._card is not None
            except PcscError as error:
                raise self._gone(error) from error
        return self._card

    def _gone(self, error: PcscError) -> CardGone:
        self.power_off()
        return CardGone(f"{self._reader}: {error}")
