"""The data that personalisation writes to a card, by application. File names and access rules are not part of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from kazashi.card.identifiers import Aid, FileId
from kazashi.card.key import PrivateKey
from kazashi.card.pin import PinState


@dataclass(slots=True)
class ApplicationContents:
    """The data of one application. Files are keyed by identifier and GET DATA objects by tag; keys are PKCS#8 DER."""

    data: dict[FileId, bytes] = field(default_factory=dict)
    records: dict[FileId, tuple[bytes, ...]] = field(default_factory=dict)
    keys: dict[FileId, bytes] = field(default_factory=dict)
    pins: dict[FileId, PinState] = field(default_factory=dict)
    objects: dict[int, bytes] = field(default_factory=dict)

    def key(self, fid: int) -> PrivateKey | None:
        """Return the private key in a file, or None if personalisation wrote none."""
        pkcs8 = self.keys.get(FileId(fid))
        return None if pkcs8 is None else PrivateKey(pkcs8)


CardContents = dict[Aid, ApplicationContents]
"""The contents of a whole card, by AID."""
