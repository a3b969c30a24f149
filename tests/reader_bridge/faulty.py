"""Helpers for the tests of faults: commands, faulty cards in readers, and signatures with OpenSC."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256

from kazashi.applets import card_manager, jpki
from kazashi.assembly.opensc import pkcs11_module
from kazashi.card import request
from kazashi.card.identifiers import FileId
from kazashi.card.image import read_image
from kazashi.card.pin import PinState
from kazashi.reader_bridge.fault_script import parse_fault_script
from kazashi.reader_bridge.host import Presentation, ReaderHost
from kazashi.reader_bridge.vpcd import EVENTS, FORGETTING, Control
from kazashi.world.home import World
from tests.clients.test_opensc import certificate
from tests.polling import LIMIT, until
from tests.support import PcscError, Transmit, connected

SELECT_JPKI = request.select(jpki.AID)
SELECT_CARD_MANAGER = request.select(card_manager.AID)
SELECT_WITH_FCI = request.select_for_information(jpki.AID)
VERIFY = request.verify(jpki.AUTHENTICATION_PIN, b"1234")
VERIFY_WRONG = request.verify(jpki.AUTHENTICATION_PIN, b"0000")
CHANGE = request.change_reference_data(jpki.AUTHENTICATION_PIN, b"9999")
TRIES = request.tries_left(jpki.AUTHENTICATION_PIN)
READ = request.read_binary(0, 256, file=jpki.AUTHENTICATION_CERTIFICATE)
READ_EXTENDED = bytes.fromhex("00B08A00000000")
SIGN = request.compute_digital_signature(jpki.AUTHENTICATION_KEY, bytes(32))
DONE = b"\x90\x00"
MESSAGE = b"kazashi" * 3


def put(host: ReaderHost, image: Path, *scripts: str) -> list[str]:
    """Insert a copy of the card with each script's faults into the first slots. Return the names of the readers."""
    for number, script in enumerate(scripts):
        plan = parse_fault_script(script)
        host.insert(host.slots[number], f"card {number}", copy(image, number), Presentation(faults=plan))
    for number, _ in enumerate(scripts):
        assert host.slots[number].wait_until_powered(LIMIT)
    return [host.slots[number].endpoint.reader for number, _ in enumerate(scripts)]


def copy(image: Path, number: int) -> Path:
    path = image.with_name(f"slot-{number}.card")
    return path if path.exists() else Path(shutil.copy(image, path))


def pin_of(image: Path, number: int, fid: FileId = jpki.AUTHENTICATION_PIN) -> PinState:
    """Return the state of a PIN on disk, for the card in a slot."""
    return read_image(copy(image, number))[0][jpki.AID].pins[fid]


def fault_events(host: ReaderHost, number: int) -> list[str]:
    """Return the fault events of a slot so far."""
    entries, _ = host.journal.since(0)
    return [
        entry.exchange.event
        for entry in entries
        if entry.slot == number and entry.exchange.event and entry.exchange.event not in FORGETTING
    ]


def comes_back(host: ReaderHost, number: int) -> None:
    """Wait until a slot's card was powered after its latest fault.

    This is read from the journal, because the card may have power now from before the fault.
    """

    def powered_again() -> bool:
        events = [entry.exchange.event for entry in host.journal.since(0)[0] if entry.slot == number]
        faults = [place for place, event in enumerate(events) if event and event not in FORGETTING]
        return bool(faults) and EVENTS[Control.POWER_ON] in events[faults[-1] :]

    until(powered_again, "the card has power again")


def answered(transmit: Transmit, command: bytes) -> bytes:
    """Return a response; an empty one if the card is gone, which is also how vpcd reports that."""
    with suppress(PcscError):
        return transmit(command)
    return b""


def responses_to(reader: str, *commands: bytes) -> list[bytes]:
    with connected(reader) as transmit:
        return [transmit(command) for command in commands]


def sign(number: int, directory: Path, *, expect: int = 0) -> str:
    """Sign with the card in a slot and return pkcs11-tool's output. OpenSC has four slots for each reader."""
    (directory / "message").write_bytes(MESSAGE)
    while True:
        done = subprocess.run(
            signing(number, directory, directory / "message"), capture_output=True, text=True, check=False, timeout=60
        )
        output = done.stdout + done.stderr
        if "CKR_BUFFER_TOO_SMALL" not in output:  # a card came back between counting the slots and listing them
            assert done.returncode == expect, output
            return output


def signing(number: int, directory: Path, message: Path) -> Sequence[str]:
    return (
        "pkcs11-tool", "--module", pkcs11_module(), "--slot", str(4 * number), "--login", "--pin", "1234", "--sign",
        "--id", "01", "--mechanism", "SHA256-RSA-PKCS", "--input-file", str(message),
        "--output-file", str(directory / "signature"),
    )  # fmt: skip


def verify(world: World, signature: bytes) -> None:
    """Verify a signature of MESSAGE with the authentication certificate. Raises InvalidSignature."""
    der = certificate(world, "hanako", jpki.AUTHENTICATION_CERTIFICATE)
    key = x509.load_der_x509_certificate(der).public_key()
    assert isinstance(key, RSAPublicKey)
    key.verify(signature, MESSAGE, PKCS1v15(), SHA256())
