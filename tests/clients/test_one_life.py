"""One resident from birth to death: the card follows, a terminal and a secure channel read it, a licence and a library
card are on it, the phone and its mdoc join, the next card comes. MyKey and the platform know one person throughout.

Everything is done by the commands of a user and read through pcscd; openssl checks signatures.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from kazashi.applets import input_support, jpki
from kazashi.assembly.institutions import Institutions
from kazashi.assembly.relying import direct_linkage
from kazashi.card.request import select, terminal_certificate
from kazashi.relying_party.platform.platform import Platform
from kazashi.relying_party.verify.certificate import read_certificate
from kazashi.world.home import open_world
from tests.card.openssl_terminal import openssl
from tests.cli.program import Program, new_world
from tests.polling import until
from tests.support import send

pytestmark = [pytest.mark.reader, pytest.mark.long]

TEXT, JPKI = select(input_support.AID).hex(), select(jpki.AID).hex()
TEXT_PIN, JPKI_PIN = "0020009104" + b"1234".hex(), "0020009804" + b"1234".hex()
ATTRIBUTES = "00B08200000200"
CERTIFICATE, PHONE_CERTIFICATE = ("00A4020C02000A", "00B00000000000"), (JPKI_PIN, "00A4020C02000A", "00B00000000000")
LICENCE = "00A4040C10A0000002310600000000000000000000"
BIRTH = "2009-04-01"


class OneLife:
    """The person, the devices in two readers, and what services know."""

    def __init__(self, directory: Path) -> None:
        self.program = new_world(directory / "w", "--evening", "20")
        self.directory = directory
        self.mykey = ""
        self.users: set[str] = set()

    def run(self, *arguments: str) -> str:
        return self.program.run(*arguments).stdout

    def begin(self) -> None:
        """Two readers, the first with the card."""
        Program(self.program.world).run(
            "up", "--detach", "--pcscd", "private", "--no-services", "--empty", "--reader", "Desk", "--reader", "Gate"
        )
        status = self.program.json("status")
        self.environment = status["pcscd"]["environment"]
        self.readers = [slot["reader"] for slot in status["slots"]]

    def insert(self, name: str, slot: int = 0) -> None:
        self.program.run("card", "insert", name, "--slot", str(slot))

    def ask(self, *commands: str, slot: int = 0) -> list[str]:
        return send(self.environment, self.readers[slot], *commands)

    def last(self, *commands: str) -> str:
        """The last answer of the card in the first reader; empty while the card is being exchanged."""
        with suppress(AssertionError):
            return self.ask(*commands)[-1]
        return ""

    def words(self) -> set[str]:
        """The parts of name and address in the text application of the card in the reader."""
        text = bytes.fromhex(self.last(TEXT, TEXT_PIN, ATTRIBUTES)).decode("utf-8", "replace")
        return {word for word in ("架空町２丁目２番２号", "手本") if word in text}

    def meets(self, slot: int = 0, medium: str = "card") -> None:
        """The device in a reader logs in at MyKey and at the platform, which know the person already."""
        commands = CERTIFICATE if medium == "card" else PHONE_CERTIFICATE
        certificate = bytes.fromhex(self.ask(JPKI, *commands, slot=slot)[-1][:-4])
        certificate = certificate[: int.from_bytes(certificate[2:4]) + 4]
        with closing(open_world(self.program.world)) as world:
            institutions = Institutions(world)
            platform = Platform(world, direct_linkage(institutions, "platform"))
            self.users.add(platform.identify("shop", read_certificate(certificate)).identifier)
        assert len(self.users) == 1, "the platform knows one person"
        refused = self.program.error("already-registered", 1, "mykey", "register", "mi", "--medium", medium)
        assert self.mykey in refused
        self.program.run("mykey", "night")
        assert self.mykey in self.run("mykey", "find", "mi", "--medium", medium)

    def states(self) -> set[str]:
        return {row["state"] for row in self.program.json("ca", "show", "mi")}


@pytest.fixture
def life(tmp_path: Path) -> Iterator[OneLife]:
    life = OneLife(tmp_path)
    yield life
    subprocess.run(["pkill", "-f", f"kazashi.tools.daemon {life.program.world}"], check=False)


def a_terminal_without_the_pin(life: OneLife) -> None:
    key, public, certificate = (life.directory / name for name in ("terminal.pem", "terminal.pub", "terminal.cvc"))
    openssl("genrsa", "-out", str(key), "2048")
    openssl("rsa", "-in", str(key), "-pubout", "-out", str(public))
    life.run("card", "terminal", str(public), "--out", str(certificate))
    parts = [part.hex() for part in terminal_certificate(certificate.read_bytes())]
    # A challenge is answered in the same connection, so that the client signs in its own process.
    script = f"""
