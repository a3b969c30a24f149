"""A card in a real reader, shown through a slot of ours: what comes in at the slot goes out to the reader, and back."""

from __future__ import annotations

from contextlib import ExitStack, suppress

from smartcard.scard import SCARD_PROTOCOL_T1, SCARD_RESET_CARD, SCARD_UNPOWER_CARD

from kazashi.reader_bridge.interface import CardGone
from kazashi.reader_bridge.pcsc import ANY_PROTOCOL, CardHandle, PcscError, connected


class RelayedCard:
    """The card in a PC/SC reader, as another reader holds it. While there is none, neither has the slot one."""

    def __init__(self, reader: str) -> None:
        self._reader = reader
        self._stack = ExitStack()
        self._card: CardHandle | None = None

    @property
    def present(self) -> bool:
        """Whether there is a card in the reader."""
        if self._card is not None:
            return True
        with suppress(CardGone):
            self._reach()
        return self._card is not None

    @property
    def atr(self) -> bytes:
        """The card's own ATR; a slot asks for it to see whether the card is still there. Raises CardGone."""
        try:
            return self._reach().status.atr
        except PcscError as error:
            raise self._gone(error) from error

    def power_on(self) -> None:
        """Connect to the card. Raises CardGone."""
        self._reach()

    def power_off(self) -> None:
        """Let the card go, without power."""
        self._card = None
        self._stack.close()

    def reset(self) -> None:
        """Reset the card. Raises CardGone."""
        card = self._reach()
        try:
            card.reconnect(SCARD_RESET_CARD)
        except PcscError as error:
            raise self._gone(error) from error

    def transmit(self, command: bytes) -> bytes:
        """The card's answer. Raises CardGone, which the slot passes on as a card that was taken out."""
        try:
            return self._reach().transmit(command)
        except PcscError as error:
            raise self._gone(error) from error

    def _reach(self) -> CardHandle:
        if self._card is None:
            try:
                # Protocols in turn: what offers both is to end up on T=1, as the slot's own cards do.
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
