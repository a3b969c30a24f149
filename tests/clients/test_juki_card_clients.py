"""A Juki card on PC/SC: what OpenSC makes of it, and a signature that openssl verifies."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from kazashi.assembly.opensc import pkcs11_module
from tests.cli.program import Program, new_world
from tests.polling import LIMIT
from tests.support import run, send

pytestmark = pytest.mark.reader

SELECT, PIN, CERTIFICATE, KEY = (
    "00A4040C0AD392F000260100000001", "00A4020C02001B", "00A4020C020001", "00A4020C02001A"
)  # fmt: skip
DIGEST_INFO = "3031300D060960864801650304020105000420"


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    """A world of December 2015, with hanako's Juki card in a contactless reader."""
    program = new_world(tmp_path / "w")
    program.run("clock", "stand", "2015-12-01T10:00+09:00")
    program.run("card", "juki", "hanako", "--name", "hanako")
    Program(program.world).run("up", "--detach", "--pcscd", "private", "--no-services")
    yield program
    Program(program.world).run("down")


def test_opensc_knows_the_card_and_a_client_signs_with_it(program: Program, tmp_path: Path) -> None:
    environment = program.json("status")["pcscd"]["environment"]
    reader = program.json("status")["slots"][0]["reader"]

    def client(*command: str) -> str:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=LIMIT, env={**os.environ, **environment}
        )
        return done.stdout + done.stderr

    assert client("opensc-tool", "--reader", reader, "--name").strip() == "jpki"
    assert "Unsupported card" in client("pkcs15-tool", "--reader", reader, "--dump")
    assert "token not recognized" in client("pkcs11-tool", "--module", pkcs11_module(), "-L")

    token = send(environment, reader, SELECT, "00B0860020", "00A4020C02000A", "00A4020C020018")
    assert bytes.fromhex(token[1][:-4]) == b"JPKIAPICCTOKEN".ljust(32)
    assert token[2:] == ["6a82", "6a82"], "neither an authentication certificate nor its PIN"

    message, signature, certificate, key = (tmp_path / name for name in ("m", "s", "c.der", "k.pem"))
    message.write_bytes(b"e-Tax 2016")
    sign = f"802A008033{DIGEST_INFO}{sha256(message.read_bytes()).hexdigest()}00"
    password = f"0020008006{b'ABC123'.hex()}"
    answers = send(environment, reader, SELECT, CERTIFICATE, "00B00000000000", PIN, password, CERTIFICATE,
                   "00B00000000000", KEY, sign)  # fmt: skip
    assert answers[2] == "6982", "the certificate is read with the password"
    read, signed = bytes.fromhex(answers[6][:-4]), bytes.fromhex(answers[8][:-4])
    certificate.write_bytes(read[: int.from_bytes(read[2:4]) + 4])
    signature.write_bytes(signed)
    key.write_text(run("openssl", "x509", "-inform", "DER", "-in", str(certificate), "-noout", "-pubkey"))
    verify = ("openssl", "dgst", "-sha256", "-verify", str(key), "-signature", str(signature), str(message))
    assert run(*verify).strip() == "Verified OK"

    login = (
        "from kazashi.jpki.profile import CertificateType\n"
        "from kazashi.relying_party.login.card_reader import sign_with_card\n"
        "sign_with_card(CertificateType.AUTHENTICATION, '1234', b'')"
    )
    assert "CertificateAbsent: the card has no certificate of that type" in client(sys.executable, "-c", login)

    program.run("card", "remove", "hanako")
    program.run("card", "insert", "hanako", "--contactless")
    reader = next(slot["reader"] for slot in program.json("status")["slots"] if slot["card"] == "hanako")
    assert client("opensc-tool", "--reader", reader, "--atr").split()[0] == "3b:88:80:01:00:00:14:e0:b3:81:91:00:5e"
    assert client("opensc-tool", "--reader", reader, "--name").strip() == "jpki"
