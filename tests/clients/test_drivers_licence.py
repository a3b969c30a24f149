"""A driver's licence on the card in a reader, read as public clients read it, and checked by `reader check`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kazashi.applets.drivers_licence import AID
from kazashi.card.request import select
from tests.cli.program import Program, new_world
from tests.polling import until
from tests.support import send

pytestmark = pytest.mark.reader

SELECT = select(AID).hex()
FILES = ("00A4020C02001B", "00B0000002", "00B000080f")
"""As hmpow/JpDrvLicNfcCommand (2025-03) looks for the last day: tag and length, then on to the next object."""


@pytest.mark.parametrize("pin", ["4321", ""])
def test_public_clients_read_the_licence_on_the_card_in_the_reader(tmp_path: Path, pin: str) -> None:
    program = new_world(tmp_path / "w")
    program.run("card", "new", "hanako")
    Program(program.world).run("up", "--detach", "--pcscd", "private", "--no-services")
    try:
        environment = program.json("status")["pcscd"]["environment"]
        reader = program.json("status")["slots"][0]["reader"]
        assert send(environment, reader, SELECT) == ["6a82"]
        program.run(
            "card", "licence", "add", "hanako", "--expires", "2030-06-07", *(("--pin", pin) if pin else ("--no-pin",))
        )
        until(lambda: send(environment, reader, SELECT) == ["9000"], "the licence")
        for absent in (SELECT.replace("310600", "310400"), SELECT.replace("310600", "310500")):
            assert send(environment, reader, absent) == ["6a82"], "measured: only the instance is found"
        setting, *rest = send(environment, reader, SELECT, "00B09A0003", *FILES[:2], "00200086")[1:]
        assert (setting, rest) == (f"c1010{int(bool(pin))}9000", ["9000", "6982" if pin else "c4069000", "63ca"])
        if pin:
            assert send(environment, reader, SELECT, "0020008604" + b"0000".hex())[1] == "63c9"
        verify = ["0020008604" + (pin or "****").encode().hex()]
        assert send(environment, reader, SELECT, *verify, *FILES)[-1][:18] == "c507" + b"5120607".hex()
        checking = [sys.executable, "-m", "kazashi", "reader", "check", "--reader", reader, "--json"]
        done = subprocess.run(checking, env={**os.environ, **environment}, capture_output=True, text=True, check=True)
        checked = {row["check"]: row["outcome"] for row in json.loads(done.stdout)["results"]}
        assert checked["files.drivers-licence"] == "passed"
    finally:
        Program(program.world).run("down")
