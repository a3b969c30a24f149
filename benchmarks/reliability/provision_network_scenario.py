"""The provision network's messages in a simulated network: a core and three interface systems."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from benchmarks.bench_worlds import MORNING
from benchmarks.network_load import MUNICIPALITY, PENSION, record_code
from benchmarks.reliability.durable import PromiseBroken
from benchmarks.reliability.simulation import Disks, NotDelivered, SimulatedProcess, Simulation
from kazashi.assembly.network_server import core_of
from kazashi.provision_network.asking import RequestStage
from kazashi.provision_network.assessments import sample_assessment
from kazashi.provision_network.interface_system import InterfaceSystem
from kazashi.provision_network.law.tables import table_of_affairs
from kazashi.provision_network.terms import CORE, RequestOutcome
from kazashi.world.clock import FixedClock
from kazashi.world.home import open_world
from kazashi.world.outbox import Message, MessageGap, NodeDown, Outbox, Receive
from kazashi.world.settings import Settings
from kazashi.world.storage import Store

_HOMES = {"east": ("架空一市", "架空二市"), "west": ("架空三市",), "pension": (PENSION,)}
_HOME = {body: name for name, bodies in _HOMES.items() for body in bodies}
_TOWNS = tuple(body for body in _HOME if body != PENSION)
_PERSONS = {"0000000001": record_code(0), "0000000002": record_code(1)}
_BY_HAND = "0000000002"
"""The address number of the person whose insurance the pension service provides only after a check by hand."""
_AFFAIRS = {row.purpose.provider: row.purpose for row in table_of_affairs()
            if row.number in ("74", "75") and row.purpose.requester == MUNICIPALITY}  # fmt: skip
_DENIED = "不存在の事務"
_ROUNDS = 100
"""More rounds of all processes than any seed needs once the network has healed."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request whose process number was returned: who asked whom about whom, and whether the rules allow it."""

    process: int
    body: str
    provider: str
    person: str
    allowed: bool


