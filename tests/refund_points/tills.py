"""Tills, a centre in the same process, and goods to sell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from kazashi.refund_points.centre import Centre
from kazashi.refund_points.goods import CATALOGUE, Basket, ReceiptLine
from kazashi.refund_points.reading import CardReading
from kazashi.refund_points.record import PointRecord, PostingType
from kazashi.refund_points.refunds import RefundReason, RefundRejected
from kazashi.refund_points.sender import CentreUnreachable
from kazashi.refund_points.till import SaleReason, SaleRejected, Till
from kazashi.world.home import World

NOON = datetime(2026, 11, 24, 3, tzinfo=UTC)
LUNCH = Basket((ReceiptLine(CATALOGUE["lunch"]), ReceiptLine(CATALOGUE["tea"], 2), ReceiptLine(CATALOGUE["beer"])))
HANAKO, TARO = CardReading(0x1234ABCD), CardReading(0x1234ABCE)
RECORD = PointRecord(
    "rice-shop/till-1/1", 1, PostingType.PURCHASE, 1, "rice-shop/till-1/1/1", "mykey", "AAAA0001", 1_100, 20
)


class Line2Centre:
    """A transport to the centre that can be cut."""

    def __init__(self, centre: Centre) -> None:
        self.centre = centre
        self.cut = False

    def send(self, till: str, records: Sequence[Mapping[str, str]]) -> Any:
        if self.cut:
            raise CentreUnreachable("cut")
        return [result.as_dict() for result in self.centre.receive(till, records)]


@contextmanager
def rejected(reason: SaleReason | RefundReason) -> Iterator[None]:
    """Expect SaleRejected or RefundRejected with this reason."""
    with pytest.raises(SaleRejected if isinstance(reason, SaleReason) else RefundRejected) as error:
        yield
    assert isinstance(error.value, SaleRejected | RefundRejected)
    assert error.value.reason is reason


def till_of(world: World, centre: Centre, shop: str = "rice-shop", name: str = "till-1", **more: Any) -> Till:
    till = Till(world.directory / "tills", shop, name, world.clock, **more)
    if not till.enrolled:
        till.enrol(centre.enrol(shop, name, till.begin()))
    return till


def balance(centre: Centre, code: str, year: int = 2026) -> int:
    with centre.store.reading() as connection:
        accounts = centre.ledger.known(connection, [(code, year)])
        return sum(centre.ledger.balances(connection, list(accounts.values())).values())


def totals(centre: Centre) -> dict[str, int]:
    with centre.store.reading() as connection:
        totals = centre.ledger.totals(connection)
    assert sum(totals.values()) == 0, "the accounts together are zero"
    return totals
