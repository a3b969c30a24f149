"""What the authority's log shows under each revocation check, on uses few enough to follow by hand."""

from __future__ import annotations

import polars as pl
import pytest

from kazashi.tracking_lab.authority_log import by_time, named_services, others, regularity, timed_links
from kazashi.tracking_lab.engine import DuckDb
from kazashi.tracking_lab.plan import DAY, HOUR
from kazashi.tracking_lab.revocation_checks import (
    CHECKS,
    LIST,
    OCSP,
    SHORT_LIVED,
    STAPLED,
    WITNESS,
    RevocationCheck,
    requests,
)

pytestmark = pytest.mark.unit

# Service 1 asks by OCSP, service 2 does not. Persons 0 and 1 use both; person 0 uses both on the first day.
USES = pl.DataFrame({
    "service": [1, 2, 1, 2, 1, 1], "person": [0, 0, 0, 1, 1, 1], "shown": [7, 7, 7, 8, 8, 8],
    "moment": [1_000, 2_000, 3 * DAY, 1_002, 5_000, 9 * DAY], "asks": [True, False, True, False, True, True],
})  # fmt: skip


@pytest.fixture
def engine() -> DuckDb:
    engine = DuckDb()
    engine.frame("uses", USES.drop("asks"))
    engine.frame("service", pl.DataFrame({"service": [1, 2], "kind": ["login", "tap"], "asks": [True, False]}))
    return engine


@pytest.mark.parametrize(("check", "moments"), [
    (OCSP, [1_000, 5_000, 3 * DAY, 9 * DAY]),
    (WITNESS, [1_000, 1_002, 2_000, 5_000, 3 * DAY, 9 * DAY]),
    (SHORT_LIVED, [1_000, 1_002, 3 * DAY, 9 * DAY]),
    (STAPLED, [1_000, 1_002, 9 * DAY]),
    (LIST, []),
])  # fmt: skip
def test_the_authority_gets_a_request_when_no_earlier_reply_is_good(check: RevocationCheck, moments: list[int]) -> None:
    assert sorted(requests(USES, check)["moment"]) == moments


def test_requests_of_others_within_two_seconds_are_counted(engine: DuckDb) -> None:
    anywhere = others(engine, USES, by_service=False).sort("service", "person")
    assert anywhere.rows() == [(1, 0, 1, 1), (2, 1, 1, 1)], "1,000 and 1,002 coincide, and nothing else does"
    assert others(engine, USES.filter("asks"), by_service=True).height == 0, "service 2 does not ask"
    one = others(engine, USES.filter(person=0), by_service=False)
    assert one.rows() == [(1, 0, 1, 1)], "the requests of people who are not examined count"
    engine.close()


def test_a_pseudonym_is_named_by_the_most_coincidences(engine: DuckDb) -> None:
    around = others(engine, USES, by_service=False)
    # Person 0 has two requests at service 1, the other only one at these times. At service 2 person 1 and the other
    # have one each, so that it is undecided.
    assert by_time(USES, around, WITNESS).rows() == [(1, 0, 0), (1, 1, 1), (2, 0, 0), (2, 1, None)]
    assert by_time(USES, around, LIST)["timed"].null_count() == 4
    late = by_time(USES.filter((pl.col("moment") > 1_000) | (pl.col("person") == 1)), around, STAPLED)
    assert late.rows()[0] == (1, 0, -1), "the request at 2,000 is good for a week, and somebody else's is nearer"
    engine.close()


def test_links_by_time_have_recall_precision_and_a_control(engine: DuckDb) -> None:
    around = others(engine, USES, by_service=False)
    found = {check.id: timed_links(USES, around, check) for check in CHECKS}
    witness = found["witness"]
    assert (witness.recall.count, witness.recall.total) == (3, 4)
    assert (witness.precision.count, witness.precision.total) == (3, 3)
    assert witness.control.total == 3
    assert found["list"].recall.count == found["list"].precision.total == 0
    assert found["list"].seen.count == 0
    engine.close()


def test_a_service_is_named_if_no_other_was_in_use(engine: DuckDb) -> None:
    named = named_services(engine, USES)
    assert (named.named.count, named.named.total) == (4, 4)
    assert (named.busiest.count, named.busiest.total) == (4, 4)
    engine.close()
    beside = DuckDb()
    beside.frame("uses", USES.drop("asks"))
    beside.frame("service", pl.DataFrame({"service": [1, 2], "kind": ["login", "portal"], "asks": [True, True]}))
    named = named_services(beside, USES.with_columns(asks=pl.lit(True)))
    assert (named.named.count, named.named.total) == (4, 6), "at 1,000 and 1,002 both were in use"
    beside.close()


def test_habits_are_found_by_the_hour_of_the_day() -> None:
    # Person 0 comes at nine, person 1 at noon and person 2 at three, ten times each.
    rows = [(person, day * DAY + (9 + 3 * person) * HOUR) for person in range(3) for day in range(10)]
    moments = pl.DataFrame(rows, schema=["person", "moment"], orient="row").with_columns(
        asks=pl.lit(True), service=pl.lit(1), shown=pl.col("person")
    )
    found = regularity(moments, 365)
    assert found.per_person_and_year == 10
    assert (found.own_hour.count, found.own_hour.total) == (15, 15)
    assert (found.common_hour.count, found.common_hour.total) == (5, 15)
    assert found.gap_entropy == 0
    assert regularity(moments.clear(), 365).own_hour.total == 0
