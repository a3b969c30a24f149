"""Where RSA-2048 keys come from. One costs some 50 ms, so a source can be filled ahead of need."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import cycle
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from kazashi.world.atomic_file import write_whole


class KeySource(Protocol):
    """A source of RSA-2048 private keys."""

    def take(self) -> bytes:
        """A key as PKCS#8 DER."""


def generate(_: object = None) -> bytes:
    """Make one key, as PKCS#8 DER."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


class StockedKeySource:
    """Keys from a directory, each handed out once; made on the spot when the directory is empty."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def take(self) -> bytes:
        """A key as PKCS#8 DER."""
        for path in self._stock():
            taken = path.with_suffix(".taken")
            try:
                path.rename(taken)  # of two takers, one gets the file
            except FileNotFoundError:
                continue
            key = taken.read_bytes()
            taken.unlink()
            return key
        return generate()

    def fill(self, count: int, progress: Callable[[int], None] = lambda _: None) -> None:
        """Make keys on every core until `count` are in stock; `progress` is told how many that is, at each one."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        held = sum(1 for _ in self._stock())
        progress(held)
        if held >= count:
            return
        with ProcessPoolExecutor(max_workers=os.cpu_count()) as workers:
            for key in workers.map(generate, range(count - held)):
                write_whole(self._directory / f"{os.urandom(8).hex()}.key", key, mode=0o600)
                held += 1
                progress(held)

    def _stock(self) -> Iterator[Path]:
        return self._directory.glob("*.key")


class SharedKeySource:
    """A few keys handed out again and again: for measurements and tests, where making keys would be all there is."""

    def __init__(self, keys: Iterable[bytes]) -> None:
        self._keys = cycle(keys)

    def take(self) -> bytes:
        """A key as PKCS#8 DER."""
        return next(self._keys)
