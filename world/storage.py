"""An actor's own store: a SQLite file, or a schema of a PostgreSQL database. No actor opens another's."""

from __future__ import annotations

import fcntl
import hashlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from threading import Lock
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, IntegrityError

Position = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""A 64-bit key that the database counts up. SQLite does so for INTEGER alone, which has 64 bits there."""

Migration = Callable[[sa.Connection], object]
"""Takes a store's tables from one version to the next, in a transaction of that store."""

_VERSION = sa.Table("schema_version", sa.MetaData(), sa.Column("version", sa.Integer, nullable=False))
"""One row in every store. A store without it is of version 1: it was made before stores had versions."""

_WRITES = "kazashi_writes"
_WRAP = 1 << 64


class Unsigned64(sa.types.TypeDecorator[int]):
    """A number of up to 64 bits, such as a serial number, kept in the databases' signed 64-bit integers."""

    impl = sa.BigInteger
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> Any:
        """SQLite has 64 bits in INTEGER, which alone can be the key that a table is sorted by."""
        return dialect.type_descriptor(sa.Integer() if dialect.name == "sqlite" else sa.BigInteger())

    def process_bind_param(self, value: int | None, dialect: sa.Dialect) -> int | None:
        """The upper half of the range becomes negative."""
        return value - _WRAP if value is not None and value >= _WRAP >> 1 else value

    def process_result_value(self, value: int | None, dialect: sa.Dialect) -> int | None:
        """And back again."""
        return value + _WRAP if value is not None and value < 0 else value


class StoreFailed(Exception):
    """A store could not be read or did not take a write; what it holds is what it held before."""


class StoreTooNew(Exception):
    """A store was written by a newer program; nothing in it was changed."""


