"""A slot that others dial into: a pcscd whose vpcd does, a phone's app, and a second host that must not."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import pytest

from kazashi.applets import jpki
from kazashi.applets.install import load_card
from kazashi.card import request
from kazashi.card.chip import Chip
from kazashi.card.image import read_image
from kazashi.card_management.order import image_path
from kazashi.reader_bridge.endpoint import DialledEndpoint, PortTaken, dialled_endpoint
from kazashi.reader_bridge.fault_script import parse_fault_script
from kazashi.reader_bridge.host import Presentation, ReaderHost
from kazashi.reader_bridge.interface import ContactInterface
from kazashi.reader_bridge.pcscd import start_pcscd
from kazashi.reader_bridge.slot import Slot
from kazashi.reader_bridge.vpcd import Exchange
from kazashi.world.home import World
from tests import WORKER
from tests.polling import LIMIT, until
from tests.support import send

DONE = b"\x90\x00"
SELECT_JPKI = request.select(jpki.AID)
VERIFY = request.verify(jpki.AUTHENTICATION_PIN, b"1234")
SIGN = request.compute_digital_signature(jpki.AUTHENTICATION_KEY, bytes(32))
READ_CERTIFICATE = bytes.fromhex("00B08A00000000")
POWER_OFF, POWER_ON, RESET, ATR = (bytes((code,)) for code in (0, 1, 2, 4))


def free_ports(count: int) -> int:
    """The first of so many free ports in a row."""
    for first in range(38000 + 40 * WORKER, 60000, count):
        with suppress(PortTaken):
            for port in range(first, first + count):
                DialledEndpoint("x", "127.0.0.1", port).check()
            return first
    raise AssertionError("no free ports")


class Phone:
    """The host of a reader that dials in: it sends what it has to say byte by byte, and late."""

    def __init__(self, sock: socket.socket, delay: float = 0.0) -> None:
        self._sock = sock
        self._delay = delay

    def __enter__(self) -> Phone:
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()

    def say(self, body: bytes) -> None:
        time.sleep(self._delay)
        for byte in len(body).to_bytes(2) + body:
            self._sock.sendall(bytes((byte,)))

    def ask(self, body: bytes) -> bytes:
        self.say(body)
        return self._exactly(int.from_bytes(self._exactly(2)))

    def hears_nothing(self, seconds: float) -> bool:
        """Whether the card's side keeps quiet, and stays."""
        self._sock.settimeout(seconds)
        try:
            self._sock.recv(1)
        except TimeoutError:
            return True
        finally:
            self._sock.settimeout(LIMIT)
        return False

    def is_turned_away(self) -> bool:
        """Whether the card's side has hung up."""
        try:
            return self._sock.recv(1) == b""
        except ConnectionError:
            return True

    def _exactly(self, count: int) -> bytes:
        found = b""
        while len(found) < count:
            piece = self._sock.recv(count - len(found))
            assert piece, "the card's side hung up"
            found += piece
        return found


def knock(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=LIMIT)


def dial(port: int, delay: float = 0.0) -> Phone:
    """A phone that has got through, as soon as somebody listens."""
    until(lambda: is_listened_to(port), "nobody listens")
    return Phone(knock(port), delay)


def is_listened_to(port: int) -> bool:
    """Looked up, because whoever knocks is let in."""
    return f":{port:04X} 00000000:0000 0A" in Path("/proc/net/tcp").read_text(encoding="ascii")


@pytest.fixture
def host() -> Iterator[ReaderHost]:
    """Two slots at ports in a row, waiting to be dialled."""
    first = free_ports(2)
    host = ReaderHost([DialledEndpoint(f"dial-in {number}", "127.0.0.1", first + number) for number in range(2)])
    yield host
    host.close()


def put(host: ReaderHost, image: Path, script: str | None = None) -> int:
    """The card in the first slot; answers the port."""
    plan = parse_fault_script(script) if script else None
    host.insert(host.slots[0], image.stem, image, Presentation(faults=plan))
    return host.slots[0].endpoint.port


