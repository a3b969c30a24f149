"""The world's own anchors for card-verifiable certificates, and the municipal keys that they certify."""

from __future__ import annotations

import sqlite3

from applets.holder import Vouchers
from applets.verifiable_certificate import CHIP_ROOT, TEXT_ISSUER, VISUAL_ISSUER, Signer, key_id
from card.key import PrivateKey
from resident_registry.municipality import MunicipalityCode
from world.home import World

_SCHEMA = "CREATE TABLE IF NOT EXISTS signer (name TEXT PRIMARY KEY, key BLOB NOT NULL) WITHOUT ROWID"


def vouchers(world: World, municipality: MunicipalityCode) -> Vouchers:
    """The signers for a card of that municipality; keys are made at their first use and kept."""
    path = world.store("card_management") / "signers.sqlite"
    database = sqlite3.connect(path, isolation_level=None, timeout=30)
    try:
        path.chmod(0o600)
        database.execute("PRAGMA synchronous = FULL")
        database.execute(_SCHEMA)

        def signer(name: str, generation: str = "001") -> Signer:
            return Signer(key_id(name, generation), PrivateKey(_key(database, world, f"{name}/{generation}")))

        return Vouchers(
            chip_root=signer(CHIP_ROOT),
            text_issuer=signer(TEXT_ISSUER),
            visual_issuer=signer(VISUAL_ISSUER),
            # Subjects seen on real cards are the municipality's code, two more digits, and a running number.
            municipality_chip=signer(f"{municipality}20", "000"),
            municipality_visual=signer(f"{municipality}21", "000"),
            municipality_text=signer(f"{municipality}31", "000"),
        )
    finally:
        database.close()


def _key(database: sqlite3.Connection, world: World, name: str) -> bytes:
    find = "SELECT key FROM signer WHERE name = ?"
    row = database.execute(find, (name,)).fetchone()
    if row is None:
        # Another program may make the same key at this moment; whichever is written first is the one.
        database.execute("INSERT OR IGNORE INTO signer VALUES (?, ?)", (name, world.keys.take()))
        row = database.execute(find, (name,)).fetchone()
    return bytes(row[0])
