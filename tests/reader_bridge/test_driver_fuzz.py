"""Random and mutated bytes on both ends of the driver's protocol, from fixed seeds."""

from __future__ import annotations

import contextlib
import logging
import random
import socket
import time
from functools import partial
from pathlib import Path

import pytest

from kazashi.reader_bridge.driver.build import SOURCE
from kazashi.reader_bridge.driver.protocol import (
    VERSION,
    Disconnected,
    DriverMessage,
    Kind,
    Receiver,
    ReplyCode,
    packed,
)
from kazashi.reader_bridge.driver.slot import DriverSlot
from kazashi.reader_bridge.endpoint import DriverEndpoint
from tests.polling import LIMIT
from tests.reader_bridge.driver_calls import (
    ATR,
    POWER_UP,
    PRESENT,
    SANITIZERS,
    SUCCESS,
    DriverProgram,
    ScriptedHost,
    build,
    good_host,
    reply_to,
)

ORDINARY, LONG = 150, 4000
LENGTHS = (0, 1, 2, 4, 0x10FFF, 0x11000, 0x11001, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFC, 0xFFFFFFFF)
BOUND_MS = 25000
DRIVERS_LONGEST_HALF = 0.02
"""Seconds without a request after which a host under test ends its connection, so that the driver does not wait."""


def mutated(rng: random.Random, message: bytes) -> bytes:
    """Return bytes that resemble a message."""
    data = bytearray(message)
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3))):
        where = rng.randrange(len(data)) if data else 0
        match rng.randrange(8):
            case 0 if data:
                data[where] ^= 1 << rng.randrange(8)
            case 1:
                del data[where:]
            case 2:
                data[where:where] = rng.randbytes(rng.choice((1, 2, 40, 300, 70000)))
            case 3:
                data[:4] = rng.choice(LENGTHS).to_bytes(4)
            case 4:
                data += packed(rng.choice((Kind.PRESENCE, Kind.MORE_TIME, Kind.REPLY)), rng.randbytes(rng.randrange(3)))
            case 5:
                data[:0] = packed(rng.choice((Kind.PRESENCE, Kind.MORE_TIME)), rng.choice((b"", b"\0", b"\1")))
            case 6:
                data[:] = packed(Kind.REPLY, bytes((ReplyCode.DONE,)) + rng.randbytes(rng.choice((34, 65, 301, 69000))))
            case 7:
                data += packed(Kind.PRESENCE, b"\1") * rng.choice((70, 12000))
    return bytes(data)


def nonsense_host(rng: random.Random, connection: socket.socket) -> None:
    """Reply to the driver with mutated messages until it asks no more."""
    connection.settimeout(DRIVERS_LONGEST_HALF)
    receiver = Receiver(connection)
    with contextlib.suppress(TimeoutError):
        while True:
            message = receiver.next()
            if message.kind == Kind.HELLO:
                reply = packed(Kind.HELLO, bytes((VERSION, 1)))
                sent = reply if rng.random() < 0.9 else mutated(rng, reply)
            else:
                sent = mutated(rng, reply_to(message))
            cut = rng.randrange(len(sent) + 1)
            for part in (sent[:cut], sent[cut:]):
                connection.sendall(part)


def fuzz_driver(program: Path, directory: Path, rounds: int) -> None:
    """Let a driver meet `rounds` hosts that send nonsense, and then a good one. Raises AssertionError."""
    with DriverProgram(program) as driver:
        before = driver.call("descriptors").code
        for seed in range(rounds):
            rng = random.Random(seed)
            with ScriptedHost(directory / "r", partial(nonsense_host, rng)):
                assert driver.call("open", text=f"{directory / 'r'}:1").code == SUCCESS
                poller = driver.start("&poll", number=100) if seed % 4 == 0 else None
                calls = [
                    driver.start("power", number=POWER_UP + rng.choice((0, 0, 1, 2))),
                    driver.start("transmit", number=rng.choice((0, 2, 300, 65538)), text=rng.randbytes(5).hex()),
                    driver.start("control", number=rng.getrandbits(32), text=rng.randbytes(3).hex()),
                    driver.start("get", number=rng.getrandbits(32)),
                    driver.start("set", number=rng.getrandbits(32), text="00"),
                    driver.start("protocol", number=2),
                    driver.start("transmit", number=2, text="00b0"),
                ]  # fmt: skip
                for call in calls:
                    driver.result(call)
                driver.call("close")
                if poller:
                    driver.result(poller)
        assert driver.longest_ms < BOUND_MS
        assert driver.call("descriptors").code == before
        with ScriptedHost(directory / "good", good_host):
            assert driver.call("open", text=f"{directory / 'good'}:1").code == SUCCESS
            assert driver.call("presence").code == PRESENT
            assert driver.call("power", number=POWER_UP).data == ATR
            assert driver.transmit(bytes(range(200))).data == bytes(range(200))
            driver.call("close")


