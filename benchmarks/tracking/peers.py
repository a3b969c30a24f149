"""The exact joins of a population, in four ways: `python -m benchmarks.tracking.peers WAY DIRECTORY` prints the seconds
and the number of links. The three peers are written as a user of the library would write them."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path


def ours(directory: Path) -> int:
    """The laboratory's exact joins, with 8 GB."""
    from kazashi.tracking_lab.engine import DuckDb
    from kazashi.tracking_lab.linkers import exact_join
    from kazashi.tracking_lab.memory import MemoryLimit

    engine = DuckDb(MemoryLimit(8 * 1000**3), directory / "spill-ours")
    engine.table("uses", str(directory / "uses" / "*.parquet"))
    links = int(exact_join(engine)["linked"].sum())
    engine.close()
    return links


def with_pandas(directory: Path) -> int:
    """The same joins in pandas."""
    import pandas

    uses = pandas.read_parquet(directory / "uses", columns=["service", "shown"])
    distinct = uses.drop_duplicates()
    pairs = distinct.merge(distinct, on="shown")
    pairs = pairs[pairs.service_x < pairs.service_y]
    return int(pairs.groupby(["service_x", "service_y"]).size().sum())


def with_polars(directory: Path) -> int:
    """The same joins in Polars, with its streaming engine."""
    import polars as pl

    held = pl.scan_parquet(directory / "uses" / "*.parquet").select("service", "shown").unique()
    pairs = held.join(held, on="shown").filter(pl.col("service") < pl.col("service_right"))
    return int(pairs.group_by("service", "service_right").len().collect(engine="streaming")["len"].sum())


def with_duckdb(directory: Path) -> int:
    """The same joins in SQL on DuckDB, with 8 GB."""
    import duckdb

    connection = duckdb.connect(config={"memory_limit": "8GB", "temp_directory": str(directory / "spill-theirs")})
    (links,) = connection.execute(
        """
        WITH held AS (SELECT DISTINCT service, shown FROM read_parquet(?)),
             pairs AS (SELECT a.service AS one, b.service AS other, count(*) AS linked FROM held a
                       JOIN held b ON a.shown = b.shown AND a.service < b.service GROUP BY ALL)
        SELECT sum(linked) FROM pairs
        """,
        [str(directory / "uses" / "*.parquet")],
    ).fetchone() or (0,)
    return int(links or 0)


WAYS: dict[str, Callable[[Path], int]] = {
    "ours": ours, "pandas": with_pandas, "Polars": with_polars, "DuckDB": with_duckdb,
}  # fmt: skip


def joined(way: str, directory: Path) -> tuple[float, int]:
    """The seconds and the number of links of one way, in a new process. Raises CalledProcessError."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.tracking.peers", way, str(directory)],
        capture_output=True,
        text=True,
        check=True,
    )  # fmt: skip
    seconds, links = done.stdout.split()
    return float(seconds), int(links)


if __name__ == "__main__":
    begun = time.perf_counter()
    found = WAYS[sys.argv[1]](Path(sys.argv[2]))
    print(time.perf_counter() - begun, found)
