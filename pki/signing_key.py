"""An authority's signing keys: in its own store, or in a PKCS#11 token from which they cannot be exported."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Protocol

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature

from kazashi.jpki.profile import Algorithm
from kazashi.world.token import with_session

SOFTWARE = "software"


class SigningKey(Protocol):
    """A private key of an authority."""

    algorithm: Algorithm

    @property
    def public_key(self) -> bytes:
        """The public key as SubjectPublicKeyInfo (DER). Raises TokenUnavailable."""

    def sign(self, *parts: bytes | bytearray | memoryview) -> bytes:
        """Sign the concatenated parts: PKCS#1 v1.5, or an ECDSA-Sig-Value. Raises TokenUnavailable."""


def digest_of(algorithm: Algorithm, parts: tuple[bytes | bytearray | memoryview, ...]) -> bytes:
    """The digest of the concatenated parts: SHA-256 for RSA, SHA-384 for P-384."""
    state = hashlib.sha256() if algorithm is Algorithm.RSA_2048 else hashlib.sha384()
    for part in parts:
        state.update(part)
    return state.digest()


class SoftwareKey:
    """A signing key that is given as PKCS#8 (DER)."""

    def __init__(self, pkcs8: bytes) -> None:
        self.pkcs8 = pkcs8
        # The authority generated this key itself; checking its primes again at each use would cost 50 ms.
        key = serialization.load_der_private_key(pkcs8, None, unsafe_skip_rsa_key_validation=True)
        if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
            raise TypeError("an authority's key must be an RSA or EC key")
        self._key = key
        self.algorithm = Algorithm.RSA_2048 if isinstance(key, rsa.RSAPrivateKey) else Algorithm.P_384

    @property
    def public_key(self) -> bytes:
        """The public key as SubjectPublicKeyInfo (DER)."""
        return self._key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def sign(self, *parts: bytes | bytearray | memoryview) -> bytes:
        """Sign the concatenated parts."""
        digest = digest_of(self.algorithm, parts)
        if isinstance(self._key, rsa.RSAPrivateKey):
            return self._key.sign(digest, padding.PKCS1v15(), Prehashed(hashes.SHA256()))
        return self._key.sign(digest, ec.ECDSA(Prehashed(hashes.SHA384())))


_DIGEST_INFO_SHA256 = bytes.fromhex("3031300D060960864801650304020105000420")


class TokenKey:
    """A key in a token, found by its label. A session opens at the first use, and is reopened once if it is lost."""

    def __init__(self, uri: str, label: str, algorithm: Algorithm) -> None:
        self._uri = uri
        self._label = label
        self.algorithm = algorithm

    @property
    def public_key(self) -> bytes:
        """The public key as SubjectPublicKeyInfo (DER). Raises TokenUnavailable."""
        return bytes(self._used(self._read_public_key))

    def make(self) -> None:
        """Have the token generate the key pair, unless it did so in an earlier attempt that was not recorded.

        Raises TokenUnavailable.
        """
        self._used(self._make)

    def sign(self, *parts: bytes | bytearray | memoryview) -> bytes:
        """Sign the concatenated parts. Only their digest is sent to the token. Raises TokenUnavailable."""
        digest = digest_of(self.algorithm, parts)
        return bytes(self._used(lambda session: self._sign(session, digest)))

    def _used(self, action: Callable[[Any], Any]) -> Any:
        return with_session(self._uri, action)

    def _make(self, session: Any) -> None:
        import pkcs11
        from pkcs11.util.ec import encode_named_curve_parameters

        try:
            self._private(session)
        except pkcs11.exceptions.NoSuchKey:
            if self.algorithm is Algorithm.RSA_2048:
                session.generate_keypair(pkcs11.KeyType.RSA, 2048, store=True, label=self._label)
                return
            curve = {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters("secp384r1")}
            session.create_domain_parameters(pkcs11.KeyType.EC, curve, local=True).generate_keypair(
                store=True, label=self._label
            )

    def _private(self, session: Any) -> Any:
        import pkcs11

        return session.get_key(object_class=pkcs11.ObjectClass.PRIVATE_KEY, label=self._label)

    def _read_public_key(self, session: Any) -> bytes:
        import pkcs11
        from pkcs11.util.ec import encode_ec_public_key
        from pkcs11.util.rsa import encode_rsa_public_key

        key = session.get_key(object_class=pkcs11.ObjectClass.PUBLIC_KEY, label=self._label)
        if self.algorithm is Algorithm.P_384:
            return bytes(encode_ec_public_key(key))
        loaded = serialization.load_der_public_key(encode_rsa_public_key(key))
        return loaded.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)

    def _sign(self, session: Any, digest: bytes) -> bytes:
        import pkcs11

        key = self._private(session)
        if self.algorithm is Algorithm.RSA_2048:
            return bytes(key.sign(_DIGEST_INFO_SHA256 + digest, mechanism=pkcs11.Mechanism.RSA_PKCS))
        raw = bytes(key.sign(digest, mechanism=pkcs11.Mechanism.ECDSA))
        half = len(raw) // 2
        return encode_dss_signature(int.from_bytes(raw[:half]), int.from_bytes(raw[half:]))
