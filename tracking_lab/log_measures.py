"""The measures of a whole log, as SQL over any number of handles. What the queries return is small, and the number of
pairs that are compared is bounded. In SQL that DuckDB and Spark both understand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from kazashi.tracking_lab.engine import Engine
from kazashi.tracking_lab.linkers import EXACT, SHOWN, successors, together
from kazashi.tracking_lab.metrics import Anonymity, PairCounts, RecordRisk, Share, anonymity_of, entropy_of_gaps
from kazashi.tracking_lab.plan import DAY, HOUR

MOST_PAIRS = 5_000_000
"""The most pairs that are compared at once; more are sampled, or not computed."""

SAMPLED, FEWEST = 3_000, 100
"""The handles of a sample, if their pairs are not too many, and the fewest from which anything is estimated."""


class TooManyPairs(Exception):
    """More pairs would have to be compared than the bound allows; the message says how many."""


def most_shared(engine: Engine, first: int) -> tuple[int, pl.DataFrame]:
    """X1 (exact joins): the number of handles that pairs of services share, and the `first` pairs of services that
    share the most: `one`, `other`, `linked`."""
    rows = engine.query(f"""
        SELECT *, CAST(sum(linked) OVER () AS BIGINT) AS everything FROM ({EXACT.format(handle=SHOWN.sql)})
        ORDER BY linked DESC, one, other LIMIT :first
    """, first=first)  # fmt: skip
    return (int(rows["everything"][0]) if rows.height else 0), rows.drop("everything")


_SHARED = """
WITH held AS (SELECT DISTINCT service, person, shown FROM uses),
     common AS (SELECT shown FROM held GROUP BY shown HAVING min(person) < max(person)),
     several AS (SELECT h.service, h.person, h.shown FROM held h JOIN common c ON c.shown = h.shown),
     accounts AS (SELECT service, person, array_sort(array_agg(shown)) AS handles FROM several
                  GROUP BY service, person),
     kinds AS (SELECT service, min(person) AS person, count(*) AS people FROM accounts GROUP BY service, handles),
     known AS (SELECT k.service, k.person, k.people, s.shown FROM kinds k
               JOIN several s ON s.service = k.service AND s.person = k.person)
"""
"""The accounts with a handle that several persons used, one for all that have the same handles at the same service."""


def linked_pairs(engine: Engine) -> PairCounts:
    """X1 (precision and recall of pairs) of exact joins over all pairs of services. A pair is a person at two services;
    it is linked if both hold the same handle for that person. Raises TooManyPairs if too many different accounts share
    handles."""
    belong = _number(engine, """
        SELECT sum(services * (services - 1) / 2) AS n
        FROM (SELECT count(DISTINCT service) AS services FROM uses GROUP BY person)
    """)  # fmt: skip
    right = _number(engine, """
        WITH held AS (SELECT DISTINCT service, person, shown FROM uses)
        SELECT count(*) AS n FROM (SELECT DISTINCT a.person, a.service AS one, b.service AS other FROM held a
            JOIN held b ON a.person = b.person AND a.shown = b.shown AND a.service < b.service)
    """)  # fmt: skip
    compared = _number(
        engine, f"{_SHARED} SELECT sum(n * n) AS n FROM (SELECT count(*) AS n FROM known GROUP BY shown)"
    )
    if compared > MOST_PAIRS:
        raise TooManyPairs(f"{compared:,} pairs of accounts share a handle that several persons used")
    everybody = _number(engine, f"""{_SHARED}
        SELECT sum(people * others) AS n FROM (
            SELECT DISTINCT a.service, a.person, a.people, b.service AS other, b.person AS else_, b.people AS others
            FROM known a JOIN known b ON a.shown = b.shown AND a.service < b.service)
    """)  # fmt: skip
    themselves = _number(engine, f"""{_SHARED}
        SELECT count(*) AS n FROM (SELECT DISTINCT a.person, a.service AS one, b.service AS other FROM several a
            JOIN several b ON a.person = b.person AND a.shown = b.shown AND a.service < b.service)
    """)  # fmt: skip
    return PairCounts(right, everybody - themselves, belong - right)


_CHANGES = """
WITH seen AS (SELECT service, shown, CAST(floor(min(moment) / :day) AS BIGINT) AS first,
                     CAST(floor(max(moment) / :day) AS BIGINT) AS last FROM uses GROUP BY service, shown)
