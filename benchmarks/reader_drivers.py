"""Our driver and vpcd side by side: what a PC/SC client waits for a card, an answer and a signature, and idle CPU.

A process can use only one pcscd, so that each driver is measured in a process of its own: `python -m
benchmarks.reader_drivers DRIVER DIRECTORY IMAGE COUNT IDLE` prints the values of one as JSON.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

from smartcard.scard import (
    SCARD_SCOPE_USER,
    SCARD_STATE_PRESENT,
    SCARD_STATE_UNAWARE,
    SCardEstablishContext,
    SCardGetStatusChange,
    SCardReleaseContext,
)

from benchmarks.measure import median_ms, timings_ms
from kazashi.applets import jpki
from kazashi.assembly.opensc import pkcs11_module
from kazashi.card import request
from kazashi.reader_bridge.endpoint import AnyEndpoint, DriverEndpoint, VpcdEndpoint
from kazashi.reader_bridge.host import Presentation, ReaderHost
from kazashi.reader_bridge.pcsc import PcscError, connected
from kazashi.reader_bridge.pcscd import MAX_SLOTS, RunningPcscd, start_pcscd

SELECT_JPKI = request.select(jpki.AID)
SELECT_CERTIFICATE = request.select_file(jpki.AUTHENTICATION_CERTIFICATE)
READ_4 = bytes.fromhex("00B0000004")
VERIFY = request.verify(jpki.AUTHENTICATION_PIN, b"1234")
DIGEST_INFO = bytes.fromhex("3031300D060960864801650304020105000420") + bytes(32)
SIGN = bytes.fromhex("802A0097") + bytes((len(DIGEST_INFO),)) + DIGEST_INFO + b"\0"

_SETTLE_SECONDS = 6.0
"""pcscd powers cards off that nobody has used for five seconds."""
_SECONDS = 15.0


def measured(driver: str, directory: Path, image: Path, count: int, idle: float) -> dict[str, Any]:
    """Return the values of a driver, `kazashi` or `vpcd`, from a process of its own.

    In milliseconds: `inserted` and `removed` (lists of `count`), `round_trip`, `signing`, `pkcs11`; behind our
    driver `floor`, the round trip to an echo card in C, and behind vpcd `vicc` and `pkcs11_vicc`, the same card in
    stock vicc; `idle` is the CPU a second, over `idle` seconds, of pcscd and host with a card in each of 16 slots.
    `directory` must be empty. Raises subprocess.CalledProcessError.
    """
    command = [
        sys.executable,
        "-m",
        "benchmarks.reader_drivers",
        driver,
        str(directory),
        str(image),
        str(count),
        str(idle),
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    values: dict[str, Any] = json.loads(done.stdout)
    return values


def main(arguments: Sequence[str]) -> None:
    """Measure the driver that the arguments name, and print the values as JSON."""
    driver, directory, image, count, idle = arguments
    print(json.dumps(_measure(driver == "vpcd", Path(directory), Path(image), int(count), float(idle))))


def _measure(vpcd: bool, directory: Path, image: Path, count: int, idle: float) -> dict[str, Any]:
    readers = ["First"] if vpcd else ["First", "Second"]
    pcscd = start_pcscd(_made(directory / "two"), readers, private=True, vpcd=vpcd, open_ports=vpcd)
    os.environ.update(pcscd.client_environment())
    first, second = pcscd.endpoints
    try:
        with _CardHost([first]) as host:
            inserted, removed = _movements(first.reader, host, image, count)
            host.insert(0, image)
            values: dict[str, Any] = {"inserted": inserted, "removed": removed}
            with _one_core(_pid(pcscd), host.pid):
                values |= _answers(first.reader, second, directory)
            values["pkcs11"] = median_ms(lambda: _pkcs11_sign(directory), min(15, count))
            host.remove(0)
        if isinstance(second, VpcdEndpoint):
            values |= _in_stock_vicc(second, image, directory, min(5, count))
    finally:
        pcscd.stop()
    return values | {"idle": _idle(vpcd, directory, image, idle)}


def _movements(reader: str, host: _CardHost, image: Path, count: int) -> tuple[list[float], list[float]]:
    """Return the milliseconds until a waiting client learns of insertions and of removals."""
    inserted, removed = [], []
    for _ in range(count):
        inserted.append(_until_noticed(reader, True, lambda: host.insert(0, image)))
        removed.append(_until_noticed(reader, False, lambda: host.remove(0)))
    return inserted, removed


def _until_noticed(reader: str, present: bool, move: Callable[[], float]) -> float:
    """Return the milliseconds from a movement, which returns when it began, until a client that waits returns."""
    _, established = SCardEstablishContext(SCARD_SCOPE_USER)
    noticed: list[float] = []
    current = SCARD_STATE_UNAWARE

    def wait_for(wanted: bool) -> None:
        nonlocal current
        while True:
            _, [(_, current, _)] = SCardGetStatusChange(established, int(_SECONDS * 1000), [(reader, current)])
            if bool(current & SCARD_STATE_PRESENT) == wanted:
                break

    def wait() -> None:
        wait_for(present)
        noticed.append(time.perf_counter())

    wait_for(not present)
    client = threading.Thread(target=wait, daemon=True)
    client.start()
    time.sleep(0.1)  # so that it waits
    begun = move()
    client.join(_SECONDS)
    SCardReleaseContext(established)
    if not noticed:
        raise RuntimeError("no client noticed the card")
    return (noticed[0] - begun) * 1000


def _answers(reader: str, second: AnyEndpoint, directory: Path) -> dict[str, float]:
    """Return the medians of a round trip and of a signature, and behind our driver also of a round trip to the echo
    card in C, in turns, so that a slow moment of the machine affects both."""
    with ExitStack() as stack:
        times: dict[str, tuple[Callable[[bytes], bytes], list[float]]] = {}
        card = stack.enter_context(connected(reader))
        times["round_trip"] = (card.transmit, [])
        if isinstance(second, DriverEndpoint):
            place = second.directory / str(second.number)
            stack.enter_context(_peer([_compiled_echo(directory), str(place)], second.reader))
            times["floor"] = (stack.enter_context(connected(second.reader)).transmit, [])
        card.transmit(SELECT_JPKI)
        card.transmit(SELECT_CERTIFICATE)
        for _ in range(20):
            for transmit, taken in times.values():
                taken += timings_ms(partial(transmit, READ_4), 150)
        card.transmit(VERIFY)
        return {name: median(taken) for name, (_, taken) in times.items()} | {
            "signing": median_ms(lambda: card.transmit(SIGN), 200)
        }


def _in_stock_vicc(endpoint: VpcdEndpoint, image: Path, directory: Path, signatures: int) -> dict[str, float]:
    vicc = [sys.executable, "-m", "kazashi.tools.testing.vicc_adapter", str(image), "--port", str(endpoint.port)]
    with _peer(vicc, endpoint.reader):
        with connected(endpoint.reader) as card:
            card.transmit(SELECT_JPKI)
            card.transmit(SELECT_CERTIFICATE)
            round_trip = median_ms(lambda: card.transmit(READ_4), 60)
        return {"vicc": round_trip, "pkcs11_vicc": median_ms(lambda: _pkcs11_sign(directory), signatures)}


def _idle(vpcd: bool, directory: Path, image: Path, seconds: float) -> float:
    """Return the milliseconds of CPU a second of pcscd and host with a card in each of 16 slots."""
    readers = [f"Number {number}" for number in range(MAX_SLOTS // 2)]
    pcscd = start_pcscd(_made(directory / "many"), readers, private=True, vpcd=vpcd, slots=2)
    try:
        with _CardHost(pcscd.endpoints) as host:
            for number in range(MAX_SLOTS):
                host.insert(number, Path(shutil.copy(image, directory / f"{number}.card")))
            time.sleep(min(_SETTLE_SECONDS, seconds))
            before = _cpu_ms(_pid(pcscd)) + _cpu_ms(host.pid)
            time.sleep(seconds)
            return (_cpu_ms(_pid(pcscd)) + _cpu_ms(host.pid) - before) / seconds
    finally:
        pcscd.stop()


class _CardHost:
    """A reader host in a process of its own. Its answers are the times on the clock of time.perf_counter, which all
    processes share, at which it began."""

    def __init__(self, endpoints: Sequence[AnyEndpoint]) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_serve_cards, args=(other, endpoints), daemon=True)
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def insert(self, slot: int, image: Path) -> float:
        return self._ask(slot, image)

    def remove(self, slot: int) -> float:
        return self._ask(slot, None)

    def _ask(self, slot: int, image: Path | None) -> float:
        self._pipe.send((slot, image))
        begun: float = self._pipe.recv()
        return begun

    def __enter__(self) -> _CardHost:
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.send(None)
        self._process.join(_SECONDS)


def _serve_cards(pipe: Connection, endpoints: Sequence[AnyEndpoint]) -> None:
    host = ReaderHost(endpoints)
    while (asked := pipe.recv()) is not None:
        number, image = asked
        slot = host.slots[number]
        begun = time.perf_counter()
        if image is None:
            host.remove(slot)
        else:
            host.insert(slot, image.stem, image, Presentation())
            slot.wait_until_powered(_SECONDS)
        pipe.send(begun)
    host.close()


@contextmanager
def _one_core(*processes: int) -> Iterator[None]:
    """Keep this process and others on one core.

    Client, pcscd and card take turns and never run at the same time. On several cores, waking an idle core takes most
    of a round trip, and the scheduler decides which card it affects. On one core, the programs themselves are compared.
    """
    allowed = os.sched_getaffinity(0)
    everybody = [
        int(thread.name) for process in (os.getpid(), *processes) for thread in Path(f"/proc/{process}/task").iterdir()
    ]
    for thread in everybody:
        os.sched_setaffinity(thread, {min(allowed)})
    try:
        yield
    finally:
        for thread in everybody:
            with suppress(ProcessLookupError):
                os.sched_setaffinity(thread, allowed)


@contextmanager
def _peer(command: list[str], reader: str) -> Iterator[None]:
    """Run a program that hosts another card, from the time pcscd sees the card until the block ends."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + _SECONDS
    try:
        while True:
            try:
                with connected(reader):
                    break
            except PcscError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait()


def _compiled_echo(directory: Path) -> str:
    program = directory / "echo_card"
    source = Path(__file__).with_name("echo_card.c")
    subprocess.run(["gcc", "-O2", "-o", str(program), str(source)], check=True)
    return str(program)


def _pkcs11_sign(directory: Path) -> None:
    message = directory / "message"
    message.write_bytes(b"kazashi")
    subprocess.run(
        ["pkcs11-tool", "--module", pkcs11_module(), "--login", "--pin", "1234", "--sign", "--id", "01",
         "--mechanism", "SHA256-RSA-PKCS", "--input-file", str(message), "--output-file", str(directory / "sig")],
        check=True, capture_output=True,
    )  # fmt: skip


def _cpu_ms(process: int) -> float:
    """Return the CPU time that a process has used (proc_pid_schedstat(5)), in milliseconds."""
    tasks = Path(f"/proc/{process}/task").iterdir()
    return sum(int((task / "schedstat").read_text(encoding="ascii").split()[0]) for task in tasks) / 1e6


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory


def _pid(pcscd: RunningPcscd) -> int:
    assert pcscd.process is not None
    return pcscd.process.pid


if __name__ == "__main__":
    main(sys.argv[1:])
