"""A phone in a contactless reader, and what OpenSC makes of it (docs/middleware.md)."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from kazashi.applets import jpki
from kazashi.assembly.opensc import pkcs11_module
from kazashi.card import request
from kazashi.jpki.profile import CertificateType
from kazashi.reader_bridge.host import ReaderHost
from kazashi.relying_party.login.card_reader import CardMissing, PinWrong, certificates_at_hand, sign_with_card
from kazashi.world.home import World
from tests.clients.test_opensc import certificate, put
from tests.support import connected, run

pytestmark = pytest.mark.reader


@pytest.fixture
def reader(world: World, tmp_path: Path, host: ReaderHost) -> str:
    """The reader with a phone, which is put in as a card would be put into a contact reader."""
    return put(world, tmp_path, host, 0, "hanako-phone")


def test_a_phone_is_contactless_and_has_no_fixed_identifier(host: ReaderHost, reader: str) -> None:
    assert run("opensc-tool", "--reader", reader, "--atr").splitlines()[0].startswith("3b:88:80:01")
    seen = set()
    for _ in range(3):
        with connected(reader) as transmit:
            seen.add(transmit(bytes.fromhex("FFCA000000")))
        host.reset(host.slots[0])
        assert host.slots[0].wait_until_powered(10)
    assert len(seen) == 3


def test_opensc_reads_a_phones_certificate_after_the_pin_only(world: World, reader: str, tmp_path: Path) -> None:
    assert run("opensc-tool", "--reader", reader, "--name").strip() == "jpki"
    before = subprocess.run(
        ["pkcs15-tool", "--reader", reader, "--read-certificate", "1"], capture_output=True, text=True, check=False
    )
    assert "BEGIN CERTIFICATE" not in before.stdout
    assert "Certificate read failed: EF offset too large" in before.stderr, "OpenSC's words for 6982"
    message, signature = tmp_path / "message", tmp_path / "signature"
    message.write_bytes(b"an invented letter")
    run("pkcs11-tool", "--module", pkcs11_module(), "--slot-index", "0", "--login", "--pin", "1234", "--sign",
        "--id", "01", "--mechanism", "SHA256-RSA-PKCS", "--input-file", str(message), "--output-file",
        str(signature))  # fmt: skip
    (tmp_path / "c.der").write_bytes(certificate(world, "hanako-phone", jpki.AUTHENTICATION_CERTIFICATE))
    public = tmp_path / "public.pem"
    public.write_text(run("openssl", "x509", "-inform", "DER", "-in", f"{tmp_path}/c.der", "-noout", "-pubkey"))
    verify = ("openssl", "dgst", "-sha256", "-verify", str(public), "-signature", str(signature), str(message))
    assert "Verified OK" in run(*verify)


def test_a_card_and_a_phone_of_one_person_in_two_readers(
    world: World, host: ReaderHost, reader: str, tmp_path: Path
) -> None:
    phone = certificate(world, "hanako-phone", jpki.AUTHENTICATION_CERTIFICATE)
    card = certificate(world, "hanako", jpki.AUTHENTICATION_CERTIFICATE)
    with pytest.raises(CardMissing, match="phone"):
        certificates_at_hand()
    other = put(world, tmp_path, host, 1, "hanako")
    assert certificates_at_hand() == [card], "a till sees the card, because a phone shows nothing without a PIN"
    assert sign_with_card(CertificateType.AUTHENTICATION, "1234", b"challenge").certificate == phone
    with pytest.raises(PinWrong, match="retries left: 2"):
        sign_with_card(CertificateType.AUTHENTICATION, "9999", b"challenge")
    with connected(other) as transmit:
        transmit(request.select(jpki.AID))
        assert transmit(request.tries_left(jpki.AUTHENTICATION_PIN)) == b"\x63\xc3", "the card lost no try"
    host.remove(host.slots[0])
    assert sign_with_card(CertificateType.AUTHENTICATION, "1234", b"challenge").certificate == card
