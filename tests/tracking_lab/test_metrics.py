"""The measures, on worlds small enough to compute them by hand."""

from __future__ import annotations

import math

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kazashi.tracking_lab.metrics import (
    UNKNOWN,
    Completeness,
    Estimate,
    Share,
    advantage,
    anonymeter,
    anonymity,
    area_under_curve,
    clusters,
    gap_entropy,
    hash_cost,
    lifelong,
    minimal,
    pairwise,
    record_risk,
    reidentified,
    time_to_link,
)
from kazashi.world.rng import stream

pytestmark = pytest.mark.unit

# Two services: anna (1) and ben (2) use both, cleo (3) only the first.
SEEN = pl.DataFrame({
    "service": [1, 1, 1, 2, 2], "person": [1, 2, 3, 1, 2], "right": ["a", "b", "c", "a", "b"],
    "nothing": ["a", "b", "c", "d", "e"], "swapped": ["a", "b", "c", "b", "a"], "one": ["x"] * 5,
})  # fmt: skip


@pytest.mark.parametrize(("key", "right", "wrong", "missed"), [
    ("right", 2, 0, 0), ("nothing", 0, 0, 2), ("swapped", 0, 2, 2), ("one", 2, 4, 0),
])  # fmt: skip
def test_x1_pairs_are_counted(key: str, right: int, wrong: int, missed: int) -> None:
    link = pairwise(SEEN, key)
    assert (link.right, link.wrong, link.missed) == (right, wrong, missed)


def test_x2_clusters_are_scored() -> None:
    right = clusters(SEEN, "right")
    assert [right.precision, right.recall, right.rand, right.information] == [1, 1, 1, 0]
    assert right.completeness == Completeness(1, 1, 1)
    alone = clusters(SEEN, "nothing")
    assert [alone.precision, alone.recall] == pytest.approx([1, (0.5 * 4 + 1) / 5])
    assert alone.completeness.mean == pytest.approx((0.5 + 0.5 + 1) / 3)
    assert alone.completeness.most == 1
    assert alone.rand == 0, "no cluster has a pair"
    assert alone.information == pytest.approx(4 / 5), "one bit too many for each of four accounts"
    everybody = clusters(SEEN, "one")
    assert [everybody.precision, everybody.recall] == pytest.approx([(2 * 2 + 2 * 2 + 1) / 25, 1])
    assert everybody.rand == 0
    assert clusters(SEEN, "swapped").rand < 0.2


def test_x5_counts_targets_among_the_first_candidates() -> None:
    ranked = pl.DataFrame({"target": ["a", "a", "b", "b", "c"], "rank": [1, 2, 1, 2, 1],
                           "right": [True, False, False, True, False]})  # fmt: skip
    assert [reidentified(ranked, 4, first).count for first in (1, 2)] == [1, 2]
    assert reidentified(ranked, 4, 1).total == 4, "targets without a candidate count as well"


def test_x12_entropy_of_gaps_between_uses() -> None:
    hour = 3_600
    steady = pl.DataFrame({"shown": [1] * 5, "moment": [0, hour, 2 * hour, 3 * hour, 4 * hour]})
    assert gap_entropy(steady) == 0, "equal gaps have no entropy"
    mixed = pl.DataFrame({"shown": [1, 1, 2, 2], "moment": [0, hour, 0, 100 * hour]})
    assert gap_entropy(mixed) == 1
    assert math.isnan(gap_entropy(mixed.head(1)))


def test_x15_counts_days_and_uses_until_linked() -> None:
    day = 86_400
    # Anna shows 7 at the first service, 8 at the second, and 8 at the first ten days later. Ben is never linked.
    seen = pl.DataFrame({
        "service": [1, 2, 2, 1, 1, 2], "person": [1, 1, 1, 1, 2, 2], "key": [7, 8, 8, 8, 5, 6],
        "moment": [0, day, 5 * day, 11 * day, 0, 0],
    })  # fmt: skip
    found = time_to_link(seen, "key")
    assert (found.linked.count, found.linked.total) == (1, 2)
    assert (found.median_days, found.median_uses) == (10, 2)
    assert math.isnan(time_to_link(seen.filter(person=2), "key").median_days)


