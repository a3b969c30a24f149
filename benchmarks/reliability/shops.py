"""Durable commands of shops and offices: sales, the centre's batches, and exchanges over the provision network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.reliability.durable import Acknowledge, DurableCommand, clock_of, require
from benchmarks.reliability.town import MORNING
from kazashi.assembly.points import enrol_till
from kazashi.assembly.points_server import centre_of
from kazashi.provision_network.asking import RequestStage
from kazashi.provision_network.assessments import sample_assessment
from kazashi.provision_network.core import Core
from kazashi.provision_network.exchange import carry
from kazashi.provision_network.interface_system import InterfaceSystem
from kazashi.provision_network.law.rules import RuleBook
from kazashi.provision_network.law.tables import table_of_affairs
from kazashi.provision_network.terms import NetworkRejected, RequestOutcome
from kazashi.refund_points.centre import Centre
from kazashi.refund_points.goods import CATALOGUE, Basket, ReceiptLine
from kazashi.refund_points.reading import CardReading
from kazashi.refund_points.sender import send_waiting
from kazashi.refund_points.till import RecordState, SaleRejected, Till
from kazashi.studies.points_balance import balance
from kazashi.world.clock import FixedClock
from kazashi.world.home import World, open_world
from kazashi.world.settings import Settings

CARD = CardReading(7)
LUNCH = Basket((ReceiptLine(CATALOGUE["lunch"]), ReceiptLine(CATALOGUE["tea"], 2)))
_WAITING, _BATCH = 4, 2
"""The records that wait at the till for the centre, and how many are in one batch."""


def _shop(home: Path) -> tuple[World, Till, Centre]:
    world = open_world(home, settings=Settings("reliability"))
    return world, enrol_till(world, "rice-shop", "till-1"), centre_of(world)


def _prepare_till(home: Path) -> None:
    world = open_world(home, settings=Settings("reliability"))
    clock_of(world).stand(MORNING)
    enrol_till(world, "rice-shop", "till-1")
    world.close()


def _prepare_centre(home: Path) -> None:
    _prepare_till(home)
    world, till, _ = _shop(home)
    for _ in range(_WAITING):
        till.sell(LUNCH, CARD)
    till.store.close()
    world.close()


class _Direct:
    """A connection to a centre in this process."""

    def __init__(self, centre: Centre) -> None:
        self._centre = centre

    def send(self, till: str, records: Sequence[Mapping[str, str]]) -> Any:
        return [result.as_dict() for result in self._centre.receive(till, records)]


def _sell(home: Path, acknowledge: Acknowledge) -> None:
    """Sell, show the card for a sale without one, take goods back, and send the records."""
    _, till, centre = _shop(home)
    for card in (CARD, None):
        receipt = till.sell(LUNCH, card)
        acknowledge(f"{receipt.name} {receipt.total}")
    acknowledge(f"{till.show_later(receipt.name, CARD).name} shown")
    returned = till.take_back(receipt.name, [1])
    acknowledge(f"{returned.name} {returned.total}")
    acknowledge(f"sent {send_waiting(till, _Direct(centre), _BATCH).acknowledged}")


def _check_till(home: Path, acknowledged: Sequence[str]) -> None:
    world, till, centre = _shop(home)
    try:
        for name, what in (line.split() for line in acknowledged):
            if name == "sent":
                taken = centre.taken(till.name)
                require(int(what) == len(taken) == len(till.records()), "the centre has each record that was sent")
            elif what == "shown":
                require(till.receipt(name).points is not None, f"the points of receipt {name} are there")
            else:
                require(till.receipt(name).total == int(what), f"the receipt {name} is there")
        _check_points(till, centre)
    except SaleRejected as error:
        require(False, f"what was printed is there: {error}")
    finally:
        till.store.close()
        world.close()


def _check_points(till: Till, centre: Centre) -> None:
    """Check the till's disk against the ledger, as found and after every record was sent."""
    require(balance(centre, [till]).good, "till and ledger agree")
    send_waiting(till, _Direct(centre), _BATCH)
    report = balance(centre, [till])
    require(report.good and not report.waiting and not report.refused, "till and ledger agree when all was sent")
    require(report.found == report.granted, "each point is in the ledger once")
    require(all(state is RecordState.ACKNOWLEDGED for state, _, _ in till.records()), "every record was acknowledged")
    numbers = sorted(record.number for _, _, record in till.records())
    require(numbers == list(range(1, len(numbers) + 1)), "record numbers have no gap, and none is used twice")


