"""Who would link, and how: each gets only what its actor holds, and answers pairs or keys. The person behind a use is
for the judge alone."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import polars as pl

from tracking_lab.countermeasures import SERVICE, Countermeasure
from tracking_lab.engine import Engine
from tracking_lab.metrics import Linkage, minimal, pairwise

EXACT = """
WITH held AS (SELECT DISTINCT service, {handle} AS handle FROM uses),
     pairs AS (SELECT a.service AS one, b.service AS other, a.handle
               FROM held a JOIN held b ON a.handle = b.handle AND a.service < b.service)
SELECT one, other, count(*) AS linked FROM pairs GROUP BY one, other
"""
"""T1, T2: services put their tables together. Written in what DuckDB and Spark both understand."""

OF_PERSONS = """
WITH held AS (SELECT DISTINCT service, person FROM uses)
SELECT a.service AS one, b.service AS other, count(*) AS belong
FROM held a JOIN held b ON a.person = b.person AND a.service < b.service GROUP BY a.service, b.service
"""
"""The judge's: how many persons any two services really share."""


def exact_join(engine: Engine, handle: str = "shown") -> pl.DataFrame:
    """How many handles each two services share: `one`, `other`, `linked`. `handle` is an expression over a use."""
    return engine.query(EXACT.format(handle=handle)).sort("one", "other")


def hashed(engine: Engine) -> str:
    """The expression of a digest of what is shown, as careless services keep it."""
    return engine.sha256("CAST(shown AS VARCHAR(20))" if engine.name == "duckdb" else "CAST(shown AS STRING)")


def shared_persons(engine: Engine) -> pl.DataFrame:
    """How many persons each two services share: `one`, `other`, `belong`."""
    return engine.query(OF_PERSONS).sort("one", "other")


def dictionary(digests: pl.DataFrame, issued: pl.DataFrame, digest: Callable[[int], str]) -> pl.DataFrame:
    """T2: find what is behind digests by trying everything that was issued. `digests` has a column `handle`, `issued`
    the column `shown`; answers both where a guess was right."""
    tried = issued.select("shown").with_columns(
        handle=pl.Series([digest(number) for number in issued["shown"]], dtype=pl.String)
    )
    return digests.select("handle").unique().join(tried, on="handle")


def by_timing(seen: pl.DataFrame, window_days: int = 60) -> pl.DataFrame:
    """T5 without a chain: at one service, a handle that is never seen again is followed by one that was never seen
    before. `seen` has `service`, `shown`, `first`, `last` (days) and `birth_year` (0 where the service does not know
    it). Answers pairs `former`, `later`; where several could follow, the nearest in time does."""
    ends = seen.select("service", "birth_year", former="shown", at="last")
    begins = seen.select("service", "birth_year", later="shown", begins="first")
    near = ends.join(begins, on=["service", "birth_year"]).filter(
        (pl.col("begins") > pl.col("at")) & (pl.col("begins") - pl.col("at") <= window_days)
        & (pl.col("former") != pl.col("later"))
    )  # fmt: skip
    gaps = near.with_columns(gap=pl.col("begins") - pl.col("at")).sort("gap", "former", "later")
    one = gaps.unique(subset=["service", "former"], keep="first", maintain_order=True)
    return one.unique(subset=["service", "later"], keep="first", maintain_order=True).select("former", "later")


def coalitions(held: pl.DataFrame, measure: Countermeasure) -> list[tuple[frozenset[str], float]]:
    """X13: the recall of each set of actors. Services join by equal handles; whoever else is in it turns handles into
    what it knows."""
    found = []
    others = list(measure.reveals)
    for size in range(len(others) + 1):
        for some in combinations(others, size):
            revealed = {measure.reveals[who] for who in some}
            key = next((name for name in ("person", "chain", "shown") if name in revealed), "handle")
            link: Linkage = pairwise(held, key)
            found.append((frozenset((SERVICE, *some)), link.recall.value))
    return found


def smallest_coalitions(held: pl.DataFrame, measure: Countermeasure, threshold: float = 0.95) -> list[frozenset[str]]:
    """The smallest of them that link nearly everybody."""
    return minimal(coalitions(held, measure), threshold)


def trajectories(engine: Engine, points: int, people: int, bin_days: int, seed: int) -> tuple[int, int]:
    """X7: of so many people with enough uses, how many some random points of their own trace single out, a point being
    a service and a span of days. Answers (singled out, tried)."""
    order = f"(CAST(t.service AS BIGINT) * 104729 + t.span * 1299709 + {seed}) % 1000003"
    first = f"(CAST(person AS BIGINT) * 7919 + {seed}) % 1000003, person"
    sample = f"""
    WITH trace AS (SELECT DISTINCT person, service, CAST(floor(moment / {bin_days * 86_400}) AS BIGINT) AS span
                   FROM uses),
         rich AS (SELECT person FROM trace GROUP BY person HAVING count(*) >= {points}),
         chosen AS (SELECT person FROM rich ORDER BY {first} LIMIT {people}),
         drawn AS (SELECT t.person AS target, t.service, t.span, row_number() OVER (
                       PARTITION BY t.person ORDER BY {order}, t.span, t.service) AS place
                   FROM trace t JOIN chosen c ON t.person = c.person),
         known AS (SELECT target, service, span FROM drawn WHERE place <= {points}),
         met AS (SELECT k.target, t.person, count(*) AS points FROM known k
                 JOIN trace t ON t.service = k.service AND t.span = k.span GROUP BY k.target, t.person),
         fits AS (SELECT target, count(*) AS people FROM met WHERE points = {points} GROUP BY target)
    SELECT count(*) AS tried, sum(CASE WHEN people = 1 THEN 1 ELSE 0 END) AS alone FROM fits
    """
    found = engine.query(sample).row(0, named=True)
    return int(found["alone"] or 0), int(found["tried"] or 0)
