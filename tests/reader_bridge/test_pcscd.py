"""Starting a pcscd, and the ways in which it can fail."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from kazashi.applets.install import load_card
from kazashi.card.chip import Chip
from kazashi.card.image import read_image
from kazashi.card_management.order import image_path
from kazashi.reader_bridge import pcscd
from kazashi.reader_bridge.endpoint import DriverEndpoint, VpcdEndpoint
from kazashi.reader_bridge.host import slot_at
from kazashi.reader_bridge.interface import ContactInterface
from kazashi.reader_bridge.pcscd import PcscdUnavailable, configured_endpoints, start_pcscd
from kazashi.resident_registry.sample_residents import SAMPLE_RESIDENTS
from kazashi.world.home import World
from tests.support import send


def start(directory: Path, *readers: str, slots: int = 1) -> pcscd.RunningPcscd:
    return start_pcscd(directory, readers, private=True, slots=slots)


@pytest.mark.reader
def test_sixteen_cards_in_sixteen_slots(world: World, tmp_path: Path) -> None:
    running = start(tmp_path, *(f"Number {number}" for number in range(8)), slots=2)
    slots = [slot_at(endpoint) for endpoint in running.endpoints]
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
            slot.close()
        running.stop()


SEES_BOTH = """
import os, sys
from pathlib import Path
from kazashi.reader_bridge import pcscd
from kazashi.reader_bridge.pcsc import reader_names
pcscd.SYSTEM_DIRECTORY = Path(sys.argv[1])
assert pcscd.system_pcscd() is None, "its readers are not of this machine's configuration"
os.environ["PCSCLITE_CSOCK_NAME"] = sys.argv[2]
print(*reader_names())
"""


@pytest.mark.reader
def test_a_look_at_the_system_s_pcscd_keeps_a_process_from_no_other(tmp_path: Path) -> None:
    """libpcsclite keeps the first pcscd that a process uses: `kazashi doctor` would have chosen the system's."""
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    one, other = start(tmp_path / "one", "Foreign"), start(tmp_path / "other", "Mine")
    try:
        environment = {name: value for name, value in os.environ.items() if name != "PCSCLITE_CSOCK_NAME"}
        command = [sys.executable, "-P", "-c", SEES_BOTH, str(one.socket_path.parent), str(other.socket_path)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.stdout.split() == ["Mine", "00", "00"], done.stderr
    finally:
        one.stop()
        other.stop()


def card_id(image: Path) -> str:
    return read_image(image)[1]["card number"].encode().hex()


def test_zero_or_too_many_readers_are_rejected(tmp_path: Path) -> None:
    for readers in ([], ["r"] * 17):
        with pytest.raises(PcscdUnavailable, match="1 to 16"):
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
    monkeypatch.setattr(pcscd, "VPCD", tmp_path / "none.so")
    with pytest.raises(PcscdUnavailable, match="vsmartcard-vpcd"):
        start_pcscd(tmp_path, ["r"], private=True, vpcd=True)


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
    (tmp_path / "ours").write_text(
        'FRIENDLYNAME "Ours"\nDEVICENAME /run/kazashi/a:1\nLIBPATH /x/ifd_kazashi-0.so\n'
        'FRIENDLYNAME "Ours"\nDEVICENAME /run/kazashi/b:2\nLIBPATH /x/ifd_kazashi-0.so\n'
    )
    assert sorted(configured_endpoints(tmp_path), key=lambda endpoint: endpoint.reader) == [
        DriverEndpoint("Ours 00 00", Path("/run/kazashi/a"), 0),
        DriverEndpoint("Ours 01 00", Path("/run/kazashi/b"), 0),
        DriverEndpoint("Ours 01 01", Path("/run/kazashi/b"), 1),
        VpcdEndpoint("Virtual PCD 00 00", "127.0.0.1", 35963),
        VpcdEndpoint("Virtual PCD 00 01", "127.0.0.1", 35964),
    ]
    assert configured_endpoints(tmp_path / "none") == []