def test_a_phone_that_is_slow_and_silent_and_forgets_power_is_answered_all_along(host: ReaderHost, image: Path) -> None:
    """As Android's Smart Card Emulator app does: it never asks for the ATR, and power is the first reader's."""
    certificate = read_image(image)[0][jpki.AID].data[jpki.AUTHENTICATION_CERTIFICATE]
    with dial(put(host, image), delay=0.05) as phone:
        phone.say(POWER_ON)
        assert phone.ask(SELECT_JPKI) == DONE
        assert phone.ask(VERIFY) == DONE
        assert phone.ask(READ_CERTIFICATE) == certificate + DONE
        assert phone.hears_nothing(3.0), "vpcd's own silence of two seconds would mean that something is wrong"
        assert phone.ask(SIGN)[-2:] == DONE, "nothing was forgotten meanwhile"
        phone.say(POWER_OFF)
        assert phone.hears_nothing(0.1)
        assert phone.ask(SIGN) == b"\x6a\x88", "a cold start"
        assert phone.ask(SELECT_JPKI) == DONE
        phone.say(RESET)
        assert phone.ask(ATR) == bytes.fromhex("3BE000FF8131FE4514")
        assert phone.ask(SELECT_JPKI) == DONE


def test_several_messages_that_come_at_once_are_answered_in_turn(host: ReaderHost, image: Path) -> None:
    messages = (POWER_ON, SELECT_JPKI, VERIFY, SELECT_JPKI)
    port = put(host, image)
    until(lambda: is_listened_to(port), "nobody listens")
    with knock(port) as sock:
        sock.sendall(b"".join(len(body).to_bytes(2) + body for body in messages))
        answers = b""
        while len(answers) < 12:
            answers += sock.recv(100)
    assert answers == (b"\x00\x02" + DONE) * 3


def test_what_is_verified_stays_so_between_commands_of_a_host_that_never_powers(host: ReaderHost, image: Path) -> None:
    with dial(put(host, image)) as phone:
        assert (phone.ask(SELECT_JPKI), phone.ask(VERIFY)) == (DONE, DONE)
        assert phone.ask(SIGN)[-2:] == DONE


def test_answers_that_wait_to_be_fetched_wait_also_for_a_host_that_dialled(host: ReaderHost, image: Path) -> None:
    with dial(put(host, image, "protocol: T=1\nchaining: true")) as phone:
        phone.say(POWER_ON)
        assert phone.ask(request.select_for_information(jpki.AID)) == b"\x61\x0e"
        assert phone.ask(bytes.fromhex("00C0000000")) == bytes.fromhex("6F0C840AD392F0002601000000019000")


def test_a_card_that_is_torn_out_hangs_up_and_can_be_dialled_again(host: ReaderHost, image: Path) -> None:
    port = put(host, image, "faults: [{tear: during, away: 300 ms, when: {command: 2}}]")
    with dial(port) as phone:
        assert phone.ask(SELECT_JPKI) == DONE
        begun = time.monotonic()
        phone.say(VERIFY)
        assert phone.is_turned_away()
    with dial(port) as again:
        assert time.monotonic() - begun >= 0.3, "there is no card until then"
        assert again.ask(SELECT_JPKI) == DONE


def test_a_second_host_is_turned_away_and_can_dial_once_the_first_has_left(host: ReaderHost, image: Path) -> None:
    port = put(host, image)
    with dial(port) as first:
        assert first.ask(SELECT_JPKI) == DONE
        with pytest.raises(ConnectionRefusedError):
            knock(port)
        assert first.ask(VERIFY) == DONE, "the first did not notice"
    with dial(port) as second:
        assert second.ask(SIGN) == b"\x6a\x88", "and has left nothing behind"
        assert second.ask(SELECT_JPKI) == DONE


def test_of_two_hosts_that_dial_at_the_same_time_one_is_served(host: ReaderHost, image: Path) -> None:
    port = put(host, image)
    served = 0
    with ExitStack() as stack:
        phones = [stack.enter_context(dial(port))]
        with suppress(ConnectionError):  # it may have been too late
            phones.append(stack.enter_context(Phone(knock(port))))
        for phone in phones:
            with suppress(ConnectionError, AssertionError):
                served += phone.ask(SELECT_JPKI) == DONE
    assert served == 1


