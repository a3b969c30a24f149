"""T17: a linker that never sees a handle. It has the time, the address prefix and the user agent of each use, which
remain if the credential shows nothing at all.

Two services compare what they saw. By prefix, or by prefix and agent, everybody who shares them is linked with
everybody else, so recall comes with little precision; rare ones link fewer people, and more of them rightly. Within a
day, a use is taken to be by the same person as the next one from the same prefix and agent.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from kazashi.tracking_lab.connections import connections
from kazashi.tracking_lab.engine import Engine
from kazashi.tracking_lab.metrics import Share
from kazashi.tracking_lab.plan import DAY

MOST_PEOPLE, MOST_USES = 50_000, 1_000_000
"""The most people of a population who are examined: one town, because a sample of people would share prefixes with
fewer others. And the most uses of a log: the first ones."""

FEW = 10
"""The most uses from a prefix and agent that are still taken to be one person's."""

ONLINE_USES = """
SELECT u.service, u.person, u.moment, p.household
FROM uses u JOIN service s ON s.service = u.service JOIN person p ON p.person = u.person
WHERE p.town = :town AND s.kind IN ('login', 'signing', 'portal')
"""
"""The uses at services that people use from devices of their own."""


@dataclass(frozen=True, slots=True)
class KeyLinks:
    """The links of one linker. `recall` is the share of the pairs (person at two services) that are linked, `precision`
    the share of the links that join one person, and `control` that share if links are guessed."""

    recall: Share
    precision: Share
    control: Share


@dataclass(frozen=True, slots=True)
class HandlelessLinks:
    """What services link without handles: by prefix; by prefix and agent; by those with at most FEW uses; and by
    prefix, agent and day. `people`, `uses` and `networks` count what was examined."""

    people: int
    uses: int
    networks: int
    by_network: KeyLinks
    by_network_and_agent: KeyLinks
    by_few: KeyLinks
    within_a_day: KeyLinks


def of_population(engine: Engine, seed: str) -> HandlelessLinks:
    """The links among the people of one town of a generated population: the largest one of at most MOST_PEOPLE, or the
    smallest if all have more. `seed` is the plan's."""
    towns = engine.query("""
        SELECT town, count(*) AS people, count(DISTINCT household) AS homes FROM person GROUP BY town
    """).sort("people", "town")  # fmt: skip
    fitting = towns.filter(pl.col("people") <= MOST_PEOPLE)
    town, people, homes = (fitting.tail(1) if fitting.height else towns.head(1)).row(0)
    uses = engine.query(ONLINE_USES, town=int(town)).cast(pl.Int64).sort("moment", "service", "person")
    return links(connections(uses, homes, people, seed))


def of_log(engine: Engine) -> HandlelessLinks:
    """The links in an imported log whose table `uses` has the columns `network` and `agent`. A handle counts as a
    person if the log does not name the persons."""
    return links(engine.query("""
        SELECT service, person, moment, network, agent FROM uses WHERE network IS NOT NULL AND agent IS NOT NULL
        ORDER BY moment, service, person LIMIT :most
    """, most=MOST_USES).cast(pl.Int64))  # fmt: skip


def links(seen: pl.DataFrame) -> HandlelessLinks:
    """The links among uses: `service`, `person` (the ground truth, for scoring alone), `moment` (seconds), `network`,
    `agent`."""
    return HandlelessLinks(
        seen["person"].n_unique(), seen.height, seen["network"].n_unique(), by_key(seen, "network"),
        by_key(seen, "network", "agent"), by_key(seen, "network", "agent", most_uses=FEW), within_a_day(seen),
    )  # fmt: skip


def by_key(seen: pl.DataFrame, *key: str, most_uses: int | None = None) -> KeyLinks:
    """Two services link everybody who has an equal key at both, of the keys with at most `most_uses` uses. A link is a
    key and a person at each of the services; wrong ones are counted and not listed. The control links users of two
    services by chance."""
    users = seen.select("service", "person").unique()
    services = users.group_by("person").len()["len"].cast(pl.Int64)
    belongs = int((services * (services - 1) // 2).sum())
    linkable = seen if most_uses is None else seen.filter(pl.len().over(*key) <= most_uses)
    held = linkable.select("service", "person", *key).unique()
    own = held.join(held, on=["person", *key], suffix="_other").filter(pl.col("service") < pl.col("service_other"))
    pairs = own.select("person", "service", "service_other").unique().height
    return KeyLinks(
        Share(pairs, belongs), Share(own.height, _at_two_services(held, key)),
        Share(belongs, _at_two_services(users, ())),
    )  # fmt: skip


def _at_two_services(held: pl.DataFrame, key: tuple[str, ...]) -> int:
    """The number of pairs of rows with the same key at two services."""
    sizes = held.group_by(*key, "service").len().with_columns(pl.col("len").cast(pl.Int64))
    totals = sizes.group_by(*key) if key else sizes.group_by(pl.lit(0))
    sums = totals.agg(total=pl.col("len").sum(), squares=(pl.col("len") ** 2).sum())
    return int(((sums["total"] ** 2 - sums["squares"]) // 2).sum())


def within_a_day(seen: pl.DataFrame) -> KeyLinks:
    """Each use is linked with the next one from the same prefix and agent, if that is at another service and within a
    day. Recall is the share of the cases in which a person's next use is such a one. The control links each use with
    the next one from anywhere."""
    guesses, chance = _next(seen, "network", "agent"), _next(seen)
    right, lucky = (rows.filter(pl.col("person") == pl.col("person_next")).height for rows in (guesses, chance))
    own = _next(seen, "person")
    found = own.join(guesses.filter(pl.col("person") == pl.col("person_next")), on=["row", "row_next"], how="semi")
    return KeyLinks(Share(found.height, own.height), Share(right, guesses.height), Share(lucky, chance.height))


def _next(seen: pl.DataFrame, *key: str) -> pl.DataFrame:
    """The uses that are followed by one with the same key, at another service and within a day."""
    order = seen.sort("moment", "service", "person").with_row_index("row")
    later = pl.col("row", "service", "person", "moment").shift(-1)
    rows = order.with_columns((later.over(*key) if key else later).name.suffix("_next"))
    return rows.filter((pl.col("service") != pl.col("service_next")) & (pl.col("moment_next") - pl.col("moment") < DAY))
