"""The stock vicc program hosts an emulated card in a real reader."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kazashi.applets import jpki
from kazashi.card.request import select, verify
from kazashi.card_management.order import image_path
from kazashi.reader_bridge.pcscd import RunningPcscd
from kazashi.reader_bridge.vicc import modules_directory, program
from kazashi.world.home import World
from tests.support import connected, run


def has_card(reader: str) -> bool:
    listed = run("opensc-tool", "--list-readers").splitlines()
    return any(reader in line and " Yes " in line for line in listed)


def test_vicc_is_found_where_debian_installs_it() -> None:
    assert (modules_directory() / "virtualsmartcard" / "VirtualSmartcard.py").exists()
    assert program().exists()


@pytest.mark.reader
def test_stock_vicc_hosts_the_card(world: World, tmp_path: Path, pcscd: RunningPcscd) -> None:
    image = Path(shutil.copy(image_path(world, "hanako"), tmp_path / "hanako.card"))
    endpoint = pcscd.endpoints[2]
    vicc = subprocess.Popen(
        [sys.executable, "-m", "kazashi.tools.testing.vicc_adapter", str(image), "--port", str(endpoint.port)],
        stdout=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 20
        while not has_card(endpoint.reader):
            assert time.monotonic() < deadline
        assert run("opensc-tool", "--reader", endpoint.reader, "--name").strip() == "jpki"
        with connected(endpoint.reader) as transmit:
            assert transmit(select(jpki.AID)) == b"\x90\x00"
            assert transmit(verify(jpki.AUTHENTICATION_PIN, b"0000")) == b"\x63\xc2"
    finally:
        vicc.terminate()
        vicc.wait()