class NetworkScenario:
    """Towns ask each other and the pension service, which checks each request by hand.

    Every request must be answered or denied once, with one record at the core; a body's flag must end as it was last
    set.
    """

    name = "provision network"

    def __init__(self, directory: Path) -> None:
        self._clock = FixedClock(MORNING)
        self._world = open_world(directory, settings=Settings("reliability"), clock=self._clock)
        core = core_of(self._world)
        self._core = SimulatedProcess(CORE, core, [core.store])
        self._interfaces = {}
        for name in _HOMES:
            interface = InterfaceSystem(self._world, name)
            stores = [interface.store, interface.platform.store]
            self._interfaces[name] = SimulatedProcess(name, interface, stores)
            self._interfaces[name].restart()
        self._core.restart()
        self._enrol()
        self._disks = Disks(sorted((directory / "stores").glob("*.sqlite")))

    def _enrol(self) -> None:
        """Connect all bodies, give everybody their codes and copies, and announce the members."""
        core = self._core.actor
        for name, bodies in _HOMES.items():
            interface = self._interfaces[name].actor
            certificate = core.members.enrol(name, interface.neighbours.begin(), f"https://localhost/{name}")
            interface.neighbours.enrolled(certificate, core.authority.certificate, "https://localhost/core")
            for body in bodies:
                kind = PENSION if body == PENSION else MUNICIPALITY
                core.members.connect(
                    body, kind, assessment=sample_assessment(body, kind, self._clock.now().date()), interface=name,
                    key=interface.add(body).public_key(),
                )  # fmt: skip
                server = interface.server(body)
                for person, record in _PERSONS.items():
                    code = core.codes.code_for(body, record)
                    server.take_codes([(person, code)])
                    by_hand = (body, person) == (PENSION, _BY_HAND)
                    server.register(code, person, _AFFAIRS[kind].item, _content(body, person), by_hand=by_hand)
        receivers = {name: process.actor.receive for name, process in self._interfaces.items()}
        core.outbox.deliver(core.store, self._clock.now(), receivers)

    def begin(self, simulation: Simulation) -> None:
        """Reset all processes and their stores for a seed."""
        self._simulation, self._rng = simulation, simulation.rng
        self._clock.stand(MORNING)
        self._disks.reset()
        self._core.begin(simulation)
        for process in self._interfaces.values():
            process.begin(simulation)
        self._asked: list[_Asked] = []
        self._flags: dict[str, bool] = {}
        self._handled: dict[tuple[str, str], int] = {}

    def step(self) -> None:
        """Let one process ask, deliver or answer; or let time pass, or the network be cut."""
        action = self._rng.choices(
            (self._ask, self._set_flag, self._deliver_core, self._deliver, self._release, self._wait, self._cut),
            (6, 1, 6, 10, 2, 1, 2),
        )[0]  # fmt: skip
        action()

    def _ask(self) -> None:
        body, provider = self._rng.sample((*_TOWNS, PENSION), 2)
        if body == PENSION:
            body, provider = provider, body
        person = self._rng.choice(list(_PERSONS))
        purpose = _AFFAIRS[PENSION if provider == PENSION else MUNICIPALITY]
        allowed = self._rng.random() < 0.8
        purpose = purpose if allowed else replace(purpose, affair=_DENIED)
        interface = self._interfaces[_HOME[body]].actor
        code = interface.server(body).code_of(person)
        process = interface.asking.ask(body, code, purpose, [provider])
        self._asked.append(_Asked(process, body, provider, person, allowed))
        self._simulation.note(f"{body} asks {provider}: process {process}{'' if allowed else ', not allowed'}")

    def _set_flag(self) -> None:
        """Set or clear the flag that the portal must not show a person's records. The last one counts."""
        body, on = self._rng.choice(_TOWNS), self._rng.random() < 0.5
        interface = self._interfaces[_HOME[body]].actor
        self._flags.pop(body, None)  # not known if the process is killed now
        interface.set_undisclosed(body, interface.server(body).code_of(_BY_HAND), on=on)
        self._flags[body] = on
        self._simulation.note(f"{body} sets its flag to {on}")

    def _deliver_core(self) -> None:
        core = self._core.actor
        self._carry(CORE, core.outbox, core.store)

    def _deliver(self) -> None:
        name = self._rng.choice(list(_HOMES))
        interface = self._interfaces[name].actor
        self._simulation.note(f"{name} answers {interface.answering.work()} requests")
        self._carry(name, interface.outbox, interface.store)

    def _release(self) -> int:
        """Let a person at the pension service release what is on hold. Returns the number of requests."""
        interface = self._interfaces["pension"].actor
        waiting = interface.server(PENSION).waiting()
        for number in waiting:
            interface.answering.release(PENSION, number)
            self._simulation.note(f"pension releases request {number}")
        return len(waiting)

    def _wait(self) -> None:
        self._clock.stand(self._clock.now() + timedelta(minutes=self._rng.randrange(24 * 60)))

    def _cut(self) -> None:
        self._simulation.partition([CORE, *_HOMES])

    def _carry(self, sender: str, outbox: Outbox, store: Store, batch: int = 0) -> int:
        receivers = {name: self._line(sender, name) for name in (CORE, *_HOMES)}
        return outbox.deliver(store, self._clock.now(), receivers, batch or self._rng.choice((1, 2, 5, 200)))

    def _line(self, sender: str, receiver: str) -> Receive:
        """The function that carries messages to a receiver over the simulated network."""

        def deliver(messages: Sequence[Message]) -> None:
            kept = list(messages)
            what = ", ".join(f"{one.sequence} {one.kind}" for one in kept)
            try:
                self._simulation.request(sender, receiver, what, lambda: self._handle(receiver, kept))
            except NotDelivered as error:
                raise NodeDown(str(error)) from error

        return deliver

    def _handle(self, receiver: str, messages: Sequence[Message]) -> None:
        stream = (messages[0].sender, receiver)
        numbers = [message.sequence for message in messages]
        if numbers != list(range(numbers[0], numbers[0] + len(numbers))):
            raise PromiseBroken(f"{stream[0]} sends {numbers} to {receiver}, which are not in order without a gap")
        process = self._core if receiver == CORE else self._interfaces[receiver]
        try:
            process.actor.receive(messages)
        except MessageGap as gap:  # the receiver's service returns 409 for it
            raise NotDelivered(str(gap)) from gap
        self._handled[stream] = max(self._handled.get(stream, 0), numbers[-1])

    def finish(self) -> None:
        """Let all processes deliver and answer until nothing is left to do."""
        for _ in range(_ROUNDS):
            done = 0
            for name, process in self._interfaces.items():
                done += process.actor.answering.work() + self._carry(
                    name, process.actor.outbox, process.actor.store, 200
                )
            done += self._carry(CORE, self._core.actor.outbox, self._core.actor.store, 200)
            if not done + self._release():
                return
        raise PromiseBroken("messages are delivered again and again")

    def check(self) -> None:
        """Compare what was asked, what was answered, and what the core has recorded."""
        self._check_streams()
        for asked in self._asked:
            interface = self._interfaces[_HOME[asked.body]].actor
            request = interface.asking.request(asked.process)
            stage = RequestStage.ANSWERED if asked.allowed else RequestStage.REFUSED
            if request.stage is not stage:
                raise PromiseBroken(f"process {asked.process} is {request.stage.value}, not {stage.value}")
            received = interface.server(asked.body).received(asked.process)
            content = _content(asked.provider, asked.person) if asked.allowed else None
            if content != (None if received is None else received.content):
                raise PromiseBroken(f"the answer to process {asked.process} is {received}")
        towns = [self._interfaces[name].actor for name in dict.fromkeys(map(_HOME.__getitem__, _TOWNS))]
        stored = [row for town in towns for row in self._rows(town.store, "SELECT process, stage FROM asked")]
        allowed = sum(stage == RequestStage.ANSWERED.value for _, stage in stored)
        records = self._rows(self._core.actor.store, "SELECT outcome FROM provision_record")
        outcomes = {outcome.value: sum(row[0] == outcome.value for row in records) for outcome in RequestOutcome}
        wanted = {RequestOutcome.PROVIDED.value: allowed, RequestOutcome.DENIED.value: len(stored) - allowed}
        if {outcome: count for outcome, count in outcomes.items() if count} != {k: n for k, n in wanted.items() if n}:
            raise PromiseBroken(f"{len(stored)} requests, {allowed} of them allowed, have the records {outcomes}")
        answers = sum(len(self._rows(town.platform.store, "SELECT process FROM received")) for town in towns)
        if answers != allowed:
            raise PromiseBroken(f"{allowed} requests have {answers} answers")
        self._check_logs(len(stored) - allowed)
        flagged = {row[0] for row in self._rows(self._core.actor.store, "SELECT body FROM undisclosed")}
        if any((body in flagged) != on for body, on in self._flags.items()):
            raise PromiseBroken(f"the flags are set for {flagged}, and were last set to {self._flags}")

    def _check_streams(self) -> None:
        stores = {CORE: self._core.actor.store}
        stores |= {name: process.actor.store for name, process in self._interfaces.items()}
        applied = {
            (sender, receiver): count for store in stores.values()
            for sender, receiver, count in self._rows(store, "SELECT sender, receiver, applied FROM incoming_stream")
        }  # fmt: skip
        for name, store in stores.items():
            if waiting := self._rows(store, "SELECT receiver, sequence FROM outbox"):
                raise PromiseBroken(f"messages of {name} still wait: {waiting}")
            for receiver, sent in self._rows(store, "SELECT receiver, sent FROM outgoing_stream"):
                if applied.get((name, receiver), 0) != sent:
                    raise PromiseBroken(f"{name} sent {sent} messages to {receiver}, which applied {applied}")
        for stream, last in self._handled.items():
            if applied[stream] < last:
                raise PromiseBroken(f"message {last} of {stream} was acknowledged, and is lost")

    def _check_logs(self, denied: int) -> None:
        """Check that no message was refused but the requests that the rules deny: a message applied twice would be."""
        log = "SELECT detail FROM event WHERE what = :what"
        refused = [json.loads(row[0]) for row in self._rows(self._core.actor.store, log, what="refused")]
        if len(refused) != denied:
            raise PromiseBroken(f"the core refused {len(refused)} messages, and {denied} requests: {refused[-1]}")
        for name, process in self._interfaces.items():
            if wrong := self._rows(process.actor.store, log, what="not understood"):
                raise PromiseBroken(f"{name} did not understand a message: {wrong[0][0]}")

    def _rows(self, store: Store, sql: str, **values: str) -> Sequence[Any]:
        with store.reading() as connection:
            return connection.execute(sa.text(sql), values).all()

    def close(self) -> None:
        """Close all stores."""
        self._disks.close()
        self._world.close()


def _content(body: str, person: str) -> str:
    return f"{body} の {person} の情報"
