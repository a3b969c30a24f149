"""The state in which the sample residents' cards are made. The residents themselves are defined in the registry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Circumstance:
    """The special state of a card: issued years ago, or with reduced retry counters (by PIN name)."""

    issued_years_ago: int = 0
    tries_left: Mapping[str, int] = field(default_factory=dict)


ORDINARY = Circumstance()

CIRCUMSTANCES = {
    "blocked": Circumstance(tries_left={"authentication": 0}),
    "last-try": Circumstance(tries_left={"authentication": 1, "signature": 1}),
    "expired": Circumstance(issued_years_ago=7),
}
"""Circumstances by the resident's alias. Every other card is ORDINARY."""
