"""Card-verifiable certificates: the small format in which the card's own keys are certified.

The real ones end at anchors whose keys nobody outside holds. Those here end at anchors of the world's own, whose
identifiers begin with 9 where production has 5 and the test cards 6.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from kazashi.card.key import PrivateKey
from kazashi.card.tlv import Tlv

CERTIFICATE = 0x7F21
BODY = 0x5F4E
SIGNATURE = 0x5F37
EXPONENT = 0x90
MODULUS = 0x91
LONG = 3
"""The width of a length field that the card writes as 82 hh ll whatever the length."""

CHIP_ROOT = "9000020"
VISUAL_ISSUER = "9000023"
VISUAL_BASIC = "9000024"
TEXT_ISSUER = "9000033"
TEXT_BASIC = "9000034"


def key_id(name: str, generation: str = "001", pad: bytes = bytes(4)) -> bytes:
    """The 16 bytes that name a key: seven digits, 08 05, three digits, four bytes of padding."""
    encoded = name.encode("ascii") + b"\x08\x05" + generation.encode("ascii") + pad
    if len(encoded) != 16:
        raise ValueError(f"a key identifier has 16 bytes; {name!r} and {generation!r} give {len(encoded)}")
    return encoded


def public_key(key: PrivateKey) -> bytes:
    """Exponent and modulus of an RSA-2048 key as the card writes them, 265 bytes."""
    numbers = key.public_numbers
    return Tlv(EXPONENT, numbers.e.to_bytes(3)).encode() + Tlv(MODULUS, numbers.n.to_bytes(256), LONG).encode()


@dataclass(frozen=True, slots=True)
class CertificateSigner:
    """A key that signs on the card's behalf outside it, with the identifier by which its certificate is found."""

    id: bytes
    key: PrivateKey

    def sign(self, message: bytes) -> bytes:
        """RSA PKCS#1 v1.5 with SHA-256; 256 bytes."""
        return self.key.sign_digest(sha256(message).digest())


def certificate(issuer: CertificateSigner, subject_id: bytes, subject_key: PrivateKey) -> Tlv:
    """A certificate of 568 bytes. The signature covers the 297-byte value of its body, not the body's header."""
    body = issuer.id + subject_id + public_key(subject_key)
    return Tlv.of(CERTIFICATE, [Tlv(BODY, body, LONG), Tlv(SIGNATURE, issuer.sign(body), LONG)], LONG)
