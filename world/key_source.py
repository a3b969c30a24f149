"""Sources of keys. An RSA-2048 key takes about 50 ms, so that keys can be made in advance. A P-384 key takes less than
a millisecond, about as long as taking one from a stock."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from kazashi.world.atomic_file import make_directory, sync, write_whole


class KeySource(Protocol):
    """A source of private keys of one algorithm."""

    def take(self) -> bytes:
        """Return a key as PKCS#8 DER."""


def generate(_: object = None) -> bytes:
    """Generate an RSA-2048 key. Returns it as PKCS#8 DER."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def new_p384_key() -> bytes:
    """Generate a P-384 key. Returns it as PKCS#8 DER."""
    return ec.generate_private_key(ec.SECP384R1()).private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


class P384KeySource:
    """P-384 keys, generated when they are taken."""

    def take(self) -> bytes:
        """Return a key as PKCS#8 DER."""
        return new_p384_key()


class StockedKeySource:
    """RSA-2048 keys from a directory, each used once. If the directory is empty, a key is generated."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def take(self) -> bytes:
        """Return a key as PKCS#8 DER."""
        for path in self._stock():
            taken = path.with_suffix(".taken")
            try:
                path.rename(taken)  # if two programs take this key, only one of them can rename the file
            except FileNotFoundError:
                continue
            sync(self._directory)  # the key must not be back in stock after a power loss
            key = taken.read_bytes()
            taken.unlink()
            return key
        return generate()

    def fill(self, count: int, progress: Callable[[int], None] = lambda _: None) -> None:
        """Generate keys on all cores until `count` are in stock. `progress` gets the number in stock after each key."""
        make_directory(self._directory, mode=0o700)
        stock = sum(1 for _ in self._stock())
        progress(stock)
        if stock >= count:
            return
        # Imported here because it takes 20 ms, and few programs fill a stock.
        from concurrent.futures import ProcessPoolExecutor

        with ProcessPoolExecutor(max_workers=os.cpu_count()) as workers:
            for key in workers.map(generate, range(count - stock)):
                write_whole(self._directory / f"{os.urandom(8).hex()}.key", key, mode=0o600)
                stock += 1
                progress(stock)

    def _stock(self) -> Iterator[Path]:
        return self._directory.glob("*.key")


class SharedKeySource:
    """A few keys that are used again and again, for benchmarks and tests that key generation would dominate."""

    def __init__(self, keys: Iterable[bytes]) -> None:
        self._keys = cycle(keys)

    def take(self) -> bytes:
        """Return a key as PKCS#8 DER."""
        return next(self._keys)
