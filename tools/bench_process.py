"""The running bench: one process that holds the cards to the readers and listens to the control socket."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from card_management.order import image_path
from reader_bridge import control
from reader_bridge.host import Presentation, ReaderHost
from reader_bridge.pcscd import (
    SOCKET_NAME,
    SYSTEM_DIRECTORY,
    PcscdUnavailable,
    RunningPcscd,
    listens,
    start_pcscd,
    system_pcscd,
)
from reader_bridge.slot import Slot
from reader_bridge.vpcd import Exchange
from tools.error_codes import code_of
from tools.errors import AlreadyRunning
from tools.services import Services
from world.home import World

CONTROL_SOCKET = "control.sock"
LOG = "bench.log"
DEFAULT_READERS = ("Kazashi",)
_POWER_SECONDS = 5.0
_START_SECONDS = 60.0


def control_path(world: World) -> Path:
    """Where a world's running bench listens."""
    return world.run / CONTROL_SOCKET


def choose_pcscd(world: World, readers: Sequence[str], where: str) -> RunningPcscd:
    """A pcscd by preference: `system` the one that runs, `own` one in its place, `private` one beside it, `auto` the
    first of the three that can be had. Raises PcscdUnavailable."""
    world.run.mkdir(mode=0o700, exist_ok=True)
    if where in ("auto", "system"):
        found = system_pcscd()
        if found is not None:
            return found
        if where == "system":
            raise PcscdUnavailable(
                "no pcscd with a virtual reader runs; start it (systemctl start pcscd), or use --pcscd auto"
            )
    if where == "own" or (where == "auto" and _may_take_the_systems_place()):
        return start_pcscd(world.run, readers, private=False)
    return start_pcscd(world.run, readers, private=True)


def _may_take_the_systems_place() -> bool:
    return os.geteuid() == 0 and not listens(SYSTEM_DIRECTORY / SOCKET_NAME)


@dataclass
class BenchProcess:
    """What runs between `up` and `down`."""

    world: World
    pcscd: RunningPcscd
    host: ReaderHost
    services: Services | None
    ended: threading.Event

    def status(self, _: dict[str, Any]) -> control.Answer:
        """Which slots there are, and what lies in them."""
        return {
            "pid": os.getpid(),
            "world": str(self.world.directory),
            "pcscd": {
                "ours": self.pcscd.process is not None,
                "socket": str(self.pcscd.socket_path),
                "environment": self.pcscd.client_environment(),
            },
            "services": self.services.status if self.services else None,
            "slots": [self._slot(number, slot) for number, slot in enumerate(self.host.slots)],
        }

    def insert(self, asked: dict[str, Any]) -> control.Answer:
        """Put a card in a slot, and wait until the reader has seen it."""
        slot = self._find(asked["slot"]) if asked.get("slot") else self.host.first_empty()
        presentation = Presentation(bool(asked.get("contactless")), bool(asked.get("reset_keeps_status")))
        self.host.insert(slot, asked["card"], image_path(self.world, asked["card"]), presentation)
        return self._seen(slot)

    def remove(self, asked: dict[str, Any]) -> control.Answer:
        """Take a card out of a slot."""
        slot = self._find(asked["slot"])
        self.host.remove(slot)
        return self._slot(self.host.slots.index(slot), slot)

    def reset(self, asked: dict[str, Any]) -> control.Answer:
        """Take a card out and put it in again."""
        slot = self._find(asked["slot"])
        self.host.reset(slot)
        return self._seen(slot)

    def trace(self, asked: dict[str, Any]) -> Iterator[control.Answer]:
        """Every exchange of a slot, or of all of them, from now on."""
        slots = [self._find(asked["slot"])] if asked.get("slot") else self.host.slots
        told: queue.SimpleQueue[control.Answer] = queue.SimpleQueue()
        ends = [self.host.follow(slot, _teller(slot, told)) for slot in slots]
        try:
            while True:
                yield told.get()
        finally:
            for end in ends:
                end()

    def down(self, _: dict[str, Any]) -> control.Answer:
        """End the bench."""
        self.ended.set()
        return {"pid": os.getpid()}

    def _find(self, reference: str) -> Slot:
        return self.host.find(str(reference))

    def _seen(self, slot: Slot) -> control.Answer:
        slot.wait_until_powered(_POWER_SECONDS)
        return self._slot(self.host.slots.index(slot), slot)

    def _slot(self, number: int, slot: Slot) -> control.Answer:
        inserted = self.host.inserted(slot)
        return {
            "slot": number,
            "reader": slot.endpoint.reader,
            "port": slot.endpoint.port,
            "card": inserted.name if inserted else None,
            "contactless": inserted.presentation.contactless if inserted else None,
            "seen": inserted is not None and slot.wait_until_powered(0),
        }


