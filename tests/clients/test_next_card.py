"""What unmodified clients of today's card make of the next one: docs/next-card.md and docs/middleware.md tell it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from kazashi.applets import jpki
from kazashi.applets.applet import unfilled
from kazashi.applets.install import load_card
from kazashi.assembly.cards import make_card
from kazashi.assembly.institutions import Institutions
from kazashi.assembly.opensc import pkcs11_module
from kazashi.card.chip import Chip
from kazashi.card.image import read_image
from kazashi.reader_bridge.host import Presentation, ReaderHost
from kazashi.world.key_source import SharedKeySource
from tests.clients.steps import Steps
from tests.clients.transcript import Transcript
from tests.support import run
from tests.town import new_institutions

# The phone is not a card, and has no next model.
TRANSCRIPTS = sorted(
    path for path in (Path(__file__).parent / "transcripts").glob("*.txt") if not path.stem.endswith("-phone")
)
DOCUMENT = (Path(__file__).parent.parent.parent / "docs" / "next-card.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory, keys: SharedKeySource) -> Iterator[Institutions]:
    town = new_institutions(tmp_path_factory.mktemp("next") / "w", keys)
    for who in ("hanako", "child", "blocked", "taro"):
        make_card(town, who, who, model="next")
    yield town
    town.world.close()


def broken(path: Path, town: Institutions) -> set[str]:
    """What fails of a client's commands at the next card, although it works at today's"""
    transcript = Transcript.load(path)
    image = town.world.cards / f"{transcript.card}.card"
    about = read_image(image)[1]
    chip = Chip(load_card(image))
    chip.power_on()
    steps = Steps({"PIN": about["authentication PIN"], "PASSWORD": about["signature password"],
                   "NUMBER": about["individual number"], "NUMBER_B": "0" * 14, "BIRTH": "880417"})  # fmt: skip
    failures, in_jpki, command = set(), False, ""
    for _, line in transcript.lines:
        mark, _, rest = line.partition(" ")
        if mark == ">":
            sent = steps.command(rest)
            for _ in range(2 if transcript.twice else 1):
                command, status = rest, chip.transmit(sent)[-2:].hex().upper()
            if sent[:4] in (b"\x00\xa4\x04\x0c", b"\x00\xa4\x04\x00"):
                in_jpki = sent[5:].startswith(jpki.AID)
        elif mark == "<" and rest.split("#")[0].strip()[-4:] != status:
            if sent[:2] == b"\x80\x2a" and status == "6D00":
                failures.add("signature")
            elif sent[:3] == b"\x00\xa4\x04" and status == "6A82":
                failures.add(next(name for aid, name in OTHERS.items() if sent[5:].hex().upper().startswith(aid)))
            elif in_jpki and not failures - {"signature"}:
                failures.add(f"{command} ({status})")
    return failures


OTHERS = {"D3921000310001010408": "text", "D3921000310001010401": "juki", "D3921000310001010100": "common"}


@pytest.mark.unit
@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_what_fails_of_each_client_is_documented(path: Path, town: Institutions) -> None:
    rows = re.findall(r"^\| (\d\d) \| .* \| (.*) \|$", DOCUMENT, re.MULTILINE)
    assert len(rows) == len(TRANSCRIPTS)
    documented = dict(rows)[path.stem[:2]]
    assert broken(path, town) == (set() if documented == "–" else set(documented.split(", ")))


@pytest.fixture
def reader(town: Institutions, host: ReaderHost) -> str:
    host.insert(host.slots[0], "taro", town.world.cards / "taro.card", Presentation())
    assert host.slots[0].wait_until_powered(10)
    return host.slots[0].endpoint.reader


@pytest.mark.reader
def test_opensc_shows_certificates_and_pins_and_takes_the_keys_for_rsa(
    town: Institutions, reader: str, tmp_path: Path
) -> None:
    assert run("opensc-tool", "--reader", reader, "--name").strip() == "jpki"
    dump = run("pkcs15-tool", "--reader", reader, "--dump")
    assert dump.count("Private RSA Key") == 2
    assert dump.count("ModLength      : 2048") == 2
    assert dump.count("X.509 Certificate") == 4
    output = tmp_path / "certificate.pem"
    run("pkcs15-tool", "--reader", reader, "--read-certificate", "1", "--output", str(output))
    content = read_image(town.world.cards / "taro.card")[0][jpki.AID].data[jpki.AUTHENTICATION_CERTIFICATE]
    certificate = x509.load_der_x509_certificate(unfilled(content))
    assert x509.load_pem_x509_certificate(output.read_bytes()) == certificate
    run("pkcs15-tool", "--reader", reader, "--verify-pin", "--auth-id", "01", "--pin", "1234")
    token = ("pkcs11-tool", "--module", pkcs11_module(), "--slot-index", "0", "--login", "--pin", "1234")
    listed = run(*token, "--list-objects")
    assert "Private Key Object; RSA" in listed
    assert "Public Key Object; EC  EC_POINT 384 bits" in listed


@pytest.mark.reader
@pytest.mark.parametrize(
    ("mechanism", "message"),
    [("ECDSA", "C_SignInit failed: rv = CKR_MECHANISM_INVALID (0x70)"),
     ("ECDSA-SHA384", "C_SignInit failed: rv = CKR_MECHANISM_INVALID (0x70)"),
     ("SHA256-RSA-PKCS", "C_SignFinal failed: rv = CKR_GENERAL_ERROR (0x5)")],
)  # fmt: skip
def test_opensc_cannot_sign(reader: str, tmp_path: Path, mechanism: str, message: str) -> None:
    (tmp_path / "hash").write_bytes(bytes(48))
    output = run(
        "pkcs11-tool", "--module", pkcs11_module(), "--slot-index", "0", "--login", "--pin", "1234", "--sign", "--id",
        "01", "--mechanism", mechanism, "--input-file", f"{tmp_path}/hash", "--output-file", f"{tmp_path}/signature",
        expect=1,
    )  # fmt: skip
    assert message in output
    assert message.partition("failed")[0].strip() in DOCUMENT_OF_MIDDLEWARE
    assert message.rpartition("= ")[2].partition(" ")[0] in DOCUMENT_OF_MIDDLEWARE


DOCUMENT_OF_MIDDLEWARE = (Path(__file__).parent.parent.parent / "docs" / "middleware.md").read_text(encoding="utf-8")


@pytest.mark.reader
def test_opensc_tool_sends_the_commands_for_a_signature(reader: str) -> None:
    """A program that is not ours sends what docs/next-card.md says, and gets 96 bytes."""
    commands = ("00A4040C0AD392F000260100000001", "0020009804" + b"1234".hex(), "00A4020C020017",
                "002A9E9A30" + "11" * 48 + "00")  # fmt: skip
    for command in commands:
        assert command.lower()[:10] in DOCUMENT.lower().replace(" ", "")
    arguments = [argument for command in commands for argument in ("--send-apdu", command)]
    output = run("opensc-tool", "--reader", reader, *arguments)
    assert output.count("Received (SW1=0x90, SW2=0x00)") == 4
    dumped = re.findall(r"^((?:[0-9A-F]{2} ){16})", output.rpartition("Received")[2], re.MULTILINE)
    assert len(dumped) == 6, "six lines of sixteen bytes"
