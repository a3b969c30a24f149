"""Fault injection: a card or a reader that misbehaves on purpose, at chosen or random commands.

A plan is a frozen value. `FaultPlan.around` wraps a card interface in the plan's layers. Each layer is an Interface
around another one, so that layers can be used alone or together.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from random import Random

from kazashi.card.card import Card
from kazashi.card.pin import PinState
from kazashi.card.rule import RuleSource, StatusRule, rule_of, ruled, under
from kazashi.card.status_word import Status
from kazashi.card.store import CardStore, Reference, StoreFailure
from kazashi.reader_bridge.fault_kind import (
    GLITCHES,
    Bounce,
    ContendForReader,
    Fault,
    FaultType,
    Glitch,
    Moment,
    Mute,
    Negotiation,
    Occasion,
    Overlong,
    SecondCard,
    Silent,
    Slow,
    Tear,
    Timeout,
    Truncate,
    Wait,
    Weak,
    WrongStatus,
    name_if_of_our_driver,
    occasion_of,
)
from kazashi.reader_bridge.interface import GET_UID, CardGone, Interface, ProtocolRefused, ReaderFailed
from kazashi.reader_bridge.layer import ChainedResponses, Layer, T0Commands

Tell = Callable[[str], None]
"""Called with a description of each fault when it happens; traces show it."""

Steal = Callable[[float], bool]
"""Makes a second client take the reader for a number of seconds. Returns False if one has it already."""

_GLITCHED = {instruction for instructions in GLITCHES.values() for instruction in instructions}
FELICA_ATR = bytes.fromhex("3B8F8001804F0CA00000030611003B0000000042")
"""The ATR that a contactless reader builds for a FeliCa card, as transport cards are (PC/SC part 3, 3.1.3.2.3.2)."""

_WRONG_LENGTH = ruled(
    Status.WRONG_LENGTH.to_bytes(2), StatusRule("the reader passes on short commands only", RuleSource.FAULTS)
)
_FAULT = StatusRule("a fault replaces the card's status word", RuleSource.FAULTS)
_OTHER_CARD = StatusRule("the reader has chosen another card in the field", RuleSource.FAULTS)
_FELICA_ANSWER = ruled(bytes.fromhex("01010501BF0A12349000"), _OTHER_CARD)
_NO_FUNCTION = ruled(bytes.fromhex("6A81"), _OTHER_CARD)


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultPlan:
    """All faults of one card and its reader.

    `atr` replaces the card's own, and `warm_atr` its answer to a warm reset. `chaining`: responses are fetched with GET
    RESPONSE, as with T=0 (61xx, 6Cxx). `t0`: commands have the forms of T=0. `limit`: the longest command, in bytes,
    that the reader passes on. `tries`: retries left, for PINs that have more when the card is inserted; the card's
    counters are decremented for good, as by wrong PINs.
    """

    faults: tuple[Fault, ...] = ()
    seed: int = 0
    atr: bytes | None = None
    warm_atr: bytes | None = None
    chaining: bool = False
    t0: bool = False
    limit: int | None = None
    tries: Mapping[Reference, int] = field(default_factory=dict)

    @property
    def steals(self) -> bool:
        """Whether the plan needs a reader that a second client can take."""
        return any(isinstance(fault.kind, ContendForReader) for fault in self.faults)

    @property
    def of_our_driver(self) -> tuple[str, ...]:
        """The faults, by their names in scripts, that only a reader of our own driver can show."""
        names = (name_if_of_our_driver(fault.kind) for fault in self.faults)
        return tuple(dict.fromkeys(name for name in names if name))

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
    """Applies the plan's faults, in the order of the plan. The card's presence is brought up to date when it is used or
    looked at."""

    def __init__(self, inner: Interface, plan: FaultPlan, store: _GlitchingStore, tell: Tell, steal: Steal) -> None:
        super().__init__(inner)
        self._plan = plan
        self._store = store
        self._tell = tell
        self._steal = steal
        self._chance = Random(plan.seed)
        self._occasions: Counter[Occasion] = Counter()
        self._here = False
        self._changes = deque([(0.0, True)])  # when the card's presence changes, and whether it then comes in anew
        self._second: SecondCard | None = None
        self._mute = False
        self._warm = False

    @property
    def present(self) -> bool:
        while self._changes and self._changes[0][0] <= time.monotonic():
            _, comes_in = self._changes.popleft()
            self._here = not self._here
            if not self._here:
                self.inner.power_off()
            elif comes_in:
                self._come_in()
        return self._here

    @property
    def changes_in(self) -> float | None:
        return max(0.0, self._changes[0][0] - time.monotonic()) if self._changes else self.inner.changes_in

    @property
    def atr(self) -> bytes:
        if self._mute:
            return b""
        if self._second is not None:
            return FELICA_ATR
        if self._warm and self._plan.warm_atr is not None:
            return self._plan.warm_atr
        return self.inner.atr if self._plan.atr is None else self._plan.atr

    def power_on(self) -> None:
        self._start(Occasion.POWER_UP)

    def reset(self) -> None:
        self._start(Occasion.RESET)

    def negotiate(self, protocol: int) -> None:
        if protocol != _own_protocol(self.atr):
            for kind in self._applying(Occasion.NEGOTIATION):
                if isinstance(kind, Negotiation) and kind.refused:
                    self._tell("the card refuses the protocol")
                    raise ProtocolRefused
                self._tell("the card does not respond to the proposal of a protocol")
                raise ReaderFailed("the negotiation of a protocol failed")
        self.inner.negotiate(protocol)

    def transmit(self, command: bytes) -> bytes:
        self._check_presence()
        if self._second is not None:
            return _FELICA_ANSWER if command == GET_UID else _NO_FUNCTION
        applied = self._applying(Occasion.COMMAND, command)
        try:
            for kind in applied:
                self._before(kind, command)
            response = self.inner.transmit(command)
            fails = self._store.armed
        finally:
            self._store.armed = False
        self._check_presence()
        if fails:
            away = next(kind.away for kind in applied if isinstance(kind, Glitch))
            self._leave(away, "power fails during the command")
        for kind in applied:
            response = self._after(kind, response)
        return response

    def _applying(self, occasion: Occasion, command: bytes = b"") -> list[FaultType]:
        """Return the faults that apply to this occasion, which is counted."""
        self._occasions[occasion] += 1
        return [
            fault.kind
            for fault in self._plan.faults
            if occasion_of(fault.kind) is occasion
            and fault.when.holds(self._occasions[occasion], command, self._chance)
        ]

    def _come_in(self) -> None:
        self._second = None
        end = time.monotonic()
        for kind in self._applying(Occasion.INSERTION):
            match kind:
                case Bounce(times, each):
                    self._tell(f"the card bounces {times} times")
                    self._changes.extend((end + number * each, False) for number in range(1, 2 * times + 1))
                    end += 2 * times * each
                case Weak(seconds, away):
                    end += self._chance.expovariate(1 / seconds)
                    self._changes.extend(((end, False), (end + away, True)))
                    return
                case SecondCard(_, lasts, away):
                    self._tell("a second card is in the field")
                    self._second = kind
                    if lasts is not None:
                        self._changes.extend(((end + lasts, False), (end + lasts + away, True)))
                        return

    def _start(self, occasion: Occasion) -> None:
        """Start the card, cold or warm."""
        self._check_presence()
        self._warm = occasion is Occasion.RESET
        self._mute = self._second is not None and not self._second.chosen
        for kind in self._applying(occasion):
            match kind:
                case Tear(_, away):
                    self._leave(away, f"the card is removed during a {'reset' if self._warm else 'power-up'}")
                case Silent():
                    self._tell("the card does not answer to reset")
                    self._mute = True
        if self._mute or self._second is not None:
            self.inner.power_off()
        elif self._warm:
            self.inner.reset()
        else:
            self.inner.power_on()

    def _check_presence(self) -> None:
        if not self.present:
            raise CardGone("the card is not in the reader")

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
                self._go_away(away)
            case Timeout(seconds):
                self._tell(f"the reader gives up on the card after {seconds:g} s")
                time.sleep(seconds)
                raise ReaderFailed("the response came too late")
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
        self._go_away(away)
        raise CardGone(words)

    def _go_away(self, away: float) -> None:
        self._here = False
        self._changes = deque([(time.monotonic() + away, True)])
        self.inner.power_off()


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


def _own_protocol(atr: bytes) -> int:
    """Return the protocol that a card uses unless another is negotiated: 1 for T=0, 2 for T=1 (ISO 7816-3, 8.2.3)."""
    given = atr[1] >> 4 if len(atr) > 1 else 0
    place = 2 + (given & 7).bit_count()
    return 1 << (atr[place] & 0x0F) if given & 8 and place < len(atr) else 1


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
