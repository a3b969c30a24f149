"""The exposure matrix: who holds which handle, and who can convert one into another, read row by row from the actors'
own stores.

A cell is filled only if a row proves it. The rows come with the handles in them, which are recognised by their values,
whatever a column is called.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import permutations

Row = tuple[str, str, Mapping[str, str]]
"""An actor, a table, and the kinds of the handles that were recognised in one row, by column."""


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

    def __str__(self) -> str:
        return f"{self.actor}: {self.source} -> {self.target} ({self.table})"


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


class Holding(Enum):
    """How an actor holds a handle."""

    AT_USE = "at use"
    """It is seen when a card is used, and not stored."""
    STORED = "stored"
    CONVERTIBLE = "convertible"
    """It is stored, and the actor can convert it into another handle of the same person."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of the exposure matrix: an actor, a handle that it holds and how, and the table, the column and the number
    of rows that prove it."""

    actor: str
    handle: str
    holding: Holding
    table: str
    column: str
    rows: int


@dataclass(frozen=True, slots=True)
class HandlePath:
    """X14 (paths to a code): the shortest path of conversions from a handle that an actor holds to a target handle. No
    steps mean that there is no path."""

    actor: str
    handle: str
    target: str
    steps: tuple[Conversion, ...]


@dataclass(frozen=True, slots=True)
class ExposureMatrix:
    """The exposure as a result: the cells in the order of actors and handles, the paths from each handle of an actor
    that is not an issuer to each target, and the actor with the most kinds of handles."""

    actors: tuple[str, ...]
    handles: tuple[str, ...]
    cells: tuple[Cell, ...]
    paths: tuple[HandlePath, ...]
    widest: str

    def cell(self, actor: str, handle: str) -> Cell | None:
        """The cell of an actor and a handle, None if the actor does not hold it."""
        return next((one for one in self.cells if (one.actor, one.handle) == (actor, handle)), None)


def matrix_of(exposure: Exposure, issuers: Collection[str], targets: Sequence[str]) -> ExposureMatrix:
    """The matrix of an exposure, with the paths to `targets`; `issuers` are the actors whose handles need no path."""
    paths = tuple(
        HandlePath(actor, handle, target, tuple(exposure.path(handle, target)))
        for actor, handle in sorted(exposure.held) if actor not in issuers
        for target in targets if target != handle
    )  # fmt: skip
    cells = tuple(
        Cell(actor, handle, _holding(exposure, actor, handle), witness.table, witness.column, witness.rows)
        for (actor, handle), witness in sorted(exposure.held.items())
    )
    return ExposureMatrix(tuple(exposure.actors), tuple(exposure.handles), cells, paths, exposure.widest())


def _holding(exposure: Exposure, actor: str, handle: str) -> Holding:
    if exposure.held[actor, handle].at_use:
        return Holding.AT_USE
    converts = any((actor, handle, other) in exposure.conversions for other in exposure.handles)
    return Holding.CONVERTIBLE if converts else Holding.STORED


def exposure_of(rows: Iterable[Row], joined: Iterable[Row] = ()) -> Exposure:
    """Read the exposure from the rows of the actors' stores in which handles were recognised. `joined` are rows that an
    actor gets by joining its own tables; they prove conversions only."""
    exposure, counts = Exposure(), dict[tuple[str, str, str, str], int]()
    seen: set[tuple[str, str, frozenset[str]]] = set()

    def convert(actor: str, table: str, handles: frozenset[str]) -> None:
        if (actor, table, handles) not in seen:
            seen.add((actor, table, handles))
            for source, target in permutations(sorted(handles), 2):
                exposure.conversions.setdefault((actor, source, target), Conversion(actor, source, target, table))

    for actor, table, row in rows:
        convert(actor, table, frozenset(row.values()))
        for column, handle in row.items():
            key = (actor, handle, table, column)
            counts[key] = counts.get(key, 0) + 1
    for actor, table, row in joined:
        convert(actor, table, frozenset(row.values()))
    for (actor, handle, table, column), count in sorted(counts.items()):
        best = exposure.held.get((actor, handle))
        if best is None or count > best.rows:
            exposure.held[actor, handle] = Witness(table, column, count)
    return exposure
