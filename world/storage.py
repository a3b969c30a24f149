"""An actor's own store: a SQLite file, or a schema of a PostgreSQL database. No actor opens another's store."""

from __future__ import annotations

import fcntl
import hashlib
import os
import sqlite3
import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from threading import Lock
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, IntegrityError

from kazashi.world.atomic_file import make_directory

Position = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""A 64-bit key that the database increments. SQLite does so for INTEGER only, which has 64 bits there."""

Migration = Callable[[sa.Connection], object]
"""Migrates a store's tables from one version to the next, in a transaction of that store."""

_VERSION = sa.Table("schema_version", sa.MetaData(), sa.Column("version", sa.Integer, nullable=False))
"""One row in every store. A store without it has version 1: it was made before stores had versions."""

WRITES = "kazashi_writes"
"""The option of a connection that says whether its transaction may write."""

_IDLE = 2
"""The number of connections for reading, and for writing, that a store in SQLite keeps. Borrowing one from SQLAlchemy's
pool takes longer than a small transaction."""

_STATEMENT_SECONDS = 60
"""The time after which PostgreSQL gives a statement up. The longest ones, of a million rows, take a few seconds."""
_WRAP = 1 << 64


class Unsigned64(sa.types.TypeDecorator[int]):
    """An unsigned number of up to 64 bits, such as a serial number, stored as a signed 64-bit integer."""

    impl = sa.BigInteger
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> Any:
        """Use INTEGER on SQLite: it has 64 bits, and only an INTEGER can be the key that a table is sorted by."""
        return dialect.type_descriptor(sa.Integer() if dialect.name == "sqlite" else sa.BigInteger())

    def process_bind_param(self, value: int | None, dialect: sa.Dialect) -> int | None:
        """Convert a number to a signed integer: the upper half of the range becomes negative."""
        return value - _WRAP if value is not None and value >= _WRAP >> 1 else value

    def process_result_value(self, value: int | None, dialect: sa.Dialect) -> int | None:
        """Convert a stored signed integer to the unsigned number."""
        return value + _WRAP if value is not None and value < 0 else value


class StoreFailed(Exception):
    """A store could not be read or written. Its content is unchanged."""


class StoreTooNew(Exception):
    """A store was written by a newer program. Nothing in it was changed."""


