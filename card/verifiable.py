"""Card-verifiable certificates as a chip reads them: two key identifiers, an RSA-2048 key, and a signature."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from kazashi.card.tlv import Tlv, parse_all

CERTIFICATE = 0x7F21
BODY = 0x5F4E
SIGNATURE = 0x5F37
EXPONENT = 0x90
MODULUS = 0x91
KEY_ID_LENGTH = 16
SIGNATURE_LENGTH = 256


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An RSA public key."""

    modulus: int
    exponent: int

    @classmethod
    def parse(cls, raw: bytes) -> PublicKey:
        """Return the key in two data objects, exponent and modulus. Raises ValueError."""
        exponent, modulus = parse_all(raw)
        if (exponent.tag, modulus.tag, len(modulus.value)) != (EXPONENT, MODULUS, SIGNATURE_LENGTH):
            raise ValueError("a public key is an exponent and a modulus of 256 bytes")
        return cls(int.from_bytes(modulus.value), int.from_bytes(exponent.value))

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether this is the key's signature of a message (RSA PKCS#1 v1.5 with SHA-256)."""
        try:
            key = rsa.RSAPublicNumbers(self.exponent, self.modulus).public_key()
            key.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True, slots=True)
class IssuerKey:
    """An authority whose certificates a chip accepts: its key identifier and its public key."""

    id: bytes
    key: PublicKey

    @classmethod
    def parse(cls, raw: bytes) -> IssuerKey:
        """Return the authority in a key identifier and a public key. Raises ValueError."""
        return cls(raw[:KEY_ID_LENGTH], PublicKey.parse(raw[KEY_ID_LENGTH:]))

    def certifies(self, body: bytes, signature: bytes) -> bool:
        """Whether the authority signed a certificate's body, which names it."""
        return body[:KEY_ID_LENGTH] == self.id and self.key.verifies(signature, body)


def parse_body(raw: bytes) -> bytes:
    """Return a certificate's body from the first part that a terminal sends: the header of the certificate, and the
    body as a data object. Raises ValueError."""
    whole = Tlv(CERTIFICATE, bytes(int.from_bytes(raw[3:5])), 3).header()
    (body,) = parse_all(raw[len(whole) :])
    if raw[: len(whole)] != whole or body.tag != BODY:
        raise ValueError("a certificate's body follows the header of a certificate")
    subject_key(body.value)
    return body.value


def parse_signature(raw: bytes) -> bytes:
    """Return a certificate's signature from the second part that a terminal sends. Raises ValueError."""
    (signature,) = parse_all(raw)
    if signature.tag != SIGNATURE:
        raise ValueError("the second part is a signature")
    return signature.value


def subject_key(body: bytes) -> PublicKey:
    """Return the public key in a certificate's body. Raises ValueError."""
    return PublicKey.parse(body[2 * KEY_ID_LENGTH :])
