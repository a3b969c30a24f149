"""The kinds of faults, and when each may happen. All are frozen values."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from random import Random

from kazashi.card.instruction import Instruction
from kazashi.card.status_word import StatusWord

GLITCHES: dict[str, tuple[Instruction, ...]] = {
    "verify": (Instruction.VERIFY,),
    "change": (Instruction.CHANGE_REFERENCE_DATA, Instruction.CHANGE_KEY),
}
"""The commands to which a glitch may apply, by their name in scripts."""


class Occasion(Enum):
    """When a fault may happen."""

    COMMAND = "a command"
    INSERTION = "the card comes into the reader"
    POWER_UP = "a cold start"
    RESET = "a warm reset"
    NEGOTIATION = "a protocol is chosen that the card does not use by itself"


@dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """The commands or other occasions to which a fault applies. All conditions that are set must hold.

    `nth`: the n-th occasion of the fault's kind since the card was inserted, from 1. `every`: every n-th. `matching`: a
    pattern at the start of the command in hexadecimal. `chance`: the share of the remaining occasions, 0 to 1.
    """

    nth: int | None = None
    every: int | None = None
    matching: re.Pattern[str] | None = None
    chance: float | None = None

    def holds(self, number: int, command: bytes, chance: Random) -> bool:
        """Return whether the fault applies to the `number`-th occasion. `command` is empty if it is not a command, and
        `chance` is the random generator."""
        return (
            (self.nth is None or number == self.nth)
            and (self.every is None or number % self.every == 0)
            and (self.matching is None or self.matching.match(command.hex().upper()) is not None)
            and (self.chance is None or chance.random() < self.chance)
        )


class Moment(Enum):
    """When a card is removed: before it receives the command, after it executed it but before its response, after its
    response, or instead of its answer to a cold start or a warm reset."""

    BEFORE = "before"
    DURING = "during"
    AFTER = "after"
    POWER_UP = "power-up"
    RESET = "reset"


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


@dataclass(frozen=True, slots=True)
class Timeout:
    """The card executes the command, but the reader has given up on it after `seconds`. The card is not removed."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Silent:
    """The card does not answer to reset: at a cold start or, if `warm`, at a warm reset."""

    warm: bool


@dataclass(frozen=True, slots=True)
class Bounce:
    """The contacts lose the card `times` times before it stays; each contact and each gap lasts `each`, in seconds."""

    times: int
    each: float = 0.02


@dataclass(frozen=True, slots=True)
class Weak:
    """The card stays in the field for `seconds` on average, exponentially distributed, and comes back after `away`."""

    seconds: float
    away: float = 0.1


@dataclass(frozen=True, slots=True)
class SecondCard:
    """A second card is in the field. The reader reaches neither of the two or, if `chosen`, that other card.

    After `lasts` seconds, unless that is None, both leave, and the card comes back alone after `away`.
    """

    chosen: bool
    lasts: float | None = None
    away: float = 0.5


@dataclass(frozen=True, slots=True)
class Negotiation:
    """The card refuses the protocol or, unless `refused`, does not respond to the proposal (PPS, ISO 7816-3, 9)."""

    refused: bool


FaultType = (
    Tear | Mute | Slow | Wait | Truncate | Overlong | WrongStatus | Glitch | ContendForReader | Timeout | Silent
    | Bounce | Weak | SecondCard | Negotiation
)  # fmt: skip


def occasion_of(kind: FaultType) -> Occasion:
    """Return when a fault may happen."""
    match kind:
        case Tear(Moment.POWER_UP) | Silent(warm=False):
            return Occasion.POWER_UP
        case Tear(Moment.RESET) | Silent(warm=True):
            return Occasion.RESET
        case Bounce() | Weak() | SecondCard():
            return Occasion.INSERTION
        case Negotiation():
            return Occasion.NEGOTIATION
    return Occasion.COMMAND


_OF_OUR_DRIVER = {
    Timeout: "timeout",
    Silent: "silent",
    Bounce: "bounce",
    Weak: "weak",
    SecondCard: "second-card",
    Negotiation: "negotiation",
}


def name_if_of_our_driver(kind: FaultType) -> str:
    """Return the name in scripts of a fault that only a reader of our own driver can show, or an empty string."""
    if isinstance(kind, Tear) and occasion_of(kind) is not Occasion.COMMAND:
        return f"tear: {kind.moment.value}"
    return _OF_OUR_DRIVER.get(type(kind), "")


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault and the commands or other occasions to which it applies."""

    kind: FaultType
    when: When
