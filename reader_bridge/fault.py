"""Faults: a card or a reader that does what it should not, on purpose, at a moment that a script or chance names.

A plan is a frozen value. `FaultPlan.around` puts its layers around a card as a reader holds it; each layer is an
Interface around another, so that one can be tried alone and all of them together.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from random import Random

from kazashi.card.card import Card
from kazashi.card.instruction import Instruction
from kazashi.card.pin import PinState
from kazashi.card.status_word import Status, StatusWord
from kazashi.card.store import CardStore, Reference, StoreFailure
from kazashi.reader_bridge.interface import CardGone, Interface

Tell = Callable[[str], None]
"""Told each fault as it happens, in words; a trace shows them."""

Steal = Callable[[float], bool]
"""Has a second client take the reader for so many seconds; False where one has it already."""

GLITCHES: dict[str, tuple[Instruction, ...]] = {
    "verify": (Instruction.VERIFY,),
    "change": (Instruction.CHANGE_REFERENCE_DATA, Instruction.CHANGE_KEY),
}
"""The commands that a glitch may meet, by the word that a script has for them."""

_GLITCHED = {instruction for instructions in GLITCHES.values() for instruction in instructions}
_ANSWERING = {Instruction.SELECT, Instruction.COMPUTE_DIGITAL_SIGNATURE, Instruction.INTERNAL_AUTHENTICATE}
"""Commands that carry data and may be answered with data."""

_WRONG_LENGTH = Status.WRONG_LENGTH.to_bytes(2)
_UNKNOWN_INSTRUCTION = Status.UNKNOWN_INSTRUCTION.to_bytes(2)


@dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """Which commands a fault meets: all conditions that are set must hold.

    `command`: the n-th since the card was put in, from 1. `every`: each n-th. `matching`: a pattern of its
    hexadecimal form. `chance`: the share of the rest, 0 to 1.
    """

    command: int | None = None
    every: int | None = None
    matching: re.Pattern[str] | None = None
    chance: float | None = None

    def holds(self, number: int, command: bytes, chance: Random) -> bool:
        """Whether it meets this command, the `number`-th."""
        return (
            (self.command is None or number == self.command)
            and (self.every is None or number % self.every == 0)
            and (self.matching is None or self.matching.match(command.hex().upper()) is not None)
            and (self.chance is None or chance.random() < self.chance)
        )


class Moment(Enum):
    """When a card is torn out: before it gets the command, once it has carried it out and not yet answered, or after
    its answer."""

    BEFORE = "before"
    DURING = "during"
    AFTER = "after"


@dataclass(frozen=True, slots=True)
class Tear:
    """The card is torn out, and comes back after `away` seconds."""

    moment: Moment
    away: float = 0.5


@dataclass(frozen=True, slots=True)
class Mute:
    """The card answers nothing. After `seconds`, which a real reader would have waited, it is taken out and put in
    anew."""

    seconds: float = 2.0


@dataclass(frozen=True, slots=True)
class Slow:
    """The answer comes so many seconds late."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Wait:
    """The card asks for more time, so many times (S(WTX) of ISO 7816-3, 11.4.3), and takes `each` seconds of it."""

    extensions: int
    each: float = 0.4


@dataclass(frozen=True, slots=True)
class Truncate:
    """The answer lacks so many bytes at its end, down to nothing at all."""

    count: int


@dataclass(frozen=True, slots=True)
class Overlong:
    """The answer has so many bytes too many, in front of its status word."""

    count: int


@dataclass(frozen=True, slots=True)
class WrongStatus:
    """The card does what it is told, and answers with another status word, and no data."""

    status: StatusWord


@dataclass(frozen=True, slots=True)
class Glitch:
    """Power fails in the middle of the next VERIFY or change of a PIN that the condition meets: the try that VERIFY
    spends is gone whatever the PIN was, and a change has not happened."""

    away: float = 0.5


@dataclass(frozen=True, slots=True)
class ContendForReader:
    """After its answer, a second client takes the reader for so many seconds and leaves another application
    selected."""

    seconds: float


