"""Linkers: each gets only the data that its actor holds, and returns pairs or keys. The ground truth, which person is
behind a use, is not among it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from kazashi.tracking_lab.engine import Engine
from kazashi.tracking_lab.plan import DAY, HOUR

EXACT = """
WITH seen AS (SELECT DISTINCT service, shown FROM uses),
     held AS (SELECT service, {handle} AS handle FROM seen),
     pairs AS (SELECT a.service AS one, b.service AS other
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

_TOGETHER = """
WITH a AS (SELECT DISTINCT shown AS handle, CAST(floor(moment / :hour) AS BIGINT) AS span
           FROM uses WHERE service = :one{formers}),
     b AS (SELECT DISTINCT shown AS handle, CAST(floor(moment / :hour) AS BIGINT) AS span
           FROM uses WHERE service = :other{laters}),
     near AS (SELECT a.handle AS former, b.handle AS later, a.span AS span FROM a JOIN b ON b.span = a.span
              UNION ALL
              SELECT a.handle, b.handle, a.span FROM a JOIN b ON b.span = a.span + 1),
     met AS (SELECT former, later, count(DISTINCT span) AS times FROM near GROUP BY former, later),
     often_a AS (SELECT handle, count(*) AS uses FROM a GROUP BY handle),
     often_b AS (SELECT handle, count(*) AS uses FROM b GROUP BY handle)
SELECT m.former, m.later, m.times, o.uses AS uses, p.uses AS other_uses
FROM met m JOIN often_a o ON o.handle = m.former JOIN often_b p ON p.handle = m.later
WHERE m.times >= :least AND m.times * :spans >= 4 * o.uses * p.uses
"""
TOGETHER = _TOGETHER.format(formers="", laters="")
"""T11 (timing): two observers compare the hours of their users' visits, the same hour or the next."""


@dataclass(frozen=True, slots=True)
class Handle:
    """What a service stores of a certificate: an SQL expression over the columns `of` whose value differs for different
    values of `shown`, and its parameters."""

    sql: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    of: Sequence[str] = ("shown",)


SHOWN = Handle("shown")


def exact_join(engine: Engine, handle: Handle = SHOWN) -> pl.DataFrame:
    """The number of handles that each two services share: `one`, `other`, `linked`."""
    if handle == SHOWN and (counted := engine.shared_handles()) is not None:
        return counted
    return engine.query(EXACT.format(handle=handle.sql), **handle.parameters).sort("one", "other")


def hashed(engine: Engine, salt: str = "", service: bool = False) -> Handle:
    """The SHA-256 digest of the serial number: plain, with a common salt, or with the service's number as its salt."""
    parts = [":salt"] * bool(salt) + [engine.text("service")] * service + [engine.text("shown")]
    # Without a separator, service 1 with number 12 would equal service 11 with number 2.
    text = parts[0] if len(parts) == 1 else "concat(" + ", '/', ".join(parts) + ")"
    of = ("service", "shown") if service else ("shown",)
    return Handle(engine.sha256(text), {"salt": salt} if salt else {}, of)


_PREFIXES = """
SELECT count(*) AS held, count(DISTINCT unhex(substr({digest}, 1, 24))) AS prefixes
FROM (SELECT DISTINCT {of} FROM uses)
"""


def digest_join(engine: Engine, digest: Handle, plain: pl.DataFrame) -> pl.DataFrame:
    """`exact_join` by a digest, as `hashed` gives it, faster: `plain` are the joins by serial number.

    If each serial number, or each pair of a service and a serial number, has another digest, the joins are `plain`, or
    there are none. This is computed for the first 96 bits of the digests: where these differ, the digests do. If some
    do not differ, the digests are joined.
    """
    held, prefixes = engine.query(
        _PREFIXES.format(digest=digest.sql, of=", ".join(digest.of)), **digest.parameters
    ).row(0)
    if prefixes != held:
        return exact_join(engine, digest)
    return plain.clear() if "service" in digest.of else plain


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
    place = ("service", *beside)
    ends = seen.group_by(*place, day="last").agg(former=pl.col("shown").min())
    begins = seen.group_by(*place, day="first").agg(later=pl.col("shown").min())
    return successors(ends, begins, window_days, place)


def successors(
    ends: pl.DataFrame, begins: pl.DataFrame, window_days: int = 400, place: Sequence[str] = ("service",)
) -> pl.DataFrame:  # fmt: skip
    """The pairs of `by_timing`, from the days on which handles end and begin: `ends` has the columns `place`, `day` and
    `former`, the least handle that ends there then, and `begins` has `later` in its place."""
    # The nearest of several handles is one of those that begin first; of these, the least is taken. So one handle a day
    # is enough, however many there are.
    near = ends.drop_nulls().sort("day").join_asof(
        begins.drop_nulls().sort("day"), on="day", by=list(place), strategy="forward", tolerance=window_days,
        allow_exact_matches=False, check_sortedness=False,
    ).drop_nulls("later").sort("day", "former", descending=[True, False])  # fmt: skip
    return near.unique(subset=["service", "later"], keep="first", maintain_order=True).select("former", "later")


def together(
    engine: Engine, one: int, other: int, spans: int, least: int = 2, *, formers: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Trajectory matching: handles of two services that are repeatedly used in the same hours, when the services share
    nothing else. `spans` is the number of hours observed. Returns pairs `former`, `later` that are each other's best
    match, ranked by how much more often they coincide than by chance: at least twice as often, and at least `least`
    times. With `formers` (a column `handle`), the pairs of these handles of the first service only: the same pairs as
    without it."""
    spans = max(1, spans)

    def ranked(formers: str = "", laters: str = "") -> pl.DataFrame:
        met = engine.query(_TOGETHER.format(formers=formers, laters=laters), one=one, other=other, hour=HOUR,
                           spans=spans, least=least)  # fmt: skip
        expected = 2 * pl.col("uses") * pl.col("other_uses") / spans
        scored = met.with_columns(score=pl.col("times") * (pl.col("times") / expected).log())
        return scored.sort("score", "former", "later", descending=[True, False, False])

    if formers is None:
        of_formers = of_laters = ranked()
    else:
        engine.frame("formers", formers)
        of_formers = ranked(formers=" AND shown IN (SELECT handle FROM formers)")
        engine.frame("laters", of_formers.unique(subset=["former"], keep="first", maintain_order=True).select(
            handle="later").unique())  # fmt: skip
        of_laters = ranked(laters=" AND shown IN (SELECT handle FROM laters)")
    best = of_formers.unique(subset=["former"], keep="first", maintain_order=True)
    mutual = of_laters.unique(subset=["later"], keep="first", maintain_order=True).select("former", "later")
    return best.join(mutual, on=["former", "later"]).select("former", "later")


KNOWN = """
WITH chosen AS (SELECT person FROM person
                ORDER BY (CAST(person AS BIGINT) * 7919 + :seed) % 1000003, person LIMIT :people),
     trace AS (SELECT DISTINCT u.person, u.service, CAST(floor(u.moment / :span) AS BIGINT) AS span
               FROM uses u JOIN chosen c ON u.person = c.person),
     drawn AS (SELECT person AS target, service, span, row_number() OVER (
                   PARTITION BY person
                   ORDER BY (CAST(service AS BIGINT) * 104729 + span * 1299709 + :seed) % 1000003, span, service
               ) AS place FROM trace)
SELECT target, place, CAST(service AS BIGINT) AS service, span FROM drawn WHERE place <= :points
"""
"""X7 (unicity): random points of the traces of some people, in the order in which an attacker learns them."""

_PRESENT = """
SELECT DISTINCT c.cell, CAST(u.person AS BIGINT) AS person FROM uses u
JOIN cells c ON u.service = c.service AND CAST(floor(u.moment / :span) AS BIGINT) = c.span
WHERE u.person % :parts = :part
"""
_ROWS = 1_000_000
"""About as many rows as are held at once to find out who was where."""


def trajectories(
    engine: Engine, points: int, people: int, bin_days: int, seed: int, rows: int = _ROWS
) -> list[tuple[int, int]]:  # fmt: skip
    """X7 (unicity): how many of `people` are singled out by 1, 2, ... `points` random points of their own trace. A
    point is a service and a span of `bin_days` days. Returns (singled out, tried) for each number of points; people
    with fewer points are not tried. The numbers are those of the query `singling_out`, which needs memory for every
    person at every point."""
    span = bin_days * DAY
    known = engine.query(KNOWN, points=points, people=people, span=span, seed=seed).sort("target", "place")
    cells = known.select("service", "span").unique().sort("service", "span").with_row_index("cell").cast(pl.Int64)
    engine.frame("cells", cells)
    present = engine.query("""
        SELECT count(*) AS n FROM uses u
        JOIN cells c ON u.service = c.service AND CAST(floor(u.moment / :span) AS BIGINT) = c.span
    """, span=span)["n"][0]  # fmt: skip
    parts = max(1, -(-int(present) // rows))
    traces = known.join(cells, on=["service", "span"], maintain_order="left").group_by("target").agg("cell")
    wanted = [cell.to_list() for cell in traces["cell"]]
    fits = np.zeros((len(wanted), points), np.int64)
    for part in range(parts):
        # Most traces fit somebody else in the first part already, and need no other.
        undecided = [target for target, cell in enumerate(wanted) if fits[target, len(cell) - 1] < 2]
        if not undecided:
            break
        there_then = engine.query(_PRESENT, span=span, parts=parts, part=part).sort("cell", "person")
        edges = np.searchsorted(there_then["cell"].to_numpy(), np.arange(cells.height + 1))
        persons = there_then["person"].to_numpy()
        for target in undecided:
            left = None
            for place, cell in enumerate(wanted[target]):
                there = persons[edges[cell] : edges[cell + 1]]
                left = there if left is None else _both(left, there)
                fits[target, place] += len(left)
    tried = np.array([[place < len(cell) for place in range(points)] for cell in wanted]).reshape(-1, points)
    return [(int((fits[:, place] == 1).sum()), int(tried[:, place].sum())) for place in range(points)]


def _both(one: Any, other: Any) -> Any:
    """The numbers that are in both of two sorted arrays."""
    if not len(one) or not len(other):
        return one[:0]
    place = np.minimum(np.searchsorted(other, one), len(other) - 1)
    return one[other[place] == one]


def singling_out(points: int) -> str:
    """The query that defines `trajectories`: columns `alone1`, `tried1` and so on for each number of points. Its
    parameters are `points`, `people`, `span` (seconds) and `seed`."""
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
