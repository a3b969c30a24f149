"""The engines that run SQL over a population: DuckDB in this process, or Apache Spark if one machine is too small.

Queries use only the SQL that both engines understand; the few expressions that differ are in this module. A query
refers to a value as `:name` and gets it as a parameter. `quoted` and `literal` are for table and column names, and for
statements that take no parameters.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import polars as pl

from kazashi.tracking_lab.handle_pairs import shared_handles
from kazashi.tracking_lab.memory import DEFAULT, MemoryLimit

if TYPE_CHECKING:
    import duckdb

_PARAMETER = re.compile(r"(?<!:):(\w+)")


def quoted(name: str) -> str:
    """Quote the name of a table or column as a DuckDB identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Quote a text as an SQL literal, for statements that take no parameters: views, and copies to files."""
    return "'" + text.replace("'", "''") + "'"


class EngineMissing(Exception):
    """The engine is not installed; the message says how to install it."""


class OutOfMemory(Exception):
    """A query needs more memory than its limit, even with what it can spill to disk."""


def exhausted(error: duckdb.OutOfMemoryException) -> OSError | OutOfMemory:
    """The error to raise where DuckDB has neither memory nor, if it says so, room for its spill files."""
    words = str(error).splitlines()[0]
    if "max_temp_directory_size" in str(error):
        return OSError(f"the disk has no room for a query's spill files: {words}")
    return OutOfMemory(f"the memory is not enough, try a larger --memory: {words}")


class Engine(Protocol):
    """An SQL engine over the tables of a population. The ground truth is in the column `uses.person` only."""

    name: str

    def table(self, name: str, files: str) -> None:
        """Create a table of the rows in Parquet files."""

    def frame(self, name: str, frame: pl.DataFrame) -> None:
        """Create a table of the rows of a data frame."""

    def query(self, sql: str, **parameters: int | str) -> pl.DataFrame:
        """Return the rows of a query; each `:name` in it stands for the parameter of that name."""

    def shared_handles(self) -> pl.DataFrame | None:
        """The numbers of handles that each two services share, as the query `linkers.EXACT` gives them, if the engine
        has a faster way to count them."""

    def text(self, number: str) -> str:
        """The SQL expression that converts a number to text."""

    def sha256(self, text: str) -> str:
        """The SQL expression for the hexadecimal SHA-256 digest of a text expression."""

    def splink(self) -> Any:
        """Splink's back end for this engine."""

    def close(self) -> None:
        """Close the engine and release its resources."""


class DuckDb:
    """DuckDB in this process. `memory` bounds the process; what does not fit in DuckDB's share of it goes to the
    directory `spill`."""

    name = "duckdb"

    def __init__(self, memory: MemoryLimit = DEFAULT, spill: Path | None = None) -> None:
        import duckdb

        self._memory, self._spill = memory, spill
        self._files: dict[str, str] = {}
        self._connection = duckdb.connect(config={**memory.duckdb(spill), "preserve_insertion_order": "false"})

    def table(self, name: str, files: str) -> None:
        """Create a view of the rows in Parquet files."""
        view = f"CREATE OR REPLACE VIEW {quoted(name)} AS SELECT * FROM read_parquet({literal(files)})"
        self._connection.execute(view)
        self._files[name] = files

    def frame(self, name: str, frame: pl.DataFrame) -> None:
        """Register a data frame as a table."""
        self._files.pop(name, None)
        self._connection.register(name, frame.to_arrow())

    def query(self, sql: str, **parameters: int | str) -> pl.DataFrame:
        """Return the rows of a query. Raises OSError if the disk is full, and OutOfMemory."""
        import duckdb

        try:
            rows: pl.DataFrame = self._connection.sql(_PARAMETER.sub(r"$\1", sql), params=parameters).pl()
        except duckdb.IOException as error:
            raise OSError(f"a query cannot write its spill files: {str(error).splitlines()[0]}") from error
        except duckdb.OutOfMemoryException as error:
            raise exhausted(error) from error
        return rows

    def shared_handles(self) -> pl.DataFrame | None:
        """The numbers of shared handles, counted by sorting if the uses are in files."""
        pattern = self._files.get("uses")
        if pattern is None:
            return None
        files = sorted(Path(pattern).parent.glob(Path(pattern).name))
        return shared_handles(files, self._memory.engine // 2, self._memory.threads, self._spill)

    def text(self, number: str) -> str:
        """DuckDB's expression that converts a number to text."""
        return f"CAST({number} AS VARCHAR)"

    def sha256(self, text: str) -> str:
        """DuckDB's expression for a hexadecimal SHA-256 digest."""
        return f"sha256({text})"

    def splink(self) -> Any:
        """Splink's DuckDB back end over the same connection."""
        from splink.backends.duckdb import DuckDBAPI

        return DuckDBAPI(connection=self._connection)

    def close(self) -> None:
        """Close the connection, and remove what it spilled."""
        self._connection.close()
        if self._spill is not None:
            shutil.rmtree(self._spill, ignore_errors=True)


class Spark:
    """Apache Spark in this process, or on the cluster at `master` (docs/tracking.md). `settings` are Spark's own.
    Raises EngineMissing if Spark is not installed."""

    name = "spark"

    def __init__(self, master: str = "local[2]", settings: Mapping[str, str] | None = None) -> None:
        try:
            from pyspark.sql import SparkSession
        except ImportError as error:
            raise EngineMissing("Apache Spark is not installed; try: pip install 'kazashi[spark]'") from error

        # The workers of a cluster must reach this process; local[2] has none.
        here = {"spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1"}
        builder = SparkSession.builder.master(master).appName("kazashi tracking")
        for name, value in {"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false",
                            "spark.sql.shuffle.partitions": "8",
                            "spark.log.level": "ERROR", **(here if master.startswith("local") else {}),
                            **(settings or {})}.items():  # fmt: skip
            builder = builder.config(name, value)
        self._session = builder.getOrCreate()

    def table(self, name: str, files: str) -> None:
        """Create a temporary view of the rows in Parquet files."""
        self._session.read.parquet(files).createOrReplaceTempView(name)

    def frame(self, name: str, frame: pl.DataFrame) -> None:
        """Create a temporary view of the rows of a data frame."""
        self._session.createDataFrame(frame.to_pandas()).createOrReplaceTempView(name)

    def query(self, sql: str, **parameters: int | str) -> pl.DataFrame:
        """Return the rows of a query."""
        rows = pl.from_arrow(self._session.sql(sql, args=parameters).toArrow())
        assert isinstance(rows, pl.DataFrame)
        return rows

    def shared_handles(self) -> pl.DataFrame | None:
        """None: Spark's own join is spread over its workers."""
        return None

    def text(self, number: str) -> str:
        """Spark's expression that converts a number to text."""
        return f"CAST({number} AS STRING)"

    def sha256(self, text: str) -> str:
        """Spark's expression for a hexadecimal SHA-256 digest."""
        return f"sha2({text}, 256)"

    def splink(self) -> Any:
        """Splink's Spark back end over the same session. Its own functions are not registered; the comparisons here do
        not need them."""
        from splink.backends.spark import SparkAPI

        return SparkAPI(spark_session=self._session, break_lineage_method="persist", register_udfs_automatically=False)

    def close(self) -> None:
        """Stop the session."""
        self._session.stop()


def count(engine: Engine, table: str) -> int:
    """The number of rows of a table."""
    return int(engine.query(f"SELECT count(*) AS n FROM {table}")["n"][0])
