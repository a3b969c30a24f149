"""T18: the authority's log of revocation checks as a tracker. It has serial numbers and times, and no services.

One service's own log has pseudonyms and times. The two are joined by time: the pseudonym belongs to the serial number
whose requests coincide with its uses most often. The requests of the whole population count, so that a match is not
easier than it would be. The generated people have no habits in the hour of the day, so no regularity is found there; an
imported log may have some.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from kazashi.tracking_lab.engine import Engine
from kazashi.tracking_lab.metrics import Share, gap_entropy
from kazashi.tracking_lab.plan import DAY, HOUR
from kazashi.tracking_lab.revocation_checks import OCSP, Requester, RevocationCheck, requests

SECONDS = 2
"""By how many seconds the clocks of authority and service may differ, with the request's way (invented)."""

OTHERS = """
WITH met AS (SELECT n.service, n.person, u.person AS other, count(*) AS times
             FROM uses u JOIN near n ON u.moment = n.at JOIN service s ON s.service = u.service
             WHERE u.person <> n.person AND s.kind <> 'signing' AND {asks}
             GROUP BY n.service, n.person, u.person)
SELECT service, person, max(times) AS others, sum(times) AS coincidences FROM met GROUP BY service, person
"""
"""How often the requests of somebody else coincide with a person's uses at a service: the most of one other person
(`others`), and the sum over all of them. `near` has the examined uses, and each second `at` within SECONDS of them."""

NAMED = """
WITH met AS (SELECT n.service, n.person, n.moment, count(DISTINCT u.service) AS services
             FROM uses u JOIN near n ON u.moment = n.at JOIN service s ON s.service = u.service
             WHERE s.kind <> 'signing' AND {asks}
             GROUP BY n.service, n.person, n.moment)
SELECT count(*) AS requests, CAST(sum(CASE WHEN services = 1 THEN 1 ELSE 0 END) AS BIGINT) AS named FROM met
"""
"""The requests at whose time one service alone was in use."""

ASKED, EVERY = "s.asks", "1 = 1"


def others(engine: Engine, moments: pl.DataFrame, by_service: bool) -> pl.DataFrame:
    """`service`, `person`, `others` and `coincidences` (OTHERS) of some uses of authentication certificates, beside the
    requests of the whole population: those of the services that ask, or those of holders wherever they are."""
    rows = _near(engine, moments).query(OTHERS.format(asks=ASKED if by_service else EVERY))
    return rows.select(pl.col("service", "person", "others", "coincidences").cast(pl.Int64))


def _near(engine: Engine, moments: pl.DataFrame) -> Engine:
    """The engine with the table `near` of some uses."""
    shifts = pl.DataFrame({"shift": range(-SECONDS, SECONDS + 1)}, schema={"shift": pl.Int64})
    near = moments.select("service", "person", "moment").join(shifts, how="cross")
    engine.frame("near", near.with_columns(at=pl.col("moment") + pl.col("shift")).drop("shift"))
    return engine


def by_time(moments: pl.DataFrame, around: pl.DataFrame, check: RevocationCheck) -> pl.DataFrame:
    """The guesses of a join by time: one row per service and person, with the column `timed`: the person if their own
    requests coincide with the pseudonym's uses more often than anybody else's, -1 if somebody else's do, null if it is
    undecided. `moments` are the uses of authentication certificates, `around` the rows of `others`."""
    pair = ["service", "person"]
    logged = requests(moments, check).group_by(pair).len("own")
    rows = moments.select(pair).unique().join(logged, on=pair, how="left").join(around, on=pair, how="left")
    own, other = pl.col("own").fill_null(0).cast(pl.Int64), pl.col("others").fill_null(0)
    # Requests of others are in the log only if somebody sends requests at all.
    logs = pl.lit(check.requester is not Requester.NOBODY)
    guess = pl.when(logs & (own > other)).then(pl.col("person")).when(logs & (other > own)).then(pl.lit(-1))
    return rows.select(*pair, timed=guess.cast(pl.Int64)).sort(pair)


@dataclass(frozen=True, slots=True)
class TimedLinks:
    """A service's pseudonyms that a join with the authority's log names, under one revocation check. `recall` is the
    share of the pseudonyms named rightly, `precision` the share of the named ones that are right, and `control` the
    precision of the same guesses shuffled."""

    check: RevocationCheck
    seen: Share
    recall: Share
    precision: Share
    control: Share


def timed_links(moments: pl.DataFrame, around: pl.DataFrame, check: RevocationCheck) -> TimedLinks:
    """The links of `by_time`. The parameters are those of `by_time`."""
    guesses = by_time(moments, around, check)
    named = guesses.drop_nulls("timed").with_columns(chance=pl.col("timed").shuffle(1))
    right, lucky = (named.filter(pl.col("person") == pl.col(guess)).height for guess in ("timed", "chance"))
    seen = Share(requests(moments, check).height, moments.height)
    return TimedLinks(
        check, seen, Share(right, guesses.height), Share(right, named.height), Share(lucky, named.height)
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Regularity:
    """What the times of a serial number's requests tell by themselves. `gap_entropy` is X12 in bits. `own_hour` is the
    share of the later half of a person's requests that fall into the hour of the day that was most frequent in the
    earlier half; `common_hour` is the same with the hour that is most frequent among everybody, as a control."""

    per_person_and_year: float
    gap_entropy: float
    own_hour: Share
    common_hour: Share


def regularity(moments: pl.DataFrame, days: int) -> Regularity:
    """The regularity of the requests that services make by OCSP, over a number of days."""
    logged = requests(moments, OCSP).sort("person", "moment", "service")
    people = logged["person"].n_unique()
    hours = logged.select(
        "person", hour=pl.col("moment") % DAY // HOUR,
        earlier=pl.int_range(pl.len()).over("person") < pl.len().over("person") // 2,
    )  # fmt: skip
    earlier, later = hours.filter("earlier"), hours.filter(~pl.col("earlier"))
    own = _most_frequent(earlier, "person")
    tested = later.join(own, on="person", suffix="_own")
    common = _most_frequent(earlier.with_columns(person=pl.lit(0)), "person")["hour"]
    hits = tested.filter(pl.col("hour") == pl.col("hour_own")).height
    usual = tested.filter(pl.col("hour") == common[0]).height if len(common) else 0
    rate = logged.height / people / (days / 365) if people else 0.0
    return Regularity(rate, gap_entropy(logged), Share(hits, tested.height), Share(usual, tested.height))


def _most_frequent(hours: pl.DataFrame, by: str) -> pl.DataFrame:
    """The most frequent hour of each group; of several, the earliest."""
    counted = hours.group_by(by, "hour").len().sort(by, "len", "hour", descending=[False, True, False])
    return counted.unique(subset=[by], keep="first", maintain_order=True).select(by, "hour")


@dataclass(frozen=True, slots=True)
class NamedServices:
    """The share of requests whose service its public activity names, because no other service was in use within
    SECONDS. `busiest` is a control: the share of requests that the busiest service makes."""

    named: Share
    busiest: Share


def named_services(engine: Engine, moments: pl.DataFrame) -> NamedServices:
    """Name the services of requests from the public times of all services' uses. `moments` are uses of authentication
    certificates, a part of those that the engine has."""
    logged = requests(moments, OCSP)
    row = _near(engine, logged).query(NAMED.format(asks=ASKED)).row(0, named=True)
    most = logged["service"].value_counts()["count"].max() if logged.height else 0
    assert isinstance(most, int)
    return NamedServices(Share(int(row["named"] or 0), int(row["requests"])), Share(most, logged.height))
