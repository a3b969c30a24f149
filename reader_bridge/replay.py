"""A trace played as a card: it answers as the recorded one did."""

from __future__ import annotations

from kazashi.card.status_word import Status
from kazashi.reader_bridge.trace import Recorded, Trace

_NOT_RECORDED = Status.UNKNOWN_INSTRUCTION.to_bytes(2)
_OUT_OF_ORDER = Status.INTERNAL_ERROR.to_bytes(2)


class ReplayedCard:
    """The card of a trace, as a reader holds it.

    Strict, it wants the recorded commands in the recorded order, and answers any other with 6F00 until it is put in
    anew. Lenient, it looks for a command from where it is onwards and then from the beginning, and answers 6D00 to
    one that was never recorded. `deviations` counts the commands for which it had no answer.
    """

    present = True

    def __init__(self, trace: Trace, *, strict: bool) -> None:
        """Raises BadTrace for a trace without an ATR."""
        self._exchanges: tuple[Recorded, ...] = tuple(line for line in trace.lines if not line.event)
        self._atr = trace.atr
        self._strict = strict
        self.deviations = 0
        self.rewind()

    def rewind(self) -> None:
        """Begin from the beginning, as a card does that is put in anew."""
        self._next = 0
        self._lost = False

    @property
    def atr(self) -> bytes:
        """The ATR that the trace begins with."""
        return self._atr

    def power_on(self) -> None:
        """A recorded card has no state that power could change."""

    def power_off(self) -> None:
        """Nor any that it could lose."""

    def reset(self) -> None:
        """Nor reset."""

    def transmit(self, command: bytes) -> bytes:
        """The recorded answer to a command."""
        return self._in_order(command) if self._strict else self._anywhere(command)

    def _in_order(self, command: bytes) -> bytes:
        if not self._lost and self._next < len(self._exchanges) and self._exchanges[self._next].is_asked_by(command):
            self._next += 1
            return self._exchanges[self._next - 1].response_bytes
        self._lost = True
        self.deviations += 1
        return _OUT_OF_ORDER

    def _anywhere(self, command: bytes) -> bytes:
        count = len(self._exchanges)
        for step in range(count):
            place = (self._next + step) % count
            if self._exchanges[place].is_asked_by(command):
                self._next = (place + 1) % count
                return self._exchanges[place].response_bytes
        self.deviations += 1
        return _NOT_RECORDED