class Store:
    """One actor's tables. Every write is durable when its transaction ends, and is all or nothing."""

    def __init__(self, engine: sa.Engine, actor: str) -> None:
        self.engine = engine
        self.actor = actor
        # SQLite lets writers wait by sleeping; those of one process rather wait in line.
        self._turn: AbstractContextManager[object] = nullcontext() if engine.dialect.name == "postgresql" else Lock()
        self._prepared = False

    def prepare(self, metadata: sa.MetaData, migrations: Sequence[Migration] = ()) -> None:
        """Make the tables of a new store; bring those of an older one to this program's version, which is one more than
        there are migrations, and say so on stderr. It is done once. Raises StoreTooNew and StoreFailed."""
        if self._prepared:
            return
        version = 1 + len(migrations)
        try:
            with self.transaction() as connection:
                found = self._version(connection, metadata, version)
                for migrate in migrations[found - 1 :]:
                    migrate(connection)
                if found < version:
                    connection.execute(sa.update(_VERSION).values(version=version))
                metadata.create_all(connection)
        except Exception:
            self.engine.dispose()
            raise
        if found < version:
            print(f"kazashi: the store of {self.actor} was taken from version {found} to {version}", file=sys.stderr)
        self._prepared = True

    def _version(self, connection: sa.Connection, metadata: sa.MetaData, ours: int) -> int:
        """The version that the store has, noted down where it was not. Raises StoreTooNew."""
        if self.engine.dialect.name == "postgresql":
            # Two programs that begin one store at once would both find no tables.
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_number_of(self.actor))))
            connection.execute(sa.schema.CreateSchema(self.actor, if_not_exists=True))
        inspector = sa.inspect(connection)
        if inspector.has_table(_VERSION.name):
            found = int(connection.execute(sa.select(_VERSION.c.version)).scalar_one())
            if found > ours:
                raise StoreTooNew(
                    f"the store of {self.actor} has version {found}, and this program knows versions up to {ours};"
                    " update Kazashi, or name another world with --world"
                )
            return found
        found = 1 if any(inspector.has_table(name) for name in metadata.tables) else ours
        _VERSION.create(connection)
        connection.execute(sa.insert(_VERSION), {"version": found})
        return found

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """A transaction that may write. On SQLite it is the only one from its beginning, so that nothing it has read
        can change before it writes. Raises StoreFailed."""
        with self._turn, self._begun(writes=True) as connection:
            yield connection

    @contextmanager
    def alone(self) -> Iterator[sa.Connection]:
        """A transaction that may write, and that overlaps no other one of this store which was begun so: what it has
        read still holds when it writes, on PostgreSQL too. Raises StoreFailed."""
        with self.transaction() as connection:
            if self.engine.dialect.name == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_number_of(f"{self.actor} alone"))))
            yield connection

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A transaction that only reads: one snapshot on SQLite. Raises StoreFailed."""
        with self._begun(writes=False) as connection:
            yield connection

    def analyze(self) -> None:
        """Let the database look at how its rows are spread. Without that SQLite reads a whole table where an index
        would have led it to the few rows that are wanted."""
        with self.transaction() as connection:
            connection.exec_driver_sql("ANALYZE")
        self.engine.dispose()  # a connection that is open goes on with what it knew when it was opened

    @contextmanager
    def _begun(self, *, writes: bool) -> Iterator[sa.Connection]:
        try:
            with self.engine.connect() as connection:
                connection = connection.execution_options(**{_WRITES: writes})
                with connection.begin():
                    yield connection
        except IntegrityError:
            raise
        except DBAPIError as error:
            words = " ".join(str(error.orig).split())
            raise StoreFailed(f"the store of {self.actor} failed: {words}") from error


def _number_of(lock: str) -> int:
    """The number by which PostgreSQL knows a lock."""
    return int.from_bytes(hashlib.sha256(lock.encode()).digest()[:7])


def open_store(
    directory: Path, storage: str, actor: str, metadata: sa.MetaData, migrations: Sequence[Migration] = ()
) -> Store:  # fmt: skip
    """The store of an actor of the world in `directory`, with its tables as `Store.prepare` says. Raises StoreTooNew
    and StoreFailed."""
    store = store_at(directory, storage, actor)
    store.prepare(metadata, migrations)
    return store


def store_at(directory: Path, storage: str, actor: str) -> Store:
    """The same as it is, for a study that reads across stores: tables are neither made nor migrated."""
    if storage:
        return Store(_postgresql(storage, actor), actor)
    path = directory / f"{actor}.sqlite"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)
    return Store(_sqlite(path), actor)


def _sqlite(path: Path) -> sa.Engine:
    engine = sa.create_engine(f"sqlite+pysqlite:///{path}", connect_args={"timeout": 30})

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: object) -> None:
        connection.isolation_level = None  # transactions begin where we say so, below
        if connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
            with (path.parent / ".opening").open("w") as held:  # the switch does not wait for others that switch too
                fcntl.flock(held, fcntl.LOCK_EX)
                connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA cache_size = -131072")
        connection.execute("PRAGMA analysis_limit = 1000")

    @event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        writes = connection.get_execution_options().get(_WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _postgresql(url: str, schema: str) -> sa.Engine:
    return sa.create_engine(
        sa.make_url(url).set(drivername="postgresql+psycopg"),
        connect_args={"options": f"-csearch_path={schema}", "connect_timeout": 10},
        pool_size=2,
        max_overflow=6,
    )


def joined(column: Any) -> Any:
    """An aggregate of a column of whole numbers as text with commas between: what `numpy` takes in at once, where a
    million rows, one by one, would cost a second."""
    return sa.func.aggregate_strings(sa.cast(column, sa.Text), ",")


def insert_many(
    connection: sa.Connection, table: sa.Table, columns: Sequence[str], rows: list[tuple[Any, ...]]
) -> None:  # fmt: skip
    """Insert many rows of plain values, which goes to the driver as it is: a third of what rows of names would take."""
    mark = "?" if connection.dialect.paramstyle == "qmark" else "%s"
    sql = f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({', '.join(mark for _ in columns)})"
    if rows:
        connection.exec_driver_sql(sql, rows)


def insert_if_absent(table: sa.Table) -> sa.TextClause:
    """A statement that inserts a row of all columns, unless one with its key is there: of two processes that find none
    at the same moment, one inserts it and the other goes on with it."""
    names = [column.name for column in table.columns]
    values = ", ".join(f":{name}" for name in names)
    return sa.text(f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({values}) ON CONFLICT DO NOTHING")
