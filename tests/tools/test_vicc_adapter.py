"""The stock vicc program hosts an emulated card in a real reader."""

from __future__ import annotations

from pathlib import Path

import pytest

from kazashi.applets import jpki
from kazashi.card.request import select, verify
from kazashi.reader_bridge.vicc import modules_directory, program
from tests.polling import until
from tests.support import send
from tests.vicc import EMULATED, inserted, open_vpcd, opensc_tool


def test_vicc_is_found_where_debian_installs_it() -> None:
    assert (modules_directory() / "virtualsmartcard" / "VirtualSmartcard.py").exists()
    assert program().exists()


@pytest.mark.reader
def test_stock_vicc_hosts_the_card(image: Path, tmp_path: Path) -> None:
    with open_vpcd(tmp_path) as pcscd, inserted(pcscd, tmp_path, *EMULATED, str(image)) as reader:
        environment = pcscd.client_environment()
        # pcscd may power the card while opensc-tool, which then calls it unsupported, asks for it.
        until(
            lambda: opensc_tool(environment, "--reader", reader, "--name").strip() == "jpki",
            "opensc-tool names the card",
        )
        commands = (select(jpki.AID), verify(jpki.AUTHENTICATION_PIN, b"0000"))
        assert send(environment, reader, *(command.hex() for command in commands)) == ["9000", "63c2"]