SELECT service, day, min(former) AS former, min(later) AS later FROM (
    SELECT service, last AS day, shown AS former, CAST(NULL AS BIGINT) AS later FROM seen
    UNION ALL SELECT service, first, CAST(NULL AS BIGINT), shown FROM seen
) GROUP BY service, day
"""


def changes_of_handle(engine: Engine) -> pl.DataFrame:
    """T5 (renewals by timing): the pairs `former`, `later` of `linkers.by_timing` at any service."""
    days = engine.query(_CHANGES, day=DAY)
    ends, begins = days.drop("later").drop_nulls(), days.drop("former").drop_nulls()
    return successors(ends, begins).unique().sort("former", "later")


def right_pairs(engine: Engine, pairs: pl.DataFrame, one: int | None = None, other: int | None = None) -> Share:
    """The share of pairs `former`, `later` that belong to one person, by the ground truth. The handles are those of all
    services, or of the service `one` and of the service `other`."""
    if not pairs.height:
        return Share(0, 0)
    engine.frame("guessed", pairs)
    places = [f" AND u.service = {service}" if service is not None else "" for service in (one, other)]
    right = _number(engine, f"""
        WITH ours AS (SELECT DISTINCT g.former, g.later, u.person FROM guessed g JOIN uses u
                      ON u.shown = g.former{places[0]}),
             theirs AS (SELECT DISTINCT g.former, g.later, u.person FROM guessed g JOIN uses u
                        ON u.shown = g.later{places[1]})
        SELECT count(*) AS n FROM (SELECT DISTINCT o.former, o.later FROM ours o JOIN theirs t
            ON t.former = o.former AND t.later = o.later AND t.person = o.person)
    """)  # fmt: skip
    return Share(right, pairs.height)


@dataclass(frozen=True, slots=True)
class SameHours:
    """Pairs of handles whose users come in the same hours, of those `handles` of the first service that were
    `examined`."""

    pairs: pl.DataFrame
    examined: int
    handles: int


def same_hours(engine: Engine, one: int, other: int, seed: int = 1, most: int = MOST_PAIRS) -> SameHours:
    """T11 (timing): the pairs of `linkers.together`, of all handles of the service `one`, or of a random sample of them
    if more than `most` pairs would be compared. Raises TooManyPairs if even a small sample has too many."""
    first, last = engine.query("SELECT min(moment) AS first, max(moment) AS last FROM uses").row(0)
    spans = max(1, (last - first) // HOUR)
    busy = engine.query("""
        SELECT service, span, count(*) AS handles FROM (
            SELECT DISTINCT service, shown, CAST(floor(moment / :hour) AS BIGINT) AS span FROM uses
            WHERE service IN (:one, :other)) GROUP BY service, span
    """, one=one, other=other, hour=HOUR).cast(pl.Int64)  # fmt: skip
    ours, theirs = (busy.filter(service=service).drop("service") for service in (one, other))
    near = pl.concat([theirs, theirs.with_columns(pl.col("span") + 1)]).group_by("span").agg(pl.col("handles").sum())
    compared = int(ours.join(near, on="span").select((pl.col("handles") * pl.col("handles_right")).sum()).item() or 0)
    size = _number(engine, "SELECT count(DISTINCT shown) AS n FROM uses WHERE service = :one", one=one)
    if compared <= most:
        return SameHours(together(engine, one, other, spans), size, size)
    examined = min(SAMPLED, size * most // compared)
    if examined < FEWEST:
        raise TooManyPairs(f"{compared:,} pairs of handles were used in the same hours")
    digest = engine.sha256(f"concat({engine.text(':seed')}, '/', {engine.text('shown')})")
    formers = engine.query(f"""
        SELECT handle FROM (SELECT shown AS handle, {digest} AS place FROM (
            SELECT DISTINCT shown FROM uses WHERE service = :one)) ORDER BY place, handle LIMIT :examined
    """, one=one, examined=examined, seed=seed)  # fmt: skip
    return SameHours(together(engine, one, other, spans, formers=formers), examined, size)


def requests_seen(engine: Engine) -> tuple[Share, float]:
    """X12 (what the authority sees): the share of uses that it is asked about, and the entropy of the gaps between the
    uses of a handle, in bits (`metrics.gap_entropy`)."""
    requests = "SELECT u.shown, u.moment FROM uses u JOIN service s ON s.service = u.service WHERE s.asks"
    asked, uses = (_number(engine, f"SELECT count(*) AS n FROM {table}") for table in (f"({requests})", "uses"))
    hours = engine.query(f"""
        SELECT hours, count(*) AS gaps FROM (
            SELECT CAST(floor((moment - lag(moment) OVER (PARTITION BY shown ORDER BY moment)) / :hour) AS BIGINT)
                   AS hours FROM (SELECT shown, CAST(moment AS BIGINT) AS moment FROM ({requests})))
        WHERE hours IS NOT NULL GROUP BY hours ORDER BY hours
    """, hour=HOUR)  # fmt: skip
    return Share(asked, uses), entropy_of_gaps(hours["hours"].to_numpy(), hours["gaps"].to_numpy())


def known_attributes(engine: Engine, names: Sequence[str]) -> tuple[str, ...]:
    """Those of the attributes that some account has."""
    row = engine.query(f"SELECT {', '.join(f'count({name}) AS {name}' for name in names)} FROM account").row(
        0, named=True
    )
    return tuple(name for name in names if row[name])


def attribute_risks(engine: Engine, names: Sequence[str]) -> tuple[Anonymity, RecordRisk] | None:
    """X6 (anonymity sets) and X10 (record risk) of some attributes: of each person, those of the first account that has
    them all. None if no account has."""
    known = " AND ".join(f"{name} IS NOT NULL" for name in names)
    first = ", ".join(f"min_by({name}, service) AS {name}" for name in names)
    classes = engine.query(f"""
        SELECT size, count(*) AS classes FROM (
            SELECT count(*) AS size FROM (SELECT {first} FROM account WHERE {known} GROUP BY person)
            GROUP BY {', '.join(names)}) GROUP BY size ORDER BY size
    """)  # fmt: skip
    if not classes.height:
        return None
    sizes, counts = classes["size"].to_numpy(), classes["classes"].to_numpy()
    people = int((sizes * counts).sum())
    # The log is both the release and the population.
    risk = RecordRisk(1 / int(sizes.min()), 1 / int(sizes.min()), int(counts.sum()) / people)
    return anonymity_of(sizes, counts), risk


def _number(engine: Engine, sql: str, **parameters: Any) -> int:
    """The only number that a query returns; 0 for null."""
    return int(engine.query(sql, **parameters)["n"][0] or 0)
