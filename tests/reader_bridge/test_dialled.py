"""Dial-in slots: a pcscd whose vpcd dials in, a phone's app, and a second host that is rejected."""

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
from kazashi.reader_bridge.host import Presentation, ReaderHost, slot_at
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
    """Return the first of `count` consecutive free ports."""
    for first in range(38000 + 40 * WORKER, 60000, count):
        with suppress(PortTaken):
            for port in range(first, first + count):
                DialledEndpoint("x", "127.0.0.1", port).check()
            return first
    raise AssertionError("no free ports")


class Phone:
    """The host of a reader that dials in. It sends its messages byte by byte, after a delay."""

    def __init__(self, sock: socket.socket, delay: float = 0.0) -> None:
        self._sock = sock
        self._delay = delay

    def __enter__(self) -> Phone:
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()

    def send(self, body: bytes) -> None:
        time.sleep(self._delay)
        for byte in len(body).to_bytes(2) + body:
            self._sock.sendall(bytes((byte,)))

    def ask(self, body: bytes) -> bytes:
        self.send(body)
        return self._exactly(int.from_bytes(self._exactly(2)))

    def receives_nothing(self, seconds: float) -> bool:
        """Return whether the card's side sends nothing and keeps the connection."""
        self._sock.settimeout(seconds)
        try:
            self._sock.recv(1)
        except TimeoutError:
            return True
        finally:
            self._sock.settimeout(LIMIT)
        return False

    def is_disconnected(self) -> bool:
        """Return whether the card's side has closed the connection."""
        try:
            return self._sock.recv(1) == b""
        except ConnectionError:
            return True

    def _exactly(self, count: int) -> bytes:
        received = b""
        while len(received) < count:
            piece = self._sock.recv(count - len(received))
            assert piece, "the card's side closed the connection"
            received += piece
        return received


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=LIMIT)


def dial(port: int, delay: float = 0.0) -> Phone:
    """Return a connected phone, as soon as the slot listens."""
    until(lambda: is_listened_to(port), "the slot does not listen")
    return Phone(connect(port), delay)


def is_listened_to(port: int) -> bool:
    """Return whether a process listens on a port, without a connection, which would be accepted."""
    return f":{port:04X} 00000000:0000 0A" in Path("/proc/net/tcp").read_text(encoding="ascii")


@pytest.fixture
def host() -> Iterator[ReaderHost]:
    """A host with two dial-in slots at consecutive ports."""
    first = free_ports(2)
    host = ReaderHost([DialledEndpoint(f"dial-in {number}", "127.0.0.1", first + number) for number in range(2)])
    yield host
    host.close()


def put(host: ReaderHost, image: Path, script: str | None = None) -> int:
    """Insert the card into the first slot, and return its port."""
    plan = parse_fault_script(script) if script else None
    host.insert(host.slots[0], image.stem, image, Presentation(faults=plan))
    return port_of(host.slots[0])


def port_of(slot: Slot) -> int:
    port = slot.endpoint.open_port
    assert port is not None
    return port


def test_slow_phone_that_forgets_power_on_is_served(host: ReaderHost, image: Path) -> None:
    """Android's Smart Card Emulator app never requests the ATR, and powers the card only for the first reader."""
    certificate = read_image(image)[0][jpki.AID].data[jpki.AUTHENTICATION_CERTIFICATE]
    with dial(put(host, image), delay=0.05) as phone:
        phone.send(POWER_ON)
        assert phone.ask(SELECT_JPKI) == DONE
        assert phone.ask(VERIFY) == DONE
        assert phone.ask(READ_CERTIFICATE) == certificate + DONE
        assert phone.receives_nothing(3.0), "the timeout of two seconds is for vpcd only"
        assert phone.ask(SIGN)[-2:] == DONE, "the security status is kept"
        phone.send(POWER_OFF)
        assert phone.receives_nothing(0.1)
        assert phone.ask(SIGN) == b"\x6a\x88", "a cold start"
        assert phone.ask(SELECT_JPKI) == DONE
        phone.send(RESET)
        assert phone.ask(ATR) == bytes.fromhex("3BE000FF8131FE4514")
        assert phone.ask(SELECT_JPKI) == DONE


def test_messages_sent_at_once_get_responses_in_order(host: ReaderHost, image: Path) -> None:
    messages = (POWER_ON, SELECT_JPKI, VERIFY, SELECT_JPKI)
    port = put(host, image)
    until(lambda: is_listened_to(port), "the slot does not listen")
    with connect(port) as sock:
        sock.sendall(b"".join(len(body).to_bytes(2) + body for body in messages))
        responses = b""
        while len(responses) < 12:
            responses += sock.recv(100)
    assert responses == (b"\x00\x02" + DONE) * 3


def test_security_status_is_kept_for_a_host_that_never_powers_on(host: ReaderHost, image: Path) -> None:
    with dial(put(host, image)) as phone:
        assert (phone.ask(SELECT_JPKI), phone.ask(VERIFY)) == (DONE, DONE)
        assert phone.ask(SIGN)[-2:] == DONE


def test_host_that_dials_in_can_use_get_response(host: ReaderHost, image: Path) -> None:
    with dial(put(host, image, "protocol: T=1\nchaining: true")) as phone:
        phone.send(POWER_ON)
        assert phone.ask(request.select_for_information(jpki.AID)) == b"\x61\x0e"
        assert phone.ask(bytes.fromhex("00C0000000")) == bytes.fromhex("6F0C840AD392F0002601000000019000")


