"""Goods and baskets: which lines earn points, and how many."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kazashi.refund_points.goods import (
    CATALOGUE,
    MOST_YEN,
    Basket,
    BasketRejected,
    Category,
    Item,
    ReceiptLine,
    points_of,
)
from tests.refund_points.tills import LUNCH

pytestmark = pytest.mark.unit


def test_the_example_in_the_plan() -> None:
    assert points_of(1_100) == 20
    assert Basket((ReceiptLine(Item("x", "弁当", 1_100, Category.FOOD)),)).points == 20


def test_only_eligible_lines_earn_points() -> None:
    assert (LUNCH.total, LUNCH.eligible, LUNCH.points) == (880 + 300 + 228, 1_180, 21)
    assert {category.value for category in Category if category.eligible} == {"food", "drink", "eating-out"}


@pytest.mark.parametrize(
    "wrong",
    [lambda: Item("x", "x", -1, Category.FOOD), lambda: Item("x", "x", 0, Category.FOOD),
     lambda: Item("x", "x", MOST_YEN + 1, Category.FOOD), lambda: Item("x", "x", True, Category.FOOD),
     lambda: ReceiptLine(CATALOGUE["tea"], 0), lambda: ReceiptLine(CATALOGUE["tea"], -1),
     lambda: Basket(()), lambda: Basket((ReceiptLine(CATALOGUE["tea"], MOST_YEN),)),
     lambda: Basket((ReceiptLine(CATALOGUE["tea"]),) * 1001)],
)  # fmt: skip
def test_invalid_goods_and_baskets_are_rejected(wrong: Callable[[], object]) -> None:
    with pytest.raises(BasketRejected):
        wrong()


@given(st.lists(st.integers(0, 5_000), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_returning_everything_in_any_order_leaves_no_points(prices: list[int], chance: Random) -> None:
    left, points = sum(prices), points_of(sum(prices))
    chance.shuffle(prices)
    for price in prices:
        points += points_of(left - price) - points_of(left)
        left -= price
    assert (left, points) == (0, 0)
