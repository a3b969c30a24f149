"""The card's RSA private keys."""

from __future__ import annotations

from functools import lru_cache

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import NoDigestInfo, Prehashed

SHA256 = hashes.SHA256()
PSS_SALT_LENGTH = 32


@lru_cache(maxsize=64)
def _load(pkcs8: bytes) -> rsa.RSAPrivateKey:
    # A loaded OpenSSL key is some ten times larger than its DER, and a process may host a thousand cards, so that
    # only the last few are kept loaded.
    key = serialization.load_der_private_key(pkcs8, None, unsafe_skip_rsa_key_validation=True)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise TypeError("the card signs with RSA keys only")
    return key


class PrivateKey:
    """An RSA private key, kept as PKCS#8 DER and loaded when used. Every use raises TypeError for another algorithm."""

    __slots__ = ("pkcs8",)

    def __init__(self, pkcs8: bytes) -> None:
        self.pkcs8 = pkcs8

    @property
    def _key(self) -> rsa.RSAPrivateKey:
        return _load(self.pkcs8)

    @property
    def public_key(self) -> bytes:
        """The public key as SubjectPublicKeyInfo DER."""
        return self._key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    @property
    def public_numbers(self) -> rsa.RSAPublicNumbers:
        """The modulus and exponent of the public key."""
        return self._key.public_key().public_numbers()

    @property
    def max_verbatim(self) -> int:
        """The maximum number of bytes in a PKCS#1 v1.5 type 1 block of this key: its length in bytes minus 11."""
        return self._key.key_size // 8 - 11

    def decrypt_oaep(self, encrypted: bytes) -> bytes | None:
        """Return what was encrypted with RSA-OAEP (SHA-256) for the public key, or None if it was not."""
        try:
            return self._key.decrypt(encrypted, padding.OAEP(padding.MGF1(SHA256), SHA256, None))
        except ValueError:
            return None

    def sign_verbatim(self, block: bytes) -> bytes:
        """Sign at most `max_verbatim` bytes as they are, with PKCS#1 v1.5 type 1 padding."""
        return self._key.sign(block, padding.PKCS1v15(), NoDigestInfo())

    def sign_digest(self, digest: bytes) -> bytes:
        """Sign a SHA-256 digest of 32 bytes with RSASSA-PKCS1-v1_5."""
        return self._key.sign(digest, padding.PKCS1v15(), Prehashed(SHA256))

    def sign_digest_pss(self, digest: bytes) -> bytes:
        """Sign a SHA-256 digest of 32 bytes with RSASSA-PSS, MGF1-SHA-256 and a salt of 32 bytes."""
        return self._key.sign(digest, padding.PSS(padding.MGF1(SHA256), PSS_SALT_LENGTH), Prehashed(SHA256))
