"""`kazashi bench reader`: what a trace costs, whether the console keeps up, and how long a check takes."""

from __future__ import annotations

import json
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from benchmarks.measure import Measure, at_least, at_most, timings_ms
from kazashi.assembly.control_path import control_path
from kazashi.assembly.errors import StepFailed
from kazashi.assembly.institutions import Institutions
from kazashi.assembly.traces import Decoders, follow
from kazashi.reader_bridge import control
from kazashi.reader_bridge.check.probe import SELECT_JPKI, CardPins
from kazashi.reader_bridge.check.run import run_checks
from kazashi.reader_bridge.pcsc import CardHandle, connected
from kazashi.tools.daemon import background
from kazashi.tools.daemon.plan import InstancePlan
from kazashi.world.home import World, open_world

GOAL_TRACING = 1.10
GOAL_APDUS_PER_SECOND = 2_000
GOAL_LAG_SECONDS = 1.0
GOAL_GROWTH_MB = 20.0
GOAL_CHECK_SECONDS = 60.0

_FLOOD_SECONDS = 10.0
_WARM_SECONDS = 2.0
_READ = bytes.fromhex("00B08B0004")
_ROUNDS, _READS = 20, 300

Progress = Callable[[str], None]


def measure(progress: Progress = lambda _: None) -> list[Measure]:
    """Every measure of the workbench, on a bench of its own."""
    with tempfile.TemporaryDirectory(prefix="kazashi-bench-") as name:
        world = open_world(Path(name) / "world", seed="bench")
        progress("issuing a card")
        Institutions(world).issue_card("hanako", "hanako")
        with _running(world) as status:
            reader = status["slots"][0]["reader"]
            progress("round trips, traced and not")
            tracing = _tracing(world, reader)
            progress("checking the reader")
            checking = _checking(reader)
            progress(f"{GOAL_APDUS_PER_SECOND} commands a second, and the console watching")
            return [tracing, checking, *_console(status, reader)]


@contextmanager
def _running(world: World) -> Iterator[dict[str, Any]]:
    status = background.detach(world, InstancePlan(pcscd="private"))
    os.environ.update(status["pcscd"]["environment"])
    try:
        yield status
    finally:
        control.request(control_path(world), "down")
        background.wait_until_ended(world, status["pid"])


@contextmanager
def _traced(world: World) -> Iterator[None]:
    """Somebody follows and decodes, in a process of his own, as `kazashi reader trace --follow` does."""
    pid = os.fork()
    if not pid:
        try:
            decoders = Decoders()
            for found in follow(world):
                for one in found:
                    decoders.decode(one)
        finally:
            os._exit(0)
    try:
        time.sleep(0.3)  # until it follows
        yield
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


def _tracing(world: World, reader: str) -> Measure:
    """Round trips in turns, so that a slow moment of the machine meets both."""
    plain: list[float] = []
    traced: list[float] = []
    with connected(reader) as card:
        card.transmit(SELECT_JPKI)
        for _ in range(_ROUNDS):
            plain += timings_ms(lambda: card.transmit(_READ), _READS)
            with _traced(world):
                traced += timings_ms(lambda: card.transmit(_READ), _READS)
    ours, peer = median(traced), median(plain)
    return at_most("APDU round trip while traced", "ms", ours, peer, "not traced", ours / peer, GOAL_TRACING)


def _checking(reader: str) -> Measure:
    report = run_checks(reader, CardPins("1234", "ABC123"))
    if not report.good:
        raise StepFailed("the emulated card does not pass its own check")
    name = f"reader check, all {len(report.results)} of it"
    ratio = report.seconds / GOAL_CHECK_SECONDS
    return at_most(name, "s", report.seconds, GOAL_CHECK_SECONDS, "the goal", ratio, 1)


def _console(status: dict[str, Any], reader: str) -> list[Measure]:
    """What a page is told while commands come at that rate: how late the last ones are, what is left out, what
    grows."""
    origin = status["console"].partition("/?")[0]
    lags: list[float] = []
    seen = [0, 0]  # lines, and lines left out
    with httpx.Client(base_url=origin, trust_env=False, timeout=30) as client:
        client.get(status["console"])
        pid = _listener(int(origin.rpartition(":")[2]))

        def watch() -> None:
            with suppress(httpx.HTTPError), client.stream("GET", "/trace") as answer:
                for line in answer.iter_lines():
                    if line.startswith("data: "):
                        told = json.loads(line[6:])
                        lags.extend(time.time() - found["at"] for found in told["lines"] if not found["event"])
                        seen[0] += len(told["lines"])
                        seen[1] += told["missed"] + sum(found["missed"] for found in told["lines"])

        watching = threading.Thread(target=watch)
        watching.start()
        with connected(reader) as card:
            _flood(card, _WARM_SECONDS)
            before = _resident_mb(pid)
            lags.clear()
            sent = _flood(card, _FLOOD_SECONDS)
        time.sleep(1.0)
        growth = _resident_mb(pid) - before
        os.kill(pid, signal.SIGTERM)  # which ends the stream, too
        watching.join()
    rate = sent / _FLOOD_SECONDS
    lag = sorted(lags)[int(len(lags) * 0.99)]
    name = f"console behind {rate:,.0f} APDUs/s, 99 of 100"
    left_out = f"the goal; {seen[1]} of {seen[0] + seen[1]} lines left out"
    offered = "APDUs sent while the console follows"
    return [
        at_least(offered, "1/s", rate, GOAL_APDUS_PER_SECOND, "the goal", rate / GOAL_APDUS_PER_SECOND, 0.98),
        at_most(name, "s", lag, GOAL_LAG_SECONDS, left_out, lag / GOAL_LAG_SECONDS, 1),
        at_most("console's growth meanwhile", "MB", growth, GOAL_GROWTH_MB, "the goal", growth / GOAL_GROWTH_MB, 1),
    ]


def _flood(card: CardHandle, seconds: float) -> int:
    """Commands at the goal's rate; answers how many."""
    card.transmit(SELECT_JPKI)
    begun, sent = time.perf_counter(), 0
    while (passed := time.perf_counter() - begun) < seconds:
        if sent < passed * GOAL_APDUS_PER_SECOND:
            card.transmit(_READ)
            sent += 1
        else:
            time.sleep(0.0002)
    return sent


def _listener(port: int) -> int:
    """The process that serves the console at a port."""
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = process.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"kazashi.tools.daemon.console.serve" in arguments and str(port).encode() in arguments:
            return int(process.parent.name)
    raise StepFailed("no process serves the console")


def _resident_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise StepFailed("the console has ended")
