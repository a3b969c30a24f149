"""A simulated day of refund points in a town: rush hours, network outages, till crashes, power failures of the centre,
and lost responses, after which records are sent again; then the refund season, and the balance at the end.

Each till has its own disk and sends over HTTPS to a centre in a separate process, which is really killed. A till that
crashes keeps nothing but its disk. Customers are serial numbers without cards.
"""

from __future__ import annotations

import time
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
"""The share of a day's purchases in each hour in Japan, in hundredths: an assumption, with one rush at noon and one at
six, as in shops that sell lunch and supper."""

BUSIEST_HOUR = max(HOURS.values()) / sum(HOURS.values())

_STEP_MINUTES = 15
_BASKETS_A_DAY = 2
_CUT, _CRASH, _LOST_ANSWER, _CENTRE_OUT = 0.03, 0.02, 0.05, 0.06
"""The probabilities, per quarter of an hour, that a shop's network goes down, that a till crashes, that a response of
the centre is lost, and that the centre loses power."""

_FORGOTTEN, _SHOWN_LATER, _RETURNED, _REVOKED = 0.08, 0.5, 0.03, 0.01
"""The shares of customers who forget the card, of those who show it later, of receipts that are returned, and of cards
that are revoked."""

_FIRST_SERIAL = 0x70000000
_COUNTERS = 4
"""People at the portal at the same time."""


@dataclass
class DayReport:
    """The counts of a simulated day. `hours` has, for each hour, the purchases and the records that waited at its
    end."""

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
        """The report for JSON."""
        return {**asdict(self), "balance": self.balance.as_dict()}

    def in_words(self) -> str:
        """The report as text, with a chart of the day."""
        most = max((purchases for purchases, _ in self.hours.values()), default=1) or 1
        chart = [f"{hour:>4}:00 {'█' * round(40 * purchases / most):40} {purchases:>7,} purchases, {waiting:,} wait"
                 for hour, (purchases, waiting) in sorted(self.hours.items())]  # fmt: skip
        return "\n".join([
            f"{self.shops:,} shops, {self.customers:,} customers, {self.purchases:,} purchases, "
            f"{self.with_points:,} with points at once, {self.shown_later:,} later, {self.returned:,} returns",
            *chart,
            f"{self.cuts:,} network outages, {self.crashes:,} till crashes, {self.lost_answers:,} lost responses, "
            f"{self.centre_restarts:,} power failures of the centre",
            f"refund season: {self.applications:,} applications, {self.refunded:,} yen paid",
            self.balance.in_words(),
        ])  # fmt: skip


def simulate(
    world: World, shops: int, customers: int, day: date, progress: Callable[[int], None] = lambda _: None
) -> DayReport:
    """Simulate a day in a new world, and the refund season after it. `progress` is called with the number of quarters
    of an hour done, of `steps()`. Raises ServicesUnavailable."""
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
    """The number of quarters of an hour while the shops are open."""
    return len(HOURS) * 60 // _STEP_MINUTES


_EVENING, _PAUSE = 120.0, 0.2
"""How long the tills try to send in the evening, in seconds of real time, and the pause between two attempts. On a busy
machine the centre needs seconds to accept connections again, and the result of the day must not depend on that."""


class _LossyTransport:
    """A till's connection to the centre. It can be down (`cut` quarters of an hour), and it can lose a response after
    the centre has stored the records."""

    def __init__(self, inner: HttpsTransport) -> None:
        self.inner = inner
        self.cut = 0
        self.loses_next = False

    def send(self, till: str, records: Sequence[Mapping[str, str]]) -> Any:
        if self.cut:
            raise CentreUnreachable("the network is down")
        response = self.inner.send(till, records)
        if self.loses_next:
            self.loses_next = False
            raise CentreUnreachable("the response was lost")
        return response


class _Town:
    def __init__(self, world: World, shops: int, customers: int, day: date) -> None:
        self._world, self._day = world, day
        self._chance: Random = world.random_stream("points day")
        self.report = DayReport(shops, customers)
        self._set_clock(0)
        self._cards = [
            CardReading(
                _FIRST_SERIAL + number, "its certificate is revoked" if self._chance.random() < _REVOKED else ""
            )
            for number in range(customers)
        ]
        self.tills: dict[str, Till] = {}
        self._transports: dict[str, _LossyTransport] = {}
        self._forgotten: list[tuple[str, str, CardReading]] = []
        self.centre: Centre = centre_of(world)
        self._process: ServedProcess | None = serve_centre(world)
        self._port = self._process.port
        for number in range(shops):
            shop = f"shop-{number + 1}"
            self.tills[shop] = enrol_till(world, shop, "till-1")
            transport = HttpsTransport.of(self.tills[shop], f"https://localhost:{self._port}")
            self._transports[shop] = _LossyTransport(transport)

    def quarter(self, step: int) -> None:
        """Simulate a quarter of an hour: faults, purchases, and sending."""
        hour = sorted(HOURS)[step * _STEP_MINUTES // 60]
        self._set_clock(step)
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
        """Restore the networks and the centre, and let the tills send. One shop in fifty stays offline, and its records
        stay waiting."""
        self._restart_centre()
        for number, transport in enumerate(self._transports.values()):
            transport.loses_next = False
            transport.cut = 1 if number % 50 == 49 else 0
        reached = [self.tills[shop] for shop, transport in self._transports.items() if not transport.cut]
        deadline = time.monotonic() + _EVENING
        self._send()
        while any(till.states()[RecordState.WAITING] for till in reached) and time.monotonic() < deadline:
            time.sleep(_PAUSE)  # a connection from before the centre's restart is dead
            self._send()

    def refund_season(self) -> None:
        """Let everybody apply at the portal at the same time, in January of the next year."""
        clock = self._world.clock
        assert isinstance(clock, WorldClock)
        clock.stand(in_japan(date(self._day.year + 1, 1, 15), 10))
        refunds = Refunds(self.centre)
        with ThreadPoolExecutor(_COUNTERS) as counters:
            applied = list(counters.map(lambda number: self._apply(refunds, number), range(len(self._cards))))
        self.report.applications = sum(applied)
        if not self.report.applications:
            return
        refunds.payment_file()  # one file has room for a whole town
        for person, _, _ in refunds.people():
            for application in refunds.applications(person):
                paid = self._chance.random() >= 0.02
                refunds.settle(application.number, paid=paid)
                self.report.refunded += application.yen if paid else 0

    def close(self) -> None:
        for transport in self._transports.values():
            transport.inner.close()
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
        except RefundRejected:  # no points, or more was returned than bought
            return False
        return True

    def _set_clock(self, step: int) -> None:
        clock = self._world.clock
        assert isinstance(clock, WorldClock)
        clock.stand(in_japan(self._day, min(HOURS)) + timedelta(minutes=step * _STEP_MINUTES))

    def _faults(self) -> None:
        chance, report = self._chance, self.report
        for shop, transport in self._transports.items():
            if transport.cut:
                transport.cut -= 1
            elif chance.random() < _CUT:
                transport.cut = chance.randint(1, 8)
                report.cuts += 1
            if chance.random() < _LOST_ANSWER and not transport.loses_next:
                transport.loses_next = True
                report.lost_answers += 1
            if chance.random() < _CRASH:
                self.tills[shop].store.close()
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
                send_waiting(till, self._transports[shop])
