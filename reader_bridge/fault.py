"""Fault injection: a card or a reader that misbehaves on purpose, at chosen or random commands.

A plan is a frozen value. `FaultPlan.around` wraps a card interface in the plan's layers. Each layer is an Interface
around another one, so that layers can be used alone or together.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from enum import Enum
from random import Random

from kazashi.card.card import Card
from kazashi.card.instruction import Instruction
from kazashi.card.pin import PinState
from kazashi.card.rule import RuleSource, StatusRule, rule_of, ruled, under
from kazashi.card.status_word import Status, StatusWord
from kazashi.card.store import CardStore, Reference, StoreFailure
from kazashi.reader_bridge.interface import CardGone, Interface
from kazashi.reader_bridge.layer import ChainedResponses, Layer, T0Commands

Tell = Callable[[str], None]
"""Called with a description of each fault when it happens; traces show it."""

Steal = Callable[[float], bool]
"""Makes a second client take the reader for a number of seconds. Returns False if one has it already."""

GLITCHES: dict[str, tuple[Instruction, ...]] = {
    "verify": (Instruction.VERIFY,),
    "change": (Instruction.CHANGE_REFERENCE_DATA, Instruction.CHANGE_KEY),
}
"""The commands to which a glitch may apply, by their name in scripts."""

_GLITCHED = {instruction for instructions in GLITCHES.values() for instruction in instructions}
_WRONG_LENGTH = ruled(
    Status.WRONG_LENGTH.to_bytes(2), StatusRule("the reader passes on short commands only", RuleSource.FAULTS)
)
_FAULT = StatusRule("a fault replaces the card's status word", RuleSource.FAULTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """The commands to which a fault applies. All conditions that are set must hold.

    `command`: the n-th command since the card was inserted, from 1. `every`: every n-th. `matching`: a pattern at the
    start of the command in hexadecimal. `chance`: the share of the remaining commands, 0 to 1.
    """

    command: int | None = None
    every: int | None = None
    matching: re.Pattern[str] | None = None
    chance: float | None = None

    def holds(self, number: int, command: bytes, chance: Random) -> bool:
        """Return whether the fault applies to this command, the `number`-th. `chance` is the random generator."""
        return (
            (self.command is None or number == self.command)
            and (self.every is None or number % self.every == 0)
            and (self.matching is None or self.matching.match(command.hex().upper()) is not None)
            and (self.chance is None or chance.random() < self.chance)
        )


class Moment(Enum):
    """When a card is removed: before it receives the command, after it executed it but before its response, or after
    its response."""

    BEFORE = "before"
    DURING = "during"
    AFTER = "after"


@dataclass(frozen=True, slots=True)
class Tear:
    """The card is removed, and comes back after `away` seconds."""

    moment: Moment
    away: float = 0.5


@dataclass(frozen=True, slots=True)
class Mute:
    """The card does not respond. After `seconds`, the time for which a real reader waits, it is removed and inserted
    again."""

    seconds: float = 2.0


@dataclass(frozen=True, slots=True)
class Slow:
    """The response is `seconds` late."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Wait:
    """The card requests a waiting time extension `extensions` times (S(WTX), ISO 7816-3, 11.4.3), `each` in seconds."""

    extensions: int
    each: float = 0.4


@dataclass(frozen=True, slots=True)
class Truncate:
    """The last `count` bytes of the response are missing, up to all of them."""

    count: int


@dataclass(frozen=True, slots=True)
class Overlong:
    """The response has `count` extra bytes before its status word."""

    count: int


@dataclass(frozen=True, slots=True)
class WrongStatus:
    """The card executes the command, and returns another status word without data."""

    status: StatusWord


@dataclass(frozen=True, slots=True)
class Glitch:
    """Power fails during a VERIFY or a change of a PIN. The retry counter stays decremented by VERIFY whatever the PIN
    was, and a change is not made. The card comes back after `away` seconds."""

    away: float = 0.5


@dataclass(frozen=True, slots=True)
class ContendForReader:
    """After the response, a second client takes the reader for `seconds` and leaves another application selected."""

    seconds: float


FaultType = Tear | Mute | Slow | Wait | Truncate | Overlong | WrongStatus | Glitch | ContendForReader


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault and the commands to which it applies."""

    kind: FaultType
    when: When


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultPlan:
    """All faults of one card and its reader.

    `atr` replaces the card's own. `chaining`: responses are fetched with GET RESPONSE, as with T=0 (61xx, 6Cxx).
    `t0`: commands have the forms of T=0. `limit`: the longest command, in bytes, that the reader passes on. `tries`:
    retries left, for PINs that have more when the card is inserted; the card's counters are decremented for good, as
    by wrong PINs.
    """

    faults: tuple[Fault, ...] = ()
    seed: int = 0
    atr: bytes | None = None
    chaining: bool = False
    t0: bool = False
    limit: int | None = None
    tries: Mapping[Reference, int] = field(default_factory=dict)

    @property
    def steals(self) -> bool:
        """Whether the plan needs a reader that a second client can take."""
        return any(isinstance(fault.kind, ContendForReader) for fault in self.faults)

    def around(
        self, card: Card, hold: Callable[[Card], Interface], tell: Tell = lambda _: None, steal: Steal = lambda _: False
    ) -> Interface:
        """Return an interface to a card with this plan's faults. `hold` makes the interface without them."""
        for reference, left in self.tries.items():
            while card.store.pin(reference).tries_left > left:
                card.store.spend_try(reference)
        store = _GlitchingStore(card.store)
        interface: Interface = _FaultyCard(hold(replace(card, store=store)), self, store, tell, steal)
        if self.chaining:
            interface = ChainedResponses(interface)
        if self.t0:
            interface = T0Commands(interface)
        if self.limit is not None:
            interface = _ShortReader(interface, self.limit)
        return interface


