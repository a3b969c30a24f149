"""Hosts and drivers of another user, directories that others can write in, and broken hosts behind a real pcscd."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from kazashi.reader_bridge.driver.protocol import VERSION, Disconnected, DriverMessage, Kind, Receiver, packed
from kazashi.reader_bridge.driver.slot import DriverSlot
from kazashi.reader_bridge.endpoint import DriverEndpoint
from kazashi.reader_bridge.pcscd import start_pcscd
from tests.polling import LIMIT, until
from tests.reader_bridge.driver_calls import (
    NOT_PRESENT,
    PRESENT,
    SUCCESS,
    DriverProgram,
    ScriptedHost,
    build,
    good_host,
    greet,
    reply_to,
)
from tests.support import send

STRANGER = 12345
ROOT = os.geteuid() == 0


@contextmanager
def stranger() -> Iterator[None]:
    """Listen or connect as another user. An ordinary user cannot: the tests then tell the other side that it is one."""
    if ROOT:
        os.seteuid(STRANGER)
    try:
        yield
    finally:
        if ROOT:
            os.seteuid(0)


def program(directory: Path) -> Path:
    """Return the driver's program. Without a second user, it takes every host for a stranger."""
    return build(directory) if ROOT else build(directory, f"-DPEER_UID={STRANGER}", "-Wl,--wrap=getsockopt")


def test_a_strangers_host_is_refused(tmp_path: Path) -> None:
    with DriverProgram(program(tmp_path)) as driver, ScriptedHost(tmp_path / "r", good_host) as host:
        with stranger():
            host.listen_again()
        assert driver.call("open", text=f"{tmp_path / 'r'}:1").code == SUCCESS
        assert driver.call("presence").code == NOT_PRESENT
        poller = driver.start("&poll", number=10)
        until(lambda: host.connections >= 4, "the driver tries again")
        driver.call("close")
        driver.result(poller)
        (line,) = driver.log
        assert line.endswith("refused: the host runs as a user to whom the directory does not belong")
        if ROOT:
            host.listen_again()
            assert driver.call("open", text=f"{tmp_path / 'r'}:1").code == SUCCESS
            assert driver.call("presence").code == PRESENT, "root's host in root's directory"
            driver.call("close")


def test_directories_that_others_can_write_in_are_refused(tmp_path: Path) -> None:
    with DriverProgram(build(tmp_path)) as driver, ScriptedHost(tmp_path / "r", good_host):
        for number, (mode, code) in enumerate(((0o777, NOT_PRESENT), (0o775, NOT_PRESENT), (0o755, PRESENT))):
            (tmp_path / "r").chmod(mode)
            assert driver.call("open", number << 16, text=f"{tmp_path / 'r'}:1").code == SUCCESS
            assert driver.call("presence", number << 16).code == code
            driver.call("close", number << 16)
        assert [line.split(": ", 1)[1] for line in driver.log] == [
            "refused: others than its owner can write in the directory"
        ] * 2


def test_a_strangers_driver_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets no byte, and the true driver is served afterwards."""
    slot = DriverSlot(DriverEndpoint("guarded 00 00", tmp_path, 0))
    try:
        tmp_path.chmod(0o755)
        me = os.geteuid()
        for _ in range(3):
            with socket.socket(socket.AF_UNIX) as connection, monkeypatch.context() as patch:
                connection.settimeout(LIMIT)
                # seteuid changes the user of the slot's thread, too.
                patch.setattr(os, "geteuid", lambda: 0 if ROOT else STRANGER)
                for directory in tmp_path.parents[: 2 * ROOT]:
                    directory.chmod(0o755)
                with stranger():
                    connection.connect(str(tmp_path / "0"))
                with pytest.raises((Disconnected, ConnectionError)):
                    Receiver(connection).next()
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(LIMIT)
            connection.connect(str(tmp_path / "0"))
            connection.sendall(packed(Kind.HELLO, bytes((VERSION, 0))))
            assert Receiver(connection).next() == DriverMessage(Kind.HELLO, bytes((VERSION, 0)))
        (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
        assert record.getMessage() == f"guarded 00 00: user {STRANGER if ROOT else me} connected, who may not run pcscd"
    finally:
        slot.close()


@pytest.mark.reader
def test_pcscd_serves_the_others_while_hosts_break(tmp_path: Path) -> None:
    """One host dies in the middle of its replies, one sends nonsense; a third is served, and so are good ones later."""

    def dying(connection: socket.socket) -> None:
        receiver = greet(connection)
        while (message := receiver.next()).kind != Kind.TRANSMIT:
            connection.sendall(reply_to(message))
        connection.sendall(reply_to(message)[:7])

    def babbling(connection: socket.socket) -> None:
        receiver = greet(connection)
        while (message := receiver.next()).kind != Kind.TRANSMIT:
            connection.sendall(reply_to(message))
        connection.sendall(b"\xff" * 100)
        receiver.next()

    running = start_pcscd(tmp_path, ["Dying", "Babbling", "Good"], private=True)
    names = [endpoint.reader for endpoint in running.endpoints]
    places = [endpoint.directory for endpoint in running.endpoints if isinstance(endpoint, DriverEndpoint)]
    environment = running.client_environment()
    try:
        with ScriptedHost(places[2], good_host):
            with ScriptedHost(places[0], dying), ScriptedHost(places[1], babbling):
                for name in names[:2]:
                    with pytest.raises(AssertionError, match=r"PcscError|removed|communicat|transact"):
                        send(environment, name, "00A40000")
                assert send(environment, names[2], "00A40000") == ["00a40000"]
            with ScriptedHost(places[0], good_host), ScriptedHost(places[1], good_host):
                for name in names:
                    until(partial(served, environment, name), f"{name} is served again")
    finally:
        running.stop()
    lines = [line for line in (tmp_path / "pcscd.log").read_text().splitlines() if "kazashi" in line]
    assert len(lines) == 1, lines
    assert "reader-01 slot 0: what listens there is not a host of cards" in lines[0]


def served(environment: dict[str, str], name: str) -> bool:
    try:
        return send(environment, name, "00B0000001") == ["00b0000001"]
    except AssertionError:
        return False
