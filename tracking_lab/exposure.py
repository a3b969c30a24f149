"""The exposure matrix: who holds which handle, and who can convert one into another, read row by row from the actors'
own stores.

A cell is filled only if a row proves it. Handles are recognised by their values, whatever a column is called, because
the ground truth has all values that were issued.
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
    """The table and column that prove a cell, and the number of rows. `at_use` says that the handle is seen when a card
    is used, and not stored."""

    table: str
    column: str
    rows: int
    at_use: bool = False


@dataclass(frozen=True, slots=True)
class Conversion:
    """An actor that holds two handles of a person in the same row, and so can convert one into the other."""

    actor: str
    source: str
    target: str
    table: str


@dataclass
class Exposure:
    """The matrix: who holds which handle (`held`, by actor and handle), and who can convert which handles
    (`conversions`, by actor, source and target)."""

    held: dict[tuple[str, str], Witness] = field(default_factory=dict)
    conversions: dict[tuple[str, str, str], Conversion] = field(default_factory=dict)

    @property
    def actors(self) -> list[str]:
        """The actors that hold a handle, sorted."""
        return sorted({actor for actor, _ in self.held})

    @property
    def handles(self) -> list[str]:
        """The handles that an actor holds, sorted."""
        return sorted({handle for _, handle in self.held})

    def widest(self) -> str:
        """The actor that holds the most kinds of handles; of several, the first by name."""
        count = {actor: sum(1 for who, _ in self.held if who == actor) for actor in self.actors}
        return max(sorted(count), key=lambda actor: count[actor])

    def path(self, source: str, target: str, among: frozenset[str] | None = None) -> list[Conversion]:
        """X14: the shortest path of conversions from one handle to another, by the actors in `among` or by all. Empty
        if there is none."""
        waiting, reached_by = deque([source]), dict[str, Conversion | None]({source: None})
        while waiting:
            handle = waiting.popleft()
            if handle == target:
                steps: list[Conversion] = []
                while (step := reached_by[handle]) is not None:
                    steps.append(step)
                    handle = step.source
                return steps[::-1]
            for conversion in sorted(self.conversions.values(), key=lambda one: (one.target, one.actor)):
                if among is not None and conversion.actor not in among:
                    continue
                if conversion.source == handle and conversion.target not in reached_by:
                    reached_by[conversion.target] = conversion
                    waiting.append(conversion.target)
        return []


def exposure_of(
    rows: Iterable[Row], handles: Mapping[str, Iterable[str]], joined: Iterable[Row] = ()
) -> Exposure:  # fmt: skip
    """Read the exposure from the actors' rows. `handles` has, by name, all values of a handle in every form in which it
    is written. `joined` are rows that an actor gets by joining its own tables; they prove conversions only."""
    named = {value: name for name, values in handles.items() for value in values}
    exposure, counts = Exposure(), dict[tuple[str, str, str, str], int]()

    def convert(actor: str, table: str, row: Mapping[str, Any]) -> dict[str, str]:
        in_row = {handle: column for column, value in row.items()
                  if (handle := named.get(_written(value))) is not None}  # fmt: skip
        for source, target in permutations(in_row, 2):
            exposure.conversions.setdefault((actor, source, target), Conversion(actor, source, target, table))
        return in_row

    for actor, table, row in rows:
        for handle, column in convert(actor, table, row).items():
            key = (actor, handle, table, column)
            counts[key] = counts.get(key, 0) + 1
    for actor, table, row in joined:
        convert(actor, table, row)
    for (actor, handle, table, column), count in sorted(counts.items()):
        best = exposure.held.get((actor, handle))
        if best is None or count > best.rows:
            exposure.held[actor, handle] = Witness(table, column, count)
    return exposure


def _written(value: Any) -> str:
    return bytes(value).hex() if isinstance(value, bytes | memoryview) else str(value)