import subprocess, sys
from smartcard.System import readers
card = next(r for r in readers() if r.name == sys.argv[1]).createConnection()
card.connect()
def send(text):
    data, *status = card.transmit(list(bytes.fromhex(text)))
    return bytes(data), bytes(status).hex()
for text in ({JPKI!r}, "00A4020C020016", *{parts!r}):
    assert send(text)[1] == "9000", text
challenge, _ = send("0084000010")
signing = ["openssl", "dgst", "-sha256", "-sign", {str(key)!r}]
signed = subprocess.run(signing, input=challenge, capture_output=True).stdout
assert send("00820096000100" + signed.hex())[1] == "9000"
signature, status = send("802A009733" + "3031300d060960864801650304020105000420" + "00" * 32 + "00")
assert (len(signature), status) == (256, "9000"), status
"""
    client(life, script)


def client(life: OneLife, script: str, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", script, life.readers[0], *arguments],
        env={**os.environ, **life.environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_one_resident_from_birth_to_death(life: OneLife) -> None:
    run, program = life.run, life.program
    run("tenant", "shop", "https://shop.example", "--follow", "person")
    life.begin()
    # Born into the register; the card comes at sixteen, with a photograph drawn.
    name = ("--family", "見本", "--given", "実", "--kana", "ミホン　ミ")
    place = ("--municipality", "13113", "--street", "架空町１丁目１番１号")
    run("registry", "add", "mi", *name, "--birth", BIRTH, "--sex", "2", *place)
    run("card", "new", "mi")
    life.insert("mi")
    life.mykey = run("mykey", "register", "mi").split()[-1]
    life.meets()
    # The card follows a move and a new name, while it lies in the reader.
    run("registry", "event", "move-within", "mi", "--street", "架空町２丁目２番２号")
    new = ("--family", "手本", "--kana", "テホン　ミ", "--channel", "counter")
    run("registry", "event", "name-change", "mi", *new)
    run("card", "update", "mi")
    until(lambda: {"架空町２丁目２番２号", "手本"} <= life.words(), "the card has the new address and name")
    life.meets()
    # A terminal without a PIN, and one that reads through a secure channel.
    a_terminal_without_the_pin(life)
    # A driver's licence and a library card.
    run("card", "licence", "add", "mi", "--pin", "4321")
    until(lambda: life.last(LICENCE, "00B09A0003") == "c101019000", "the licence")
    run("card", "ordinance", "add", "13113", "library")
    run("card", "application", "add", "mi", "library", "--set", "member-number=20260042")
    until(lambda: b"20260042".hex() in life.last("00A4040C09F04B415A4153484901", "00B0810020"), "the library card")
    # The phone joins.
    run("phone", "new", "mi")
    life.insert("mi-phone", 1)
    life.meets(1, "phone")
    # An mdoc is shown once, to the verifier that asked, and to no other.
    run("mdoc", "issue", "mi-phone", "--count", "2")
    request, other = life.directory / "request", life.directory / "other"
    request.write_text(run("mdoc", "request", "full_name_unicode", "age_over_20"))
    other.write_text(run("mdoc", "request", "full_name_unicode", "--response-uri", "https://other.example/response"))
    response = life.directory / "response"
    run("mdoc", "present", "mi-phone", str(request), "--out", str(response))
    assert program.json("mdoc", "verify", str(response), str(other), expect=1)["outcome"] != "good"
    assert program.json("mdoc", "verify", str(response), str(request))["outcome"] == "good"
    assert program.json("mdoc", "verify", str(response), str(request), expect=1)["outcome"] != "good", "a replay"
    # The card is stolen; another comes, and the phone again.
    run("registry", "event", "theft", "mi")
    run("card", "remove", "mi")
    run("card", "reissue", "mi", "--reason", "lost", "--express")
    program.run("clock", "advance", "8d")
    life.insert("mi-2")
    life.meets()
    # The next card.
    run("card", "reissue", "mi-2", "--reason", "damaged", "--model", "next", "--express")
    run("card", "remove", "mi-2")
    program.run("clock", "advance", "8d")
    life.insert("mi-3")
    life.meets()
    hashed = openssl("dgst", "-sha384", "-binary", data=b"hello").hex()
    signature = life.ask(JPKI, JPKI_PIN, "00A4020C020017", f"002A9E9A30{hashed}00")[-1]
    assert (len(signature), signature[-4:]) == (2 * 98, "9000")
    # Death ends everything.
    run("phone", "new", "mi", "--name", "mi-phone-2", "--card", "mi-3")
    run("mdoc", "issue", "mi-phone-2")
    run("registry", "event", "death", "mi")
    program.run("clock", "advance", "1d")
    assert life.states() == {"revoked"}
    request.write_text(run("mdoc", "request", "full_name_unicode"))
    run("mdoc", "present", "mi-phone-2", str(request), "--out", str(response))
    assert program.json("mdoc", "verify", str(response), str(request), expect=1)["finding"] == "revoked"
    program.run("mykey", "register", "mi", expect=1)
