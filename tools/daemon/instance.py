"""The running instance: one process that presents the cards to the readers and listens on the control socket."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kazashi.assembly.control_path import control_path
from kazashi.assembly.error_codes import code_of
from kazashi.assembly.served import ServedProcess, free_port
from kazashi.card.rule import rule_of
from kazashi.card_management.order import image_path
from kazashi.reader_bridge import control
from kazashi.reader_bridge.endpoint import DriverEndpoint
from kazashi.reader_bridge.fault_script import read_fault_script
from kazashi.reader_bridge.host import NoSuchSlot, Presentation, ReaderHost
from kazashi.reader_bridge.journal import JournalEntry
from kazashi.reader_bridge.pcsc import NoSuchReader, reader_named
from kazashi.reader_bridge.pcscd import (
    PcscdUnavailable,
    RunningPcscd,
    start_pcscd,
    system_pcscd,
    system_place_is_free,
)
from kazashi.reader_bridge.profile import ReaderProfile
from kazashi.reader_bridge.relay import RelayedCard
from kazashi.reader_bridge.replay import ReplayedCard
from kazashi.reader_bridge.slot import Slot
from kazashi.reader_bridge.trace import read_trace
from kazashi.tools.daemon.plan import InstancePlan
from kazashi.web.ports import HOST
from kazashi.world.home import World
from kazashi.world.rng import new_token

if TYPE_CHECKING:
    from kazashi.tools.daemon.services import Services

_CONSOLE_LOG = "console.log"

_POWER_SECONDS = 5.0
_FOLLOW_SECONDS = 0.02
"""How long a follower waits for more exchanges. They are sent in lists, so that each costs little."""

_VERBS = ("status", "insert", "replay", "relay", "remove", "reset", "unplug", "plug", "trace", "pin", "down")
_PIN_KEYS = ("confirm", "correct", "cancel")


def choose_pcscd(
    world: World,
    readers: Sequence[str],
    where: str,
    *,
    profiles: Sequence[ReaderProfile] = (),
    vpcd: bool = False,
    open_ports: bool = False,
) -> RunningPcscd:
    """Return the pcscd to use: `system` is the running one, `own` replaces it, `private` is started beside it, and
    `auto` is the first of the three that is possible. Readers with `profiles` follow the plain ones; they need a pcscd
    that is started here, with our own driver. Raises PcscdUnavailable."""
    world.run.mkdir(mode=0o700, exist_ok=True)
    if profiles and where == "system":
        raise PcscdUnavailable("the system's pcscd has its own readers; readers with profiles need --pcscd private")
    if where in ("auto", "system") and not profiles:
        running = system_pcscd()
        if running is not None:
            taken = [slot.reader for slot in running.endpoints if isinstance(slot, DriverEndpoint) and slot.is_hosted()]
            if free := tuple(slot for slot in running.endpoints if slot.reader not in taken):
                return replace(running, endpoints=free)
            if where == "system":
                raise PcscdUnavailable(
                    f"another program hosts the cards of {', '.join(taken)}; stop it, or use --pcscd private"
                )
        if where == "system":
            raise PcscdUnavailable(
                "no pcscd with a virtual reader of yours is running; start it (systemctl start pcscd), install a "
                "reader in it (kazashi reader install), or use --pcscd auto"
            )
    own = where == "own" or (where == "auto" and system_place_is_free())
    names = [*readers, *(profile.reader_name for profile in profiles)]
    slots = [1 for _ in readers] + [len(profile.slots) for profile in profiles]
    pcscd = start_pcscd(world.run, names, private=not own, slots=slots, vpcd=vpcd, open_ports=open_ports)
    if profiles and pcscd.driver != "kazashi":
        pcscd.stop()
        reason = pcscd.stand_in or "leave out --vpcd and --open-ports"
        raise PcscdUnavailable(f"readers with profiles need our own driver; {reason}")
    return pcscd


@dataclass
class InstanceProcess:
    """A running instance, from `up` to `down`. Its public methods handle the requests on the control socket."""

    world: World
    pcscd: RunningPcscd
    host: ReaderHost
    services: Services | None
    console: ConsoleProcess | None
    ended: threading.Event

    def status(self, _: dict[str, Any]) -> control.Answer:
        """Return the status of the instance: its process, pcscd, services, console, and slots with their cards."""
        return {
            "pid": os.getpid(),
            "world": str(self.world.directory),
            "pcscd": {
                "ours": self.pcscd.process is not None,
                "ended": self.pcscd.has_ended,
                "socket": str(self.pcscd.socket_path),
                "environment": self.pcscd.client_environment(),
                "driver": self.pcscd.driver,
                "stand_in": self.pcscd.stand_in,
                "open_ports": self.pcscd.open_ports,
            },
            "services": self.services.status if self.services else None,
            "console": self.console.link if self.console else None,
            "slots": [self._slot(number, slot) for number, slot in enumerate(self.host.slots)],
            "pins": [
                {"slot": entry.request.slot, "purpose": entry.request.purpose.value, "typed": entry.typed,
                 "shortest": entry.request.shortest, "longest": entry.request.longest, "seconds": entry.seconds}
                for entry in self.host.pins.waiting()
            ],
        }  # fmt: skip

    def insert(self, request: dict[str, Any]) -> control.Answer:
        """Insert a card into a slot, and wait until pcscd has powered it."""
        slot = self._slot_for(request)
        faults = read_fault_script(Path(request["faults"])) if request.get("faults") else None
        presentation = Presentation(bool(request.get("contactless")), bool(request.get("reset_keeps_status")), faults)
        self.host.insert(slot, request["card"], image_path(self.world, request["card"]), presentation)
        return self._seen(slot)

    def replay(self, request: dict[str, Any]) -> control.Answer:
        """Insert a trace into a slot as a card."""
        slot, path = self._slot_for(request), Path(request["trace"])
        self.host.hold(
            slot, f"replay of {path.name}", ReplayedCard(read_trace(path), strict=bool(request.get("strict")))
        )
        return self._seen(slot)

    def relay(self, request: dict[str, Any]) -> control.Answer:
        """Relay the card of a real reader to a slot. Raises NoSuchReader if the slot belongs to that reader."""
        slot, reader = self._slot_for(request), reader_named(str(request["reader"]))
        if reader == slot.endpoint.reader:
            raise NoSuchReader(f"{reader} cannot relay its own card; name another reader or another slot")
        self.host.hold(slot, f"relay of {reader}", RelayedCard(reader))
        return self._seen(slot)

    def remove(self, request: dict[str, Any]) -> control.Answer:
        """Take a card out of a slot."""
        slot = self._find(request["slot"])
        self.host.remove(slot)
        return self._slot(self.host.slots.index(slot), slot)

    def reset(self, request: dict[str, Any]) -> control.Answer:
        """Take a card out and put it in again."""
        slot = self._find(request["slot"])
        self.host.reset(slot)
        return self._seen(slot)

    def unplug(self, request: dict[str, Any]) -> control.Answer:
        """Unplug the reader of a slot."""
        slot = self._find(request["slot"])
        self.host.unplug(slot)
        return self._slot(self.host.slots.index(slot), slot)

    def plug(self, request: dict[str, Any]) -> control.Answer:
        """Plug in again the reader of a slot."""
        slot = self._find(request["slot"])
        self.host.plug(slot)
        return self._slot(self.host.slots.index(slot), slot)

    def pin(self, request: dict[str, Any]) -> control.Answer:
        """Press keys of the PIN pad in a slot: digits, or `confirm`, `correct` or `cancel`. Raises NoPinWanted, and
        NotDigits for other keys."""
        slot, key = self._find(request["slot"]), str(request["key"])
        number = self.host.slots.index(slot)
        if key in _PIN_KEYS:
            getattr(self.host.pins, key)(number)
        else:
            self.host.pins.press(number, key)
        return self._slot(number, slot)

    def trace(self, request: dict[str, Any]) -> Iterator[control.Answer]:
        """Yield lists of the exchanges of one slot or of all slots: the last `backlog` ones and, with `follow`, each
        new one."""
        only = self.host.slots.index(self._find(request["slot"])) if request.get("slot") else None
        journal = self.host.journal
        seen = max(0, journal.last - int(request.get("backlog", 0)))
        while not self.ended.is_set():
            entries, missed = journal.since(seen)
            if entries:
                seen = entries[-1].number
            shown = [entry for entry in entries if only in (None, entry.slot)]
            if shown or missed or not request.get("follow"):
                yield {
                    "missed": missed if request.get("follow") else 0,
                    "exchanges": [self._exchange(entry) for entry in shown],
                }
            if not request.get("follow"):
                return
            self.ended.wait(_FOLLOW_SECONDS)

    def _exchange(self, entry: JournalEntry) -> list[object]:
        at, seconds, command, response, event = entry.exchange
        reader = self.host.slots[entry.slot].endpoint.reader
        return [entry.slot, reader, at, seconds, command.hex(), response.hex(), event, rule_of(response)]

    def down(self, _: dict[str, Any]) -> control.Answer:
        """Stop the instance."""
        self.ended.set()
        return {"pid": os.getpid()}

    def _find(self, reference: str) -> Slot:
        return self.host.find(str(reference))

    def _slot_for(self, request: dict[str, Any]) -> Slot:
        """Return the slot for a new card. Raises NoSuchSlot, and PcscdUnavailable if no client would ever see it."""
        if self.pcscd.has_ended:
            raise PcscdUnavailable(
                f"pcscd has ended (log: {self.world.run / 'pcscd.log'}); start again: kazashi down, then kazashi up"
            )
        return self._find(request["slot"]) if request.get("slot") else self.host.first_empty()

    def _seen(self, slot: Slot) -> control.Answer:
        _wait_until_powered(slot)
        return self._slot(self.host.slots.index(slot), slot)

    def _slot(self, number: int, slot: Slot) -> control.Answer:
        inserted = self.host.inserted(slot)
        return {
            "slot": number,
            "reader": slot.endpoint.reader,
            "port": slot.endpoint.open_port,
            "card": inserted.name if inserted else None,
            "contactless": inserted.presentation.contactless if inserted else None,
            "faults": inserted is not None and inserted.presentation.faults is not None,
            "profile": self.host.profile(slot),
            "dialled": slot.endpoint.tolerates_silence,
            "unplugged": slot.unplugged,
            "seen": inserted is not None and slot.wait_until_powered(0),
        }


def _wait_until_powered(slot: Slot) -> None:
    """Wait until pcscd has powered a card. Do not wait for a slot that another host connects to, which may take any
    time."""
    if not slot.endpoint.tolerates_silence:
        slot.wait_until_powered(_POWER_SECONDS)


class ConsoleProcess:
    """The console of a world, in a process of its own. `link` is its address with the access key."""

    def __init__(self, world: World, port: int) -> None:
        """Start the console on a port. Raises ServicesUnavailable."""
        from kazashi.tools.daemon.console.access_control import KEY_VARIABLE

        key = new_token(128)
        self.link = f"http://{HOST}:{port}/?key={key}"
        arguments = ("kazashi.tools.daemon.console.serve", str(world.directory))
        environment = {**os.environ, KEY_VARIABLE: key}
        self._process = ServedProcess("the console", arguments, port, world.run / _CONSOLE_LOG, environment)

    def stop(self) -> None:
        """Stop the console."""
        self._process.stop()


def run(world: World, plan: InstancePlan, announce: Callable[[control.Answer], None]) -> None:
    """Start an instance from its plan, pass its status to `announce`, and run until it is told to stop.

    The process must have the lock of the world's instance until its end. Raises PcscdUnavailable, PortTaken,
    ServicesUnavailable, DirectoryUnavailable, BadFaultScript and everything that inserting a card raises. Nothing is
    left running in that case.
    """
    presentation, dialled, profiles = plan.presentation(), plan.endpoints(), plan.reader_profiles()
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    for endpoint in dialled:
        endpoint.check()
    pcscd = choose_pcscd(
        world, plan.reader_names, plan.pcscd, profiles=profiles, vpcd=plan.vpcd, open_ports=plan.open_ports
    )
    host = ReaderHost(
        [*pcscd.endpoints, *dialled],
        {**os.environ, **pcscd.client_environment()},
        [*(None for _ in plan.reader_names), *profiles],
    )
    services: Services | None = None
    console: ConsoleProcess | None = None
    try:
        if len(plan.cards) > len(host.slots):
            raise NoSuchSlot(
                f"there are {len(host.slots)} slots for {len(plan.cards)} cards; add a reader: --reader NAME"
            )
        for slot, name in zip(host.slots, plan.cards, strict=False):
            host.insert(slot, name, image_path(world, name), presentation)
        for slot, _ in zip(host.slots, plan.cards, strict=False):
            _wait_until_powered(slot)
        if plan.services:
            from kazashi.tools.daemon.services import Services  # after the cards are in: it takes a moment to import

            first = [free_port([plan.port or 0])] if plan.console else []
            port = plan.port or free_port(first)
            services = Services(world, port=port, workers=plan.workers, directory=plan.ldap, avoid=first)
            console = ConsoleProcess(world, first[0]) if first else None
        instance = InstanceProcess(world, pcscd, host, services, console, ended)
        server = control.ControlServer(
            control_path(world),
            {verb: getattr(instance, verb) for verb in _VERBS},
            code_of,
        )
        try:
            announce(instance.status({}))
            ended.wait()
        finally:
            server.close()
    finally:
        if console is not None:
            console.stop()
        if services is not None:
            services.stop()
        host.close()
        pcscd.stop()
