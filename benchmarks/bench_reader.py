"""`kazashi bench reader`: the cost of an APDU trace, the console's delay under load, and the time of a reader check."""

from __future__ import annotations

import json
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from benchmarks.measure import Measure, at_least, at_most, timings_ms
from kazashi.assembly.errors import StepFailed
from kazashi.assembly.institutions import Institutions
from kazashi.assembly.traces import Decoders, follow
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

_READ = bytes.fromhex("00B08B0004")

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ReaderSize:
    """How much is measured: rounds of `reads` commands with and without a trace, and the seconds for which commands are
    sent at the goal's rate, before the measurement and during it."""

    rounds: int = 20
    reads: int = 300
    warm_seconds: float = 2.0
    flood_seconds: float = 10.0


def measure(progress: Progress = lambda _: None, size: ReaderSize | None = None) -> list[Measure]:
    """Run every benchmark of the readers on a new instance."""
    size = size or ReaderSize()
    with tempfile.TemporaryDirectory(prefix="kazashi-bench-") as name:
        world = open_world(Path(name) / "world", seed="bench")
        progress("issuing a card")
        Institutions(world).issue_card("hanako", "hanako")
        with _running(world) as status:
            reader = status["slots"][0]["reader"]
            progress("round trips, with and without a trace")
            tracing = _tracing(world, reader, size)
            progress("checking the reader")
            checking = _checking(reader)
            progress(f"{GOAL_APDUS_PER_SECOND} commands per second, followed by the console")
            return [tracing, checking, *_console(status, reader, size)]


@contextmanager
def _running(world: World) -> Iterator[dict[str, Any]]:
    status = background.detach(world, InstancePlan(pcscd="private"), background.locked(world))
    os.environ.update(status["pcscd"]["environment"])
    try:
        yield status
    finally:
        background.stop(world)


@contextmanager
def _traced(world: World) -> Iterator[None]:
    """Follow and decode the trace in a separate process, as `kazashi reader trace --follow` does."""
    pid = os.fork()
    if not pid:
        try:
            decoders = Decoders()
            for lines in follow(world):
                for line in lines:
                    decoders.decode(line)
        finally:
            os._exit(0)
    try:
        time.sleep(0.3)  # until it has started
        yield
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


def _tracing(world: World, reader: str, size: ReaderSize) -> Measure:
    """Measure round trips alternately, so that a slow moment of the machine affects both."""
    plain: list[float] = []
    traced: list[float] = []
    with connected(reader) as card:
        card.transmit(SELECT_JPKI)
        for _ in range(size.rounds):
            plain += timings_ms(lambda: card.transmit(_READ), size.reads)
            with _traced(world):
                traced += timings_ms(lambda: card.transmit(_READ), size.reads)
    ours, peer = median(traced), median(plain)
    return at_most("APDU round trip while traced", "ms", ours, peer, "not traced", ours / peer, GOAL_TRACING)


def _checking(reader: str) -> Measure:
    report = run_checks(reader, CardPins("1234", "ABC123"))
    if not report.good:
        raise StepFailed("the emulated card does not pass its own check")
    name = f"reader check, all {len(report.results)} checks"
    ratio = report.seconds / GOAL_CHECK_SECONDS
    return at_most(name, "s", report.seconds, GOAL_CHECK_SECONDS, "the goal", ratio, 1)


def _console(status: dict[str, Any], reader: str, size: ReaderSize) -> list[Measure]:
    """Measure the trace on the console's page while commands are sent at the goal's rate: its delay, the lines that are
    left out, and the growth of the console's memory."""
    origin = status["console"].partition("/?")[0]
    lags: list[float] = []
    seen = [0, 0]  # lines, and lines left out
    with httpx.Client(base_url=origin, trust_env=False, timeout=30) as client:
        client.get(status["console"])
        pid = _listener(int(origin.rpartition(":")[2]))

        def watch() -> None:
            with suppress(httpx.HTTPError), client.stream("GET", "/trace") as response:
                for line in response.iter_lines():
                    if line.startswith("data: "):
                        data = json.loads(line[6:])
                        lags.extend(time.time() - entry["at"] for entry in data["lines"] if not entry["event"])
                        seen[0] += len(data["lines"])
                        seen[1] += data["missed"] + sum(entry["missed"] for entry in data["lines"])

        watching = threading.Thread(target=watch)
        watching.start()
        with connected(reader) as card:
            _flood(card, size.warm_seconds)
            before = _resident_mb(pid)
            lags.clear()
            sent = _flood(card, size.flood_seconds)
        time.sleep(1.0)
        growth = _resident_mb(pid) - before
        os.kill(pid, signal.SIGTERM)  # this also ends the stream
        watching.join()
    rate = sent / size.flood_seconds
    lag = sorted(lags)[int(len(lags) * 0.99)]
    name = f"console delay at {rate:,.0f} APDUs/s, p99"
    left_out = f"the goal; {seen[1]} of {seen[0] + seen[1]} lines left out"
    offered = "APDUs sent while the console follows"
    return [
        at_least(offered, "1/s", rate, GOAL_APDUS_PER_SECOND, "the goal", rate / GOAL_APDUS_PER_SECOND, 0.98),
        at_most(name, "s", lag, GOAL_LAG_SECONDS, left_out, lag / GOAL_LAG_SECONDS, 1),
        at_most("console's memory growth", "MB", growth, GOAL_GROWTH_MB, "the goal", growth / GOAL_GROWTH_MB, 1),
    ]


def _flood(card: CardHandle, seconds: float) -> int:
    """Send commands at the goal's rate; return their number."""
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
    """Return the ID of the process that serves the console at a port. Raises StepFailed."""
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
