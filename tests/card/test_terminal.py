"""Terminals that log in without a PIN: certified by a command, with keys and signatures of OpenSSL."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from kazashi.applets import jpki
from kazashi.applets.install import install
from kazashi.card.chip import Chip
from kazashi.card.identifiers import FileId
from kazashi.card.image import read_image
from kazashi.card.request import (
    compute_digital_signature,
    external_authenticate,
    select,
    select_file,
    terminal_certificate,
    tries_left,
)
from kazashi.world.home import World
from tests.card.openssl_terminal import openssl
from tests.support import run

SIGN = compute_digital_signature(jpki.AUTHENTICATION_KEY, bytes(32))
SIGN_DOCUMENT = compute_digital_signature(jpki.SIGNATURE_KEY, bytes(32))
CHALLENGE = bytes.fromhex("0084000010")
START = (select(jpki.AID), select_file(jpki.TERMINAL_AUTHORITY))


def certify(world: World, public: Path, certificate: Path) -> tuple[str, ...]:
    """The command that certifies a terminal."""
    program = (sys.executable, "-m", "kazashi", "--world", str(world.directory))
    return (*program, "card", "terminal", str(public), "--out", str(certificate))


class Terminal:
    """A terminal with an OpenSSL key, certified by a world."""

    def __init__(self, world: World, directory: Path) -> None:
        self.key = directory / "terminal.pem"
        openssl("genrsa", "-out", str(self.key), "2048")
        public, certificate = directory / "public.pem", directory / "terminal.cvc"
        openssl("rsa", "-in", str(self.key), "-pubout", "-out", str(public))
        run(*certify(world, public, certificate))
        self.certificate = certificate.read_bytes()

    def signature(self, challenge: bytes) -> bytes:
        """EXTERNAL AUTHENTICATE with a signature of a challenge."""
        signed = openssl("dgst", "-sha256", "-sign", str(self.key), data=challenge)
        return external_authenticate(jpki.TERMINAL_AUTHORITY, signed)


@pytest.fixture(scope="module")
def terminal(world: World, tmp_path_factory: pytest.TempPathFactory) -> Terminal:
    return Terminal(world, tmp_path_factory.mktemp("terminal"))


def sent(chip: Chip, *commands: bytes) -> list[str]:
    """Send commands; return the status words."""
    return [chip.transmit(command)[-2:].hex() for command in commands]


def test_a_certified_terminal_signs_without_the_pin(chip: Chip, terminal: Terminal) -> None:
    assert sent(chip, *START, SIGN)[-1] == "6982"
    assert sent(chip, *START, *terminal_certificate(terminal.certificate), SIGN)[-3:] == ["9000", "9000", "6982"]
    challenge = chip.transmit(CHALLENGE)[:-2]
    assert sent(chip, terminal.signature(challenge), SIGN, SIGN_DOCUMENT) == ["9000", "9000", "6982"]
    assert chip.transmit(tries_left(jpki.AUTHENTICATION_PIN)).hex() == "63c3"
    chip.transmit(select(jpki.AID))
    assert sent(chip, SIGN) == ["9000"], "as after a PIN"
    chip.transmit(select(bytes.fromhex("A0000001510000")))
    assert sent(chip, select(jpki.AID), SIGN) == ["9000", "6982"]
    assert sent(chip, CHALLENGE, terminal.signature(challenge)) == ["9000", "6982"], "the certificate is forgotten"


def test_a_challenge_is_signed_once_and_by_the_terminal(chip: Chip, terminal: Terminal) -> None:
    sent(chip, *START, *terminal_certificate(terminal.certificate))
    first = chip.transmit(CHALLENGE)[:-2]
    second = chip.transmit(CHALLENGE)[:-2]
    assert sent(chip, terminal.signature(first), SIGN) == ["6300", "6982"]
    assert sent(chip, terminal.signature(second), SIGN) == ["6985", "6982"], "the wrong signature used it up"
    third = terminal.signature(chip.transmit(CHALLENGE)[:-2])
    assert sent(chip, third, third, SIGN) == ["9000", "6985", "9000"]
    fourth = chip.transmit(CHALLENGE)[:-2]
    assert sent(chip, terminal.signature(fourth)[:3] + b"\x80" + terminal.signature(fourth)[4:]) == ["6a86"]


def altered(certificate: bytes, offset: int) -> bytes:
    """A certificate with another byte."""
    return certificate[:offset] + bytes((certificate[offset] ^ 1,)) + certificate[offset + 1 :]


@pytest.mark.parametrize(
    ("offset", "expected"), [(12, "6982"), (30, "6982"), (200, "6982"), (400, "6982"), (42, "6a80")]
)
def test_an_altered_certificate_is_refused(chip: Chip, terminal: Terminal, offset: int, expected: str) -> None:
    parts = terminal_certificate(altered(terminal.certificate, offset))
    assert expected in sent(chip, *START, *parts)
    assert sent(chip, CHALLENGE, terminal.signature(bytes(16)), SIGN) == ["9000", "6982", "6982"]


def test_parts_come_in_order_and_whole(chip: Chip, terminal: Terminal) -> None:
    first, second = terminal_certificate(terminal.certificate)
    assert sent(chip, select(jpki.AID), first) == ["9000", "6986"]
    assert sent(chip, select_file(jpki.AUTHENTICATION_KEY), first) == ["9000", "6981"]
    assert sent(chip, *START, second) == ["9000", "9000", "6985"]
    assert sent(chip, first, second, second) == ["9000", "9000", "6985"]
    assert sent(chip, first, first[:7] + second[7:]) == ["9000", "6700"]
    assert sent(chip, second[:2] + b"\6" + second[3:], second) == ["6a80", "6985"]
    assert sent(chip, first, bytes.fromhex("80A200C103B00100"), second) == ["9000", "6a80", "6985"]


def test_a_card_without_the_authority_accepts_no_terminal(image: Path, terminal: Terminal) -> None:
    """A card of an earlier version has nothing in file 0016."""
    contents, _ = read_image(image)
    del contents[jpki.AID].data[FileId(jpki.TERMINAL_AUTHORITY)]
    chip = Chip(install(contents))
    chip.power_on()
    assert sent(chip, *START, *terminal_certificate(terminal.certificate)) == ["9000", "9000", "6982", "6982"]


@pytest.mark.parametrize("size", ["1024", "3072"])
def test_a_terminal_has_a_key_of_2048_bits(world: World, tmp_path: Path, size: str) -> None:
    public = tmp_path / "public.pem"
    public.write_bytes(openssl("rsa", "-pubout", data=openssl("genrsa", size)))
    command = certify(world, public, tmp_path / "x")
    assert "openssl genrsa 2048 [usage]" in run(*command, expect=2)
    public.write_bytes(b"no key")
    assert "public.pem is not a public key in PEM" in run(*command, expect=2)
    assert not (tmp_path / "x").exists()
