"""The world's random numbers: a stream for each purpose, determined by the world's seed and the stream's name alone.

Two streams never share bytes, so what one part draws does not change what another part gets. The streams are
reproducible on purpose and must therefore not be used for keys.
"""

from __future__ import annotations

import hashlib
import random
import secrets


def stream(seed: str, *purpose: str) -> random.Random:
    """The stream for that purpose, from its beginning."""
    name = "\0".join((seed, *purpose)).encode()
    return random.Random(int.from_bytes(hashlib.sha256(name).digest()))


def secure_random(bits: int) -> int:
    """A random number that nobody can predict. It does not depend on the seed."""
    return secrets.randbits(bits)


def new_token(bits: int = 192) -> str:
    """A token that nobody can predict, in hexadecimal digits, for keys, session names and nonces."""
    return f"{secure_random(bits):0{bits // 4}x}"
