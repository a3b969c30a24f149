"""The card's private keys: RSA-2048 on today's card, P-384 on the next card."""

from __future__ import annotations

from functools import lru_cache

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import NoDigestInfo, Prehashed, decode_dss_signature

SHA256, SHA384 = hashes.SHA256(), hashes.SHA384()
PSS_SALT_LENGTH = 32
_ECDSA, _ECDSA_PREHASHED = ec.ECDSA(SHA384), ec.ECDSA(Prehashed(SHA384))

_Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@lru_cache(maxsize=64)
def _load(pkcs8: bytes) -> _Key:
    # A loaded OpenSSL key is some ten times larger than its DER, and a process may host a thousand cards, so that
    # only the last few are kept loaded.
    key = serialization.load_der_private_key(pkcs8, None, unsafe_skip_rsa_key_validation=True)
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise TypeError("the card signs with RSA and EC keys only")
    return key


class PrivateKey:
    """An RSA or EC private key, kept as PKCS#8 DER and loaded when used.

    Every use raises TypeError for a key of another algorithm than the use is for.
    """

    __slots__ = ("pkcs8",)

    def __init__(self, pkcs8: bytes) -> None:
        self.pkcs8 = pkcs8

    @property
    def _key(self) -> rsa.RSAPrivateKey:
        key = _load(self.pkcs8)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise TypeError("the key is not an RSA key")
        return key

    @property
    def _curve_key(self) -> ec.EllipticCurvePrivateKey:
        key = _load(self.pkcs8)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TypeError("the key is not an EC key")
        return key

    @property
    def is_elliptic(self) -> bool:
        """Whether this is an EC key, not an RSA key."""
        return isinstance(_load(self.pkcs8), ec.EllipticCurvePrivateKey)

    @property
    def public_key(self) -> bytes:
        """The public key as SubjectPublicKeyInfo DER."""
        return (
            _load(self.pkcs8)
            .public_key()
            .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        )

    @property
    def public_numbers(self) -> rsa.RSAPublicNumbers:
        """The modulus and exponent of an RSA public key."""
        return self._key.public_key().public_numbers()

    @property
    def public_point(self) -> bytes:
        """The point of an EC public key, uncompressed (04, x, y): 97 bytes for P-384."""
        return self._curve_key.public_key().public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        )

    @property
    def signature_length(self) -> int:
        """The number of bytes in a signature: 256 for RSA-2048, 96 for P-384."""
        key = _load(self.pkcs8)
        return key.key_size // 8 if isinstance(key, rsa.RSAPrivateKey) else 2 * (-(-key.key_size // 8))

    @property
    def max_verbatim(self) -> int:
        """The maximum number of bytes in a PKCS#1 v1.5 type 1 block of this RSA key: its length in bytes minus 11."""
        return self._key.key_size // 8 - 11

    def sign(self, message: bytes) -> bytes:
        """Sign a message: RSASSA-PKCS1-v1_5 with SHA-256, or ECDSA with SHA-384 as in `sign_hash`."""
        if self.is_elliptic:
            return self._two_numbers(self._curve_key.sign(message, _ECDSA))
        return self._key.sign(message, padding.PKCS1v15(), SHA256)

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

    def sign_hash(self, digest: bytes) -> bytes:
        """Sign a SHA-384 hash of 48 bytes with ECDSA. Returns r and s, each as many bytes as the curve's order."""
        return self._two_numbers(self._curve_key.sign(digest, _ECDSA_PREHASHED))

    def _two_numbers(self, encoded: bytes) -> bytes:
        r, s = decode_dss_signature(encoded)
        half = self.signature_length // 2
        return r.to_bytes(half) + s.to_bytes(half)
