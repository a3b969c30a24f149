"""`kazashi bench card`: the card compared with stock vicc, with a minimal echo card, and with its bare RSA key."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.measure import Measure, at_least, at_most, median_ms, timings_ms
from kazashi.applets import jpki
from kazashi.applets.install import load_card
from kazashi.assembly.control_path import control_path
from kazashi.assembly.institutions import Institutions
from kazashi.assembly.opensc import pkcs11_module
from kazashi.card import request
from kazashi.card.chip import Chip
from kazashi.card.key import PrivateKey
from kazashi.card_management.order import image_path
from kazashi.reader_bridge import control
from kazashi.reader_bridge.pcsc import PcscError, connected
from kazashi.tools.daemon import background
from kazashi.tools.daemon.plan import InstancePlan
from kazashi.world.home import World, open_world

GOAL_OVER_VICC = 200.0
GOAL_OVER_ECHO = 1.5
GOAL_SIGNATURE = 1.5
GOAL_READS_PER_SECOND = 50_000
GOAL_CARDS, GOAL_CARDS_MB = 1000, 200.0
GOAL_PKCS11 = 20.0

_SELECT_JPKI = request.select(jpki.AID)
_SELECT_CERTIFICATE = request.select_file(jpki.AUTHENTICATION_CERTIFICATE)
_READ_4 = bytes.fromhex("00B0000004")
_READ_256 = bytes.fromhex("00B0000000")
_VERIFY = request.verify(jpki.AUTHENTICATION_PIN, b"1234")
_DIGEST_INFO = bytes.fromhex("3031300D060960864801650304020105000420") + bytes(32)
_SIGN = bytes.fromhex("802A0097") + bytes((len(_DIGEST_INFO),)) + _DIGEST_INFO + b"\0"

Progress = Callable[[str], None]


def measure(progress: Progress = lambda _: None) -> list[Measure]:
    """Run every benchmark of the card in a new world with its own pcscd. `progress` is called with each step's name."""
    with tempfile.TemporaryDirectory(prefix="kazashi-bench-") as name:
        directory = Path(name)
        world = open_world(directory / "world", seed="bench")
        progress("issuing a card")
        Institutions(world).issue_card("hanako", "hanako")
        progress("reading in process")
        in_process = _reads_in_process(world)
        progress(f"hosting {GOAL_CARDS} cards")
        memory = _memory(world)
        with _one_core(), _running(world) as status:
            through_pcscd = _through_pcscd(world, status, directory, progress)
        return [*through_pcscd, in_process, memory]


@contextmanager
def _one_core() -> Iterator[None]:
    """Keep this process and its children on one core.

    Client, pcscd and card take turns and never run at the same time. On several cores, waking an idle core takes most
    of a round trip (measured: 0.03 ms on one core, 0.03 to 0.13 ms on two), and the scheduler decides which card it
    affects. On one core, the programs themselves are compared.
    """
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


@contextmanager
def _running(world: World) -> Iterator[dict[str, Any]]:
    """An instance in a separate process, with a card in slot 0 and no card in slot 1."""
    status = background.detach(
        world, InstancePlan(pcscd="private", services=False, open_ports=True), background.locked(world)
    )
    saved = dict(os.environ)
    os.environ.update(status["pcscd"]["environment"])
    try:
        yield status
    finally:
        os.environ.clear()
        os.environ.update(saved)
        background.stop(world)


