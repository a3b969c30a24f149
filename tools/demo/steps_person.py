"""The steps of the demo that show a person's other devices: the phone, and the next card."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from kazashi.applets import jpki
from kazashi.applets.applet import unfilled
from kazashi.assembly.cards import make_card
from kazashi.assembly.errors import StepFailed
from kazashi.assembly.phones import new_phone
from kazashi.card.image import read_image
from kazashi.card.request import read_binary, select, select_file, sign_hash, verify
from kazashi.reader_bridge.host import Presentation
from kazashi.reader_bridge.pcsc import connected
from kazashi.tools.demo.steps import PIN, DemoContext

WHO = "rare-kanji"
_MESSAGE = b"signed by the next card"
_VERIFY = verify(jpki.AUTHENTICATION_PIN, PIN.encode())


def use_phone(context: DemoContext) -> str:
    """Issue certificates to a phone, whose application the card signs, and read it at a contactless reader."""
    make_card(context.institutions, WHO, WHO)
    image = new_phone(context.institutions, f"{WHO}-phone", WHO, WHO)
    read = read_binary(0, 4, file=jpki.AUTHENTICATION_CERTIFICATE)
    with _in_reader(context, f"{WHO}-phone", image):
        answers = _sent(context, select(jpki.AID), read, _VERIFY, read)
    if [answer[-2:].hex() for answer in answers] != ["9000", "6982", "9000", "9000"]:
        raise StepFailed(f"the phone responded with {', '.join(answer.hex() for answer in answers)}")
    return "its card signed the application; its certificate is read after the PIN only"


def use_next_card(context: DemoContext) -> str:
    """Issue the next card, and verify its signature with openssl."""
    image = make_card(context.institutions, f"{WHO}-next", WHO, model="next")
    digest = hashlib.sha384(_MESSAGE).digest()
    with _in_reader(context, f"{WHO}-next", image):
        commands = (select(jpki.AID), _VERIFY, select_file(jpki.AUTHENTICATION_KEY), sign_hash(digest))
        *_, answer = _sent(context, *commands)
    numbers = answer[:-2]
    certificate, public, message, signature = (
        context.directory / f"next.{end}" for end in ("der", "pem", "txt", "signature")
    )
    half = len(numbers) // 2
    signature.write_bytes(encode_dss_signature(int.from_bytes(numbers[:half]), int.from_bytes(numbers[half:])))
    message.write_bytes(_MESSAGE)
    certificate.write_bytes(unfilled(read_image(image)[0][jpki.AID].data[jpki.AUTHENTICATION_CERTIFICATE]))
    public.write_bytes(_run("openssl", "x509", "-inform", "DER", "-in", str(certificate), "-noout", "-pubkey"))
    _run("openssl", "dgst", "-sha384", "-verify", str(public), "-signature", str(signature), str(message))
    return f"a P-384 key signs with {len(numbers)} bytes; openssl verifies it"


@contextmanager
def _in_reader(context: DemoContext, name: str, image: Path) -> Iterator[None]:
    """Put another device into the reader, and then the demo's card again."""
    _insert(context, name, image)
    yield
    _insert(context, "hanako", context.image)


def _insert(context: DemoContext, name: str, image: Path) -> None:
    slot = context.host.slots[0]
    context.host.remove(slot)
    context.host.insert(slot, name, image, Presentation())
    if not slot.wait_until_powered(10):
        raise StepFailed(f"pcscd did not detect {name} within 10 s")


def _sent(context: DemoContext, *commands: bytes) -> list[bytes]:
    """Send commands through PC/SC, and return the responses."""
    with connected(context.reader) as card:
        return [card.transmit(command) for command in commands]


def _run(*command: str) -> bytes:
    done = subprocess.run(command, capture_output=True, check=False, timeout=30)
    if done.returncode:
        raise StepFailed(f"{' '.join(command)} exited with {done.returncode}: {(done.stderr or done.stdout)!r}")
    return done.stdout


PERSON_STEPS = [("issue certificates to a phone", use_phone), ("sign with the next card", use_next_card)]
