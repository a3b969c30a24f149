"""A network in one thread whose every fault is drawn from a seed: what is lost, doubled, delayed, cut off, and killed.

The processes are the product's own objects on SQLite stores in memory. One step of one process runs at a time, and a
request to another process runs inside it. A process is killed right before or after one of its commits, as nothing
else that it does is durable; the transaction that was open is rolled back, and the process starts again from its
stores.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from threading import local
from types import MethodType
from typing import Any, Generic, Protocol, TypeVar

import sqlalchemy as sa

from benchmarks.reliability.durable import PromiseBroken
from kazashi.world.storage import Store

_Result = TypeVar("_Result")
_Actor = TypeVar("_Actor")

Transaction = Callable[[], AbstractContextManager[sa.Connection]]

_STEPS = (8, 24)
"""The least and the most steps of a seed, before its network heals."""

_HIGHEST = {"lost": 0.6, "doubled": 0.5, "delayed": 0.5, "killed": 0.2, "cut": 0.5, "healed": 0.5}
"""The highest rate of each fault. The rate of a seed is drawn below it, so that some seeds have many and others few."""

_ACTORS = ("kazashi.provision_network.", "kazashi.refund_points.")
"""Where the classes of processes are. What their objects consist of is their memory."""


class NotDelivered(Exception):
    """The sender got no reply. The receiver may have handled the request all the same, or may do so later."""


class ProcessKilled(BaseException):
    """A process was killed. It is no Exception, because no handler of the process runs when it is killed.

    `restart` starts the process again; whoever catches this calls it, once everything that was open is closed.
    """

    def __init__(self, name: str, restart: Callable[[], object]) -> None:
        super().__init__(name)
        self.restart = restart


class Simulation:
    """One seed: its random choices, its faults, and the history of what happened."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = Random(seed)
        self.history: list[str] = []
        self.faults: Counter[str] = Counter()
        self._rates = {fault: self.rng.random() ** 2 * highest for fault, highest in _HIGHEST.items()}
        self._cut: set[frozenset[str]] = set()
        self._late: list[tuple[str, Callable[[], object]]] = []
        self._healed = False

    def note(self, what: str) -> None:
        """Add a line to the history."""
        self.history.append(what)

    def happens(self, fault: str, what: str) -> bool:
        """Draw whether a fault happens now, and note it if it does. Nothing happens once the network has healed."""
        if self._healed or self.rng.random() >= self._rates[fault]:
            return False
        self.faults[fault] += 1
        self.note(f"{fault}: {what}")
        return True

    def request(self, sender: str, receiver: str, what: str, handle: Callable[[], _Result]) -> _Result:
        """Carry a request to its receiver, let it `handle` the request, and carry the reply back.

        Raises NotDelivered, also if the receiver was killed; it has started again then.
        """
        what = f"{sender} -> {receiver}: {what}"
        if frozenset((sender, receiver)) in self._cut:
            self.note(f"cut off: {what}")
            raise NotDelivered(what)
        if self.happens("lost", f"request of {what}"):
            raise NotDelivered(what)
        if self.happens("delayed", what):
            self._late.append((what, handle))
            raise NotDelivered(what)
        if self.happens("doubled", what):
            self._late.append((what, handle))
        self.note(what)
        try:
            result = handle()
        except ProcessKilled as killed:
            killed.restart()
            raise NotDelivered(what) from killed
        if self.happens("lost", f"reply to {what}"):
            raise NotDelivered(what)
        return result

    def arrive(self) -> bool:
        """Let a delayed request arrive, any of them. Nobody waits for its reply. Returns False if there is none."""
        if not self._late:
            return False
        what, handle = self._late.pop(self.rng.randrange(len(self._late)))
        self.note(f"arrives late: {what}")
        try:
            handle()
        except NotDelivered:
            self.note("not handled")
        return True

    def partition(self, names: Sequence[str]) -> None:
        """Perhaps cut one pair of processes off from each other, and perhaps mend all cuts."""
        pair = frozenset(self.rng.sample(list(names), 2))
        if self.happens("cut", " | ".join(sorted(pair))):
            self._cut.add(pair)
        if self._cut and self.happens("healed", "all cuts"):
            self._cut.clear()

    def heal(self) -> None:
        """End all faults. Delayed requests still arrive."""
        self._healed = True
        self._cut.clear()
        self.note("the network has healed")


