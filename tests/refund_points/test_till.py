"""A till alone: sales, cards that are shown later, returns, and what a crash or a thief of data leaves."""

from __future__ import annotations

import sqlite3
import subprocess
import sys

import pytest

from kazashi.refund_points.centre import Centre
from kazashi.refund_points.goods import points_of
from kazashi.refund_points.reading import CardReading
from kazashi.refund_points.sender import send_waiting
from kazashi.refund_points.till import RecordState, SaleRejected, Till
from kazashi.world.home import World
from tests.refund_points.tills import HANAKO, LUNCH, TARO, Line2Centre, balance, totals


def test_a_sale_with_and_without_a_card(shop: tuple[World, Centre, Till]) -> None:
    _, _, till = shop
    with_card, without = till.sell(LUNCH, HANAKO), till.sell(LUNCH)
    assert (with_card.points, without.points) == (21, None)
    assert with_card.name == "rice-shop/till-1/1/1"
    assert [found.number for found in till.waiting()] == [1]
    assert till.receipt(with_card.name).lines == with_card.lines


def test_a_card_that_is_not_good_does_not_stop_the_sale(shop: tuple[World, Centre, Till]) -> None:
    _, _, till = shop
    receipt = till.sell(LUNCH, CardReading(1, "its certificate is revoked"))
    assert receipt.points is None
    assert "revoked" in receipt.note
    assert not till.waiting()
    assert till.sell(LUNCH, CardReading(1, unchecked=True)).points == 21
    assert till.records()[0][2].unchecked


def test_a_forgotten_card_is_shown_later_and_once(shop: tuple[World, Centre, Till]) -> None:
    _, _, till = shop
    receipt = till.sell(LUNCH)
    assert till.show_later(receipt.name, HANAKO).points == 21
    with pytest.raises(SaleRejected, match="already"):
        till.show_later(receipt.name, TARO)
    with pytest.raises(SaleRejected, match="no receipt"):
        till.show_later("rice-shop/till-1/1/99", HANAKO)


def test_goods_are_returned_once_and_take_their_points_along(shop: tuple[World, Centre, Till]) -> None:
    _, centre, till = shop
    receipt = till.sell(LUNCH, HANAKO)
    assert till.take_back(receipt.name, [2]).points == points_of(880) - points_of(1_180)
    with pytest.raises(SaleRejected, match="returned already"):
        till.take_back(receipt.name, [2])
    back = till.take_back(receipt.name, [1, 3])
    assert back.total == -(880 + 228)
    with pytest.raises(SaleRejected, match="returned already"):
        till.take_back(back.name, [1])
    send_waiting(till, Line2Centre(centre))
    assert balance(centre, "1234ABCD") == 0
    assert totals(centre)["granted"] == 0


def test_a_return_before_the_card_is_shown_leaves_the_rest(shop: tuple[World, Centre, Till]) -> None:
    _, _, till = shop
    receipt = till.sell(LUNCH)
    assert till.take_back(receipt.name, [1]).points is None
    assert till.show_later(receipt.name, HANAKO).points == points_of(300)


def test_a_till_that_is_not_enrolled_does_not_sell(local: World) -> None:
    till = Till(local.directory / "tills", "rice-shop", "till-9", local.clock)
    with pytest.raises(SaleRejected, match="not enrolled"):
        till.sell(LUNCH)


SELLING = """
import sys
from pathlib import Path
from datetime import UTC, datetime
from kazashi.refund_points.goods import CATALOGUE, Basket, Line
from kazashi.refund_points.reading import Card
from kazashi.refund_points.till import Till
from kazashi.world.clock import FixedClock
clock = FixedClock(datetime(2026, 11, 24, tzinfo=UTC))
till = Till(Path(sys.argv[1]), "rice-shop", "till-1", clock)
while True:
    print(till.sell(Basket((Line(CATALOGUE["lunch"]),)), Card(7)).name, flush=True)
"""


def test_a_killed_till_has_every_receipt_that_it_printed(shop: tuple[World, Centre, Till]) -> None:
    world, _, till = shop
    printed: list[str] = []
    for turn in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", SELLING, str(world.directory / "tills")], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        printed += [process.stdout.readline().strip() for _ in range(7 + turn)]
        process.kill()
        printed += [line.strip() for line in process.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
        process.wait()
        process.stdout.close()
    records = [record for _, _, record in till.records()]
    assert [record.number for record in records] == list(range(1, len(records) + 1))
    assert set(printed) <= {record.receipt for record in records}
    assert len(records) <= len(printed) + 3, "at most one a kill was written and not printed"


def test_a_tampered_queue_is_noticed_and_kept(shop: tuple[World, Centre, Till]) -> None:
    world, centre, till = shop
    for _ in range(3):
        till.sell(LUNCH, HANAKO)
    (path,) = (world.directory / "tills").glob("*.sqlite")
    with sqlite3.connect(path) as database:
        database.execute(
            "UPDATE record SET body = CAST(replace(body, '\"points\":21', '\"points\":99') AS BLOB) WHERE number = 1"
        )
        database.execute(
            "UPDATE record SET signature = (SELECT signature FROM record WHERE number = 3) WHERE number = 2"
        )
    database.close()
    send_waiting(till, Line2Centre(centre))
    assert till.states() == {
        RecordState.WAITING: 0,
        RecordState.ACKNOWLEDGED: 1,
        RecordState.REFUSED: 0,
        RecordState.DAMAGED: 2,
    }
    assert balance(centre, "1234ABCD") == 21
    assert centre.missing(till.name) == [1, 2]
