"""The provider's two keys for ID tokens, one for each algorithm that a client can register for."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

from kazashi.relying_party.login.provider_store import ProviderStore
from kazashi.world.home import World

RS256, ES384 = "RS256", "ES384"
ALGORITHMS = (RS256, ES384)
"""RSA with SHA-256, which is OpenID Connect's default, and ECDSA with P-384 and SHA-384."""

_HASHES = {RS256: hashlib.sha256, ES384: hashlib.sha384}


class TokenKeys:
    """The keys, which are made when they are first needed and kept in the provider's store."""

    def __init__(self, world: World, store: ProviderStore) -> None:
        self._keys: dict[str, RSAKey | ECKey] = {
            RS256: RSAKey.import_key(store.secret("key", world.keys.take), {"use": "sig", "alg": RS256}),
            ES384: ECKey.import_key(store.secret("P-384 key", world.p384_keys.take), {"use": "sig", "alg": ES384}),
        }
        for key in self._keys.values():
            key.ensure_kid()

    def public(self) -> dict[str, Any]:
        """Return the public keys as a JWK set."""
        return {"keys": [key.as_dict(private=False) for key in self._keys.values()]}

    def id_token(self, algorithm: str, claims: Mapping[str, Any], access_token: str) -> str:
        """Return a signed ID token with the hash of its access token (OpenID Connect Core, 2 and 3.1.3.6)."""
        key, digest = self._keys[algorithm], _HASHES[algorithm](access_token.encode()).digest()
        half = urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode()
        header = {"alg": algorithm, "kid": str(key.kid)}
        # joserfc signs with ES384 only if it is named here.
        return jwt.encode(header, {**claims, "at_hash": half}, key, algorithms=[algorithm])

    def claims(self, token: str) -> Mapping[str, Any]:
        """Return the claims of an ID token of this provider. Raises JoseError or ValueError for another token."""
        return jwt.decode(token, KeySet(list(self._keys.values())), algorithms=list(ALGORITHMS)).claims