def _teller(slot: Slot, told: queue.SimpleQueue[control.Answer]) -> Any:
    def tell(exchange: Exchange, line: str) -> None:
        told.put(
            {
                "reader": slot.endpoint.reader,
                "at": exchange.at,
                "seconds": exchange.seconds,
                "command": exchange.command.hex().upper(),
                "response": exchange.response.hex().upper(),
                "words": line,
            }
        )

    return tell


@dataclass(frozen=True, slots=True)
class ServicePlan:
    """Which services are to run beside the readers: at which port (the first free one), in how many processes, and
    whether with a directory."""

    port: int | None = None
    workers: int = 1
    directory: bool = False


def run(
    world: World,
    readers: Sequence[str],
    where: str,
    cards: Sequence[tuple[str, Presentation]],
    plan: ServicePlan | None,
    announce: Any,
) -> None:
    """Start a bench, put the cards into its first slots, tell `announce` its status, and run until told to end.

    Raises AlreadyRunning, PcscdUnavailable, ServicesUnavailable, DirectoryUnavailable and whatever inserting a card may
    raise; nothing is left running then.
    """
    if _runs(world):
        raise AlreadyRunning(
            f"a bench runs in {world.directory} already; end it with: kazashi down, or name another with --world"
        )
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    pcscd = choose_pcscd(world, readers, where)
    host = ReaderHost(pcscd.endpoints)
    services: Services | None = None
    try:
        for slot, (name, presentation) in zip(host.slots, cards, strict=False):
            host.insert(slot, name, image_path(world, name), presentation)
        for slot, _ in zip(host.slots, cards, strict=False):
            slot.wait_until_powered(_POWER_SECONDS)
        if plan is not None:
            services = Services(world, port=plan.port, workers=plan.workers, directory=plan.directory)
        bench = BenchProcess(world, pcscd, host, services, ended)
        server = control.ControlServer(
            control_path(world),
            {verb: getattr(bench, verb) for verb in ("status", "insert", "remove", "reset", "trace", "down")},
            code_of,
        )
        try:
            announce(bench.status({}))
            ended.wait()
        finally:
            server.close()
    finally:
        if services is not None:
            services.stop()
        host.close()
        pcscd.stop()


def detach(world: World, arguments: Sequence[str]) -> control.Answer:
    """Run `kazashi up` in the background and wait until it answers; its words go to a log in the world.

    Raises AlreadyRunning, and PcscdUnavailable with the bench's last words where it did not come up.
    """
    if _runs(world):
        raise AlreadyRunning(
            f"a bench runs in {world.directory} already; end it with: kazashi down, or name another with --world"
        )
    world.run.mkdir(mode=0o700, exist_ok=True)
    log = world.run / LOG
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tools", "--world", str(world.directory), "up", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            return control.request(control_path(world), "status")
        except control.NotRunning:
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                words = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["it said nothing"]
                raise PcscdUnavailable(f"the bench did not start: {words[-1]} (all of it in {log})") from None
            time.sleep(0.02)


def _runs(world: World) -> bool:
    try:
        control.request(control_path(world), "status")
    except control.NotRunning:
        return False
    return True


def wait_until_ended(world: World, pid: int, seconds: float = 10.0) -> bool:
    """Wait until the process of a bench that was told to end is gone; False if that took too long."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if _is_zombie(pid):  # in a container whose first process reaps nobody, it stays in the table
            return True
        time.sleep(0.02)
    return False


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def as_json(answer: object) -> str:
    """An answer as one line of JSON."""
    return json.dumps(answer, ensure_ascii=False)
