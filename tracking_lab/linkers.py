"""Who would link, and how: each gets only what its actor holds, and answers pairs or keys. The person behind a use is
for the judge alone."""

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
"""T1, T2: services put their tables together. Written in what DuckDB and Spark both understand."""

OF_PERSONS = """
WITH held AS (SELECT DISTINCT service, person FROM uses)
SELECT a.service AS one, b.service AS other, count(*) AS belong
FROM held a JOIN held b ON a.person = b.person AND a.service < b.service GROUP BY a.service, b.service
"""
"""The judge's: how many persons any two services really share."""

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
"""T11: two observers compare when their users come, in the same hour or the next."""


@dataclass(frozen=True, slots=True)
class Handle:
    """What a service keeps of a use: an SQL expression over the columns of `uses`, and the parameters in it."""

    sql: str
    parameters: Mapping[str, str] = field(default_factory=dict)


SHOWN = Handle("shown")


def exact_join(engine: Engine, handle: Handle = SHOWN) -> pl.DataFrame:
    """How many handles each two services share: `one`, `other`, `linked`."""
    return engine.query(EXACT.format(handle=handle.sql), **handle.parameters).sort("one", "other")


def hashed(engine: Engine, salt: str = "", service: bool = False) -> Handle:
    """The digest of what is shown: plain, with a salt for all, or with one of each service."""
    parts = [":salt"] * bool(salt) + [engine.text("service")] * service + [engine.text("shown")]
    # Something stands between them, or service 1 and number 12 would be service 11 and number 2.
    text = parts[0] if len(parts) == 1 else "concat(" + ", '/', ".join(parts) + ")"
    return Handle(engine.sha256(text), {"salt": salt} if salt else {})


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


def by_timing(seen: pl.DataFrame, window_days: int = 400, beside: tuple[str, ...] = ("birth_year",)) -> pl.DataFrame:
    """T5, T7 without a chain: at one service, a handle that is never seen again is followed by one that was never seen
    before. `seen` has `service`, `shown`, `first`, `last` (days), and the attributes `beside`, which must agree.
    Answers pairs `former`, `later`; where several could follow, the nearest in time does."""
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
    """Trajectory matching: handles of two services whose users keep coming in the same hours, though nothing else is
    shared. `spans` is how many hours were watched. Answers pairs `former`, `later` that are each other's best, by how
    much more often they met than chance would have it, at least twice as often and `least` times."""
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
    """X7: of so many people, how many 1, 2, ... `points` random points of their own trace single out, a point being a
    service and a span of days. Answers (singled out, tried) for each number; tried are those who have as many."""
    found = engine.query(singling_out(points), points=points, people=people, span=bin_days * DAY, seed=seed).row(
        0, named=True
    )
    return [(int(found[f"alone{number}"] or 0), int(found[f"tried{number}"] or 0)) for number in range(1, points + 1)]


def singling_out(points: int) -> str:
    """The query of `trajectories`: columns `alone1`, `tried1` and so on up to so many points. Its parameters are
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