FaultType = Tear | Mute | Slow | Wait | Truncate | Overlong | WrongStatus | Glitch | ContendForReader


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens, and to which commands."""

    kind: FaultType
    when: When


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultPlan:
    """All that is wrong with one card and its reader.

    `atr` stands in for the card's own. `chaining`: answers are fetched with GET RESPONSE, as T=0 has it (61xx,
    6Cxx). `limit`: the longest command, in bytes, that the reader carries. `tries`: tries left, for PINs that have
    more when the card is put in; they are spent on the card, as wrong PINs would have spent them.
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
        """Whether it needs a reader that a second client can take."""
        return any(isinstance(fault.kind, ContendForReader) for fault in self.faults)

    def around(
        self, card: Card, hold: Callable[[Card], Interface], tell: Tell = lambda _: None, steal: Steal = lambda _: False
    ) -> Interface:
        """A card with this plan's faults. `hold` makes the card what a reader holds."""
        for reference, left in self.tries.items():
            while card.store.pin(reference).tries_left > left:
                card.store.spend_try(reference)
        store = _GlitchingStore(card.store)
        held: Interface = _FaultyCard(hold(replace(card, store=store)), self, store, tell, steal)
        if self.chaining:
            held = _ChainedAnswers(held)
        if self.t0:
            held = _T0Commands(held)
        if self.limit is not None:
            held = _ShortReader(held, self.limit)
        return held


class _Layer:
    """An Interface that passes everything on."""

    def __init__(self, inner: Interface) -> None:
        self._inner = inner

    @property
    def present(self) -> bool:
        return self._inner.present

    @property
    def atr(self) -> bytes:
        return self._inner.atr

    def power_on(self) -> None:
        self._inner.power_on()

    def power_off(self) -> None:
        self._inner.power_off()

    def reset(self) -> None:
        self._inner.reset()

    def transmit(self, command: bytes) -> bytes:
        return self._inner.transmit(command)


class _FaultyCard(_Layer):
    """The card whose commands meet the plan's faults, in the order in which the plan has them."""

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
        return self._inner.atr if self._plan.atr is None else self._plan.atr

    def transmit(self, command: bytes) -> bytes:
        self._number += 1
        met = [fault.kind for fault in self._plan.faults if fault.when.holds(self._number, command, self._chance)]
        try:
            for kind in met:
                self._before(kind, command)
            answer = self._inner.transmit(command)
            fails = self._store.armed
        finally:
            self._store.armed = False
        if fails:
            self._leave(next(kind.away for kind in met if isinstance(kind, Glitch)), "power fails in the middle of it")
        for kind in met:
            answer = self._after(kind, answer)
        return answer

    def _before(self, kind: FaultType, command: bytes) -> None:
        match kind:
            case Tear(Moment.BEFORE, away):
                self._leave(away, "the card is torn out before it gets the command")
            case Mute(seconds):
                self._tell(f"the card is mute for {seconds:g} s")
                time.sleep(seconds)
                self._leave(0.0, "and is taken out")
            case Slow(seconds):
                self._tell(f"the answer comes {seconds:g} s late")
                time.sleep(seconds)
            case Wait(extensions, each):
                for _ in range(extensions):
                    self._tell(f"waiting time extension of {each:g} s")
                    time.sleep(each)
            case Glitch() if int.from_bytes(command[:2]) in _GLITCHED and len(command) > 5:
                self._store.armed = True

    def _after(self, kind: FaultType, answer: bytes) -> bytes:
        match kind:
            case Tear(Moment.DURING, away):
                self._leave(away, "the card is torn out before it answers")
            case Tear(Moment.AFTER, away):
                self._tell("the card is torn out after its answer")
                self._back_at = time.monotonic() + away
            case Truncate(count):
                self._tell(f"the answer lacks {count} bytes")
                return answer[: max(0, len(answer) - count)]
            case Overlong(count):
                self._tell(f"the answer has {count} bytes too many")
                return answer[:-2] + bytes(count) + answer[-2:]
            case WrongStatus(status):
                self._tell(f"the status word is {status} instead of {answer[-2:].hex().upper()}")
                return status.to_bytes(2)
            case ContendForReader(seconds):
                if self._steal(seconds):
                    self._tell(f"a second client takes the reader for {seconds:g} s")
        return answer

    def _leave(self, away: float, words: str) -> None:
        self._tell(words)
        self._back_at = time.monotonic() + away
        raise CardGone(words)


