"""The driver behind hosts that are silent, slow, loud or gone. It is called as pcscd calls it, with sanitizers."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kazashi.reader_bridge.driver.protocol import Kind, ReplyCode, packed
from tests.polling import LIMIT, until
from tests.reader_bridge.driver_calls import (
    ATR,
    COMMUNICATION_ERROR,
    NOT_PRESENT,
    POWER_UP,
    PRESENT,
    RESPONSE_TIMEOUT,
    SANITIZERS,
    SUCCESS,
    DriverProgram,
    ScriptedHost,
    build,
    good_host,
    greet,
    reply_to,
)

DONE = bytes((ReplyCode.DONE,))


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("program"), *SANITIZERS)


@pytest.fixture
def driver(program: Path) -> Iterator[DriverProgram]:
    with DriverProgram(program) as running:
        yield running


def opened(driver: DriverProgram, directory: Path, lun: int = 0) -> None:
    assert driver.call("open", lun, text=f"{directory}:1").code == SUCCESS


def test_every_length_gets_through(driver: DriverProgram, tmp_path: Path) -> None:
    with ScriptedHost(tmp_path / "r", good_host):
        opened(driver, tmp_path / "r")
        assert driver.call("presence").code == PRESENT
        assert driver.call("power", number=POWER_UP).data == ATR
        for length in (1, 2, 5, 255, 256, 4096, 65535, 65544):
            command = bytes(i * 7 & 0xFF for i in range(length))
            assert driver.transmit(command, room=65544).data == command
        assert driver.transmit(bytes(100), room=99).code != SUCCESS, "a response longer than the client's buffer"
        assert driver.transmit(bytes(100), room=100).code == SUCCESS
        assert driver.call("close").code == SUCCESS
    assert driver.log == []


def test_no_descriptor_is_left(driver: DriverProgram, tmp_path: Path) -> None:
    before = driver.call("descriptors").code
    with ScriptedHost(tmp_path / "r", good_host):
        for _ in range(20):
            opened(driver, tmp_path / "r")
            driver.call("power", number=POWER_UP)
            driver.call("close")
    opened(driver, tmp_path / "none")
    driver.call("close")
    for device in ("", "/x", "/x:", "/x:0", "/x:17", "/x:1y", "/x:99999999999", "/" + "x" * 103 + ":1"):
        assert driver.call("open", text=device).code != SUCCESS
    assert driver.call("descriptors").code == before


def test_a_host_that_dies_is_an_empty_slot_at_once(driver: DriverProgram, tmp_path: Path) -> None:
    def dying(connection: socket.socket) -> None:
        receiver = greet(connection)
        receiver.next()
        connection.sendall(packed(Kind.REPLY, DONE + ATR)[:7])

    with ScriptedHost(tmp_path / "r", dying):
        opened(driver, tmp_path / "r")
        power = driver.call("power", number=POWER_UP)
        assert power.code != SUCCESS
        assert power.ms < 5000
        assert driver.call("presence").code == NOT_PRESENT
    assert driver.log == [], "the end of a host is not a fault"


@pytest.mark.long
def test_hosts_that_never_finish_are_given_up(driver: DriverProgram, tmp_path: Path) -> None:
    """A silent host, one that sends a byte now and then, one that sends nothing but events, one that does not read."""

    def silent(connection: socket.socket) -> None:
        receiver = greet(connection)
        while True:
            receiver.next()

    def trickling(connection: socket.socket) -> None:
        receiver = greet(connection)
        receiver.next()
        for byte in packed(Kind.REPLY, bytes(200)):
            connection.send(bytes((byte,)))
            time.sleep(0.3)

    def flooding(connection: socket.socket) -> None:
        receiver = greet(connection)
        receiver.next()
        while True:
            connection.sendall(packed(Kind.PRESENCE, b"\1") * 100)

    def not_reading(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        greet(connection)
        driver_has_ended.wait(LIMIT)

    driver_has_ended = threading.Event()
    hosts = [
        ScriptedHost(tmp_path / str(number), host)
        for number, host in enumerate((silent, trickling, flooding, not_reading))
    ]
    for number in range(len(hosts)):
        opened(driver, tmp_path / str(number), number << 16)
    calls = [driver.start("&transmit", number << 16, 300, "00" * 65544) for number in range(len(hosts))]
    with ScriptedHost(tmp_path / "good", good_host):
        opened(driver, tmp_path / "good", 9 << 16)
        served = driver.transmit(b"\0\1\2", 9 << 16)
        assert served.code == SUCCESS
        assert served.ms < 5000, "another slot does not wait"
        for call in calls:
            returned = driver.result(call)
            assert returned.code == COMMUNICATION_ERROR
            assert 9000 < returned.ms < 25000
    driver_has_ended.set()
    for number, host in enumerate(hosts):
        driver.call("close", number << 16)
        host.__exit__()
    assert sorted(line.split(" slot ")[1] for line in driver.log) == ["0: the host did not read or reply in time"] * 4


def test_each_fault_is_logged_once(driver: DriverProgram, tmp_path: Path) -> None:
    def talking(connection: socket.socket) -> None:
        greet(connection)
        connection.sendall(packed(Kind.REPLY, DONE))
        connection.recv(100)

    with ScriptedHost(tmp_path / "r", talking) as host:
        opened(driver, tmp_path / "r")
        poller = driver.start("&poll", number=1000)
        until(lambda: host.connections >= 6, "the driver tries again")
        driver.call("close")
        driver.result(poller)
    (line,) = driver.log
    assert line.endswith("slot 0: the host sent a message out of turn")
    assert host.connections < 50, "with growing pauses"


@pytest.mark.long
def test_a_host_that_needs_more_time_gets_it(driver: DriverProgram, tmp_path: Path) -> None:
    def slow(connection: socket.socket) -> None:
        receiver = greet(connection)
        request = receiver.next()
        for _ in range(4):
            time.sleep(3)
            connection.sendall(packed(Kind.MORE_TIME))
        connection.sendall(reply_to(request))
        receiver.next()

    with ScriptedHost(tmp_path / "r", slow):
        opened(driver, tmp_path / "r")
        returned = driver.transmit(b"\0\x46")
        assert returned.data == b"\0\x46"
        assert returned.ms > 11000
        driver.call("close")


def test_a_close_ends_an_exchange(driver: DriverProgram, tmp_path: Path) -> None:
    """pcscd's end does not wait for a card that works on a command."""
    asked = threading.Event()

    def busy(connection: socket.socket) -> None:
        receiver = greet(connection)
        receiver.next()
        asked.set()
        while True:
            connection.sendall(packed(Kind.MORE_TIME))
            time.sleep(0.2)

    with ScriptedHost(tmp_path / "r", busy):
        opened(driver, tmp_path / "r")
        poller = driver.start("&poll", number=1000)
        calls = [driver.start("&transmit", 0, 300, "00B0") for _ in range(3)]
        assert asked.wait(10)
        stopped = driver.call("stop")
        assert stopped.ms < 2000
        closed = driver.call("close")
        assert closed.code == SUCCESS
        assert closed.ms < 2000
        for call in [*calls, poller]:
            driver.result(call)
    assert driver.log == []


