"""A recorded trace as a card that gives the recorded responses."""

from __future__ import annotations

from kazashi.card.status_word import Status
from kazashi.reader_bridge.trace import Recorded, Trace

_NOT_RECORDED = Status.UNKNOWN_INSTRUCTION.to_bytes(2)
_OUT_OF_ORDER = Status.INTERNAL_ERROR.to_bytes(2)


class ReplayedCard:
    """A card interface that replays a trace.

    In strict mode, it accepts only the recorded commands in the recorded order; after any other command it returns 6F00
    until it is inserted again. In lenient mode, it searches for a command from its current position to the end and then
    from the beginning, and returns 6D00 for a command that was not recorded. `deviations` counts the commands without
    a recorded response.
    """

    present = True
    changes_in = None

    def __init__(self, trace: Trace, *, strict: bool) -> None:
        """Replay a trace. Raises BadTrace for a trace without an ATR."""
        self._exchanges: tuple[Recorded, ...] = tuple(line for line in trace.lines if not line.event)
        self._atr = trace.atr
        self._strict = strict
        self.deviations = 0
        self.rewind()

    def rewind(self) -> None:
        """Start again from the beginning, as a card does that is inserted again."""
        self._next = 0
        self._lost = False

    @property
    def atr(self) -> bytes:
        """The first ATR of the trace."""
        return self._atr

    def power_on(self) -> None:
        """Do nothing: a replayed card has no state that depends on power."""

    def power_off(self) -> None:
        """Do nothing: a replayed card has no state that depends on power."""

    def reset(self) -> None:
        """Do nothing: a replayed card has no state that a reset changes."""

    def negotiate(self, protocol: int) -> None:
        """Do nothing: the recorded responses are the same in all protocols."""

    def transmit(self, command: bytes) -> bytes:
        """Return the recorded response to a command; 6F00 (strict) or 6D00 (lenient) if there is none."""
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
