"""vpcd's readers, which stand in where our own driver is missing: through clients in processes of their own."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kazashi.applets import jpki
from kazashi.applets.install import load_card
from kazashi.card.chip import Chip
from kazashi.card.image import read_image
from kazashi.card.request import select
from kazashi.card_management.order import image_path
from kazashi.reader_bridge.endpoint import VpcdEndpoint
from kazashi.reader_bridge.host import Presentation, ReaderHost, slot_at
from kazashi.reader_bridge.interface import ContactInterface
from kazashi.reader_bridge.pcscd import RunningPcscd, start_pcscd
from kazashi.world.home import World
from tests import WORKER
from tests.polling import LIMIT, until
from tests.support import send

pytestmark = pytest.mark.reader

SELECT_JPKI = select(jpki.AID).hex()


@pytest.fixture(scope="module")
def vpcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPcscd]:
    running = start_pcscd(
        tmp_path_factory.mktemp("vpcd"), ["Stand-in"], private=True, first_port=26100 + 40 * WORKER, open_ports=True
    )
    yield running
    running.stop()


@pytest.fixture
def image(world: World, tmp_path: Path) -> Path:
    return Path(shutil.copy(image_path(world, "hanako"), tmp_path / "hanako.card"))


def answers(running: RunningPcscd, number: int, *commands: str) -> list[str]:
    """Return the responses; there are none from a lost card."""
    try:
        return send(running.client_environment(), running.endpoints[number].reader, *commands)
    except AssertionError:
        return []


def test_command_of_one_byte_does_not_hang_the_reader(vpcd: RunningPcscd, image: Path) -> None:
    """vpcd's protocol cannot distinguish it from a control, and pcscd passes it on.

    It connects again once a second, because one that does so ten times a second keeps pcscd from powering the card.
    """
    host = ReaderHost(vpcd.endpoints)
    try:
        host.insert(host.slots[0], "hanako", image, Presentation())
        for code in ("00", "01", "02"):
            assert host.slots[0].wait_until_powered(LIMIT)
            begun = time.monotonic()
            assert "9000" not in answers(vpcd, 0, code)
            assert time.monotonic() - begun < LIMIT
            until(lambda: answers(vpcd, 0, SELECT_JPKI) == ["9000"], "the card did not come back", every=1.0)
            assert answers(vpcd, 0, "0500") == ["6700"], "two bytes and more are commands"
    finally:
        host.close()


HOST = """
import sys
from pathlib import Path
from kazashi.applets.install import load_card
from kazashi.card.chip import Chip
from kazashi.reader_bridge.endpoint import VpcdEndpoint
from kazashi.reader_bridge.host import slot_at
from kazashi.reader_bridge.interface import ContactInterface
slot = slot_at(VpcdEndpoint("x", "127.0.0.1", int(sys.argv[2])))
slot.insert(ContactInterface(Chip(load_card(Path(sys.argv[1])))))
slot.wait_until_powered(10)
print("powered", flush=True)
sys.stdin.read()
"""


def test_killed_bridge_can_be_started_again(vpcd: RunningPcscd, image: Path) -> None:
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, "-c", HOST, str(image), str(vpcd.open_ports[1])],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "powered\n"
        until(lambda: answers(vpcd, 1, SELECT_JPKI) == ["9000"], "the card did not appear")
        process.kill()
        process.wait()
        until(lambda: answers(vpcd, 1, SELECT_JPKI) != ["9000"], "the card is still there")
        process.stdin.close()
        process.stdout.close()


def test_vpcds_ports_are_closed_to_everybody_else(image: Path, tmp_path: Path) -> None:
    running = start_pcscd(tmp_path, ["Closed"], private=True, vpcd=True, first_port=36700)
    slot = slot_at(running.endpoints[0])
    try:
        slot.insert(ContactInterface(Chip(load_card(image))))
        assert slot.wait_until_powered(20)
        (response,) = send(running.client_environment(), slot.endpoint.reader, "00CA004500")
        assert response == card_id(image) + "9000"
        assert running.open_ports == ()
        listening = Path("/proc/net/tcp").read_text()
        for endpoint in running.endpoints:
            assert isinstance(endpoint, VpcdEndpoint)
            assert f":{endpoint.port:04X} 00000000:0000" not in listening
            with socket.socket() as stranger, pytest.raises(ConnectionRefusedError):
                stranger.connect(("127.0.0.1", endpoint.port))
            assert Path(endpoint.door).stat().st_mode & 0o777 == 0o600
    finally:
        slot.close()
        running.stop()


def test_ports_that_other_hosts_of_cards_need_are_open(tmp_path: Path) -> None:
    running = start_pcscd(tmp_path, ["Open"], private=True, first_port=36720, open_ports=True)
    try:
        assert running.open_ports == tuple(endpoint.open_port for endpoint in running.endpoints)
        socket.create_connection(("127.0.0.1", running.open_ports[0]), 10).close()
    finally:
        running.stop()


def card_id(image: Path) -> str:
    return read_image(image)[1]["card number"].encode().hex()
