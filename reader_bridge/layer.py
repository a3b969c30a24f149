"""Layers around a card interface: each is an Interface around another one."""

from __future__ import annotations

from kazashi.card.instruction import Instruction
from kazashi.card.rule import RuleSource, StatusRule, rule_of, ruled, under
from kazashi.reader_bridge.interface import Interface

_ANSWERING = {Instruction.SELECT, Instruction.COMPUTE_DIGITAL_SIGNATURE, Instruction.INTERNAL_AUTHENTICATE}
"""Commands that carry data and may have response data."""

_WAITING = StatusRule("the data waits for GET RESPONSE", RuleSource.ISO_T0)
_OTHER_LE = StatusRule("Le is not the length of the data", RuleSource.ISO_T0)


class Layer:
    """An Interface that passes every call on to another one."""

    def __init__(self, inner: Interface) -> None:
        self.inner = inner

    @property
    def present(self) -> bool:
        """Whether the card is in the reader."""
        return self.inner.present

    @property
    def changes_in(self) -> float | None:
        """The seconds after which `present` may have changed by itself, or None."""
        return self.inner.changes_in

    @property
    def atr(self) -> bytes:
        """The ATR that the reader reports."""
        return self.inner.atr

    def power_on(self) -> None:
        """Power the card on (cold start)."""
        self.inner.power_on()

    def power_off(self) -> None:
        """Power the card off."""
        self.inner.power_off()

    def reset(self) -> None:
        """Reset the card (warm reset)."""
        self.inner.reset()

    def negotiate(self, protocol: int) -> None:
        """Choose a protocol, 1 for T=0 and 2 for T=1. Raises ProtocolRefused and ReaderFailed."""
        self.inner.negotiate(protocol)

    def transmit(self, command: bytes) -> bytes:
        """Return the response to one command APDU."""
        return self.inner.transmit(command)


class ChainedResponses(Layer):
    """Responses in the form of T=0 (ISO 7816-3, 12.2): the client fetches the data with GET RESPONSE, or repeats the
    command with the right Le."""

    def __init__(self, inner: Interface) -> None:
        super().__init__(inner)
        self._waiting = b""
        self._status = b""
        self._rule: StatusRule | None = None

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
        if self._waiting and int.from_bytes(command[:2]) == Instruction.GET_RESPONSE:
            return self._fetch(command)
        self._waiting = b""
        response = super().transmit(command)
        data, status = response[:-2], response[-2:]
        if not data:
            return response
        if len(command) == 5:  # the command has an Le, which must be exact
            exact = len(data) == (command[4] or 256)
            return response if exact else ruled(bytes((0x6C, len(data) & 0xFF)), _OTHER_LE)
        self._waiting, self._status, self._rule = data, status, rule_of(response)
        return ruled(bytes((0x61, min(len(data), 256) & 0xFF)), _WAITING)

    def _fetch(self, command: bytes) -> bytes:
        le = (command[4] if len(command) > 4 else 0) or 256
        data, self._waiting = self._waiting[:le], self._waiting[le:]
        if self._waiting:
            return ruled(data + bytes((0x61, min(len(self._waiting), 256) & 0xFF)), _WAITING)
        return under(self._rule, data + self._status)


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