def test_nonsense_from_a_host(tmp_path: Path) -> None:
    fuzz_driver(build(tmp_path, *SANITIZERS), tmp_path, ORDINARY)


@pytest.mark.long
def test_much_nonsense_from_a_host(tmp_path: Path) -> None:
    fuzz_driver(build(tmp_path, *SANITIZERS), tmp_path, LONG)


PLANTED = {
    "a message beyond the buffer": ("sizeof slot->buffer - slot->filled", "sizeof slot->buffer + 70000"),
    "a response beyond the client's buffer": ("if (copied > room)", "if (copied > room + 40)"),
    "an unknown reply code": ("*reply <= PROTOCOL_REFUSED", "true"),
    "a descriptor that stays open": ("close(slot->host); /* which", "/* which"),
    "the start of the next message": ("slot->start += length;", "slot->start += length + 1;"),
}  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("fault", PLANTED)
def test_planted_faults_are_caught(tmp_path: Path, fault: str) -> None:
    """The fuzzer finds what it is for: it fails with a driver that has the fault."""
    source = tmp_path / "planted.c"
    right, wrong = PLANTED[fault]
    text = SOURCE.read_text()
    assert text.count(right) == 1
    source.write_text(text.replace(right, wrong))
    program = build(tmp_path, *SANITIZERS, source=source)
    with pytest.raises(AssertionError):
        fuzz_driver(program, tmp_path, ORDINARY)


def nonsense_driver(rng: random.Random, place: Path, requests: list[DriverMessage]) -> None:
    """Connect to a slot, and send it mutated requests until it ends the connection or replies no more."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(LIMIT)
        connection.connect(str(place))
        hello = packed(Kind.HELLO, bytes((VERSION, 0)))
        greeted = rng.random() < 0.9
        with contextlib.suppress(OSError, Disconnected):
            connection.sendall(hello if greeted else mutated(rng, hello))
            for kind, body in requests:
                connection.sendall(mutated(rng, packed(Kind(kind), body)))
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass


def exchanged(receiver: Receiver, connection: socket.socket, kind: Kind, body: bytes = b"") -> bytes:
    connection.sendall(packed(kind, body))
    while (message := receiver.next()).kind != Kind.REPLY:
        pass
    return message.body


def fuzz_slot(directory: Path, rounds: int) -> None:
    """Let a slot with a card meet `rounds` drivers that send nonsense, and then a good one. Raises AssertionError."""
    slot = DriverSlot(DriverEndpoint("fuzzed 00 00", directory, 0))
    try:
        slot.insert(EchoCard())
        for seed in range(rounds):
            rng = random.Random(seed)
            requests = [
                DriverMessage(rng.choice(list(Kind)[1:10]), rng.randbytes(rng.choice((0, 1, 4, 5, 300))))
                for _ in range(rng.randrange(6))
            ]
            begun = time.monotonic()
            nonsense_driver(rng, directory / "0", requests)
            assert time.monotonic() - begun < BOUND_MS / 1000
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(LIMIT)
            connection.connect(str(directory / "0"))
            receiver = Receiver(connection)
            connection.sendall(packed(Kind.HELLO, bytes((VERSION, 0))))
            assert receiver.next() == DriverMessage(Kind.HELLO, bytes((VERSION, 1)))
            assert exchanged(receiver, connection, Kind.POWER_UP) == bytes((ReplyCode.DONE,)) + ATR
            assert exchanged(receiver, connection, Kind.TRANSMIT, b"\2\0\1\2") == bytes((ReplyCode.DONE,)) + b"\0\1\2"
    finally:
        slot.close()


class EchoCard:
    """A card that returns every command."""

    atr = ATR
    present = True
    changes_in = None
    contactless = False

    def power_on(self) -> None:
        """Do nothing."""

    power_off = reset = power_on

    def negotiate(self, protocol: int) -> None:
        """Take any protocol."""

    def transmit(self, command: bytes) -> bytes:
        """Return the command."""
        return command


def test_nonsense_from_a_driver(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        fuzz_slot(tmp_path, ORDINARY)
    assert all("what connected is not the driver" in record.message for record in caplog.records)


def test_a_driver_that_trickles_is_given_up(tmp_path: Path) -> None:
    """The slot serves one connection at a time, so that a greeting has a second altogether."""
    slot = DriverSlot(DriverEndpoint("trickled 00 00", tmp_path, 0))
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(tmp_path / "0"))
            begun = time.monotonic()
            with contextlib.suppress(ConnectionError):
                for byte in (0x11000).to_bytes(4) + bytes(300):
                    connection.send(bytes((byte,)))
                    time.sleep(0.05)
            assert time.monotonic() - begun < 10
    finally:
        slot.close()


@pytest.mark.long
def test_much_nonsense_from_a_driver(tmp_path: Path) -> None:
    fuzz_slot(tmp_path, LONG)
