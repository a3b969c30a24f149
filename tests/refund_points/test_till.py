"""A till alone: sales, cards shown later, returns, crashes, and a tampered queue."""

from __future__ import annotations

import sqlite3
import subprocess
import sys

from kazashi.refund_points.centre import Centre
from kazashi.refund_points.goods import points_of
from kazashi.refund_points.reading import CardReading
from kazashi.refund_points.sender import send_waiting
from kazashi.refund_points.till import RecordState, SaleReason, Till
from kazashi.world.home import World
from tests.refund_points.tills import HANAKO, LUNCH, TARO, Line2Centre, balance, rejected, totals


def test_sale_with_and_without_a_card(shop: tuple[World, Centre, Till]) -> None:
    _, _, till = shop
    with_card, without = till.sell(LUNCH, HANAKO), till.sell(LUNCH)
    assert (with_card.points, without.points) == (21, None)
    assert with_card.name == "rice-shop/till-1/1/1"
    assert [record.number for record in till.waiting()] == [1]
    assert till.receipt(with_card.name).lines == with_card.lines


def test_an_invalid_card_does_not_stop_the_sale(shop: tuple[World, Centre, Till]) -> None:
    _, _, till = shop
    receipt = till.sell(LUNCH, CardReading(1, "its certificate is revoked"))
    assert receipt.points is None
    assert "revoked" in receipt.note
    assert not till.waiting()
    assert till.sell(LUNCH, CardReading(1, unchecked=True)).points == 21
    assert till.records()[0][2].unchecked


def test_a_card_can_be_shown_later_once(shop: tuple[World, Centre, Till]) -> None:
    _, _, till = shop
    receipt = till.sell(LUNCH)
    assert till.show_later(receipt.name, HANAKO).points == 21
    with rejected(SaleReason.POINTS_GRANTED):
        till.show_later(receipt.name, TARO)
    with rejected(SaleReason.NO_RECEIPT):
        till.show_later("rice-shop/till-1/1/99", HANAKO)


def test_returned_goods_lose_their_points_once(shop: tuple[World, Centre, Till]) -> None:
    _, centre, till = shop
    receipt = till.sell(LUNCH, HANAKO)
    assert till.take_back(receipt.name, [2]).points == points_of(880) - points_of(1_180)
    with rejected(SaleReason.LINE_NOT_RETURNABLE):
        till.take_back(receipt.name, [2])
    back = till.take_back(receipt.name, [1, 3])
    assert back.total == -(880 + 228)
    with rejected(SaleReason.LINE_NOT_RETURNABLE):
        till.take_back(back.name, [1])
    with rejected(SaleReason.NO_LINES):
        till.take_back(receipt.name, [])
    send_waiting(till, Line2Centre(centre))
    assert balance(centre, "1234ABCD") == 0
    assert totals(centre)["granted"] == 0


def test_a_later_card_gets_no_points_for_returned_lines(shop: tuple[World, Centre, Till]) -> None:
    _, _, till = shop
    receipt = till.sell(LUNCH)
    assert till.take_back(receipt.name, [1]).points is None
    assert till.show_later(receipt.name, HANAKO).points == points_of(300)


def test_a_later_card_is_rejected_if_nothing_is_eligible(shop: tuple[World, Centre, Till]) -> None:
    _, _, till = shop
    receipt = till.sell(LUNCH)
    with rejected(SaleReason.NO_CODE):
        till.show_later(receipt.name, CardReading(1, "its certificate is revoked"))
    till.take_back(receipt.name, [1, 2])
    with rejected(SaleReason.NOTHING_ELIGIBLE):
        till.show_later(receipt.name, HANAKO)


def test_an_unenrolled_till_cannot_sell(local: World) -> None:
    till = Till(local.directory / "tills", "rice-shop", "till-9", local.clock)
    with rejected(SaleReason.NOT_ENROLLED):
        till.sell(LUNCH)


SELLING = """
import sys
from pathlib import Path
from datetime import UTC, datetime
from kazashi.refund_points.goods import CATALOGUE, Basket, ReceiptLine
from kazashi.refund_points.reading import CardReading
from kazashi.refund_points.till import Till
from kazashi.world.clock import FixedClock
clock = FixedClock(datetime(2026, 11, 24, tzinfo=UTC))
till = Till(Path(sys.argv[1]), "rice-shop", "till-1", clock)
while True:
    print(till.sell(Basket((ReceiptLine(CATALOGUE["lunch"]),)), CardReading(7)).name, flush=True)
"""


def test_a_killed_till_has_every_receipt_it_printed(shop: tuple[World, Centre, Till]) -> None:
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
    assert len(records) <= len(printed) + 3, "at most one record per kill was written but not printed"


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
