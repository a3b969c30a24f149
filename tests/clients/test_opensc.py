"""Unmodified middleware on a PC/SC reader: OpenSC's tools and PKCS#11 module, openssl, NSS, scriptor."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography import x509

from kazashi.applets import jpki
from kazashi.assembly.opensc import pkcs11_module
from kazashi.card import request
from kazashi.card.identifiers import FileId
from kazashi.card.image import read_image
from kazashi.card_management.order import image_path
from kazashi.jpki.profile import CertificateType
from kazashi.reader_bridge.host import Presentation, ReaderHost
from kazashi.world.home import World
from tests.support import run

pytestmark = pytest.mark.reader


@pytest.fixture
def reader(world: World, tmp_path: Path, host: ReaderHost) -> str:
    return put(world, tmp_path, host, 0, "hanako")


def put(world: World, directory: Path, host: ReaderHost, number: int, name: str, *, contactless: bool = False) -> str:
    image = Path(shutil.copy(image_path(world, name), directory / f"{name}.card"))
    host.insert(host.slots[number], name, image, Presentation(contactless=contactless))
    assert host.slots[number].wait_until_powered(10)
    return host.slots[number].endpoint.reader


def certificate(world: World, name: str, fid: FileId) -> bytes:
    content = read_image(image_path(world, name))[0][jpki.AID].data[fid]
    return content[: int.from_bytes(content[2:4]) + 4]


def test_opensc_recognises_the_card(reader: str) -> None:
    assert run("opensc-tool", "--reader", reader, "--atr").splitlines()[0] == "3b:e0:00:ff:81:31:fe:45:14"
    assert run("opensc-tool", "--reader", reader, "--name").strip() == "jpki"
    output = run("pkcs15-tool", "--reader", reader, "--dump")
    assert output.count("Private RSA Key") == 2
    assert output.count("X.509 Certificate") == 4
    assert "Tries left     : 3" in output
    assert "Tries left     : 5" in output


def test_opensc_recognises_the_contactless_card(world: World, tmp_path: Path, host: ReaderHost) -> None:
    reader = put(world, tmp_path, host, 1, "taro", contactless=True)
    assert run("opensc-tool", "--reader", reader, "--name").strip() == "jpki"
    assert "User Authentication Certificate" in run("pkcs15-tool", "--reader", reader, "--list-certificates")


@pytest.mark.parametrize(
    ("number", "fid"), [("1", jpki.AUTHENTICATION_CERTIFICATE), ("3", jpki.AUTHENTICATION_AUTHORITY)]
)
def test_opensc_reads_certificates_without_a_pin(
    world: World, reader: str, tmp_path: Path, number: str, fid: FileId
) -> None:
    output = tmp_path / "certificate.pem"
    run("pkcs15-tool", "--reader", reader, "--read-certificate", number, "--output", str(output))
    read = x509.load_pem_x509_certificate(output.read_bytes())
    assert read == x509.load_der_x509_certificate(certificate(world, "hanako", fid))


@pytest.mark.parametrize("kind", CertificateType)
@pytest.mark.parametrize(
    "mechanism", ["RSA-PKCS", "SHA1-RSA-PKCS", "SHA256-RSA-PKCS", "SHA384-RSA-PKCS", "SHA512-RSA-PKCS"]
)
def test_pkcs11_signs_and_openssl_verifies(
    world: World, reader: str, tmp_path: Path, kind: CertificateType, mechanism: str
) -> None:
    authentication = kind is CertificateType.AUTHENTICATION
    message, signature = tmp_path / "message", tmp_path / "signature"
    message.write_bytes(b"kazashi" * 3)
    run(
        "pkcs11-tool", "--module", pkcs11_module(), "--slot-index", "0" if authentication else "1", "--login",
        "--pin", "1234" if authentication else "ABC123", "--sign", "--id", "01" if authentication else "02",
        "--mechanism", mechanism, "--input-file", str(message), "--output-file", str(signature),
    )  # fmt: skip
    fid = jpki.AUTHENTICATION_CERTIFICATE if authentication else jpki.SIGNATURE_CERTIFICATE
    (tmp_path / "c.der").write_bytes(certificate(world, "hanako", fid))
    public = tmp_path / "public.pem"
    public.write_text(run("openssl", "x509", "-inform", "DER", "-in", f"{tmp_path}/c.der", "-noout", "-pubkey"))
    digest = mechanism.removesuffix("-RSA-PKCS").lower()
    if digest == "rsa-pkcs":
        recovered = tmp_path / "recovered"
        run("openssl", "pkeyutl", "-verifyrecover", "-pubin", "-inkey", str(public), "-in", str(signature),
            "-out", str(recovered))  # fmt: skip
        assert recovered.read_bytes() == message.read_bytes()
    else:
        verified = run(
            "openssl", "dgst", f"-{digest}", "-verify", str(public), "-signature", str(signature), str(message)
        )
        assert "Verified OK" in verified


def test_wrong_pins_through_opensc_block_the_pin(reader: str, tmp_path: Path) -> None:
    verify = ("pkcs15-tool", "--reader", reader, "--verify-pin", "--auth-id", "01", "--pin")
    for left in (2, 1, 0):
        assert "incorrect" in run(*verify, "9999", expect=255)
        contents, _ = read_image(tmp_path / "hanako.card")
        assert contents[jpki.AID].pins[jpki.AUTHENTICATION_PIN].tries_left == left
    assert "not usable" in run(*verify, "1234", expect=255), "even the right PIN is rejected"
    run("pkcs15-tool", "--reader", reader, "--verify-pin", "--auth-id", "02", "--pin", "ABC123")


def test_opensc_distinguishes_two_cards_in_turn(world: World, tmp_path: Path, host: ReaderHost) -> None:
    """OpenSC gives every card the serial number 00000000, so that only the contents distinguish two tokens."""
    for turn in range(2):
        for name in ("hanako", "taro"):
            reader = put(world, tmp_path, host, 0, name)
            output = tmp_path / f"{name}-{turn}.pem"
            run("pkcs15-tool", "--reader", reader, "--read-certificate", "1", "--output", str(output))
            read = x509.load_pem_x509_certificate(output.read_bytes())
            expected = x509.load_der_x509_certificate(certificate(world, name, jpki.AUTHENTICATION_CERTIFICATE))
            assert read == expected, f"{name}, turn {turn}"
            host.remove(host.slots[0])


def test_child_has_no_signature_certificate(world: World, tmp_path: Path, host: ReaderHost) -> None:
    reader = put(world, tmp_path, host, 0, "child")
    dump = run("pkcs15-tool", "--reader", reader, "--dump", expect=None)
    assert "User Authentication Certificate" in dump
    rejected = run("pkcs15-tool", "--reader", reader, "--verify-pin", "--auth-id", "02", "--pin", "ABC123", expect=255)
    assert "not usable" in rejected


def test_nss_finds_token_and_key(world: World, reader: str, tmp_path: Path) -> None:
    """As in browsers: NSS finds the certificate in a database with OpenSC's module, and its key after the PIN."""
    database = f"sql:{tmp_path / 'nss'}"
    (tmp_path / "nss").mkdir()
    (tmp_path / "pin").write_text("1234\n")
    run("certutil", "-N", "-d", database, "--empty-password")
    run("modutil", "-force", "-dbdir", database, "-add", "opensc", "-libfile", pkcs11_module())
    # modutil exits non-zero if a slot of the module is empty, as three of the four readers are here.
    assert "Token Name: JPKI (User Authentication PIN)" in run(
        "modutil", "-dbdir", database, "-list", "opensc", expect=None
    )
    token = ("-d", database, "-h", "JPKI (User Authentication PIN)", "-f", str(tmp_path / "pin"))
    listed = run("certutil", "-L", *token)
    nickname = "JPKI (User Authentication PIN):User Authentication Certificate"
    assert nickname in listed
    assert "u,u,u" in listed, "NSS has found the private key of the certificate"
    assert "User Authentication Key" in run("certutil", "-K", *token)
    pem = run("certutil", "-L", *token, "-n", nickname, "-a")
    read = x509.load_pem_x509_certificate(pem[pem.index("-----BEGIN") :].encode())
    assert read == x509.load_der_x509_certificate(certificate(world, "hanako", jpki.AUTHENTICATION_CERTIFICATE))


def test_scriptor_sends_commands(reader: str) -> None:
    script = f"{request.select(jpki.AID).hex(' ')}\n00 B0 8A 00 04\n"
    done = subprocess.run(
        ["scriptor", "-r", reader], input=script, capture_output=True, text=True, check=True, timeout=30
    )
    assert "30 82" in done.stdout
    assert done.stdout.count("90 00") == 2