def _receive(home: Path, acknowledge: Acknowledge) -> None:
    """Post the batches of a till, and say which records the centre has accepted."""
    _, till, centre = _shop(home)
    waiting = till.waiting()
    for begin in range(0, len(waiting), _BATCH):
        batch = waiting[begin : begin + _BATCH]
        centre.receive(till.name, [record.signed.to_wire() for record in batch])
        acknowledge(" ".join(str(record.number) for record in batch))


def _check_centre(home: Path, acknowledged: Sequence[str]) -> None:
    world, till, centre = _shop(home)
    try:
        taken = centre.taken(till.name)
        accepted = {int(number) for line in acknowledged for number in line.split()}
        require(accepted <= taken.keys(), "each record that the centre accepted is in the ledger")
        require(len(taken) % _BATCH == 0, "a batch is posted as a whole")
        _check_points(till, centre)
    finally:
        till.store.close()
        world.close()


# The provision network

_OPENED = datetime(2018, 4, 2, 3, tzinfo=UTC)
_ROWS = table_of_affairs()
_TAX = next(row.purpose for row in _ROWS if (row.number, row.purpose.requester) == ("74", "市町村長"))
_ASKING, _ASKED = "渋谷区", "港区"
_PERSON, _CONTENT = "12345678903", "所得 2,345,678円"
_SYSTEMS = {"one": _ASKING, "two": _ASKED}
"""The two interface systems, each with its body."""


def _network(home: Path) -> tuple[World, Core, dict[str, InterfaceSystem]]:
    world = open_world(home, settings=Settings("reliability"), clock=FixedClock(_OPENED))
    return world, Core(world, RuleBook(_ROWS)), {name: InterfaceSystem(world, name) for name in _SYSTEMS}


def _prepare_network(home: Path) -> None:
    world, core, systems = _network(home)
    for name, body in _SYSTEMS.items():
        system = systems[name]
        key = system.add(body).public_key()
        certificate = core.members.enrol(name, system.neighbours.begin(), f"https://localhost/{name}")
        system.neighbours.enrolled(certificate, core.authority.certificate, "https://localhost/core")
        assessment = sample_assessment(body, "市町村長", _OPENED.date())
        core.members.connect(body, "市町村長", assessment=assessment, interface=name, key=key)
    carry(world, core, list(systems.values()))
    systems["two"].server(_ASKED).register(core.codes.code_for(_ASKED, _PERSON), "1", _TAX.item, _CONTENT)
    core.codes.code_for(_ASKING, _PERSON)
    world.close()


def _exchange(home: Path, acknowledge: Acknowledge) -> None:
    """Ask twice; a process number is acknowledged when it was returned, and again when its answer has arrived."""
    world, core, systems = _network(home)
    for _ in range(2):
        process = systems["one"].asking.ask(_ASKING, core.codes.code_for(_ASKING, _PERSON), _TAX, [_ASKED])
        acknowledge(f"asked {process}")
        carry(world, core, list(systems.values()))
        acknowledge(f"answered {process}")


def _check_exchange(home: Path, acknowledged: Sequence[str]) -> None:
    world, core, systems = _network(home)
    try:
        system = systems["one"]
        for what, process in (line.split() for line in acknowledged):
            found = system.asking.request(int(process))
            require(
                what == "asked" or found.stage is RequestStage.ANSWERED, f"the answer to process {process} is there"
            )
        carry(world, core, list(systems.values()))
        processes = _processes(system)
        require(len(processes) <= 2, "no request was made twice")
        for number in processes:
            received = system.asking.answer_to(number)
            require(received is not None and received.content == _CONTENT, f"process {number} has its answer")
        records = core.records.of(core.codes.portal_code(_PERSON))
        require([record.outcome for record in records] == [RequestOutcome.PROVIDED] * len(processes),
                "each exchange is recorded once, on both sides")  # fmt: skip
        waiting = [core.outbox.waiting(core.store), *(one.outbox.waiting(one.store) for one in systems.values())]
        require(not any(waiting), "no message is left")
    except NetworkRejected as error:
        require(False, f"a process whose number was returned is there: {error}")
    finally:
        world.close()


def _processes(system: InterfaceSystem) -> list[int]:
    """The numbers of all processes, which count 1, 2, ..."""
    numbers: list[int] = []
    try:
        while True:
            numbers.append(system.asking.request(len(numbers) + 1).process)
    except NetworkRejected:
        return numbers


TILL = DurableCommand("till", _prepare_till, _sell, _check_till)
CENTRE = DurableCommand("centre", _prepare_centre, _receive, _check_centre)
EXCHANGE = DurableCommand("network exchange", _prepare_network, _exchange, _check_exchange)
