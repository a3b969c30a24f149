"""The format of card images: schema, digest, and upgrades from older formats (docs/card-image.md)."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable

APPLICATION_ID = 0x4B415A53  # "KAZS"
FORMAT = 2

SCHEMA = """
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE item (aid BLOB, kind TEXT, fid INTEGER, position INTEGER, content BLOB NOT NULL,
                   PRIMARY KEY (aid, kind, fid, position)) WITHOUT ROWID;
CREATE TABLE pin (aid BLOB, fid INTEGER, value BLOB NOT NULL, tries INTEGER NOT NULL, tries_left INTEGER NOT NULL
                  CHECK (tries_left BETWEEN 0 AND tries), PRIMARY KEY (aid, fid)) WITHOUT ROWID;
"""

DIGESTED = (
    "SELECT 'about,' || quote(name) || ',' || quote(value)"
    " FROM about WHERE name <> 'digest' ORDER BY name",
    "SELECT 'item,' || quote(aid) || ',' || quote(kind) || ',' || quote(fid) || ',' || quote(position) || ','"
    " || quote(content) FROM item ORDER BY aid, kind, fid, position",
    "SELECT 'pin,' || quote(aid) || ',' || quote(fid) || ',' || quote(tries)"
    " FROM pin ORDER BY aid, fid",
)  # fmt: skip
"""The digest covers the rows of these statements, one line each: all that does not change when the card is used."""


class WrongDigest(Exception):
    """The contents of an image do not match its digest."""


def digest(database: sqlite3.Connection) -> str:
    """Return SHA-256 over the lines of DIGESTED (UTF-8, each followed by a newline), in hexadecimal."""
    sha256 = hashlib.sha256()
    for statement in DIGESTED:
        for (line,) in database.execute(statement):
            sha256.update(f"{line}\n".encode())
    return sha256.hexdigest()


def version(database: sqlite3.Connection) -> int:
    """Return the format number of an image."""
    return int(database.execute("PRAGMA user_version").fetchone()[0])


def check_digest(database: sqlite3.Connection) -> None:
    """Raise WrongDigest if the contents do not match the digest, computed as the image's own format defines it."""
    image_format = version(database)
    rule = {1: _digest_of_format_1}.get(image_format, digest)
    stored = database.execute("SELECT value FROM about WHERE name = 'digest'").fetchone()
    if stored is None or stored[0] != rule(database):
        if version(database) != image_format:  # another process has upgraded the image in the meantime
            return check_digest(database)
        raise WrongDigest
    return None


def set_digest(database: sqlite3.Connection) -> None:
    """Store the digest of the current contents."""
    database.execute("INSERT OR REPLACE INTO about VALUES ('digest', ?)", (digest(database),))


def upgrade(database: sqlite3.Connection) -> None:
    """Upgrade an image to the current format, one transaction for each step. PINs are not changed.

    An image of the current format is left as it is. Raises WrongDigest, and changes nothing, if the digest does not
    match as the older format defines it.
    """
    while version(database) < FORMAT:
        check_digest(database)  # before the first lock: a damaged image is not even opened for writing
        database.execute("PRAGMA synchronous = FULL")
        database.execute("BEGIN IMMEDIATE")
        try:
            image_format = version(database)
            if image_format < FORMAT:  # else another process was faster
                check_digest(database)
                _STEPS[image_format](database)
                database.execute(f"PRAGMA user_version = {image_format + 1}")
            database.execute("COMMIT")
        except BaseException:
            database.execute("ROLLBACK")
            raise


def _from_1_to_2(database: sqlite3.Connection) -> None:
    """Replace the digest: format 2 has the same tables, and a digest that other languages can compute."""
    set_digest(database)


_STEPS: dict[int, Callable[[sqlite3.Connection], None]] = {1: _from_1_to_2}


def _digest_of_format_1(database: sqlite3.Connection) -> str:
    """Return SHA-256 over Python's `repr` of each row, in hexadecimal."""
    sha256 = hashlib.sha256()
    for statement in (
        "SELECT name, value FROM about WHERE name <> 'digest' ORDER BY name",
        "SELECT aid, kind, fid, position, content FROM item ORDER BY aid, kind, fid, position",
        "SELECT aid, fid, tries FROM pin ORDER BY aid, fid",
    ):
        for row in database.execute(statement):
            sha256.update(repr(row).encode())
    return sha256.hexdigest()