class SimulatedProcess(Generic[_Actor]):
    """A process that can be killed at its commits, and then starts again from its stores."""

    def __init__(
        self, name: str, opened: _Actor, stores: Sequence[Store], load: Callable[[_Actor], object] = lambda _: None
    ) -> None:  # fmt: skip
        """`opened` is the process's object, just opened on its `stores`.

        To open it anew at every start would take most of the time of a run. A process starts with a copy of `opened`
        instead, which shares its statements and connections, but not its memory. `load` then reads from the stores what
        opening reads, if a run can change that.
        """
        self.name = name
        self._opened, self._load = opened, load
        self._simulation: Simulation | None = None
        self.actor = opened
        for store in stores:
            store.transaction = _watched(store.transaction, self._may_die)  # type: ignore[method-assign]

    def begin(self, simulation: Simulation) -> None:
        """Start the process for a seed."""
        self._simulation = None
        self.restart()
        self._simulation = simulation

    def restart(self) -> None:
        """Start the process from its stores."""
        if self._simulation is not None:
            self._simulation.note(f"{self.name} starts")
        self.actor = _copied(self._opened, {})
        self._load(self.actor)

    def _may_die(self, when: str) -> None:
        if self._simulation is not None and self._simulation.happens("killed", f"{self.name} {when}"):
            raise ProcessKilled(self.name, self.restart)


def _copied(value: Any, copies: dict[int, Any]) -> Any:
    """Copy an object with the objects and collections that it consists of. Stores, clocks and statements are shared:
    they are made by `kazashi.world` and by libraries. `copies` has what was copied, by identity."""
    if id(value) in copies:
        return copies[id(value)]
    if isinstance(value, MethodType):
        return MethodType(value.__func__, _copied(value.__self__, copies))
    if isinstance(value, dict):
        return {key: _copied(one, copies) for key, one in value.items()}
    if isinstance(value, list | set):
        return copy(value)
    if isinstance(value, local) or not hasattr(value, "__dict__") or not type(value).__module__.startswith(_ACTORS):
        return value
    copies[id(value)] = fresh = copy(value)
    for name, one in vars(value).items():
        setattr(fresh, name, _copied(one, copies))
    return fresh


def _watched(transaction: Transaction, moment: Callable[[str], None]) -> Any:
    """A store's `transaction`, with a moment before and a moment after its commit at which the process may die."""

    @contextmanager
    def watched() -> Iterator[sa.Connection]:
        with transaction() as connection:
            yield connection
            moment("before a commit")
        moment("after a commit")

    return watched


class Disks:
    """SQLite files, and their contents at the time when this object was made."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._pairs = []
        for path in paths:
            live, kept = sqlite3.connect(path), sqlite3.connect(":memory:")
            live.backup(kept)
            self._pairs.append((live, kept))

    def reset(self) -> None:
        """Give every file its kept contents again."""
        for live, kept in self._pairs:
            kept.backup(live)

    def close(self) -> None:
        """Close the connections to the files."""
        for pair in self._pairs:
            for connection in pair:
                connection.close()


class Scenario(Protocol):
    """The processes of one protocol, what they do in a step, and what must be true of them."""

    name: str

    def begin(self, simulation: Simulation) -> None:
        """Reset all processes and their stores for a seed."""

    def step(self) -> None:
        """Let one process do one thing. Raises ProcessKilled and PromiseBroken."""

    def finish(self) -> None:
        """Let all processes work until nothing is left to do. The network has healed. Raises PromiseBroken."""

    def check(self) -> None:
        """Check everything at the end. Raises PromiseBroken."""

    def close(self) -> None:
        """Close all stores."""


@dataclass(frozen=True, slots=True)
class Played:
    """A seed that was played: its history, its faults by kind, and what went wrong, which is empty if nothing did."""

    seed: int
    history: Sequence[str]
    faults: Mapping[str, int]
    trouble: str = ""
    steps: int = field(default=0)


def play(scenario: Scenario, seed: int) -> Played:
    """Play a seed. Equal seeds have equal histories."""
    simulation = Simulation(seed)
    trouble = ""
    steps = simulation.rng.randint(*_STEPS)
    try:
        scenario.begin(simulation)
        for _ in range(steps):
            try:
                if simulation.rng.random() >= 0.1 or not simulation.arrive():
                    scenario.step()
            except ProcessKilled as killed:
                killed.restart()
        simulation.heal()
        while simulation.arrive():
            pass
        scenario.finish()
        scenario.check()
    except PromiseBroken as broken:
        trouble = str(broken)
    except Exception as error:  # what the product does not handle is found too
        trouble = f"{type(error).__name__}: {error}"
    if trouble:
        simulation.note(f"BROKEN: {trouble}")
    return Played(seed, simulation.history, simulation.faults, trouble, steps)