def test_a_host_is_hung_up_on_when_the_card_is_taken_out_and_nobody_listens_without_one(
    host: ReaderHost, image: Path
) -> None:
    port = put(host, image)
    with dial(port) as phone:
        assert phone.ask(SELECT_JPKI) == DONE
        host.remove(host.slots[0])
        assert phone.is_turned_away()
    with pytest.raises(ConnectionRefusedError):
        knock(port)
    host.insert(host.slots[0], "again", image, Presentation())
    with dial(port) as again:
        assert again.ask(SELECT_JPKI) == DONE


def test_a_card_waits_for_a_port_that_is_taken_and_is_there_once_it_is_free(image: Path) -> None:
    port = free_ports(1)
    told: list[Exchange] = []
    slot = Slot(DialledEndpoint("x", "127.0.0.1", port), told.append)
    with socket.create_server(("127.0.0.1", port)):
        slot.insert(ContactInterface(Chip(load_card(image))))
        assert not slot.wait_until_powered(0.3)
    with dial(port) as phone:
        assert phone.ask(SELECT_JPKI) == DONE
    slot.remove()
    assert [exchange.command for exchange in told] == [SELECT_JPKI]


def test_a_port_that_cannot_be_had_is_told_at_once() -> None:
    port = free_ports(1)
    endpoint = DialledEndpoint("x", "127.0.0.1", port)
    endpoint.check()
    with socket.create_server(("127.0.0.1", port)), pytest.raises(PortTaken, match=f"127.0.0.1 port {port}: Address"):
        endpoint.check()
    endpoint.check()
    with pytest.raises(PortTaken, match=f"192.0.2.1 port {port}"):  # an address of no machine (RFC 5737)
        DialledEndpoint("x", "192.0.2.1", port).check()


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        ("35963", "127.0.0.1", 35963),
        (":1", "127.0.0.1", 1),
        ("0.0.0.0:65535", "0.0.0.0", 65535),
        ("localhost:00080", "localhost", 80),
    ],
)
def test_an_address_is_a_port_or_a_host_and_a_port(address: str, host: str, port: int) -> None:
    endpoint = dialled_endpoint(address)
    assert (endpoint.host, endpoint.port) == (host, port)
    assert str(port) in endpoint.reader


@pytest.mark.parametrize("address", ["", "nonsense", "host:", "host:port", "0", "65536", "-1", "1.5", "host:1:x", "²"])
def test_what_is_no_address_is_told_so(address: str) -> None:
    with pytest.raises(ValueError, match=r"is not PORT or HOST:PORT"):
        dialled_endpoint(address)


@pytest.mark.reader
def test_a_pcscd_whose_vpcd_dials_sees_the_cards(world: World, host: ReaderHost, tmp_path: Path) -> None:
    """vpcd dials two ports for each entry, and takes pcscd along where nobody answers at one of them."""
    names = ("hanako", "taro")
    for slot, name in zip(host.slots, names, strict=True):
        image = Path(shutil.copy(image_path(world, name), tmp_path / f"{name}.card"))
        host.insert(slot, name, image, Presentation())
        until(partial(is_listened_to, slot.endpoint.port), "nobody listens")
    first = host.slots[0].endpoint.port
    running = start_pcscd(tmp_path, ["Dialling"], private=True, first_port=first, dials="127.0.0.1")
    try:
        environment = running.client_environment()
        for number, name in enumerate(names):
            assert host.slots[number].wait_until_powered(LIMIT)
            reader = running.endpoints[number].reader
            said = subprocess.run(
                ["opensc-tool", "--reader", reader, "--name"],
                capture_output=True, text=True, check=True, timeout=60, env={**os.environ, **environment},
            )  # fmt: skip
            assert said.stdout.strip() == "jpki"
            content = read_image(image_path(world, name))[0][jpki.AID].data[jpki.AUTHENTICATION_CERTIFICATE]
            selected, read = send(environment, reader, SELECT_JPKI.hex(), READ_CERTIFICATE.hex())
            assert (selected, bytes.fromhex(read)) == ("9000", content + DONE)
        assert running.process is not None
        assert running.process.poll() is None
    finally:
        running.stop()
