"""Where the handles of a world's people lie: every store of every actor, read once, value by value.

`network rulings`, `points exposure` and `tracking exposure` are made from these sightings, and so they agree.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import Any

import sqlalchemy as sa

from kazashi.assembly.actors import SHOP, Actor, actors_of
from kazashi.assembly.points import tills_directory
from kazashi.studies.handle_index import HandleIndex, Hit, Key, StoredForm, Tally, ValueShape
from kazashi.studies.handles import HandleKind, issued_handles
from kazashi.world.home import World
from kazashi.world.storage import Store, store_at

CHANCE = 1e-5
"""The values of a column count only if the probability that chance explains their number is below this. A world has
about a hundred columns, so that fewer than one world in a hundred has a false sighting."""

_CHUNK = 5_000
_KEY_SIZES = range(16, 65)
_WITH_DOCUMENTS = (str, bytes, memoryview)


@dataclass
class HandleSighting:
    """Handles of one kind and form in a column of a table, or under a path in its JSON documents.

    `rows` are the numbers of the rows (from 0, in the table's order) with the numbers of the handles in each; `key` is
    the key of a keyed form: the name of the store that has it, and its name there.
    """

    actor: Actor
    store: str
    table: str
    column: str
    kind: HandleKind
    form: StoredForm
    key: str
    rows: dict[int, set[int]] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """Table and column."""
        return f"{self.table}.{self.column}"


@dataclass
class ScannedTable:
    """A table as it was read: how many rows it has, and the body and the item of each, None if it has no such columns.
    `leaves` are the rows with their documents flattened, if they were asked for."""

    actor: Actor
    store: str
    name: str
    rows: int = 0
    labels: list[tuple[str, str]] | None = None
    keys: set[str] = field(default_factory=set)
    leaves: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Sightings:
    """All sightings of a world, the tables that were read, and the handles with their numbers."""

    index: HandleIndex
    found: list[HandleSighting] = field(default_factory=list)
    tables: list[ScannedTable] = field(default_factory=list)

    def person(self, handle: int) -> str:
        """The person whom a handle identifies."""
        return self.index.handles[handle].person

    def of_people(self, people: set[str]) -> Iterator[tuple[HandleSighting, int]]:
        """The sightings that have handles of certain people, with the number of rows that do."""
        for one in self.found:
            rows = sum(any(self.person(handle) in people for handle in handles) for handles in one.rows.values())
            if rows:
                yield one, rows


def sightings(world: World, *, leaves: bool = False) -> Sightings:
    """Read all stores of a world, and look for every handle that was issued in it.

    A value that others can be like by chance counts only if there are more of them in its column than chance explains
    (`CHANCE`). With `leaves`, the rows are kept, for a study that joins tables.
    """
    stores = list(_stores(world))
    keys = [key for _, name, store in stores for key in _keys(name, store)]
    result = Sightings(HandleIndex(issued_handles(world), keys))
    for actor, name, store in stores:
        with store.reading() as connection:
            metadata = sa.MetaData()
            metadata.reflect(connection, schema=name if _has_schemas(store) else None)
            for table in metadata.sorted_tables:
                scanned, found = _scan(connection, actor, name, table, result.index, leaves=leaves)
                result.tables.append(scanned)
                result.found += found
    return result


def _stores(world: World) -> Iterator[tuple[Actor, str, Store]]:
    """Every actor's store, and the disks of the tills."""
    for actor in actors_of(world):
        yield actor, actor.store, world.store_to_study(actor.store)
    for path in sorted(tills_directory(world).glob("*.sqlite")):
        if fnmatch(path.stem, SHOP.store):
            yield SHOP, path.stem, store_at(path.parent, "", path.stem)


def _has_schemas(store: Store) -> bool:
    return store.engine.dialect.name == "postgresql"


def _keys(name: str, store: Store) -> Iterator[Key]:
    """The secrets of an actor under which it could hash handles: its table of secrets, and columns named so."""
    with store.reading() as connection:
        inspector = sa.inspect(connection)
        schema = name if _has_schemas(store) else None
        for table in inspector.get_table_names(schema=schema):
            columns = [column["name"] for column in inspector.get_columns(table, schema=schema)]
            value = "value" if table == "secret" else "secret"
            if value in columns:
                for label, secret in connection.execute(sa.text(f'SELECT "{columns[0]}", "{value}" FROM "{table}"')):
                    if isinstance(secret, bytes | memoryview) and len(secret) in _KEY_SIZES:
                        yield Key(name, str(label), bytes(secret))


class ColumnReading:
    """What one column, or one path in its documents, was found to have."""

    def __init__(self, index: HandleIndex) -> None:
        self._index = index
        self._tally = Tally()
        self._hits: dict[tuple[HandleKind, StoredForm, str, ValueShape | None], dict[int, set[int]]] = {}
        self._matched: dict[tuple[HandleKind, ValueShape], set[int | str]] = {}
        self._known: dict[Any, tuple[Hit, ...]] = {}

    def add(self, row: int, value: Any) -> None:
        """Look for handles in a value of a row. Equal values are looked at once."""
        hits = self._known.get(value)
        if hits is None:
            hits = self._known[value] = tuple(self._index.find(value, self._tally))
        for hit in hits:
            kind = self._index.handles[hit.handle].kind
            self._hits.setdefault((kind, hit.form, hit.key, hit.shape), {}).setdefault(row, set()).add(hit.handle)
            if hit.shape is not None:
                self._matched.setdefault((kind, hit.shape), set()).add(hit.value)

    def sighted(self) -> dict[tuple[HandleKind, StoredForm, str], dict[int, set[int]]]:
        """The handles in each row, by kind, form and key, without matches that chance explains."""
        sighted: dict[tuple[HandleKind, StoredForm, str], dict[int, set[int]]] = {}
        for (kind, form, key, shape), hits in self._hits.items():
            if shape is None or self._beyond_chance(kind, shape):
                rows = sighted.setdefault((kind, form, key), {})
                for row, handles in hits.items():
                    rows.setdefault(row, set()).update(handles)
        return sighted

    def _beyond_chance(self, kind: HandleKind, shape: ValueShape) -> bool:
        matched, read, space = len(self._matched[kind, shape]), self._tally.counts[shape], shape.space
        if 2 * matched < read:  # such as times, which lie close together
            low, high = self._tally.ranges[shape]
            space = min(space, high - low + 1)
        return by_chance(matched, read * self._index.sizes.get(shape, 0) / space) < CHANCE


def by_chance(matched: int, expected: float) -> float:
    """An upper bound of the probability of at least `matched` matches if `expected` are expected (Poisson)."""
    if expected <= 0 or matched == 0:
        return 0.0 if matched else 1.0
    first = matched * math.log(expected) - math.lgamma(matched + 1)
    chernoff = matched - expected - matched * math.log(matched / expected) if matched > expected else 0.0
    return math.exp(min(0.0, first, chernoff))


def _scan(
    connection: sa.Connection, actor: Actor, store: str, table: sa.Table, index: HandleIndex, *, leaves: bool
) -> tuple[ScannedTable, list[HandleSighting]]:  # fmt: skip
    names = [column.name for column in table.columns]
    scanned = ScannedTable(actor, store, table.name, keys=_unique(table))
    labelled = [names.index(label) for label in ("owner", "item")] if {"owner", "item"} <= {*names} else []
    labels: list[tuple[str, str]] = []
    columns: dict[str, ColumnReading] = {}
    listed = ", ".join(f'"{name}"' for name in names)
    rows = connection.execution_options(yield_per=_CHUNK).exec_driver_sql(f'SELECT {listed} FROM "{table.name}"')
    for row in rows:
        kept: dict[str, Any] = {}
        for name, value in zip(names, row, strict=True):
            if value is None:
                continue
            for path, leaf in _leaves(name, value) if isinstance(value, _WITH_DOCUMENTS) else ((name, value),):
                if path not in columns:
                    columns[path] = ColumnReading(index)
                columns[path].add(scanned.rows, leaf)
                if leaves:
                    kept[path if path not in kept else f"{path} {len(kept)}"] = leaf
        if labelled:
            labels.append((str(row[labelled[0]]), str(row[labelled[1]])))
        if leaves:
            scanned.leaves.append(kept)
        scanned.rows += 1
    scanned.labels = labels if labelled else None
    found = [
        HandleSighting(actor, store, table.name, path, *what, rows)
        for path, column in columns.items() for what, rows in column.sighted().items()
    ]  # fmt: skip
    return scanned, found


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """A value, or the values in it if it is a JSON document, each with its path. The places of lists are left out."""
    if isinstance(value, memoryview):
        value = bytes(value)
    if isinstance(value, str | bytes) and value[:1] in ("{", "[", b"{", b"["):
        try:
            value = json.loads(value)
        except ValueError:
            yield name, value
            return
    match value:
        case dict():
            for key, each in value.items():
                yield from _leaves(f"{name}.{key}", each)
        case list():
            for each in value:
                yield from _leaves(f"{name}[]", each)
        case _:
            yield name, value


def _unique(table: sa.Table) -> set[str]:
    """The columns of a table that are each a key on their own."""
    unique = [index.columns.keys() for index in table.indexes if index.unique]
    unique += [one.columns.keys() for one in table.constraints if isinstance(one, sa.UniqueConstraint)]
    return {names[0] for names in [table.primary_key.columns.keys(), *unique] if len(names) == 1} - {"position"}
