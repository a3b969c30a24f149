"""A day of a town with refund points: rush hours, networks that are cut, tills that crash, a centre that loses its
power, answers that are lost so that records come again; then the refund season; and the balance at the end.

Tills sell on disks of their own and send over HTTPS to a centre in a process of its own, which is killed in earnest.
A till's crash is that its program forgets everything but its disk. Customers are serial numbers without cards.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from random import Random
from typing import Any

from kazashi.assembly.points import enrol_till, open_till, serve_centre
from kazashi.assembly.points_server import centre_of
from kazashi.assembly.served import ServedProcess
from kazashi.refund_points.centre import Centre
from kazashi.refund_points.centre_http import HttpsTransport
from kazashi.refund_points.goods import CATALOGUE, Basket, ReceiptLine
from kazashi.refund_points.reading import CardReading
from kazashi.refund_points.refunds import RefundRejected, Refunds
from kazashi.refund_points.sender import CentreUnreachable, send_waiting
from kazashi.refund_points.till import RecordState, SaleRejected, Till
from kazashi.refund_points.zengin import Account
from kazashi.relying_party.verify.attributes import FourAttributes
from kazashi.studies.points_balance import Balance, balance
from kazashi.world.clock import WorldClock, in_japan
from kazashi.world.home import World

HOURS = {8: 3, 9: 4, 10: 6, 11: 8, 12: 11, 13: 7, 14: 6, 15: 6, 16: 8, 17: 12, 18: 13, 19: 9, 20: 5, 21: 2}
"""How a day's purchases spread over the hours in Japan, in hundredths: an assumption, with a rush at noon and one at
six, as shops that sell lunch and supper have it."""

BUSIEST_HOUR = max(HOURS.values()) / sum(HOURS.values())

_STEP_MINUTES = 15
_BASKETS_A_DAY = 2
_CUT, _CRASH, _LOST_ANSWER, _CENTRE_OUT = 0.03, 0.02, 0.05, 0.06
"""How likely, in each quarter of an hour: that a shop's network is cut, that a till crashes, that an answer of the
centre is lost on its way, and that the centre loses its power."""

_FORGOTTEN, _SHOWN_LATER, _RETURNED, _REVOKED = 0.08, 0.5, 0.03, 0.01
"""How many customers forget the card, how many of those show it later, how many receipts come back, and how many cards
are revoked."""

_FIRST_SERIAL = 0x70000000
_COUNTERS = 4
"""People at the portal at the same moment."""


@dataclass
class DayReport:
    """What happened. `hours` has, to an hour: purchases, and how many records waited at its end."""

    shops: int
    customers: int
    purchases: int = 0
    with_points: int = 0
    shown_later: int = 0
    returned: int = 0
    cuts: int = 0
    crashes: int = 0
    lost_answers: int = 0
    centre_restarts: int = 0
    applications: int = 0
    refunded: int = 0
    hours: dict[int, tuple[int, int]] = field(default_factory=dict)
    balance: Balance = field(default_factory=Balance)

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {**asdict(self), "balance": self.balance.as_dict()}

    def in_words(self) -> str:
        """For people, with the day as a chart."""
        most = max((purchases for purchases, _ in self.hours.values()), default=1) or 1
        chart = [f"{hour:>4}:00 {'█' * round(40 * purchases / most):40} {purchases:>7,} purchases, {waiting:,} wait"
                 for hour, (purchases, waiting) in sorted(self.hours.items())]  # fmt: skip
        return "\n".join([
            f"{self.shops:,} shops, {self.customers:,} customers, {self.purchases:,} purchases, "
            f"{self.with_points:,} with points at once, {self.shown_later:,} later, {self.returned:,} returns",
            *chart,
            f"{self.cuts:,} networks cut, {self.crashes:,} tills crashed, {self.lost_answers:,} answers lost, "
            f"the centre lost its power {self.centre_restarts:,} times",
            f"refund season: {self.applications:,} applications, {self.refunded:,} yen paid",
            self.balance.in_words(),
        ])  # fmt: skip


def simulate(
    world: World, shops: int, customers: int, day: date, progress: Callable[[int], None] = lambda _: None
) -> DayReport:
    """Let a day pass in a new world, and the refund season after it. `progress` is told how many of `steps()` quarters
    are over. Raises ServicesUnavailable."""
    town = _Town(world, shops, customers, day)
    with ExitStack() as stack:
        stack.callback(town.close)
        for step in range(steps()):
            town.quarter(step)
            progress(step + 1)
        town.evening()
        town.refund_season()
        town.report.balance = balance(town.centre, town.tills.values())
    return town.report


def steps() -> int:
    """Quarters of an hour in the shops' day."""
    return len(HOURS) * 60 // _STEP_MINUTES