class _FaultyCard(Layer):
    """Applies the plan's faults to commands, in the order of the plan."""

    def __init__(self, inner: Interface, plan: FaultPlan, store: _GlitchingStore, tell: Tell, steal: Steal) -> None:
        super().__init__(inner)
        self._plan = plan
        self._store = store
        self._tell = tell
        self._steal = steal
        self._chance = Random(plan.seed)
        self._number = 0
        self._back_at = 0.0

    @property
    def present(self) -> bool:
        return time.monotonic() >= self._back_at

    @property
    def atr(self) -> bytes:
        return self.inner.atr if self._plan.atr is None else self._plan.atr

    def transmit(self, command: bytes) -> bytes:
        self._number += 1
        applied = [fault.kind for fault in self._plan.faults if fault.when.holds(self._number, command, self._chance)]
        try:
            for kind in applied:
                self._before(kind, command)
            response = self.inner.transmit(command)
            fails = self._store.armed
        finally:
            self._store.armed = False
        if fails:
            away = next(kind.away for kind in applied if isinstance(kind, Glitch))
            self._leave(away, "power fails during the command")
        for kind in applied:
            response = self._after(kind, response)
        return response

    def _before(self, kind: FaultType, command: bytes) -> None:
        match kind:
            case Tear(Moment.BEFORE, away):
                self._leave(away, "the card is removed before it receives the command")
            case Mute(seconds):
                self._tell(f"the card does not respond for {seconds:g} s")
                time.sleep(seconds)
                self._leave(0.0, "the mute card is removed")
            case Slow(seconds):
                self._tell(f"the response is {seconds:g} s late")
                time.sleep(seconds)
            case Wait(extensions, each):
                for _ in range(extensions):
                    self._tell(f"waiting time extension of {each:g} s")
                    time.sleep(each)
            case Glitch() if int.from_bytes(command[:2]) in _GLITCHED and len(command) > 5:
                self._store.armed = True

    def _after(self, kind: FaultType, response: bytes) -> bytes:
        match kind:
            case Tear(Moment.DURING, away):
                self._leave(away, "the card is removed before it responds")
            case Tear(Moment.AFTER, away):
                self._tell("the card is removed after its response")
                self._back_at = time.monotonic() + away
            case Truncate(count):
                self._tell(f"the last {count} bytes of the response are missing")
                return response[: max(0, len(response) - count)]
            case Overlong(count):
                self._tell(f"the response has {count} extra bytes")
                return under(rule_of(response), response[:-2] + bytes(count) + response[-2:])
            case WrongStatus(status):
                self._tell(f"the status word is {status} instead of {response[-2:].hex().upper()}")
                return ruled(status.to_bytes(2), _FAULT)
            case ContendForReader(seconds):
                if self._steal(seconds):
                    self._tell(f"a second client takes the reader for {seconds:g} s")
        return response

    def _leave(self, away: float, words: str) -> None:
        self._tell(words)
        self._back_at = time.monotonic() + away
        raise CardGone(words)


class _GlitchingStore:
    """A card's store that, once armed, fails at the writes that a power failure would prevent.

    VERIFY decrements the retry counter before these, so that the counter stays decremented.
    """

    def __init__(self, inner: CardStore) -> None:
        self._inner = inner
        self.armed = False

    def pin(self, reference: Reference) -> PinState:
        return self._inner.pin(reference)

    def alone(self) -> AbstractContextManager[object]:
        return self._inner.alone()

    def spend_try(self, reference: Reference) -> PinState | None:
        return self._inner.spend_try(reference)

    def refill(self, reference: Reference) -> None:
        self._fail_if_armed()
        self._inner.refill(reference)

    def change_pin(self, reference: Reference, value: bytes) -> bool:
        self._fail_if_armed()
        return self._inner.change_pin(reference, value)

    def _fail_if_armed(self) -> None:
        if self.armed:
            raise StoreFailure("power fails")


class _ShortReader(Layer):
    """A reader that passes on commands of up to `limit` bytes and responses of short length; for others it returns
    6700 itself."""

    def __init__(self, inner: Interface, limit: int) -> None:
        super().__init__(inner)
        self._limit = limit

    def transmit(self, command: bytes) -> bytes:
        extended = len(command) >= 7 and command[4] == 0
        if len(command) > self._limit or extended:
            return _WRONG_LENGTH
        response = super().transmit(command)
        return response if len(response) <= max(self._limit, 258) else _WRONG_LENGTH
