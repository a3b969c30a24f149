"""The tills' resend protocol in a simulated network: two tills, their senders, and the centre."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from benchmarks.bench_worlds import MORNING
from benchmarks.reliability.durable import PromiseBroken
from benchmarks.reliability.simulation import Disks, NotDelivered, SimulatedProcess, Simulation
from kazashi.refund_points.centre import Centre, RecordOutcome
from kazashi.refund_points.goods import CATALOGUE, Basket, ReceiptLine
from kazashi.refund_points.ledger import GRANTED
from kazashi.refund_points.reading import CardReading
from kazashi.refund_points.record import PointRecord
from kazashi.refund_points.sender import CentreUnreachable, send_waiting
from kazashi.refund_points.till import RecordState, SaleRejected, Till, store_name
from kazashi.world.clock import FixedClock
from kazashi.world.home import open_world
from kazashi.world.settings import Settings

_SHOP, _NAMES = "rice-shop", ("till-1", "till-2")
_GOODS = tuple(CATALOGUE.values())
_CARDS = tuple(CardReading(0x1234ABC0 + number) for number in range(4))


class PointsScenario:
    """Sales, later cards and returns at two tills; every record must count once at the centre.

    A till may also lose its disk: it is then enrolled as a new installation, and what the old one had not sent is lost
    with the disk.
    """

    name = "refund points"

    def __init__(self, directory: Path) -> None:
        self._clock = FixedClock(MORNING)
        self._world = open_world(directory, settings=Settings("reliability"), clock=self._clock)
        centre = Centre(self._world)
        self._centre = SimulatedProcess("centre", centre, [centre.store])
        self._tills, self._empty = {}, {}
        tills = directory / "tills"
        disks = [tills / f"{store_name(_SHOP, name)}.sqlite" for name in _NAMES]
        for name, disk in zip(_NAMES, disks, strict=True):
            till = Till(tills, _SHOP, name, self._clock)
            self._empty[name] = Disks([disk])
            self._tills[name] = SimulatedProcess(name, till, [till.store], Till._load)
            self._tills[name].restart()
            self._enrol(name)
        self._disks = Disks([directory / "stores" / f"{centre.store.actor}.sqlite", *disks])

    def _enrol(self, name: str) -> None:
        till = self._tills[name].actor
        till.enrol(self._centre.actor.enrol(_SHOP, name, till.begin()))

    def begin(self, simulation: Simulation) -> None:
        """Reset the centre and the tills for a seed."""
        self._simulation, self._rng = simulation, simulation.rng
        self._clock.stand(MORNING)
        self._disks.reset()
        self._centre.begin(simulation)
        for process in self._tills.values():
            process.begin(simulation)
        self._printed: dict[str, dict[str, int | None]] = {name: {} for name in _NAMES}
        self._acknowledged: dict[tuple[str, int], str] = {}
        self._accepted: set[tuple[str, int]] = set()

    def step(self) -> None:
        """Let one till sell, take back, or send; or let time pass, the network be cut, or a disk be lost."""
        name = self._rng.choice(_NAMES)
        action = self._rng.choices(
            (self._sell, self._show_later, self._take_back, self._send, self._wait, self._cut, self._lose_disk),
            (8, 2, 3, 8, 1, 2, 0.2),
        )[0]  # fmt: skip
        if not self._tills[name].actor.enrolled:  # it was killed while it was enrolled
            self._enrol(name)
        action(name)

    def _sell(self, name: str) -> None:
        lines = tuple(
            ReceiptLine(self._rng.choice(_GOODS), self._rng.randint(1, 3)) for _ in range(self._rng.randint(1, 3))
        )  # fmt: skip
        card = self._rng.choice((*_CARDS, None))
        receipt = self._tills[name].actor.sell(Basket(lines), card)
        self._print(name, receipt.name, receipt.points)

    def _show_later(self, name: str) -> None:
        if self._printed[name]:
            receipt = self._rng.choice(list(self._printed[name]))
            try:
                shown = self._tills[name].actor.show_later(receipt, self._rng.choice(_CARDS))
            except SaleRejected as refused:
                self._simulation.note(f"{name} refuses a later card: {refused}")
            else:
                self._print(name, receipt, shown.points)

    def _take_back(self, name: str) -> None:
        if self._printed[name]:
            receipt = self._rng.choice(list(self._printed[name]))
            try:
                refund = self._tills[name].actor.take_back(receipt, [self._rng.randint(1, 3)])
            except SaleRejected as refused:
                self._simulation.note(f"{name} refuses a return: {refused}")
            else:
                self._print(name, refund.name, refund.points)

    def _print(self, name: str, receipt: str, points: int | None) -> None:
        self._printed[name][receipt] = points
        self._simulation.note(f"{name} prints {receipt}: {points} points")

    def _send(self, name: str, batch: int = 0) -> None:
        try:
            send_waiting(self._tills[name].actor, _Line(self, name), batch or self._rng.choice((1, 2, 3, 500)))
        except CentreUnreachable:
            self._simulation.note(f"{name}: the centre cannot be reached")

    def _wait(self, _: str) -> None:
        self._clock.stand(self._clock.now() + timedelta(minutes=self._rng.randrange(3 * 24 * 60)))

    def _cut(self, _: str) -> None:
        self._simulation.partition(["centre", *_NAMES])

    def _lose_disk(self, name: str) -> None:
        self._simulation.note(f"{name} loses its disk")
        self._empty[name].reset()
        self._printed[name].clear()
        self._tills[name].restart()
        self._enrol(name)

    def deliver(self, name: str, till: str, records: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
        """Carry a batch from a till's sender to the centre, and the results back. Raises NotDelivered."""
        parsed = [PointRecord.from_bytes(record["body"].encode()) for record in records]
        numbers = [record.number for record in parsed]
        if numbers != list(range(numbers[0], numbers[0] + len(numbers))):
            raise PromiseBroken(f"{till} sends the records {numbers}, which are not in order without a gap")

        def handle() -> list[dict[str, str]]:
            results = self._centre.actor.receive(till, records)
            for number, result in zip(numbers, results, strict=True):
                self._count(till, number, result.answer, result.words)
            return [result.as_dict() for result in results]

        results = self._simulation.request(name, "centre", f"{till} records {numbers}", handle)
        for record, number in zip(records, numbers, strict=True):
            self._acknowledged[till, number] = record["body"]
        return results

    def _count(self, till: str, number: int, outcome: RecordOutcome, words: str) -> None:
        if outcome is RecordOutcome.REFUSED:
            raise PromiseBroken(f"the centre refuses record {number} of {till}: {words}")
        if outcome is RecordOutcome.ACCEPTED and (till, number) in self._accepted:
            raise PromiseBroken(f"the centre accepts record {number} of {till} twice")
        if outcome is RecordOutcome.ACCEPTED:
            self._accepted.add((till, number))

    def finish(self) -> None:
        """Let every till send until nothing waits."""
        for name, process in self._tills.items():
            if not process.actor.enrolled:
                self._enrol(name)
            self._send(name, 500)

    def check(self) -> None:
        """Compare what the tills printed, what was acknowledged, and what the centre has counted."""
        centre = self._centre.actor
        names = {entry.id: entry.name for entry in centre.tills()}
        table = centre.ledger.posting.c
        signed = sa.case((table.debit == GRANTED, table.points), else_=-table.points)
        with centre.store.reading() as connection:
            rows = connection.execute(sa.select(table.till, table.number, signed).where(table.till.is_not(None))).all()
            totals = centre.ledger.totals(connection)
        counted = {(names[till], number): points for till, number, points in rows}
        if len(rows) != len(counted) or totals["people"] != sum(counted.values()) or sum(totals.values()) != 0:
            raise PromiseBroken(f"the ledger has {len(rows)} postings and {totals} for {len(counted)} records")
        for name in names.values():
            numbers = sorted(number for till, number in counted if till == name)
            if numbers != list(range(1, len(numbers) + 1)):
                raise PromiseBroken(f"the centre has the records {numbers} of {name}, with a gap")
        for (till, number), body in self._acknowledged.items():
            if counted.get((till, number)) != PointRecord.from_bytes(body.encode()).points:
                raise PromiseBroken(f"record {number} of {till} was acknowledged, and the centre has lost it")
        for name, process in self._tills.items():
            self._check_till(process.actor, self._printed[name], counted)

    def _check_till(
        self, till: Till, printed: Mapping[str, int | None], counted: Mapping[tuple[str, int], int]
    ) -> None:  # fmt: skip
        records = till.records()
        if [record.number for _, _, record in records] != list(range(1, len(records) + 1)):
            raise PromiseBroken(f"the numbers of the records of {till.name} have a gap or a double")
        with till.store.reading() as connection:
            rows = connection.execute(sa.text("SELECT name, points FROM receipt")).all()
        receipts: dict[str, int | None] = {row.name: row.points for row in rows}
        for receipt, points in printed.items():
            # A till may also have granted points and been killed before it printed that.
            if receipt not in receipts or (points is not None and receipts[receipt] != points):
                raise PromiseBroken(f"the receipt {receipt} was printed with {points} points, and the till has lost it")
        for state, reason, record in records:
            if state is not RecordState.ACKNOWLEDGED:
                raise PromiseBroken(f"record {record.number} of {till.name} is still {state.value} {reason}")
            if counted.get((till.name, record.number)) != record.points:
                raise PromiseBroken(f"record {record.number} of {till.name} is acknowledged, and not at the centre")

    def close(self) -> None:
        """Close all stores."""
        for disks in (self._disks, *self._empty.values()):
            disks.close()
        for process in self._tills.values():
            process.actor.store.close()
        self._world.close()


class _Line:
    """A till's transport to the centre over the simulated network."""

    def __init__(self, scenario: PointsScenario, name: str) -> None:
        self._scenario, self._name = scenario, name

    def send(self, till: str, records: Sequence[Mapping[str, str]]) -> Any:
        """Send records and return the results. Raises CentreUnreachable."""
        try:
            return self._scenario.deliver(self._name, till, records)
        except NotDelivered as error:
            raise CentreUnreachable(str(error)) from error