def test_events_behind_a_reply_are_seen(driver: DriverProgram, tmp_path: Path) -> None:
    """A host sends its reply and a removal in one piece; pcscd's thread is woken although nothing more arrives."""

    waiting = threading.Event()

    def removing(connection: socket.socket) -> None:
        receiver = greet(connection)
        while (message := receiver.next()).kind == Kind.SETTLED:
            waiting.set()
        connection.sendall(reply_to(message) + packed(Kind.PRESENCE, b"\0"))
        while True:
            receiver.next()

    with ScriptedHost(tmp_path / "r", removing):
        opened(driver, tmp_path / "r")
        poller = driver.start("&poll", number=1)
        assert waiting.wait(LIMIT)
        assert driver.transmit(b"\0\1").code == SUCCESS
        returned = driver.result(poller)
        assert returned.ms < 10000
        assert driver.call("presence").code == NOT_PRESENT
        driver.call("close")


def test_response_time_out_is_bounded_for_every_call(driver: DriverProgram, tmp_path: Path) -> None:
    assert driver.call("power", 5 << 16, POWER_UP).code != SUCCESS, "a slot that nobody created"
    opened(driver, tmp_path / "nobody")
    assert driver.call("presence").code == NOT_PRESENT
    assert driver.transmit(b"\0\1").code == NOT_PRESENT
    assert driver.call("control", number=1).code not in (SUCCESS, RESPONSE_TIMEOUT)
    driver.call("close")
