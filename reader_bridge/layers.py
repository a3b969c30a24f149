"""Layers around a card interface: what a reader or a protocol changes about commands and responses."""

from __future__ import annotations

from kazashi.card.instruction import Instruction
from kazashi.card.status_word import Status
from kazashi.reader_bridge.interface import Interface

_ANSWERING = {Instruction.SELECT, Instruction.COMPUTE_DIGITAL_SIGNATURE, Instruction.INTERNAL_AUTHENTICATE}
"""Commands that carry data and may have response data."""

_WRONG_LENGTH = Status.WRONG_LENGTH.to_bytes(2)
_UNKNOWN_INSTRUCTION = Status.UNKNOWN_INSTRUCTION.to_bytes(2)


class Layer:
    """An Interface that passes every call on to another one."""

    def __init__(self, inner: Interface) -> None:
        self._inner = inner

    @property
    def present(self) -> bool:
        """Whether the card is in the reader."""
        return self._inner.present

    @property
    def changes_in(self) -> float | None:
        """The seconds after which `present` may have changed by itself, or None."""
        return self._inner.changes_in

    @property
    def atr(self) -> bytes:
        """The ATR that the reader reports."""
        return self._inner.atr

    def power_on(self) -> None:
        """Power the card on (cold start)."""
        self._inner.power_on()

    def power_off(self) -> None:
        """Power the card off."""
        self._inner.power_off()

    def reset(self) -> None:
        """Reset the card (warm reset)."""
        self._inner.reset()

    def transmit(self, command: bytes) -> bytes:
        """Return the response to one command APDU."""
        return self._inner.transmit(command)

    def negotiate(self, protocol: int) -> None:
        """Choose a protocol, 1 for T=0 and 2 for T=1."""
        self._inner.negotiate(protocol)


class ChainedResponses(Layer):
    """Responses in the form of T=0 (ISO 7816-3, 12.2): the client fetches the data with GET RESPONSE, or repeats the
    command with the right Le."""

    def __init__(self, inner: Interface) -> None:
        super().__init__(inner)
        self._waiting = b""
        self._status = b""

    def power_on(self) -> None:
        """Power the card on (cold start)."""
        self._waiting = b""
        super().power_on()

    def reset(self) -> None:
        """Reset the card (warm reset)."""
        self._waiting = b""
        super().reset()

    def transmit(self, command: bytes) -> bytes:
        """Return the response to one command APDU."""
        if int.from_bytes(command[:2]) == Instruction.GET_RESPONSE:
            return self._fetch(command)
        self._waiting = b""
        response = super().transmit(command)
        data, status = response[:-2], response[-2:]
        if not data:
            return response
        if len(command) == 5:  # the command has an Le, which must be exact
            return response if len(data) == (command[4] or 256) else bytes((0x6C, len(data) & 0xFF))
        self._waiting, self._status = data, status
        return bytes((0x61, min(len(data), 256) & 0xFF))

    def _fetch(self, command: bytes) -> bytes:
        if not self._waiting:
            return _UNKNOWN_INSTRUCTION
        le = (command[4] if len(command) > 4 else 0) or 256
        data, self._waiting = self._waiting[:le], self._waiting[le:]
        return data + (bytes((0x61, min(len(self._waiting), 256) & 0xFF)) if self._waiting else self._status)


class T0Commands(Layer):
    """Converts commands from the form of T=0 (ISO 7816-3, 12.2) to the form that the chip knows.

    T=0 has no commands of four bytes: a VERIFY without a PIN has a length of 00. A command with data cannot have an Le;
    the chip gets one if the command may have response data.
    """

    def transmit(self, command: bytes) -> bytes:
        """Return the response to one command APDU."""
        instruction = int.from_bytes(command[:2])
        if len(command) == 5 and instruction == Instruction.VERIFY and command[4] == 0:
            command = command[:4]
        elif len(command) > 5 and len(command) == 5 + command[4] and instruction in _ANSWERING:
            command += b"\0"
        return super().transmit(command)


class ShortReader(Layer):
    """A reader that passes on commands of up to `limit` bytes and responses of short length; for others it returns
    6700 itself."""

    def __init__(self, inner: Interface, limit: int) -> None:
        super().__init__(inner)
        self._limit = limit

    def transmit(self, command: bytes) -> bytes:
        """Return the response to one command APDU."""
        extended = len(command) >= 7 and command[4] == 0
        if len(command) > self._limit or extended:
            return _WRONG_LENGTH
        response = super().transmit(command)
        return response if len(response) <= max(self._limit, 258) else _WRONG_LENGTH
