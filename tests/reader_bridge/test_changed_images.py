"""A card image that another program changes while the card is in a reader."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from kazashi.applets import jpki
from kazashi.assembly.opensc import pkcs11_module
from kazashi.card.image import read_image
from kazashi.card.pin import PinState
from kazashi.card.request import select, tries_left, verify
from kazashi.card_management.order import image_path
from kazashi.reader_bridge.host import Presentation, ReaderHost
from kazashi.world.home import World
from tests.cli.program import Program, new_world
from tests.polling import LIMIT, until
from tests.support import PcscError, connected, run

PIN = jpki.AUTHENTICATION_PIN
SELECT = select(jpki.AID)
READ_CERTIFICATE = bytes.fromhex("00B08A00000000")
DONE = b"\x90\x00"


@pytest.fixture
def moved(tmp_path: Path) -> Iterator[Program]:
    """A world in which hanako's card is in a reader of a running instance, and her address has changed."""
    program = new_world(tmp_path / "w")
    program.run("card", "new", "hanako")
    subprocess_program = Program(program.world)
    subprocess_program.run("up", "--detach", "--pcscd", "private", "--no-services")
    program.run("registry", "event", "move-within", "hanako", "--street", "架空町9")
    yield subprocess_program
    subprocess_program.run("down")


def client(environment: dict[str, str], *command: str) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=LIMIT, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.reader
def test_renewed_card_signs_with_its_new_key_while_it_lies_in_the_reader(moved: Program, tmp_path: Path) -> None:
    environment = moved.json("status")["pcscd"]["environment"]
    reader = moved.json("status")["slots"][0]["reader"]
    pkcs11 = ("pkcs11-tool", "--module", pkcs11_module(), "--slot-index", "1")
    message, signature, old, new = (tmp_path / name for name in ("message", "signature", "old.der", "new.der"))
    message.write_bytes(b"a letter")
    certificate = (*pkcs11, "--login", "--pin", "ABC123", "--read-object", "--type", "cert", "--id", "02")
    client(environment, *certificate, "--output-file", str(old))
    waiting = subprocess.Popen(
        [sys.executable, "-c", WAITING, reader], stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )
    assert waiting.stdout is not None
    assert waiting.stdout.readline() == "ready\n"
    moved.run("card", "renew", "hanako")
    assert waiting.communicate(timeout=LIMIT)[0].splitlines() == ["removed and inserted", "the card was removed"]
    client(environment, *certificate, "--output-file", str(new))
    assert new.read_bytes() != old.read_bytes()
    # The text application has the same address as the new certificate, for two programs that are not ours.
    apdus = ("00A4040C0AD3921000310001010408", "00A4020C020011", "0020008004" + b"1234".hex(), "00A4020C020002",
             "00B0000000")  # fmt: skip
    text = client(environment, "opensc-tool", "--reader", "0", *(part for apdu in apdus for part in ("-s", apdu)))
    written = bytes.fromhex("".join(re.findall(r"^((?:[0-9A-F]{2} )+)", text.split("00 B0 00 00 00")[1], re.MULTILINE)))
    moved_to = "東京都渋谷区架空町9".encode()
    assert moved_to in written
    assert moved_to.hex().upper() in run("openssl", "asn1parse", "-inform", "DER", "-in", str(new))
    client(
        environment, *pkcs11, "--login", "--pin", "ABC123", "--sign", "--id", "02", "--mechanism", "SHA256-RSA-PKCS",
        "--input-file", str(message), "--output-file", str(signature),
    )  # fmt: skip
    for der, verdict in ((new, "Verified OK"), (old, "Verification failure")):
        key = der.with_suffix(".pem")
        key.write_text(run("openssl", "x509", "-inform", "DER", "-in", str(der), "-pubkey", "-noout"))
        verified = run(
            "openssl", "dgst", "-sha256", "-verify", str(key), "-signature", str(signature), str(message), expect=None
        )
        assert verdict in verified
    assert "-- the card's image was changed" in moved.run("reader", "trace", "--last", "5000").stdout


WAITING = """
import sys
from smartcard.scard import *
from tests.support import PcscError, connected, context
with context() as established, connected(sys.argv[1]) as transmit:
    transmit(bytes.fromhex("00A40000"))
    _, [(_, state, _)] = SCardGetStatusChange(established, 0, [(sys.argv[1], SCARD_STATE_UNAWARE)])
    begun = state >> 16
    print("ready", flush=True)
    while not (state >> 16 >= begun + 2 and state & SCARD_STATE_PRESENT):
        _, [(_, state, _)] = SCardGetStatusChange(established, 60000, [(sys.argv[1], state)])
    print("removed and inserted", flush=True)
    try:
        transmit(bytes.fromhex("00A40000"))
    except PcscError as error:
        print("the card was removed" if error.code == SCARD_W_REMOVED_CARD & 0xFFFFFFFF else error)
"""


def insert(host: ReaderHost, image: Path) -> str:
    host.insert(host.slots[0], "hanako", image, Presentation())
    assert host.slots[0].wait_until_powered(LIMIT)
    return host.slots[0].endpoint.reader


USED_ELSEWHERE = """
import sys
from pathlib import Path
from kazashi.applets import jpki
from kazashi.card.image import ImageStore
from kazashi.card.store import Reference
pin, store = Reference(jpki.AID, jpki.AUTHENTICATION_PIN), ImageStore(Path(sys.argv[1]))
store.change_pin(pin, b"2222")
store.spend_try(pin)
store.close()
"""


@pytest.mark.reader
def test_pin_changed_elsewhere_counts_at_once_and_is_not_undone(image: Path, host: ReaderHost) -> None:
    with connected(insert(host, image)) as transmit:
        assert (transmit(SELECT), transmit(verify(PIN, b"1234"))) == (DONE, DONE)
        run(sys.executable, "-c", USED_ELSEWHERE, str(image))
        assert transmit(tries_left(PIN)) == b"\x63\xc2"
        assert transmit(verify(PIN, b"1234")) == b"\x63\xc1"
        assert transmit(verify(PIN, b"2222")) == DONE
        assert read_image(image)[0][jpki.AID].pins[PIN] == PinState(b"2222", 3, 3)
        time.sleep(0.2)  # longer than the host waits before it looks at what was written
        assert transmit(tries_left(PIN)) == b"\x63\xc3", "no client was disturbed"


@pytest.mark.reader
def test_damaged_image_leaves_the_card_as_it_was_until_it_is_replaced(
    world: World, image: Path, host: ReaderHost, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reader, new = insert(host, image), tmp_path / "new"
    before = read_image(image)[0][jpki.AID].data[jpki.AUTHENTICATION_CERTIFICATE]
    shutil.copy(image, new)
    with closing(sqlite3.connect(new)) as database, database:
        database.execute("UPDATE about SET value = 'wrong' WHERE name = 'digest'")
    new.replace(image)
    until(lambda: "the card stays as it was" in caplog.text, "the damaged image is reported")
    with connected(reader) as transmit:
        assert (transmit(SELECT), transmit(READ_CERTIFICATE)) == (DONE, before + DONE)
    shutil.copy(image_path(world, "taro"), new)
    new.replace(image)
    after = read_image(image)[0][jpki.AID].data[jpki.AUTHENTICATION_CERTIFICATE]

    def is_read() -> bool:
        with suppress(PcscError), connected(reader) as transmit:
            return (transmit(SELECT), transmit(READ_CERTIFICATE)) == (DONE, after + DONE)
        return False

    until(is_read, "the new card is read")