def _through_pcscd(world: World, status: dict[str, Any], directory: Path, progress: Progress) -> list[Measure]:
    own_reader, other = status["slots"][0]["reader"], status["slots"][1]
    progress("round trips, compared with an echo card")
    with _peer([_compiled_echo(directory), str(other["port"])], other["reader"]):
        ours, floor = _alternately(own_reader, other["reader"])
    progress("signatures")
    with _connected(own_reader) as transmit:
        transmit(_SELECT_JPKI)
        transmit(_VERIFY)
        signing = median_ms(lambda: transmit(_SIGN), 300)
    contents = load_card(image_path(world, "hanako")).applications[1].files[jpki.AUTHENTICATION_KEY]
    key: PrivateKey = contents.key  # type: ignore[union-attr, assignment]
    bare = median_ms(lambda: key.sign_verbatim(_DIGEST_INFO), 300)
    progress("OpenSC's pkcs11-tool with our host")
    signed_by_ours = median_ms(lambda: _pkcs11_sign(directory), 15)
    control.request(control_path(world), "remove", slot="0")
    progress("the same card hosted by stock vicc")
    vicc = [
        sys.executable,
        "-m",
        "kazashi.tools.testing.vicc_adapter",
        str(image_path(world, "hanako")),
        "--port",
        str(other["port"]),
    ]
    with _peer(vicc, other["reader"]):
        with _connected(other["reader"]) as transmit:
            transmit(_SELECT_JPKI)
            transmit(_SELECT_CERTIFICATE)
            stock = median_ms(lambda: transmit(_READ_4), 60)
        signed_by_vicc = median_ms(lambda: _pkcs11_sign(directory), 5)
    same_card = "stock vicc with the same card, same pcscd"
    return [
        at_least("APDU round trip through pcscd", "ms", ours, stock, same_card, stock / ours, GOAL_OVER_VICC),
        at_most(
            "APDU round trip over an echo card",
            "ms",
            ours,
            floor,
            "echo in C, same pcscd",
            ours / floor,
            GOAL_OVER_ECHO,
        ),
        at_most(
            "signature through pcscd",
            "ms",
            signing,
            bare + ours,
            "bare RSA-2048 private operation plus one round trip",
            signing / (bare + ours),
            GOAL_SIGNATURE,
        ),
        at_least(
            "pkcs11-tool --login --sign",
            "ms",
            signed_by_ours,
            signed_by_vicc,
            same_card,
            signed_by_vicc / signed_by_ours,
            GOAL_PKCS11,
        ),
    ]


def _alternately(own_reader: str, other_reader: str) -> tuple[float, float]:
    """Return the median round trips of two readers in milliseconds, measured alternately so that a slow moment of the
    machine affects both."""
    ours: list[float] = []
    theirs: list[float] = []
    with _connected(own_reader) as own, _connected(other_reader) as other:
        own(_SELECT_JPKI)
        own(_SELECT_CERTIFICATE)
        for _ in range(20):
            ours += timings_ms(lambda: own(_READ_4), 150)
            theirs += timings_ms(lambda: other(_READ_4), 150)
    return median(ours), median(theirs)


@contextmanager
def _connected(reader: str) -> Iterator[Callable[[bytes], bytes]]:
    """Yield a function that transmits a command to the card in a reader and returns the response. It raises
    RuntimeError if SW1 is not 90."""
    with connected(reader) as card:

        def transmit(command: bytes) -> bytes:
            response = card.transmit(command)
            if response[-2:-1] != b"\x90":
                raise RuntimeError(f"{command.hex()} failed on {reader}: {response.hex()}")
            return response

        yield transmit


@contextmanager
def _peer(command: list[str], reader: str) -> Iterator[None]:
    """Run a program that connects another card to a slot, from the time pcscd sees the card until the block ends."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        _wait_for_card(reader)
        yield
    finally:
        process.terminate()
        process.wait()


def _wait_for_card(reader: str, seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            with _connected(reader):
                return
        except PcscError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


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


def _reads_in_process(world: World) -> Measure:
    chip = Chip(load_card(image_path(world, "hanako")))
    chip.power_on()
    chip.transmit(_SELECT_JPKI)
    chip.transmit(_SELECT_CERTIFICATE)
    rates = []
    for _ in range(5):
        begun = time.perf_counter()
        for _ in range(100_000):
            chip.transmit(_READ_256)
        rates.append(100_000 / (time.perf_counter() - begun))
    rate = median(rates)
    return at_least(
        "READ BINARY of 256 bytes in process",
        "APDUs/s",
        rate,
        GOAL_READS_PER_SECOND,
        "the goal",
        rate / GOAL_READS_PER_SECOND,
        1,
    )


_MEMORY_PROGRAM = """
import resource, sys
from pathlib import Path
from kazashi.applets import jpki
from kazashi.applets.install import load_card
from kazashi.card.chip import Chip
from kazashi.card.request import read_binary, select
chips = [Chip(load_card(Path(sys.argv[1]))) for _ in range(int(sys.argv[2]))]
for chip in chips:
    chip.power_on()
    chip.transmit(select(jpki.AID))
    assert chip.transmit(read_binary(0, 4, file=jpki.AUTHENTICATION_CERTIFICATE))[-2:] == b"\\x90\\x00"
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def _memory(world: World) -> Measure:
    """Measure the peak resident size of a process with many cards, each read from its image separately."""
    done = subprocess.run(
        [sys.executable, "-c", _MEMORY_PROGRAM, str(image_path(world, "hanako")), str(GOAL_CARDS)],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    megabytes = float(done.stdout)
    return at_most(
        f"{GOAL_CARDS} cards hosted in one process",
        "MB",
        megabytes,
        GOAL_CARDS_MB,
        "the goal",
        megabytes / GOAL_CARDS_MB,
        1,
    )