class _GlitchingStore:
    """A card's store that fails at the writes which a power failure would cut off, once it is armed. The try that
    VERIFY spends comes before, and stays spent."""

    def __init__(self, inner: CardStore) -> None:
        self._inner = inner
        self.armed = False

    def pin(self, reference: Reference) -> PinState:
        return self._inner.pin(reference)

    def spend_try(self, reference: Reference) -> PinState:
        return self._inner.spend_try(reference)

    def refill(self, reference: Reference) -> None:
        self._fail_if_armed()
        self._inner.refill(reference)

    def change_pin(self, reference: Reference, value: bytes) -> None:
        self._fail_if_armed()
        self._inner.change_pin(reference, value)

    def _fail_if_armed(self) -> None:
        if self.armed:
            raise StoreFailure("power fails")


class _ChainedAnswers(_Layer):
    """Answers as T=0 has them (ISO 7816-3, 12.2): data wait until they are fetched, by GET RESPONSE or with the
    right Le."""

    def __init__(self, inner: Interface) -> None:
        super().__init__(inner)
        self._waiting = b""
        self._status = b""

    def power_on(self) -> None:
        self._waiting = b""
        super().power_on()

    def reset(self) -> None:
        self._waiting = b""
        super().reset()

    def transmit(self, command: bytes) -> bytes:
        if int.from_bytes(command[:2]) == Instruction.GET_RESPONSE:
            return self._fetch(command)
        self._waiting = b""
        answer = super().transmit(command)
        data, status = answer[:-2], answer[-2:]
        if not data:
            return answer
        if len(command) == 5:  # the command says how much it wants, and must say it exactly
            return answer if len(data) == (command[4] or 256) else bytes((0x6C, len(data) & 0xFF))
        self._waiting, self._status = data, status
        return bytes((0x61, min(len(data), 256) & 0xFF))

    def _fetch(self, command: bytes) -> bytes:
        if not self._waiting:
            return _UNKNOWN_INSTRUCTION
        asked = (command[4] if len(command) > 4 else 0) or 256
        given, self._waiting = self._waiting[:asked], self._waiting[asked:]
        return given + (bytes((0x61, min(len(self._waiting), 256) & 0xFF)) if self._waiting else self._status)


class _T0Commands(_Layer):
    """Commands as T=0 has them (ISO 7816-3, 12.2), put into the form that the chip knows. There is none of four
    bytes: a VERIFY without a PIN carries a length of 00. And one with data cannot say that it expects any: that is
    understood."""

    def transmit(self, command: bytes) -> bytes:
        instruction = int.from_bytes(command[:2])
        if len(command) == 5 and instruction == Instruction.VERIFY and command[4] == 0:
            command = command[:4]
        elif len(command) > 5 and len(command) == 5 + command[4] and instruction in _ANSWERING:
            command += b"\0"
        return super().transmit(command)


class _ShortReader(_Layer):
    """A reader that carries commands of so many bytes at most, and answers longer ones itself; nor does it carry
    answers of extended length."""

    def __init__(self, inner: Interface, limit: int) -> None:
        super().__init__(inner)
        self._limit = limit

    def transmit(self, command: bytes) -> bytes:
        extended = len(command) >= 7 and command[4] == 0
        if len(command) > self._limit or extended:
            return _WRONG_LENGTH
        answer = super().transmit(command)
        return answer if len(answer) <= max(self._limit, 258) else _WRONG_LENGTH
