"""Who holds which handle, and who can turn one into another: read from the actors' own stores, row by row.

A cell of the matrix stands only where a row proves it. Handles are recognised by their values, whatever a column is
called, because the judge knows all values that were given out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import permutations
from typing import Any

Row = tuple[str, str, Mapping[str, Any]]
"""An actor, a table, and the columns of one row."""


@dataclass(frozen=True, slots=True)
class Witness:
    """The row that proves a cell, and how many rows do. `at_use` is what is seen and not kept."""

    table: str
    column: str
    rows: int
    at_use: bool = False


@dataclass(frozen=True, slots=True)
class Conversion:
    """An actor that holds two handles of one person side by side, and so can turn one into the other."""

    actor: str
    source: str
    target: str
    table: str


@dataclass
class Exposure:
    """The matrix and the graph."""

    held: dict[tuple[str, str], Witness] = field(default_factory=dict)
    conversions: dict[tuple[str, str, str], Conversion] = field(default_factory=dict)

    @property
    def actors(self) -> list[str]:
        """Everybody who holds something."""
        return sorted({actor for actor, _ in self.held})

    @property
    def handles(self) -> list[str]:
        """Every handle that somebody holds."""
        return sorted({handle for _, handle in self.held})

    def widest(self) -> str:
        """Who holds the most kinds of handles (the first of them by name)."""
        count = {actor: sum(1 for who, _ in self.held if who == actor) for actor in self.actors}
        return max(sorted(count), key=lambda actor: count[actor])

    def path(self, source: str, target: str, among: frozenset[str] | None = None) -> list[Conversion]:
        """X14: the shortest way from one handle to another over actors that can convert (only some of them); empty
        where there is none."""
        waiting, came = deque([source]), dict[str, Conversion | None]({source: None})
        while waiting:
            here = waiting.popleft()
            if here == target:
                steps: list[Conversion] = []
                while (step := came[here]) is not None:
                    steps.append(step)
                    here = step.source
                return steps[::-1]
            for conversion in sorted(self.conversions.values(), key=lambda one: (one.target, one.actor)):
                if among is not None and conversion.actor not in among:
                    continue
                if conversion.source == here and conversion.target not in came:
                    came[conversion.target] = conversion
                    waiting.append(conversion.target)
        return []


def exposure_of(
    rows: Iterable[Row], handles: Mapping[str, Iterable[str]], joined: Iterable[Row] = ()
) -> Exposure:  # fmt: skip
    """The matrix of what is held. `handles` are, by name, all values of one in every form it is written in; `joined`
    are rows that an actor gets by joining its own tables, which prove conversions and nothing else."""
    named = {value: name for name, values in handles.items() for value in values}
    found, counts = Exposure(), dict[tuple[str, str, str, str], int]()

    def convert(actor: str, table: str, row: Mapping[str, Any]) -> dict[str, str]:
        here = {handle: column for column, value in row.items()
                if (handle := named.get(_written(value))) is not None}  # fmt: skip
        for source, target in permutations(here, 2):
            found.conversions.setdefault((actor, source, target), Conversion(actor, source, target, table))
        return here

    for actor, table, row in rows:
        for handle, column in convert(actor, table, row).items():
            key = (actor, handle, table, column)
            counts[key] = counts.get(key, 0) + 1
    for actor, table, row in joined:
        convert(actor, table, row)
    for (actor, handle, table, column), count in sorted(counts.items()):
        best = found.held.get((actor, handle))
        if best is None or count > best.rows:
            found.held[actor, handle] = Witness(table, column, count)
    return found


def _written(value: Any) -> str:
    return bytes(value).hex() if isinstance(value, bytes | memoryview) else str(value)
