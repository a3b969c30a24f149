"""Encryption of answers from body to body: compact JWE to keys on P-256. Keys are JWK texts.

This is the only part of the network that needs joserfc, a package of the extra `network`. It is imported when a key is
first used, because lists of actors, rules and studies import the network's modules without ever sealing an answer.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from joserfc.jwk import ECKey

_HEADER = {"alg": "ECDH-ES", "enc": "A256GCM"}


def new_key() -> str:
    """Return a new private key."""
    from joserfc.jwk import ECKey

    return json.dumps(ECKey.generate_key("P-256").as_dict(private=True))


def public_part(key: str) -> str:
    """Return the public key of a private key."""
    return json.dumps(_imported(key).as_dict(private=False))


def is_key(unverified: str) -> bool:
    """Return whether a text is a key that answers can be encrypted to."""
    from joserfc.errors import JoseError
    from joserfc.jwk import ECKey

    try:
        ECKey.import_key(json.loads(unverified))
    except (JoseError, ValueError, KeyError, TypeError):
        return False
    return True


def sealed(text: str, key: str) -> str:
    """Encrypt a text to a public key."""
    from joserfc import jwe

    return jwe.encrypt_compact(_HEADER, text, _imported(key))


def unsealed(unverified: str, key: str) -> bytes:
    """Decrypt with a private key. Raises ValueError if the text was not encrypted to it."""
    from joserfc import jwe
    from joserfc.errors import JoseError

    own = _imported(key)
    try:
        return jwe.decrypt_compact(unverified, own).plaintext or b""
    except (JoseError, AttributeError, ValueError, KeyError, TypeError) as error:
        raise ValueError("the text cannot be decrypted") from error


@lru_cache(maxsize=4096)
def _imported(key: str) -> ECKey:
    from joserfc.jwk import ECKey

    return ECKey.import_key(json.loads(key))
