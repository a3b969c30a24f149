"""What programs at a counter need: the certificates of terminals, and the keys that check driver's licences."""

from __future__ import annotations

from hashlib import sha256

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from kazashi.applets.verifiable_certificate import certified, key_id, public_numbers
from kazashi.assembly.errors import UsageError
from kazashi.assembly.institutions import Institutions


def terminal_certificate(institutions: Institutions, public_key: bytes, name: str) -> bytes:
    """Return the certificate of a terminal that logs in without a PIN, for its public key (PEM), which is in the file
    with a name. Raises UsageError."""
    try:
        key = serialization.load_pem_public_key(public_key)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageError(f"{name} is not a public key in PEM: openssl rsa -pubout") from error
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size != 2048 or key.public_numbers().e >= 1 << 24:
        raise UsageError("a terminal has an RSA key of 2048 bits: openssl genrsa 2048")
    written = public_numbers(key.public_numbers())
    number = int.from_bytes(sha256(written).digest()) % 10**7
    return certified(institutions.cards.terminal_authority, key_id(f"{number:07d}", "000"), written).encode()


def licence_key(institutions: Institutions, prefecture: str) -> bytes:
    """Return the public key (PEM) that signs the driver's licences of a prefecture, given by its two digits."""
    key = serialization.load_der_public_key(institutions.cards.licence_signer(prefecture).key.public_key)
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
