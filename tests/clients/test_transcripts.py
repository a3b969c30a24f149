from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from kazashi.applets.install import load
from kazashi.card.chip import Chip
from kazashi.card.image import read_image
from kazashi.card_management.order import image_path
from kazashi.reader_bridge.host import Presentation, ReaderHost
from kazashi.world.home import World
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
    return {name: about[key].encode().hex() for name, key in named.items()}


def fresh(world: World, transcript: Transcript, directory: Path) -> Path:
    return Path(shutil.copy(image_path(world, transcript.card), directory / "card.card"))


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_in_process(path: Path, world: World, tmp_path: Path) -> None:
    transcript = Transcript.load(path)
    image = fresh(world, transcript, tmp_path)
    chip = Chip(load(image))
    chip.power_on()
    assert transcript.play(chip.transmit, secrets(image)) > 0


@pytest.mark.reader
@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_through_pcscd(path: Path, world: World, tmp_path: Path, host: ReaderHost) -> None:
    transcript = Transcript.load(path)
    image = fresh(world, transcript, tmp_path)
    host.insert(host.slots[0], "card", image, Presentation())
    assert host.slots[0].wait_until_powered(10)
    with connected(host.slots[0].endpoint.reader) as transmit:
        assert transcript.play(transmit, secrets(image)) > 0


def test_every_known_client_has_a_transcript() -> None:
    told = " ".join(Transcript.load(path).client for path in TRANSCRIPTS)
    for client in (
        "J-LIS", "OpenSC", "myna (Rust)", "myna (Go)", "jpki-rs", "pyjpki", "jpki-local-signer", "jpki-signer-android",
        "jpki-web", "JPKIReader", "tex2e", "flutter_nfc_mynumber", "readmynumber-plus", "WebUSB-MyNumberCard",
        "TRETJapanNFCReader", "CoreExtendedNFC", "nfcpy_mynacard", "mynacard-android-demo", "mynumbercard-idp",
        "myna-browser-extension", "jsapdu", "multi-card reader in Rust", "myna-card", "CoreNFC", "licence reader",
        "remote-reader", "PocketSign",
    ):  # fmt: skip
        assert client in told, f"no transcript of {client}"


def test_patterns() -> None:
    assert matches("3082 ?2 9000", bytes.fromhex("3082abcd9000"))
    assert not matches("3082 ?2 9000", bytes.fromhex("3082ab9000"))
    assert not matches("9000", bytes.fromhex("309000"))
