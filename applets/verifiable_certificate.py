"""Card-verifiable certificates, the compact format for the certificates of the card's own keys.

Keys are RSA-2048. On the next card they are P-384, with the public point in the data object 86 (ISO 7816-8; BSI
TR-03110 part 3, D.3.3) in the place of exponent and modulus.

The private keys of the real trust anchors are not public. The emulated certificates chain to the world's own anchors,
whose identifiers begin with 9 (production: 5, test cards: 6).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from kazashi.card.key import PrivateKey
from kazashi.card.tlv import Tlv

CERTIFICATE = 0x7F21
BODY = 0x5F4E
SIGNATURE = 0x5F37
EXPONENT = 0x90
MODULUS = 0x91
POINT = 0x86
LONG = 3
"""The `Tlv` width of the length fields that the card always writes as 82 hh ll, whatever the length."""

CHIP_ROOT = "9000020"
VISUAL_ISSUER = "9000023"
VISUAL_BASIC = "9000024"
TEXT_ISSUER = "9000033"
TEXT_BASIC = "9000034"


def key_id(name: str, generation: str = "001", pad: bytes = bytes(4)) -> bytes:
    """Return the 16 bytes that name a key: seven digits, 08 05, three digits, four bytes of padding.

    Raises ValueError if the parts do not have these lengths in total.
    """
    encoded = name.encode("ascii") + b"\x08\x05" + generation.encode("ascii") + pad
    if len(encoded) != 16:
        raise ValueError(f"a key identifier has 16 bytes; {name!r} and {generation!r} give {len(encoded)}")
    return encoded


def public_key(key: PrivateKey) -> bytes:
    """Return the exponent and modulus of an RSA-2048 key as the card writes them, 265 bytes, or an EC key's point."""
    if key.is_elliptic:
        return Tlv(POINT, key.public_point).encode()
    numbers = key.public_numbers
    return Tlv(EXPONENT, numbers.e.to_bytes(3)).encode() + Tlv(MODULUS, numbers.n.to_bytes(256), LONG).encode()


@dataclass(frozen=True, slots=True)
class CertificateSigner:
    """A signing key outside the card, with the identifier of its certificate."""

    id: bytes
    key: PrivateKey

    def sign(self, message: bytes) -> bytes:
        """Return a signature: 256 bytes, RSA PKCS#1 v1.5 with SHA-256, or 96 bytes, ECDSA with SHA-384."""
        return self.key.sign(message)


def certificate(issuer: CertificateSigner, subject_id: bytes, subject_key: PrivateKey) -> Tlv:
    """Return a certificate. The signature covers the value of its body, not the body's header.

    With RSA keys it has 568 bytes, and the value of its body 297.
    """
    body = issuer.id + subject_id + public_key(subject_key)
    signature = _signature(issuer.key.pkcs8, body)
    return Tlv.of(CERTIFICATE, [Tlv(BODY, body, LONG), Tlv(SIGNATURE, signature, LONG)], LONG)


@lru_cache(maxsize=256)
def _signature(issuer: bytes, body: bytes) -> bytes:
    # All cards of a municipality have the same certificates of its keys.
    return PrivateKey(issuer).sign(body)