class Store:
    """One actor's tables. A transaction is all or nothing, and is durable when it ends."""

    def __init__(self, engine: sa.Engine, actor: str) -> None:
        self.engine = engine
        self.actor = actor
        self._idle: dict[bool, list[sa.Connection]] = {False: [], True: []}
        # Python 3.13 reports a connection that was never closed. At exit there is nothing to tidy up.
        weakref.finalize(self, _close, engine, self._idle).atexit = False
        remote = engine.dialect.name == "postgresql"
        self._most_idle = 0 if remote else _IDLE
        # Writers wait for SQLite by sleeping. Those of one process queue for a lock instead.
        self._turn: AbstractContextManager[object] = nullcontext() if remote else Lock()
        self._prepared = False

    def prepare(self, metadata: sa.MetaData, migrations: Sequence[Migration] = ()) -> None:
        """Create the tables of a new store, or migrate an older store to this program's version.

        The program's version is the number of migrations plus one. A migration is reported on stderr. Later calls do
        nothing. Raises StoreTooNew and StoreFailed.
        """
        if self._prepared:
            return
        version = 1 + len(migrations)
        try:
            with self.transaction() as connection:
                stored = self._version(connection, metadata, version)
                for migrate in migrations[stored - 1 :]:
                    migrate(connection)
                if stored < version:
                    connection.execute(sa.update(_VERSION).values(version=version))
                metadata.create_all(connection)
        except Exception:
            self.close()
            raise
        if stored < version:
            print(
                f"kazashi: the store of {self.actor} was migrated from version {stored} to {version}", file=sys.stderr
            )
        self._prepared = True

    def _version(self, connection: sa.Connection, metadata: sa.MetaData, ours: int) -> int:
        """Return the store's version. It is written to the store if it is missing. Raises StoreTooNew."""
        if self.engine.dialect.name == "postgresql":
            # Two programs that create one store at the same time would both find no tables.
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_number_of(self.actor))))
            connection.execute(sa.schema.CreateSchema(self.actor, if_not_exists=True))
        inspector = sa.inspect(connection)
        if inspector.has_table(_VERSION.name):
            version = int(connection.execute(sa.select(_VERSION.c.version)).scalar_one())
            if version > ours:
                raise StoreTooNew(
                    f"the store of {self.actor} has version {version}, and this program reads versions up to {ours};"
                    " update Kazashi, or name another world with --world"
                )
            return version
        version = 1 if any(inspector.has_table(name) for name in metadata.tables) else ours
        _VERSION.create(connection)
        connection.execute(sa.insert(_VERSION), {"version": version})
        return version

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """A transaction that may write. Raises StoreFailed.

        On SQLite it excludes other writers from its beginning, so nothing that it has read changes before it writes.
        """
        with self._turn, self._begun(writes=True) as connection:
            yield connection

    @contextmanager
    def alone(self) -> Iterator[sa.Connection]:
        """A transaction that may write, and that excludes all others of this store begun with `alone`.

        What it has read is still true when it writes, on PostgreSQL too. Raises StoreFailed.
        """
        with self.transaction() as connection:
            if self.engine.dialect.name == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_number_of(f"{self.actor} alone"))))
            yield connection

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A read-only transaction. On SQLite it sees one snapshot. Raises StoreFailed."""
        with self._begun(writes=False) as connection:
            yield connection

    def probe(self) -> None:
        """Read something, to see whether the store responds. Raises StoreFailed."""
        with self.reading() as connection:
            connection.execute(sa.select(_VERSION.c.version))

    def check(self) -> None:
        """Read from the store and, on SQLite, look for damage. Raises StoreFailed."""
        self.probe()
        if self.engine.dialect.name == "sqlite":
            with self.reading() as connection:
                problem = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
            if problem != "ok":
                raise StoreFailed(f"the store {self.engine.url.database} is damaged ({problem}); restore it")

    def analyze(self) -> None:
        """Let the database collect statistics on its rows.

        Without them SQLite reads a whole table where an index would lead it to a few rows.
        """
        with self.transaction() as connection:
            connection.exec_driver_sql("ANALYZE")
        self.close()  # an open connection keeps using the old statistics

    def close(self) -> None:
        """Close the connections that are not in use. Others are opened when they are needed."""
        _close(self.engine, self._idle)

    @contextmanager
    def _begun(self, *, writes: bool) -> Iterator[sa.Connection]:
        try:
            with self._lent(writes) as connection, connection.begin():
                yield connection
        except IntegrityError:
            raise
        except (DBAPIError, sqlite3.Error) as error:
            raise StoreFailed(self._failure(error.orig if isinstance(error, DBAPIError) else error)) from error

    @contextmanager
    def _lent(self, writes: bool) -> Iterator[sa.Connection]:
        idle = self._idle[writes]
        try:
            connection = idle.pop()
        except IndexError:
            connection = self.engine.connect().execution_options(**{WRITES: writes})
        try:
            yield connection
        finally:
            if len(idle) < self._most_idle and not connection.in_transaction():
                idle.append(connection)
            else:
                connection.close()

    def _failure(self, error: BaseException | None) -> str:
        """Return what has failed: which file, and whether its disk or its content is the reason."""
        reason = " ".join(str(error).split())
        if self.engine.url.database is None or self.engine.dialect.name != "sqlite":
            return f"the store of {self.actor} failed: {reason}"
        path = Path(self.engine.url.database)
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return f"the store {path} is damaged ({reason}); restore it, or name another world with --world"
        return f"the store {path} failed: {disk_trouble(path) or reason}"


def _close(engine: sa.Engine, idle: dict[bool, list[sa.Connection]]) -> None:
    for connections in idle.values():
        while connections:
            connections.pop().close()
    engine.dispose()


def _number_of(lock: str) -> int:
    """The number of a PostgreSQL advisory lock."""
    return int.from_bytes(hashlib.sha256(lock.encode()).digest()[:7])


def open_store(
    directory: Path, storage: str, actor: str, metadata: sa.MetaData, migrations: Sequence[Migration] = ()
) -> Store:  # fmt: skip
    """Open the store of an actor of the world in `directory`, with its tables prepared (see `Store.prepare`).

    Raises StoreTooNew and StoreFailed.
    """
    store = store_at(directory, storage, actor)
    store.prepare(metadata, migrations)
    return store


def store_at(directory: Path, storage: str, actor: str) -> Store:
    """The store of an actor, for a study that reads across stores. Its tables are neither made nor migrated."""
    if storage:
        return Store(_postgresql(storage, actor), actor)
    path = directory / f"{actor}.sqlite"
    try:
        make_directory(path.parent, mode=0o700)
        if not path.exists():
            path.touch(mode=0o600)
    except OSError as error:
        raise StoreFailed(f"the store {path} cannot be made: {disk_trouble(path) or error.strerror}") from error
    return Store(_sqlite(path), actor)


def disk_trouble(path: Path) -> str:
    """Return why a file cannot be written, in words, or an empty string if no reason can be found."""
    place = path if path.exists() else path.parent
    try:
        usage = os.statvfs(place)
    except OSError as error:
        return error.strerror or ""
    if usage.f_flag & os.ST_RDONLY:
        return "the file system is read-only"
    if usage.f_bavail == 0:
        return "the disk is full"
    if not os.access(place, os.R_OK | os.W_OK) or not os.access(path.parent, os.W_OK | os.X_OK):
        return f"this user may not write it; it belongs to user {place.stat().st_uid}"
    return ""


def _sqlite(path: Path) -> sa.Engine:
    engine = sa.create_engine(f"sqlite+pysqlite:///{path}", connect_args={"timeout": 30}, poolclass=sa.NullPool)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: object) -> None:
        connection.isolation_level = None  # transactions are begun explicitly, below
        if connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
            with (path.parent / ".opening").open("w") as lock:  # SQLite does not wait for another switch to WAL
                fcntl.flock(lock, fcntl.LOCK_EX)
                connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA cache_size = -131072")
        connection.execute("PRAGMA analysis_limit = 1000")

    @event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        writes = connection.get_execution_options().get(WRITES, False)
        driver: Any = connection.connection.driver_connection
        driver.execute("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _postgresql(url: str, schema: str) -> sa.Engine:
    return sa.create_engine(
        sa.make_url(url).set(drivername="postgresql+psycopg"),
        connect_args={
            "options": f"-csearch_path={schema} -cstatement_timeout={_STATEMENT_SECONDS}s",
            "connect_timeout": 10,
        },
        pool_size=2,
        max_overflow=6,
    )


def joined(column: Any) -> Any:
    """An aggregate of a column of integers as text, separated by commas.

    `numpy` parses such a text at once. A million rows, one by one, would take a second.
    """
    return sa.func.aggregate_strings(sa.cast(column, sa.Text), ",")


def insert_many(
    connection: sa.Connection, table: sa.Table, columns: Sequence[str], rows: list[tuple[Any, ...]]
) -> None:  # fmt: skip
    """Insert many rows of plain values through the driver. It takes a third of the time of rows given as mappings."""
    placeholder = "?" if connection.dialect.paramstyle == "qmark" else "%s"
    sql = f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({', '.join(placeholder for _ in columns)})"
    if rows:
        connection.exec_driver_sql(sql, rows)


def insert_if_absent(table: sa.Table) -> sa.TextClause:
    """A statement that inserts a row of all columns, unless there is one with its key.

    If two processes find no row at the same time, one inserts it and the other uses that row.
    """
    names = [column.name for column in table.columns]
    values = ", ".join(f":{name}" for name in names)
    return sa.text(f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({values}) ON CONFLICT DO NOTHING")
