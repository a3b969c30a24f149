from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from kazashi.applets import card_surface, common_card, jpki
from kazashi.applets.install import load_card
from kazashi.card import request
from kazashi.card.chip import Chip
from kazashi.card.image import read_image
from kazashi.card_management.order import image_path
from kazashi.reader_bridge.host import Presentation, ReaderHost
from kazashi.world.home import World
from tests.clients.steps import Steps
from tests.clients.transcript import Transcript, matches
from tests.support import connected

TRANSCRIPTS = sorted((Path(__file__).parent / "transcripts").glob("*.txt"))


def secrets(image: Path) -> dict[str, str]:
    _, about = read_image(image)
    named = {
        "PIN": "authentication PIN",
        "PASSWORD": "signature password",
        "NUMBER": "individual number",
        "NUMBER_B": "reference number B",
        "BIRTH": "birth PIN",
    }
    return {name: about[key] for name, key in named.items() if key in about}  # a phone has two of them


def fresh(world: World, transcript: Transcript, directory: Path) -> Path:
    return Path(shutil.copy(image_path(world, transcript.card), directory / "card.card"))


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_transcript_in_process(path: Path, world: World, tmp_path: Path) -> None:
    transcript = Transcript.load(path)
    image = fresh(world, transcript, tmp_path)
    chip = Chip(load_card(image))
    chip.power_on()
    assert transcript.play(chip.transmit, secrets(image)) > 0


@pytest.mark.reader
@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_transcript_through_pcscd(path: Path, world: World, tmp_path: Path, host: ReaderHost) -> None:
    transcript = Transcript.load(path)
    image = fresh(world, transcript, tmp_path)
    host.insert(host.slots[0], "card", image, Presentation())
    assert host.slots[0].wait_until_powered(10)
    with connected(host.slots[0].endpoint.reader) as transmit:
        assert transcript.play(transmit, secrets(image)) > 0


def test_every_known_client_has_a_transcript() -> None:
    clients = " ".join(Transcript.load(path).client for path in TRANSCRIPTS)
    for client in (
        "J-LIS", "OpenSC", "myna (Rust)", "myna (Go)", "jpki-rs", "pyjpki", "jpki-local-signer", "jpki-signer-android",
        "jpki-web", "JPKIReader", "tex2e", "flutter_nfc_mynumber", "readmynumber-plus", "WebUSB-MyNumberCard",
        "TRETJapanNFCReader", "CoreExtendedNFC", "nfcpy_mynacard", "mynacard-android-demo", "mynumbercard-idp",
        "myna-browser-extension", "jsapdu", "multi-card reader in Rust", "myna-card", "CoreNFC", "licence reader",
        "remote-reader", "PocketSign",
    ):  # fmt: skip
        assert client in clients, f"no transcript of {client}"


def test_response_patterns() -> None:
    assert matches("3082 ?2 9000", bytes.fromhex("3082abcd9000"))
    assert not matches("3082 ?2 9000", bytes.fromhex("3082ab9000"))
    assert not matches("9000", bytes.fromhex("309000"))


STEPS = {
    "SELECT JPKI": "00A4040C0AD392F000260100000001",
    "SELECT JPKI with FCI": "00A404000AD392F00026010000000100",
    "SELECT EF 0006": "00A4020C020006",
    "READ BINARY 0 32": "00B0000020",
    "READ BINARY 1536 256": "00B0060000",
    "READ BINARY EF 000A 4 2": "00B08A0402",
    "READ RECORD 1 of EF 0001": "00B2010C00",
    "GET DATA 5F51": "00CA5F5100",
    "GET CHALLENGE 8": "0084000008",
    "VERIFY": "00200080",
    "VERIFY authentication PIN": "00200098",
    'VERIFY authentication PIN "1234"': "002000980431323334",
    'VERIFY "{PIN}"': "002000800439393939",
    'CHANGE REFERENCE DATA signature password "ABC123"': "0024019B06414243313233",
    "COMPUTE DIGITAL SIGNATURE authentication key way 2 01 02": "802A029702010200",
    "INTERNAL AUTHENTICATE 0102": "008800800201 0200",
    "8032 0080 04{PIN}": "803200800439393939",
}


def test_commands_of_steps() -> None:
    """The commands of each form of a step, after JPKI was selected."""
    steps = Steps({"PIN": "9999"})
    for step, sent in STEPS.items():
        assert steps.command(step) == bytes.fromhex(sent), step
    for wrong in ("SELECT nothing", "READ BINARY 0", "VERIFY no such PIN", "DELETE FILE", 'VERIFY "{NAME}"'):
        with pytest.raises((ValueError, KeyError)):
            steps.command(wrong)
    with pytest.raises(ValueError, match="no application was selected"):
        Steps({}).command("VERIFY authentication PIN")


def test_request_functions() -> None:
    assert request.select(common_card.AID) == bytes.fromhex("00A4040C0AD3921000310001010100")
    assert request.verify(card_surface.NUMBER_A, b"1" * 12) == bytes.fromhex("002000930C") + b"1" * 12
    assert request.tries_left(jpki.SIGNATURE_PIN) == bytes.fromhex("0020009B")
    assert request.read_binary(0x7FFF, 256) == bytes.fromhex("00B07FFF00")
    for offset, file in ((0x8000, request.CURRENT), (0x100, jpki.TOKEN_INFORMATION)):
        with pytest.raises(OverflowError):
            request.read_binary(offset, 1, file=file)
