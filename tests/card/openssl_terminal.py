"""A terminal whose cryptography is OpenSSL's: it sends session keys and secured commands, and signs challenges."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

Transmit = Callable[[bytes], bytes]


def openssl(*arguments: str, data: bytes = b"") -> bytes:
    """Return what openssl prints."""
    return subprocess.run(["openssl", *arguments], input=data, capture_output=True, check=True).stdout


def public_pem(written: bytes, path: Path) -> Path:
    """Write the public key of file 0006 of the text application (`A1 { 90 exponent, 91 modulus }`) as PEM."""
    assert written[:7].hex() == "a18201099003010001"[:14]
    key = rsa.RSAPublicNumbers(int.from_bytes(written[6:9]), int.from_bytes(written[13:269])).public_key()
    path.write_bytes(key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    return path


def encrypted(plain: bytes, public: Path) -> bytes:
    """Return data encrypted with RSA-OAEP and SHA-256."""
    oaep = ("-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:sha256", "-pkeyopt", "rsa_mgf1_md:sha256")
    return openssl("pkeyutl", "-encrypt", "-pubin", "-inkey", str(public), *oaep, data=plain)


class OpensslChannel:
    """The terminal's side of a secure channel, in which it may send anything."""

    def __init__(self, transmit: Transmit, seed: bytes) -> None:
        self._transmit = transmit
        self._key = seed[:16].hex()
        self.counter = 1

    def _aes(self, data: bytes, *arguments: str) -> bytes:
        block = self.counter.to_bytes(16)
        iv = openssl("enc", "-aes-128-ecb", "-nopad", "-K", self._key, data=block).hex()
        return openssl("enc", *arguments, "-aes-128-cbc", "-nopad", "-K", self._key, "-iv", iv, data=data)

    def cryptogram(self, plain: bytes) -> bytes:
        """Return the data object of a command's data under the current counter."""
        padded = plain + b"\x80"
        value = b"\x01" + self._aes(padded + bytes(-len(padded) % 16))
        return bytes((0x86, len(value))) + value

    def send(self, header: str, item: bytes, *, le: bool = False) -> tuple[bytes, str]:
        """Send a command of class 08 with a data object. Return the decrypted data and the status word."""
        command = bytes.fromhex(f"08{header}00") + len(item).to_bytes(2) + item + (b"\0\0" if le else b"")
        if not le:
            command = bytes.fromhex(f"08{header}") + bytes((len(item),)) + item
        response = self._transmit(command)
        data = b""
        if len(response) > 2:
            width = {0x81: 2, 0x82: 3}.get(response[1], 1)
            assert (response[0], response[1 + width]) == (0x86, 1)
            data, _, zeros = self._aes(response[2 + width : -2], "-d").rpartition(b"\x80")
            assert not zeros.strip(b"\0")
        self.counter += 1
        return data, response[-2:].hex()

    def verify(self, short: int, pin: bytes) -> str:
        """VERIFY under the channel; return the status word."""
        return self.send(f"2000{0x80 | short:02x}", self.cryptogram(pin))[1]

    def read(self, fid: int, length: int = 0) -> tuple[bytes, str]:
        """SELECT a file and READ it under the channel; return its bytes and the status word."""
        _, status = self.send("a4020c", self.cryptogram(fid.to_bytes(2)))
        assert status == "9000"
        return self.send("b00000", b"\x96\x03\0" + length.to_bytes(2), le=True)