def test_removed_card_disconnects_and_can_be_dialled_again(host: ReaderHost, image: Path) -> None:
    port = put(host, image, "faults: [{tear: during, away: 300 ms, when: {command: 2}}]")
    with dial(port) as phone:
        assert phone.ask(SELECT_JPKI) == DONE
        begun = time.monotonic()
        phone.send(VERIFY)
        assert phone.is_disconnected()
    with dial(port) as again:
        assert time.monotonic() - begun >= 0.3, "there is no card until then"
        assert again.ask(SELECT_JPKI) == DONE


def test_second_host_is_rejected_until_the_first_has_left(host: ReaderHost, image: Path) -> None:
    port = put(host, image)
    with dial(port) as first:
        assert first.ask(SELECT_JPKI) == DONE
        with pytest.raises(ConnectionRefusedError):
            connect(port)
        assert first.ask(VERIFY) == DONE, "the first host is not affected"
    with dial(port) as second:
        assert second.ask(SIGN) == b"\x6a\x88", "the first host's security status is cleared"
        assert second.ask(SELECT_JPKI) == DONE


def test_one_of_two_simultaneous_hosts_is_served(host: ReaderHost, image: Path) -> None:
    port = put(host, image)
    served = 0
    with ExitStack() as stack:
        phones = [stack.enter_context(dial(port))]
        with suppress(ConnectionError):  # it may have been too late
            phones.append(stack.enter_context(Phone(connect(port))))
        for phone in phones:
            with suppress(ConnectionError, AssertionError):
                served += phone.ask(SELECT_JPKI) == DONE
    assert served == 1


def test_slot_without_a_card_disconnects_and_does_not_listen(host: ReaderHost, image: Path) -> None:
    port = put(host, image)
    with dial(port) as phone:
        assert phone.ask(SELECT_JPKI) == DONE
        host.remove(host.slots[0])
        assert phone.is_disconnected()
    with pytest.raises(ConnectionRefusedError):
        connect(port)
    host.insert(host.slots[0], "again", image, Presentation())
    with dial(port) as again:
        assert again.ask(SELECT_JPKI) == DONE


def test_slot_waits_until_its_port_is_free(image: Path) -> None:
    port = free_ports(1)
    exchanges: list[Exchange] = []
    slot = slot_at(DialledEndpoint("x", "127.0.0.1", port), exchanges.append)
    with socket.create_server(("127.0.0.1", port)):
        slot.insert(ContactInterface(Chip(load_card(image))))
        assert not slot.wait_until_powered(0.3)
    with dial(port) as phone:
        assert phone.ask(SELECT_JPKI) == DONE
    slot.remove()
    assert [exchange.command for exchange in exchanges] == [SELECT_JPKI]


def test_check_reports_a_port_that_is_not_available() -> None:
    port = free_ports(1)
    endpoint = DialledEndpoint("x", "127.0.0.1", port)
    endpoint.check()
    with socket.create_server(("127.0.0.1", port)), pytest.raises(PortTaken, match=f"127.0.0.1 port {port}: Address"):
        endpoint.check()
    endpoint.check()
    with pytest.raises(PortTaken, match=f"192.0.2.1 port {port}"):  # an address for documentation (RFC 5737)
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
def test_address_is_a_port_or_a_host_and_a_port(address: str, host: str, port: int) -> None:
    endpoint = dialled_endpoint(address)
    assert (endpoint.host, endpoint.port) == (host, port)
    assert str(port) in endpoint.reader


@pytest.mark.parametrize("address", ["", "nonsense", "host:", "host:port", "0", "65536", "-1", "1.5", "host:1:x", "²"])
def test_invalid_address_is_rejected(address: str) -> None:
    with pytest.raises(ValueError, match=r"is not PORT or HOST:PORT"):
        dialled_endpoint(address)


@pytest.mark.reader
def test_pcscd_whose_vpcd_dials_out_sees_the_cards(world: World, host: ReaderHost, tmp_path: Path) -> None:
    """vpcd dials two ports for each entry, and pcscd ends if one of them refuses the connection."""
    names = ("hanako", "taro")
    for slot, name in zip(host.slots, names, strict=True):
        image = Path(shutil.copy(image_path(world, name), tmp_path / f"{name}.card"))
        host.insert(slot, name, image, Presentation())
        until(partial(is_listened_to, port_of(slot)), "the slot does not listen")
    first = port_of(host.slots[0])
    running = start_pcscd(tmp_path, ["Dialling"], private=True, first_port=first, dials="127.0.0.1")
    try:
        environment = running.client_environment()
        for number, name in enumerate(names):
            assert host.slots[number].wait_until_powered(LIMIT)
            reader = running.endpoints[number].reader
            done = subprocess.run(
                ["opensc-tool", "--reader", reader, "--name"],
                capture_output=True, text=True, check=True, timeout=60, env={**os.environ, **environment},
            )  # fmt: skip
            assert done.stdout.strip() == "jpki"
            content = read_image(image_path(world, name))[0][jpki.AID].data[jpki.AUTHENTICATION_CERTIFICATE]
            selected, read = send(environment, reader, SELECT_JPKI.hex(), READ_CERTIFICATE.hex())
            assert (selected, bytes.fromhex(read)) == ("9000", content + DONE)
        assert running.process is not None
        assert running.process.poll() is None
    finally:
        running.stop()
