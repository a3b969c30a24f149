"""The bench's randomness: a stream for each purpose, each a function of the world's seed and of its name alone.

Two streams never share bytes, so that what one part draws cannot shift what another gets. It is reproducible on
purpose and therefore no source for keys.
"""

from __future__ import annotations

import hashlib
import random
import secrets


def stream(seed: str, *purpose: str) -> random.Random:
    """The stream of that purpose, from its beginning."""
    name = "\0".join((seed, *purpose)).encode()
    return random.Random(int.from_bytes(hashlib.sha256(name).digest()))


def secure_random(bits: int) -> int:
    """A random number that nobody can foresee, and therefore no function of the seed."""
    return secrets.randbits(bits)


def new_token(bits: int = 192) -> str:
    """A token that nobody can foresee, as hexadecimal digits: a key, the name of a session, a nonce."""
    return f"{secure_random(bits):0{bits // 4}x}"
