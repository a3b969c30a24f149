"""Where SQL about a population runs: DuckDB in this process, or Apache Spark where one machine is too small.

Queries are written in what both understand; the few words that differ are this module's. A value stands in a query as
`:name` and is given beside it; names of tables and columns, and what takes no parameters, are quoted here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import polars as pl

_PARAMETER = re.compile(r"(?<!:):(\w+)")


def quoted(name: str) -> str:
    """A name of a table or column as an identifier of DuckDB's."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as a literal, for statements that take no parameters: views, and copies to files."""
    return "'" + text.replace("'", "''") + "'"


class EngineMissing(Exception):
    """The engine is not installed; the message says how to."""


class Engine(Protocol):
    """A place where SQL runs, over the tables of a population. `truth` columns stand in `uses.person` alone."""

    name: str

    def table(self, name: str, files: str) -> None:
        """Let a table be what is in Parquet files."""

    def frame(self, name: str, frame: pl.DataFrame) -> None:
        """Let a table be a frame that is at hand."""

    def query(self, sql: str, **parameters: int | str) -> pl.DataFrame:
        """The rows of a query; each `:name` in it stands for the parameter of that name."""

    def text(self, number: str) -> str:
        """The engine's expression for a number as text."""

    def sha256(self, text: str) -> str:
        """The engine's expression for the hexadecimal digest of a text expression."""

    def splink(self) -> Any:
        """The engine as Splink uses it."""

    def close(self) -> None:
        """Let go of everything."""


class DuckDb:
    """DuckDB: one process, memory bounded, the rest goes to disk."""

    name = "duckdb"

    def __init__(self, memory: str = "4GB", threads: int | None = None, spill: Path | None = None) -> None:
        import duckdb

        settings: dict[str, Any] = {"memory_limit": memory, "preserve_insertion_order": "false"}
        if threads is not None:
            settings["threads"] = threads
        if spill is not None:
            settings["temp_directory"] = str(spill)
        self._connection = duckdb.connect(config=settings)

    def table(self, name: str, files: str) -> None:
        """Let a table be what is in Parquet files."""
        view = f"CREATE OR REPLACE VIEW {quoted(name)} AS SELECT * FROM read_parquet({literal(files)})"
        self._connection.execute(view)

    def frame(self, name: str, frame: pl.DataFrame) -> None:
        """Let a table be a frame that is at hand."""
        self._connection.register(name, frame.to_arrow())

    def query(self, sql: str, **parameters: int | str) -> pl.DataFrame:
        """The rows of a query. Raises OSError where the disk is full."""
        import duckdb

        try:
            found: pl.DataFrame = self._connection.sql(_PARAMETER.sub(r"$\1", sql), params=parameters).pl()
        except duckdb.IOException as error:
            raise OSError(f"the disk does not take what a query spills: {str(error).splitlines()[0]}") from error
        return found

    def text(self, number: str) -> str:
        """DuckDB's expression."""
        return f"CAST({number} AS VARCHAR)"

    def sha256(self, text: str) -> str:
        """DuckDB's expression."""
        return f"sha256({text})"

    def splink(self) -> Any:
        """Splink's back end over the same connection."""
        from splink.backends.duckdb import DuckDBAPI

        return DuckDBAPI(connection=self._connection)

    def close(self) -> None:
        """Let go of everything."""
        self._connection.close()


class Spark:
    """Apache Spark: in this process, or on the cluster that `master` names (docs/tracking.md). Raises EngineMissing."""

    name = "spark"

    def __init__(self, master: str = "local[2]", settings: Mapping[str, str] | None = None) -> None:
        try:
            from pyspark.sql import SparkSession
        except ImportError as error:
            raise EngineMissing("Apache Spark is not installed; try: pip install 'kazashi[spark]'") from error

        builder = SparkSession.builder.master(master).appName("kazashi tracking")
        for name, value in {"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false",
                            "spark.sql.shuffle.partitions": "8",
                            "spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1",
                            "spark.log.level": "ERROR", **(settings or {})}.items():  # fmt: skip
            builder = builder.config(name, value)
        self._session = builder.getOrCreate()

    def table(self, name: str, files: str) -> None:
        """Let a table be what is in Parquet files."""
        self._session.read.parquet(files).createOrReplaceTempView(name)

    def frame(self, name: str, frame: pl.DataFrame) -> None:
        """Let a table be a frame that is at hand."""
        self._session.createDataFrame(frame.to_pandas()).createOrReplaceTempView(name)

    def query(self, sql: str, **parameters: int | str) -> pl.DataFrame:
        """The rows of a query."""
        found = pl.from_arrow(self._session.sql(sql, args=parameters).toArrow())
        assert isinstance(found, pl.DataFrame)
        return found

    def text(self, number: str) -> str:
        """Spark's expression."""
        return f"CAST({number} AS STRING)"

    def sha256(self, text: str) -> str:
        """Spark's expression."""
        return f"sha2({text}, 256)"

    def splink(self) -> Any:
        """Splink's Spark back end over the same session; what it compares here needs none of its own functions."""
        from splink.backends.spark import SparkAPI

        return SparkAPI(spark_session=self._session, break_lineage_method="persist", register_udfs_automatically=False)

    def close(self) -> None:
        """End the session."""
        self._session.stop()


def count(engine: Engine, table: str) -> int:
    """How many rows a table has."""
    return int(engine.query(f"SELECT count(*) AS n FROM {table}")["n"][0])
