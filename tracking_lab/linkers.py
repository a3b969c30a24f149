"""Linkers: each gets only the data that its actor holds, and returns pairs or keys. The ground truth, which person is
behind a use, is not among it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import polars as pl

from kazashi.tracking_lab.engine import Engine
from kazashi.tracking_lab.plan import DAY, HOUR

EXACT = """
WITH held AS (SELECT DISTINCT service, {handle} AS handle FROM uses),
     pairs AS (SELECT a.service AS one, b.service AS other, a.handle
               FROM held a JOIN held b ON a.handle = b.handle AND a.service < b.service)
SELECT one, other, count(*) AS linked FROM pairs GROUP BY one, other
"""
"""T1, T2 (exact joins): services join their tables. In SQL that DuckDB and Spark both understand."""

OF_PERSONS = """
WITH held AS (SELECT DISTINCT service, person FROM uses)
SELECT a.service AS one, b.service AS other, count(*) AS belong
FROM held a JOIN held b ON a.person = b.person AND a.service < b.service GROUP BY a.service, b.service
"""
"""The ground truth: how many persons each two services share."""

TOGETHER = """
WITH a AS (SELECT DISTINCT shown AS handle, CAST(floor(moment / :hour) AS BIGINT) AS span
           FROM uses WHERE service = :one),
     b AS (SELECT DISTINCT shown AS handle, CAST(floor(moment / :hour) AS BIGINT) AS span
           FROM uses WHERE service = :other),
     near AS (SELECT a.handle AS former, b.handle AS later, a.span AS span FROM a JOIN b ON b.span = a.span
              UNION ALL
              SELECT a.handle, b.handle, a.span FROM a JOIN b ON b.span = a.span + 1),
     met AS (SELECT former, later, count(DISTINCT span) AS times FROM near GROUP BY former, later),
     often_a AS (SELECT handle, count(*) AS uses FROM a GROUP BY handle),
     often_b AS (SELECT handle, count(*) AS uses FROM b GROUP BY handle)
SELECT m.former, m.later, m.times, o.uses AS uses, p.uses AS other_uses
FROM met m JOIN often_a o ON o.handle = m.former JOIN often_b p ON p.handle = m.later WHERE m.times >= :least
"""
"""T11 (timing): two observers compare the hours of their users' visits, the same hour or the next."""


@dataclass(frozen=True, slots=True)
class Handle:
    """What a service stores of a use: an SQL expression over the columns of `uses`, and its parameters."""

    sql: str
    parameters: Mapping[str, str] = field(default_factory=dict)


SHOWN = Handle("shown")


def exact_join(engine: Engine, handle: Handle = SHOWN) -> pl.DataFrame:
    """The number of handles that each two services share: `one`, `other`, `linked`."""
    return engine.query(EXACT.format(handle=handle.sql), **handle.parameters).sort("one", "other")


def hashed(engine: Engine, salt: str = "", service: bool = False) -> Handle:
    """The SHA-256 digest of the serial number: plain, with a common salt, or with the service's number as its salt."""
    parts = [":salt"] * bool(salt) + [engine.text("service")] * service + [engine.text("shown")]
    # Without a separator, service 1 with number 12 would equal service 11 with number 2.
    text = parts[0] if len(parts) == 1 else "concat(" + ", '/', ".join(parts) + ")"
    return Handle(engine.sha256(text), {"salt": salt} if salt else {})


def shared_persons(engine: Engine) -> pl.DataFrame:
    """The number of persons that each two services share: `one`, `other`, `belong`."""
    return engine.query(OF_PERSONS).sort("one", "other")


def dictionary(digests: pl.DataFrame, issued: pl.DataFrame, digest: Callable[[int], str]) -> pl.DataFrame:
    """T2 (dictionary attack): reverse digests by trying every issued number. `digests` has a column `handle`, `issued`
    a column `shown`. Returns both columns for each digest that was reversed."""
    tried = issued.select("shown").with_columns(
        handle=pl.Series([digest(number) for number in issued["shown"]], dtype=pl.String)
    )
    return digests.select("handle").unique().join(tried, on="handle")


