"""Measures on worlds that are small enough to do by hand."""

from __future__ import annotations

import math

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracking_lab.metrics import (
    Share,
    advantage,
    anonymeter,
    anonymity,
    b_cubed,
    hash_cost,
    lifelong,
    minimal,
    pairwise,
    record_risk,
)

# Two services; anna (1) and ben (2) are at both, cleo (3) at the first alone.
SEEN = pl.DataFrame({
    "service": [1, 1, 1, 2, 2], "person": [1, 2, 3, 1, 2], "right": ["a", "b", "c", "a", "b"],
    "nothing": ["a", "b", "c", "d", "e"], "swapped": ["a", "b", "c", "b", "a"], "one": ["x"] * 5,
})  # fmt: skip


@pytest.mark.parametrize(("key", "right", "wrong", "missed"), [
    ("right", 2, 0, 0), ("nothing", 0, 0, 2), ("swapped", 0, 2, 2), ("one", 2, 4, 0),
])  # fmt: skip
def test_x1_pairs_by_hand(key: str, right: int, wrong: int, missed: int) -> None:
    found = pairwise(SEEN, key)
    assert (found.right, found.wrong, found.missed) == (right, wrong, missed)


def test_x2_clusters_by_hand() -> None:
    assert b_cubed(SEEN, "right") == (1.0, 1.0, 1.0)
    precision, recall, completeness = b_cubed(SEEN, "nothing")
    assert [precision, recall] == pytest.approx([1, (0.5 * 4 + 1) / 5])
    assert completeness == pytest.approx((0.5 + 0.5 + 1) / 3)
    precision, recall, _ = b_cubed(SEEN, "one")
    assert [precision, recall] == pytest.approx([(2 * 2 + 2 * 2 + 1) / 25, 1])


def test_x6_x10_sets_by_hand() -> None:
    people = pl.DataFrame({"year": [1980, 1980, 1980, 1990], "sex": [1, 1, 2, 1]})
    found = anonymity(people, ["year", "sex"])
    assert (found.unique.count, found.unique.total, found.median) == (2, 4, 1.5)
    assert found.entropy_bits == pytest.approx(1.5)
    assert found.leaked_bits == pytest.approx((1 + 1 + 2 + 2) / 4)
    risk = record_risk(people.head(2), people, ["year", "sex"])
    assert risk == {"prosecutor": 0.5, "journalist": 0.5, "marketer": pytest.approx(2 / 2 / 2)}
    assert record_risk(people, people, ["year", "sex"])["marketer"] == pytest.approx(3 / 4), "J/n for everybody"


def test_x3_x8_x9_x11_by_hand() -> None:
    assert lifelong(0.5, 3) == 0.125
    assert advantage(5_000, 10_000)[0] == 0
    assert advantage(10_000, 10_000)[0] == 1
    assert advantage(5_000, 10_000)[1] == pytest.approx(0.0196, abs=0.0001), "ten thousand trials give a hundredth"
    assert anonymeter(100, 100, 50, 100) > 0.9 > anonymeter(50, 100, 50, 100) == 0
    assert hash_cost(1 << 27, 2.0**27).bits == 27
    assert hash_cost(1 << 27, 2.0**27).seconds == 1


def test_x13_the_smallest_coalitions_are_an_antichain() -> None:
    a, b, ab, abc = (frozenset(who) for who in ("a", "b", "ab", "abc"))
    assert minimal([(a, 0.2), (b, 0.96), (ab, 1.0), (abc, 1.0)]) == [b]
    assert minimal([(a, 0.2), (ab, 0.95), (abc, 1.0)]) == [ab]
    assert minimal([(a, 0.2)]) == []


@given(st.integers(0, 500), st.integers(0, 500))
def test_a_share_lies_in_its_interval(count: int, more: int) -> None:
    found = Share(count, count + more)
    low, high = found.interval
    assert 0 <= low <= high <= 1
    if found.total:
        assert low - 1e-12 <= found.value <= high + 1e-12
    else:
        assert math.isnan(found.value)
        assert str(found) == "none"


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), st.sampled_from("abcd")), min_size=1, max_size=40))
def test_measures_stay_within_their_bounds(rows: list[tuple[int, int, str]]) -> None:
    seen = pl.DataFrame(rows, schema={"service": pl.Int64, "person": pl.Int64, "key": pl.String}, orient="row")
    link = pairwise(seen, "key")
    assert min(link.right, link.wrong, link.missed) >= 0
    assert all(0 < value <= 1.0000001 for value in b_cubed(seen, "key"))
    with_truth = pairwise(seen.with_columns(truth=pl.col("person")), "truth")
    assert (with_truth.wrong, with_truth.missed) == (0, 0), "the truth links everybody and nobody else"


def test_of_nobody_there_is_nothing_to_say() -> None:
    nobody = SEEN.clear()
    assert pairwise(nobody, "right").recall.total == 0
    assert all(math.isnan(value) for value in b_cubed(nobody, "right"))
    assert anonymity(nobody, ["person"]).unique.total == 0