def test_x6_anonymity_sets_and_x10_record_risk() -> None:
    people = pl.DataFrame({"year": [1980, 1980, 1980, 1990], "sex": [1, 1, 2, 1]})
    sets = anonymity(people, ["year", "sex"])
    assert (sets.unique.count, sets.unique.total, sets.median) == (2, 4, 1.5)
    assert sets.entropy == pytest.approx(1.5)
    assert sets.leaked == pytest.approx((1 + 1 + 2 + 2) / 4)
    risk = record_risk(people.head(2), people, ["year", "sex"])
    assert (risk.prosecutor, risk.journalist) == (0.5, 0.5)
    assert risk.marketer == pytest.approx(2 / 2 / 2)
    assert record_risk(people, people, ["year", "sex"]).marketer == pytest.approx(3 / 4), "J/n for everybody"


def test_x3_x8_x9_x11_formulas() -> None:
    assert lifelong(0.5, 3) == 0.125
    assert advantage(5_000, 10_000).value == 0
    assert advantage(10_000, 10_000).value == 1
    assert advantage(5_000, 10_000).high == pytest.approx(0.0196, abs=0.0001), "half the interval of 10,000 trials"
    assert anonymeter(100, 100, 50, 100).value > 0.9 > anonymeter(50, 100, 50, 100).value == 0
    assert 0 < anonymeter(5_000, 10_000, 5_000, 10_000).high < 0.05
    assert area_under_curve([1.0] * 50, [0.0] * 50, stream("x", "auc")) == Estimate(1, 1, 1)
    area = area_under_curve([1.0, 0.0] * 200, [1.0, 0.0] * 200, stream("x", "auc"))
    assert area.low < area.value == 0.5 < area.high
    assert area_under_curve([], [1.0], stream("x", "auc")) is UNKNOWN
    assert hash_cost(1 << 27, 2.0**27).bits == 27
    assert hash_cost(1 << 27, 2.0**27).seconds == 1


def test_x13_smallest_coalitions_are_an_antichain() -> None:
    a, b, ab, abc = (frozenset(who) for who in ("a", "b", "ab", "abc"))
    assert minimal([(a, 0.2), (b, 0.96), (ab, 1.0), (abc, 1.0)]) == [b]
    assert minimal([(a, 0.2), (ab, 0.95), (abc, 1.0)]) == [ab]
    assert minimal([(a, 0.2)]) == []


@given(st.integers(0, 500), st.integers(0, 500))
def test_a_share_lies_in_its_interval(count: int, more: int) -> None:
    share = Share(count, count + more)
    low, high = share.interval
    assert 0 <= low <= high <= 1
    if share.total:
        assert low - 1e-12 <= share.value <= high + 1e-12
    else:
        assert math.isnan(share.value)
        assert str(share) == "none"


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), st.sampled_from("abcd")), min_size=1, max_size=40))
def test_measures_stay_within_their_bounds(rows: list[tuple[int, int, str]]) -> None:
    seen = pl.DataFrame(rows, schema={"service": pl.Int64, "person": pl.Int64, "key": pl.String}, orient="row")
    link = pairwise(seen, "key")
    assert min(link.right, link.wrong, link.missed) >= 0
    found = clusters(seen, "key")
    assert all(0 < value <= 1.0000001 for value in (found.precision, found.recall, found.completeness.mean))
    assert -1.0000001 <= found.rand <= 1.0000001
    assert found.information + 1e-9 >= 0
    moments = seen.with_row_index("moment")
    waiting = time_to_link(moments, "key")
    assert waiting.linked.total == link.right + link.missed
    assert waiting.linked.count == link.right
    with_truth = pairwise(seen.with_columns(truth=pl.col("person")), "truth")
    assert (with_truth.wrong, with_truth.missed) == (0, 0), "the ground truth makes no mistake"


def test_measures_of_an_empty_table_are_nan_or_empty() -> None:
    empty = SEEN.clear()
    assert pairwise(empty, "right").recall.total == 0
    assert math.isnan(clusters(empty, "right").precision)
    assert anonymity(empty, ["person"]).unique.total == 0
