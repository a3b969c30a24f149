"""A card in the making: the keys that its chip has made, before there is a certificate for them.

It is a file beside the finished cards, so that a case that was cut off goes on with the same keys, for which a
certificate may already have been issued.
"""

from __future__ import annotations

import fcntl
import json
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from glob import escape
from pathlib import Path

from kazashi.world.atomic_file import clear_unfinished, write_whole
from kazashi.world.key_source import KeySource

KEYS_OF_A_CARD = ("signature", "authentication", "text", "text session", "visual", "common")


class KeysInProgress:
    """The keys of one case. The private ones go from here onto the finished card, and nowhere else."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep every other process from working on a card meanwhile; ends with the process, whatever becomes of it."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self._path.parent / ".cases.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            clear_unfinished(self._path.parent, escape(self._path.name))  # of a process that was killed
            yield

    def keys(self, names: Sequence[str], source: KeySource) -> dict[str, bytes]:
        """The key pairs (PKCS#8 DER) that the chip has made; those that are missing, it makes now."""
        try:
            held = {name: b64decode(key) for name, key in json.loads(self._path.read_text(encoding="ascii")).items()}
        except FileNotFoundError:
            held = {}
        if held.keys() >= set(names):
            return held
        held |= {name: source.take() for name in names if name not in held}
        text = json.dumps({name: b64encode(key).decode("ascii") for name, key in held.items()})
        write_whole(self._path, text, mode=0o600)
        return held

    def finish(self) -> None:
        """The keys are on the card; nothing is left here."""
        self._path.unlink(missing_ok=True)
