"""The secure channel of the text application, against OpenSSL. The measured facts are those of myna-card, src/sm.rs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from kazashi.applets import common_card, input_support, jpki
from kazashi.applets.input_support import FOUR_ATTRIBUTES, INDIVIDUAL_NUMBER, NUMBER_A, PIN, SESSION_PUBLIC_KEY
from kazashi.card.chip import Chip
from kazashi.card.image import read_image
from kazashi.card.request import read_binary, select, select_file, tries_left, verify
from tests.card.openssl_terminal import OpensslChannel, encrypted, public_pem

pytestmark = pytest.mark.unit

TEXT = select(input_support.AID)
SEED = bytes.fromhex("A0228020")
NO_SESSION = ("", "69fc")


def set_key(chip: Chip, encrypted_key: bytes) -> str:
    """SET SESSION KEY; return the status word."""
    return chip.transmit(bytes.fromhex("80AE0000000100") + encrypted_key).hex()


@pytest.fixture
def public(chip: Chip, tmp_path: Path) -> Path:
    """The public key in file 0006 of the text application, which is selected, with its PIN verified."""
    assert chip.transmit(TEXT) == chip.transmit(verify(PIN, b"1234")) == b"\x90\0"
    written = chip.transmit(read_binary(0, 256, file=SESSION_PUBLIC_KEY))[:-2]
    return public_pem(written + chip.transmit(read_binary(256, 256))[:-2], tmp_path / "public.pem")


@pytest.fixture
def channel(chip: Chip, public: Path) -> OpensslChannel:
    """An open channel."""
    seed = os.urandom(32)
    assert set_key(chip, encrypted(SEED + seed, public)) == "9000"
    return OpensslChannel(chip.transmit, seed)


def test_openssl_reads_and_verifies_through_the_channel(chip: Chip, channel: OpensslChannel, image: Path) -> None:
    contents, about = read_image(image)
    files = contents[input_support.AID].data
    assert channel.verify(NUMBER_A.short, about["individual number"].encode()) == "9000"
    assert channel.read(INDIVIDUAL_NUMBER) == (files[INDIVIDUAL_NUMBER], "9000"), "17 bytes: two blocks"
    assert channel.read(FOUR_ATTRIBUTES) == (files[FOUR_ATTRIBUTES], "9000"), "a multiple of the block"
    assert channel.read(FOUR_ATTRIBUTES, 16) == (files[FOUR_ATTRIBUTES][:16], "9000")
    assert channel.send("b00200", b"\x96\3\0\0\0", le=True) == (b"", "6b00")
    assert channel.verify(NUMBER_A.short, b"000000000000") == "63c9", "a try is spent as in the clear"
    assert chip.transmit(tries_left(NUMBER_A)).hex() == "63c9"


def test_every_secured_command_counts_and_no_other(chip: Chip, channel: OpensslChannel) -> None:
    assert channel.verify(input_support.BLOCKED_KEY.short, b"1") == "6984", "rejected by the application"
    assert chip.transmit(select_file(INDIVIDUAL_NUMBER)) == b"\x90\0", "in the clear"
    assert channel.send("b00000", b"\x96\3\0\0\1", le=True) == (b"\xff", "9000")
    assert channel.counter == 3


def cut(item: bytes) -> bytes:
    """A cryptogram that lacks a block's last byte."""
    return bytes((0x86, item[1] - 1)) + item[2:-1]


def out_of_step(channel: OpensslChannel) -> tuple[str, bytes]:
    """VERIFY under another counter."""
    channel.counter = 9
    return "200091", channel.cryptogram(b"1234")


BROKEN: dict[str, Callable[[OpensslChannel], tuple[str, bytes]]] = {
    "another counter": out_of_step,
    "another padding": lambda channel: ("200091", b"\x86\x11\2" + channel.cryptogram(b"1234")[3:]),
    "two objects": lambda channel: ("200091", channel.cryptogram(b"1234") * 2),
    "an expected length in VERIFY": lambda _: ("200091", b"\x96\3\0\0\4"),
    "a cryptogram in READ BINARY": lambda channel: ("b00000", channel.cryptogram(b"1234")),
    "no object": lambda _: ("200091", b"1234"),
    "a block that is cut": lambda channel: ("200091", cut(channel.cryptogram(b"1234"))),
    "an empty cryptogram": lambda _: ("200091", b"\x86\1\1"),
}  # fmt: skip


@pytest.mark.parametrize("how", BROKEN)
def test_a_command_that_cannot_be_decrypted_ends_the_session(chip: Chip, channel: OpensslChannel, how: str) -> None:
    header, item = BROKEN[how](channel)
    assert channel.send(header, item, le=header[0] == "b") == (b"", "6988")
    channel.counter = 2
    assert channel.verify(PIN.short, b"1234") == "69fc"
    assert chip.transmit(tries_left(PIN)).hex() == "63c3", "no try was spent"


def test_the_long_form_of_a_length_is_accepted(chip: Chip, channel: OpensslChannel) -> None:
    item = channel.cryptogram(b"1234")
    assert channel.send("200091", b"\x86\x81" + item[1:]) == (b"", "9000")


@pytest.mark.parametrize("aid", [input_support.AID, jpki.AID, common_card.AID])
def test_selecting_an_application_ends_the_session(chip: Chip, channel: OpensslChannel, aid: bytes) -> None:
    chip.transmit(select(aid))
    assert channel.verify(PIN.short, b"1234") == "69fc"
    chip.transmit(TEXT)
    assert channel.verify(PIN.short, b"1234") == "69fc"


def test_a_checksum_and_other_commands_are_not_supported(chip: Chip, channel: OpensslChannel) -> None:
    assert chip.transmit(bytes.fromhex("0C20009104") + b"1234").hex() == "6987"
    assert channel.send("ca0042", channel.cryptogram(b"")) == (b"", "69fc")


@pytest.mark.parametrize(
    "form", ["A0228120{}", "A0448020{0}8120{0}", "A1228020{}", "A0228020{}00", "8020{}", "A0218020{:.62}", ""]
)
def test_only_one_encryption_key_is_accepted(chip: Chip, public: Path, form: str) -> None:
    assert set_key(chip, encrypted(bytes.fromhex(form.format("42" * 32)), public)) == "6a80"
    assert set_key(chip, bytes(256)) == "6a80"
    assert set_key(chip, b"\xff" * 256) == "6a80", "above the modulus"


def test_a_session_key_needs_the_pin_of_the_text_application(chip: Chip, public: Path, image: Path) -> None:
    key = encrypted(SEED + bytes(32), public)
    chip.transmit(select(jpki.AID))
    assert set_key(chip, key) == "6982"
    chip.transmit(TEXT)
    assert set_key(chip, key) == "6982", "its PIN is no longer verified"
    chip.transmit(verify(NUMBER_A, read_image(image)[1]["individual number"].encode()))
    assert set_key(chip, key) == "6982", "reference number A is not enough"
    chip.transmit(select(common_card.AID))
    assert set_key(chip, key) == "66f1"
