"""Driver's licences on cards, written by command. openssl checks their signatures."""

from __future__ import annotations

import shutil
import subprocess
from itertools import count
from pathlib import Path

import pytest

from kazashi.applets import input_support
from kazashi.applets.drivers_licence import AID, LICENCE_DATA, PIN, PIN_SETTING, SIGNATURE
from kazashi.applets.install import load_card
from kazashi.card.chip import Chip
from kazashi.card.image import read_image
from kazashi.card.request import read_binary, select, select_file, tries_left, verify
from tests.cli.program import InProcessProgram, Program, new_world

ADD = ("card", "licence", "add", "hanako")
WHOLE = ("--class", "ordinary", "--class", "moped", "--class", "large-commercial", "--condition", "眼鏡等", "--granted",
         "2019-04-30", "--expires", "2030-06-07", "--number", "001912345678", "--pin", "4321")  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = new_world(tmp_path_factory.mktemp("licence") / "w")
    program.run("card", "new", "hanako")
    return program.world


@pytest.fixture
def program(made: Path, tmp_path: Path) -> Program:
    """The program with a world in which hanako has a card."""
    shutil.copytree(made, tmp_path / "w")
    return InProcessProgram(tmp_path / "w")


def chip_of(program: Program) -> Chip:
    """The card, with the licence selected."""
    chip = Chip(load_card(program.world / "cards" / "hanako.card"))
    chip.power_on()
    assert chip.transmit(select(AID)) == b"\x90\0"
    return chip


def whole(chip: Chip, fid: int) -> bytes:
    """A file, read to its end in blocks of 256 bytes."""
    content = b""
    chip.transmit(select_file(fid))
    for offset in count(0, 256):
        block = chip.transmit(read_binary(offset, 256))
        if block[-2:] != b"\x90\0":
            assert block.hex() == "6b00" or not content
            return content
        content += block[:-2]
    raise AssertionError


def test_a_licence_is_written_as_the_specification_has_it(program: Program, tmp_path: Path) -> None:
    program.run(*ADD, *WHOLE)
    chip = chip_of(program)
    assert whole(chip, PIN_SETTING) == bytes.fromhex("C10101")
    assert chip.transmit(read_binary(0, 4, file=LICENCE_DATA)).hex() == "6982"
    assert chip.transmit(read_binary(0, 4, file=SIGNATURE)).hex() == "6982"
    assert chip.transmit(tries_left(PIN)).hex() == "63ca"
    assert chip.transmit(verify(PIN, b"0000")).hex() == "63c9"
    assert chip.transmit(bytes.fromhex("0020008604") + b"4321").hex() == "9000"
    data = whole(chip, LICENCE_DATA)
    glasses = bytes(byte & 0x7F for byte in "眼鏡等".encode("euc_jp")).ljust(80, b"!")
    classes = {0xED: 1, 0xF2: 1, 0xF4: 1}
    assert data == b"".join((
        b"\xc4\6" + bytes.fromhex("4d25 4e49 2121"),
        b"\xc5\7" + b"5120607", b"\xc6\x50" + glasses, b"\xe7\x0c" + b"001912345678",
        b"\xe9\7" + b"4310430", b"\xea\7" + b"4310430", b"\xeb\7" + b"4310430",
        *(bytes((tag, 1, classes.get(tag, 0))) for tag in range(0xEC, 0xFB)),
    )), "2019-04-30 is the last day of Heisei"  # fmt: skip
    signed = whole(chip, SIGNATURE)
    assert len(signed) == 584, "the maximum size in the specification"
    files = {"data": data, "signature": signed[5:261]}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    program.run("card", "licence", "key", "13", "--out", str(tmp_path / "key.pem"))
    check = ["openssl", "dgst", "-sha256", "-verify", "key.pem", "-signature", "signature", "data"]
    assert b"Verified OK" in subprocess.run(check, cwd=tmp_path, capture_output=True, check=True).stdout
    (tmp_path / "data").write_bytes(data.replace(b"5120607", b"5130607"))
    assert subprocess.run(check, cwd=tmp_path, capture_output=True, check=False).returncode


def test_a_licence_without_a_pin_is_free(program: Program) -> None:
    program.run(*ADD, "--no-pin")
    chip = chip_of(program)
    assert whole(chip, PIN_SETTING) == bytes.fromhex("C10100")
    assert whole(chip, LICENCE_DATA)[:1] == b"\xc4"
    assert len(whole(chip, SIGNATURE)) == 584
    assert chip.transmit(bytes.fromhex("0020008604") + b"****").hex() == "9000", "the value of a PIN that is not set"


def test_wrong_pins_block_the_licence_and_nothing_else(program: Program) -> None:
    program.run(*ADD)
    chip = chip_of(program)
    for left in range(9, -1, -1):
        assert chip.transmit(verify(PIN, b"0000")).hex() == f"63c{left:x}"
    assert chip.transmit(verify(PIN, b"1234")).hex() == "6984"
    chip = chip_of(program)
    assert chip.transmit(verify(PIN, b"1234")).hex() == "6984", "after power-off, too"
    chip.transmit(select(input_support.AID))
    assert chip.transmit(verify(input_support.PIN, b"1234")).hex() == "9000"
    program.run("card", "licence", "remove", "hanako")
    program.run(*ADD)
    assert chip_of(program).transmit(verify(PIN, b"1234")).hex() == "9000", "a new licence has a new PIN"


def test_a_card_has_one_licence_and_no_other_application_changes(program: Program) -> None:
    image = program.world / "cards" / "hanako.card"
    before, about = read_image(image)
    assert program.error("licence-refused", 1, "card", "licence", "remove", "hanako")
    program.run(*ADD)
    program.error("application-exists", 2, *ADD)
    contents, texts = read_image(image)
    assert {aid: written for aid, written in contents.items() if aid != AID} == before
    assert texts == about | {"licence PIN": "1234"}
    program.run("card", "licence", "remove", "hanako")
    assert read_image(image) == (before, about)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--number", "12345"), "12 digits"), (("--pin", "12"), "4 digits"), (("--condition", "abc"), "full-width"),
        (("--condition", "𠮷"), "JIS X 0208"), (("--condition", "あ" * 41), "longer than 40"),
        (("--granted", "2000-01-01"), "younger than 16"), (("--granted", "2030-01-01"), "granted by today"),
        (("--expires", "2020-01-01"), "expires today or later"),
        (tuple(part for _ in range(13) for part in ("--condition", "眼鏡等")), "up to 12 conditions"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(program: Program, options: tuple[str, ...], words: str) -> None:
    before = read_image(program.world / "cards" / "hanako.card")
    assert words in program.error("licence-refused", 1, *ADD, *options)
    assert read_image(program.world / "cards" / "hanako.card") == before


def test_a_pin_and_no_pin_contradict_each_other(program: Program) -> None:
    for pin in ("1234", "4321", ""):
        assert "contradict" in program.error("usage", 2, *ADD, "--no-pin", "--pin", pin)


def test_licences_are_on_cards_in_use_and_from_the_day_of_the_law(program: Program) -> None:
    program.run("clock", "stand", "2026-11-25T10:00+09:00")
    program.run("registry", "event", "loss-report", "hanako")
    assert "not in use" in program.error("licence-refused", 1, *ADD)
    past = new_world(program.world.parent / "past")
    past.run("clock", "stand", "2025-03-23T10:00+09:00")
    past.run("card", "new", "hanako")
    assert "from 2025-03-24 on" in past.error("licence-refused", 1, *ADD)
    past.run("clock", "advance", "1d")
    past.run(*ADD)
