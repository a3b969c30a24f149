"""The keys that a chip has generated for a card in production, before certificates are issued for them.

They are kept in a file beside the finished cards. An interrupted case thus continues with the same keys, for which a
certificate may already have been issued.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from glob import escape
from pathlib import Path

from kazashi.world.atomic_file import clear_unfinished, write_whole
from kazashi.world.key_source import KeySource
from kazashi.world.process_lock import exclusive

KEYS_OF_A_CARD = ("signature", "authentication", "text", "text session", "visual", "common")


class KeysInProgress:
    """The keys of one case. Private keys are copied only to the finished card."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def held(self) -> Iterator[None]:
        """Lock out other processes that work on cards. A crash of this process also releases the lock."""
        with exclusive(self.path.parent / ".cases.lock"):
            clear_unfinished(self.path.parent, escape(self.path.name))  # left by a process that was killed
            yield

    def keys(self, names: Sequence[str], source: KeySource) -> dict[str, bytes]:
        """Return the chip's key pairs as PKCS#8 (DER) by name, after generating the missing ones."""
        try:
            keys = {name: b64decode(key) for name, key in json.loads(self.path.read_text(encoding="ascii")).items()}
        except FileNotFoundError:
            keys = {}
        if keys.keys() >= set(names):
            return keys
        keys |= {name: source.take() for name in names if name not in keys}
        text = json.dumps({name: b64encode(key).decode("ascii") for name, key in keys.items()})
        write_whole(self.path, text, mode=0o600)
        return keys

    def finish(self) -> None:
        """Delete the file, once the keys are on the card."""
        self.path.unlink(missing_ok=True)
