"""In which state the cards of the cast are made: what a resident is like is in the registry's cast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Circumstance:
    """What is special about a card: issued years ago, or with fewer tries left than all."""

    issued_years_ago: int = 0
    tries_left: Mapping[str, int] = field(default_factory=dict)


ORDINARY = Circumstance()

CIRCUMSTANCES = {
    "blocked": Circumstance(tries_left={"authentication": 0}),
    "last-try": Circumstance(tries_left={"authentication": 1, "signature": 1}),
    "expired": Circumstance(issued_years_ago=7),
}
"""By alias; every other card is ordinary."""
