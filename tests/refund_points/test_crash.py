"""From the till to the bank, killed at every moment at which something becomes durable, and then resumed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from kazashi.assembly.points import enrol_till
from kazashi.assembly.points_server import centre_of
from kazashi.refund_points.reading import CardReading
from kazashi.refund_points.refunds import ApplicationState, RefundRejected, Refunds
from kazashi.refund_points.sender import send_waiting
from kazashi.refund_points.till import SaleRejected, Till
from kazashi.studies.points_balance import balance
from kazashi.world.home import World, open_world
from tests.crash import killed_at
from tests.refund_points.test_refunds import ACCOUNT, HANAKO
from tests.refund_points.tills import LUNCH
from tests.town import new_world

pytestmark = pytest.mark.crash

CARD = CardReading(7)
POINTS = 21 + 21 + 21 - 16


def printed(till: Till) -> int:
    with till.store.reading() as connection:
        return int(connection.scalar(sa.text("SELECT count(*) FROM receipt WHERE total > 0")) or 0)


def run_sales_and_refund(world: World, paper: Path) -> None:
    """Make three sales, show the card for one later, return a part of another, and get the refund.

    Steps that were done before a crash are not repeated, because people see them on the till's and portal's screens.
    """
    till, centre = enrol_till(world, "rice-shop", "till-1"), centre_of(world)
    refunds = Refunds(centre)

    class Direct:
        def send(self, name: str, records: Sequence[Mapping[str, str]]) -> Any:
            return [result.as_dict() for result in centre.receive(name, records)]

    for number in range(printed(till), 3):
        receipt = till.sell(LUNCH, None if number == 1 else CARD)
        with paper.open("a", encoding="ascii") as file:
            file.write(f"{receipt.name}\n")
    names = [f"{till.name}/{number}" for number in (1, 2)]
    with suppress(SaleRejected):
        till.show_later(names[1], CARD)
    with suppress(SaleRejected):
        till.take_back(names[0], [1])
    send_waiting(till, Direct(), batch=2)
    refunds.register("hanako", HANAKO)
    assert refunds.log_in("hanako", [CARD.serial])
    with suppress(RefundRejected):
        refunds.apply("hanako", 2026, ACCOUNT, HANAKO.name)
    with suppress(RefundRejected):
        refunds.payment_file()
    for application in refunds.applications("hanako"):
        with suppress(RefundRejected):
            refunds.settle(application.number, paid=True)


def test_a_kill_at_any_moment_loses_and_doubles_nothing(tmp_path: Path) -> None:
    moment = 0
    killed = True
    while killed:
        moment += 1
        home = tmp_path / f"w{moment}"
        new_world(home).close()
        paper = home.with_suffix(".paper")

        def sell(home: Path = home, paper: Path = paper) -> None:
            run_sales_and_refund(open_world(home), paper)

        killed = killed_at(moment, sell)
        world = open_world(home)
        till, centre = enrol_till(world, "rice-shop", "till-1"), centre_of(world)
        for receipt in paper.read_text(encoding="ascii").split() if paper.exists() else ():
            assert till.receipt(receipt).total == 1_408, "what was printed is on disk"
        assert balance(centre, [till]).good, f"right after the kill at moment {moment}"
        run_sales_and_refund(world, paper)
        report = balance(centre, [till])
        assert (report.good, report.granted, report.found, report.waiting) == (True, POINTS, POINTS, [])
        (application,) = Refunds(centre).applications("hanako")
        assert (application.yen, application.state) == (POINTS, ApplicationState.PAID)
        assert report.ledger == {"granted": -POINTS, "payable": 0, "paid": POINTS, "people": 0}
        world.close()
    assert moment > 20