_EVENING = 20
"""How often tills try in the evening, at most."""


class _LossyWay:
    """A till's way to the centre; it can be cut, and it can lose an answer after the centre has taken the records."""

    def __init__(self, way: HttpsTransport) -> None:
        self.way = way
        self.cut = 0
        self.loses_next = False

    def send(self, till: str, records: Sequence[Mapping[str, str]]) -> Any:
        if self.cut:
            raise CentreUnreachable("the network is cut")
        answer = self.way.send(till, records)
        if self.loses_next:
            self.loses_next = False
            raise CentreUnreachable("the answer was lost")
        return answer


class _Town:
    def __init__(self, world: World, shops: int, customers: int, day: date) -> None:
        self._world, self._day = world, day
        self._chance: Random = world.random_stream("points day")
        self.report = DayReport(shops, customers)
        self._put_clock(0)
        self._cards = [
            CardReading(
                _FIRST_SERIAL + number, "its certificate is revoked" if self._chance.random() < _REVOKED else ""
            )
            for number in range(customers)
        ]
        self.tills: dict[str, Till] = {}
        self._ways: dict[str, _LossyWay] = {}
        self._forgotten: list[tuple[str, str, CardReading]] = []
        self.centre: Centre = centre_of(world)
        self._process: ServedProcess | None = serve_centre(world)
        self._port = self._process.port
        for number in range(shops):
            shop = f"shop-{number + 1}"
            self.tills[shop] = enrol_till(world, shop, "till-1")
            way = HttpsTransport.of(self.tills[shop], f"https://localhost:{self._port}")
            self._ways[shop] = _LossyWay(way)

    def quarter(self, step: int) -> None:
        """A quarter of an hour: faults, purchases, and whatever can be sent."""
        hour = sorted(HOURS)[step * _STEP_MINUTES // 60]
        self._put_clock(step)
        self._faults()
        share = HOURS[hour] / sum(HOURS.values()) * _STEP_MINUTES / 60
        wanted = self.report.customers * _BASKETS_A_DAY * share
        count = int(wanted) + (self._chance.random() < wanted % 1)
        for _ in range(count):
            self._purchase()
        self._show_forgotten()
        self._send()
        sold, _ = self.report.hours.get(hour, (0, 0))
        waiting = sum(till.states()[RecordState.WAITING] for till in self.tills.values())
        self.report.hours[hour] = (sold + count, waiting)

    def evening(self) -> None:
        """Networks are mended and the centre is back. One shop in fifty stays cut off, and its records on their way."""
        self._restart_centre()
        for number, way in enumerate(self._ways.values()):
            way.loses_next = False
            way.cut = 1 if number % 50 == 49 else 0
        reached = [self.tills[shop] for shop, way in self._ways.items() if not way.cut]
        for _ in range(_EVENING):  # a till tries again, as tills do: a line of before the centre's restart is dead
            self._send()
            if not any(till.states()[RecordState.WAITING] for till in reached):
                break

    def refund_season(self) -> None:
        """In January, everybody comes to the portal at once."""
        clock = self._world.clock
        assert isinstance(clock, WorldClock)
        clock.stand(in_japan(date(self._day.year + 1, 1, 15), 10))
        refunds = Refunds(self.centre)
        with ThreadPoolExecutor(_COUNTERS) as counters:
            applied = list(counters.map(lambda number: self._apply(refunds, number), range(len(self._cards))))
        self.report.applications = sum(applied)
        if not self.report.applications:
            return
        refunds.payment_file()  # one file is enough for a town
        for person, _, _ in refunds.people():
            for application in refunds.applications(person):
                paid = self._chance.random() >= 0.02
                refunds.settle(application.number, paid=paid)
                self.report.refunded += application.yen if paid else 0

    def close(self) -> None:
        for way in self._ways.values():
            way.way.close()
        if self._process is not None:
            self._process.stop()

    def _apply(self, refunds: Refunds, number: int) -> bool:
        person, name = f"person-{number}", f"架空　{number}"
        born = date(1940 + number % 80, 1 + number % 12, 1 + number % 28)
        refunds.register(person, FourAttributes(name, "架空町１丁目", born, f"3{born:%Y%m%d}", "male", (), ()))
        refunds.log_in(person, [self._cards[number].serial])
        account = Account("0005", "001", "1", f"{number % 10_000_000:07}", f"カクウ {number}")
        try:
            refunds.apply(person, self._day.year, account, name)
        except RefundRejected:  # no points, or one that returned more than was bought
            return False
        return True

    def _put_clock(self, step: int) -> None:
        clock = self._world.clock
        assert isinstance(clock, WorldClock)
        clock.stand(in_japan(self._day, min(HOURS)) + timedelta(minutes=step * _STEP_MINUTES))

    def _faults(self) -> None:
        chance, report = self._chance, self.report
        for shop, way in self._ways.items():
            if way.cut:
                way.cut -= 1
            elif chance.random() < _CUT:
                way.cut = chance.randint(1, 8)
                report.cuts += 1
            if chance.random() < _LOST_ANSWER and not way.loses_next:
                way.loses_next = True
                report.lost_answers += 1
            if chance.random() < _CRASH:
                self.tills[shop].store.engine.dispose()
                self.tills[shop] = open_till(self._world, shop, "till-1")
                report.crashes += 1
        if self._process is None:
            self._restart_centre()
        elif chance.random() < _CENTRE_OUT:
            self._process.kill()
            self._process = None
            report.centre_restarts += 1

    def _restart_centre(self) -> None:
        if self._process is None:
            self._process = serve_centre(self._world, self._port)

    def _purchase(self) -> None:
        chance, report = self._chance, self.report
        shop, card = chance.choice(list(self.tills)), chance.choice(self._cards)
        goods = chance.sample(list(CATALOGUE.values()), chance.randint(1, 5))
        basket = Basket(tuple(ReceiptLine(item, chance.choice((1, 1, 1, 2, 3))) for item in goods))
        forgotten = chance.random() < _FORGOTTEN
        receipt = self.tills[shop].sell(basket, None if forgotten else card)
        report.purchases += 1
        report.with_points += receipt.points is not None
        if forgotten and chance.random() < _SHOWN_LATER:
            self._forgotten.append((shop, receipt.name, card))
        elif chance.random() < _RETURNED:
            self.tills[shop].take_back(receipt.name, [chance.randint(1, len(goods))])
            report.returned += 1

    def _show_forgotten(self) -> None:
        while self._forgotten and self._chance.random() < 0.8:
            shop, receipt, card = self._forgotten.pop(0)
            with suppress(SaleRejected):  # nothing on it earns points, or the card is revoked
                self.tills[shop].show_later(receipt, card)
                self.report.shown_later += 1

    def _send(self) -> None:
        for shop, till in self.tills.items():
            with suppress(CentreUnreachable):
                send_waiting(till, self._ways[shop])
