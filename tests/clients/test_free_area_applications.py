"""Programs that are not ours, on PC/SC, with applications in the free area of a card that is in the reader."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.program import Program, new_world
from tests.polling import LIMIT, until
from tests.support import send

pytestmark = pytest.mark.reader

SELECT_LIBRARY = "00A4040C09F04B415A4153484901"
SELECT_RESIDENTS = "00A4040C09F04B415A4153484902"
READ_MEMBER, READ_SEAL = "00B0810020", "00B0820020"
TEXT_PIN = ("00A4040C0AD3921000310001010408", "0020009104" + b"0000".hex(), "00200091")


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    """A world in which hanako's card, for whose municipality there are ordinances, is in a reader."""
    program = new_world(tmp_path / "w")
    program.run("card", "new", "hanako")
    for application in ("library", "residents-card"):
        program.run("card", "ordinance", "add", "13113", application)
    Program(program.world).run("up", "--detach", "--pcscd", "private", "--no-services")
    yield program
    Program(program.world).run("down")


def test_opensc_and_pyscard_read_what_a_counter_loaded_onto_the_card_in_the_reader(program: Program) -> None:
    environment = program.json("status")["pcscd"]["environment"]
    reader = program.json("status")["slots"][0]["reader"]

    def opensc(*commands: str) -> str:
        arguments = [part for command in commands for part in ("--send-apdu", command)]
        done = subprocess.run(
            ["opensc-tool", "--reader", reader, *arguments],
            capture_output=True, text=True, check=False, timeout=LIMIT, env={**os.environ, **environment},
        )  # fmt: skip
        return done.stdout

    assert send(environment, reader, SELECT_LIBRARY, *TEXT_PIN) == ["6a82", "9000", "63c2", "63c2"]
    program.run("card", "application", "add", "hanako", "library", "--set", "member-number=20260042")
    until(lambda: "20260042" in opensc(SELECT_LIBRARY, READ_MEMBER), "OpenSC reads the member number")
    seal = ("--set", "card-number=77", "--set", "seal-registration=113-2046", "--pin", "4321")
    program.run("card", "application", "add", "hanako", "residents-card", *seal)
    until(lambda: "9000" in send(environment, reader, SELECT_RESIDENTS), "the second application")
    read = send(environment, reader, SELECT_RESIDENTS, READ_SEAL, "0020009104" + b"4321".hex(), READ_SEAL)
    assert read == ["9000", "6982", "9000", b"113-2046".ljust(32, b"\xff").hex() + "9000"]
    assert send(environment, reader, TEXT_PIN[0], TEXT_PIN[2]) == ["9000", "63c2"], "other PINs keep their counters"
    program.run("card", "application", "remove", "hanako", "library")
    until(lambda: send(environment, reader, SELECT_LIBRARY) == ["6a82"], "the library card is gone")
    assert send(environment, reader, SELECT_RESIDENTS, TEXT_PIN[0], TEXT_PIN[2]) == ["9000", "9000", "63c2"]
