"""Starting a pcscd, and the ways in which it can fail."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import pytest

from kazashi.applets.install import load_card
from kazashi.card.chip import Chip
from kazashi.card.image import read_image
from kazashi.card_management.order import image_path
from kazashi.reader_bridge import pcscd
from kazashi.reader_bridge.interface import ContactInterface
from kazashi.reader_bridge.pcscd import PcscdUnavailable, configured_endpoints, start_pcscd
from kazashi.reader_bridge.slot import Slot
from kazashi.resident_registry.sample_residents import SAMPLE_RESIDENTS
from kazashi.world.home import World
from tests.support import send


def start(directory: Path, *readers: str, first_port: int = 36500) -> pcscd.RunningPcscd:
    return start_pcscd(directory, readers, private=True, first_port=first_port)


@pytest.mark.reader
def test_sixteen_cards_in_sixteen_slots(world: World, tmp_path: Path) -> None:
    running = start(tmp_path, *(f"Number {number}" for number in range(8)))
    slots = [Slot(endpoint) for endpoint in running.endpoints]
    try:
        assert len(slots) == 16
        for slot, name in zip(slots, SAMPLE_RESIDENTS, strict=False):
            image = Path(shutil.copy(image_path(world, name), tmp_path / f"{name}.card"))
            slot.insert(ContactInterface(Chip(load_card(image))))
        for slot, name in zip(slots, SAMPLE_RESIDENTS, strict=False):
            assert slot.wait_until_powered(20), slot.endpoint.reader
            (response,) = send(running.client_environment(), slot.endpoint.reader, "00CA004500")
            assert response == card_id(image_path(world, name)) + "9000", "each slot has its own card"
    finally:
        for slot in slots:
            slot.remove()
        running.stop()


@pytest.mark.reader
def test_vpcds_ports_are_closed_to_everybody_else(image: Path, tmp_path: Path) -> None:
    running = start(tmp_path, "Closed", first_port=36700)
    slot = Slot(running.endpoints[0])
    try:
        slot.insert(ContactInterface(Chip(load_card(image))))
        assert slot.wait_until_powered(20)
        (response,) = send(running.client_environment(), slot.endpoint.reader, "00CA004500")
        assert response == card_id(image) + "9000"
        assert running.open_ports == ()
        listening = Path("/proc/net/tcp").read_text()
        for endpoint in running.endpoints:
            assert f":{endpoint.port:04X} 00000000:0000" not in listening
            with socket.socket() as stranger, pytest.raises(ConnectionRefusedError):
                stranger.connect(("127.0.0.1", endpoint.port))
        door = Path(running.endpoints[0].door)
        assert door.stat().st_mode & 0o777 == 0o600
    finally:
        slot.remove()
        running.stop()


@pytest.mark.reader
def test_ports_that_other_hosts_of_cards_need_are_open(tmp_path: Path) -> None:
    running = start_pcscd(tmp_path, ["Open"], private=True, first_port=36720, open_ports=True)
    try:
        assert running.open_ports == tuple(endpoint.port for endpoint in running.endpoints)
        socket.create_connection(("127.0.0.1", running.open_ports[0]), 10).close()
    finally:
        running.stop()


def card_id(image: Path) -> str:
    return read_image(image)[1]["card number"].encode().hex()


def test_zero_or_too_many_readers_are_rejected(tmp_path: Path) -> None:
    for readers in ([], ["r"] * 9):
        with pytest.raises(PcscdUnavailable, match="1 to 8"):
            start(tmp_path, *readers)


@pytest.mark.parametrize("name", ["", 'quo"te', "line\nbreak", "x" * 101])
def test_invalid_reader_names_are_rejected(tmp_path: Path, name: str) -> None:
    with pytest.raises(PcscdUnavailable, match="cannot be the name"):
        start(tmp_path, name)


def test_missing_program_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(PcscdUnavailable, match="pcscd is missing"):
        start(tmp_path, "r")


def test_missing_driver_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pcscd, "DRIVER", tmp_path / "none.so")
    with pytest.raises(PcscdUnavailable, match="vsmartcard-vpcd"):
        start(tmp_path, "r")


def test_ports_in_use_are_skipped(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        (free,) = pcscd.free_ports(1, port)
        assert free > port
    with pytest.raises(PcscdUnavailable, match="free ports"):
        pcscd.free_ports(5, 65530)


def test_error_of_a_failed_start_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the kernel does not allow a namespace, `unshare` prints the reason and exits."""
    program = tmp_path / "unshare"
    program.write_text("#!/bin/sh\necho operation not permitted >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(PcscdUnavailable, match="operation not permitted"):
        start(tmp_path, "r")


def test_slots_are_read_from_the_systems_configuration(tmp_path: Path) -> None:
    (tmp_path / "serial").write_text("#FRIENDLYNAME x\nDEVICENAME /dev/ttyS0\nLIBPATH libccidtwin.so\n")
    (tmp_path / "vpcd").write_text(
        'FRIENDLYNAME "Virtual PCD"\nDEVICENAME   /dev/null:0x8C7B\nLIBPATH libifdvpcd.so\nCHANNELID 0x8C7B\n'
    )
    assert [(endpoint.reader, endpoint.port) for endpoint in configured_endpoints(tmp_path)] == [
        ("Virtual PCD 00 00", 35963),
        ("Virtual PCD 00 01", 35964),
    ]
    assert configured_endpoints(tmp_path / "none") == []