def by_timing(seen: pl.DataFrame, window_days: int = 400, beside: tuple[str, ...] = ("birth_year",)) -> pl.DataFrame:
    """T5, T7 without a chain (renewals by timing): at one service, a handle that is never seen again is followed by one
    that was never seen before, within `window_days`. `seen` has `service`, `shown`, `first`, `last` (days), and the
    attributes `beside`, which must agree. Returns pairs `former`, `later`; of several possible successors, the nearest
    in time."""
    ends = seen.select("service", *beside, former="shown", at="last")
    begins = seen.select("service", *beside, later="shown", begins="first")
    near = ends.join(begins, on=["service", *beside]).filter(
        (pl.col("begins") > pl.col("at")) & (pl.col("begins") - pl.col("at") <= window_days)
        & (pl.col("former") != pl.col("later"))
    )  # fmt: skip
    gaps = near.with_columns(gap=pl.col("begins") - pl.col("at")).sort("gap", "former", "later")
    one = gaps.unique(subset=["service", "former"], keep="first", maintain_order=True)
    return one.unique(subset=["service", "later"], keep="first", maintain_order=True).select("former", "later")


def together(engine: Engine, one: int, other: int, spans: int, least: int = 2) -> pl.DataFrame:
    """Trajectory matching: handles of two services that are repeatedly used in the same hours, when the services share
    nothing else. `spans` is the number of hours observed. Returns pairs `former`, `later` that are each other's best
    match, ranked by how much more often they coincide than by chance: at least twice as often, and at least `least`
    times."""
    met = engine.query(TOGETHER, one=one, other=other, hour=HOUR, least=least)
    expected = 2 * pl.col("uses") * pl.col("other_uses") / max(1, spans)
    ranked = met.with_columns(score=pl.col("times") * (pl.col("times") / expected).log()).filter(
        pl.col("times") >= 2 * expected
    )
    ranked = ranked.sort("score", "former", "later", descending=[True, False, False])
    best = ranked.unique(subset=["former"], keep="first", maintain_order=True)
    mutual = ranked.unique(subset=["later"], keep="first", maintain_order=True).select("former", "later")
    return best.join(mutual, on=["former", "later"]).select("former", "later")


def trajectories(engine: Engine, points: int, people: int, bin_days: int, seed: int) -> list[tuple[int, int]]:
    """X7 (unicity): how many of `people` are singled out by 1, 2, ... `points` random points of their own trace. A
    point is a service and a span of `bin_days` days. Returns (singled out, tried) for each number of points; people
    with fewer points are not tried."""
    row = engine.query(singling_out(points), points=points, people=people, span=bin_days * DAY, seed=seed).row(
        0, named=True
    )
    return [(int(row[f"alone{number}"] or 0), int(row[f"tried{number}"] or 0)) for number in range(1, points + 1)]


def singling_out(points: int) -> str:
    """The query of `trajectories`: columns `alone1`, `tried1` and so on for each number of points. Its parameters are
    `points`, `people`, `span` (seconds) and `seed`."""
    numbers = range(1, points + 1)
    depths = ", ".join(f"sum(CASE WHEN place <= {number} THEN 1 ELSE 0 END) AS p{number}" for number in numbers)
    fits = ", ".join(f"sum(CASE WHEN p{number} = {number} THEN 1 ELSE 0 END) AS c{number}" for number in numbers)
    counts = ", ".join(
        f"sum(CASE WHEN c{number} = 1 THEN 1 ELSE 0 END) AS alone{number}, "
        f"sum(CASE WHEN c{number} > 0 THEN 1 ELSE 0 END) AS tried{number}" for number in numbers
    )  # fmt: skip
    span = "CAST(floor(u.moment / :span) AS BIGINT)"
    return f"""
    WITH chosen AS (SELECT person FROM person
                    ORDER BY (CAST(person AS BIGINT) * 7919 + :seed) % 1000003, person LIMIT :people),
         trace AS (SELECT DISTINCT u.person, u.service, {span} AS span
                   FROM uses u JOIN chosen c ON u.person = c.person),
         drawn AS (SELECT person AS target, service, span, row_number() OVER (
                       PARTITION BY person
                       ORDER BY (CAST(service AS BIGINT) * 104729 + span * 1299709 + :seed) % 1000003, span, service
                   ) AS place FROM trace),
         known AS (SELECT * FROM drawn WHERE place <= :points),
         met AS (SELECT DISTINCT k.target, k.place, u.person FROM known k
                 JOIN uses u ON u.service = k.service AND {span} = k.span),
         depth AS (SELECT target, person, {depths} FROM met GROUP BY target, person),
         fits AS (SELECT target, {fits} FROM depth GROUP BY target)
    SELECT {counts} FROM fits
    """
