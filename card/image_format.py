"""The format of card images: schema, digest, and the steps from former formats (docs/card-image.md)."""

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
"""Their rows, a line each, are what the digest is over: everything that never changes after personalisation."""


class WrongDigest(Exception):
    """The contents of an image do not match its digest."""


def digest(database: sqlite3.Connection) -> str:
    """Return SHA-256 over the lines of DIGESTED (UTF-8, each ended by a newline), in hexadecimal."""
    found = hashlib.sha256()
    for statement in DIGESTED:
        for (line,) in database.execute(statement):
            found.update(f"{line}\n".encode())
    return found.hexdigest()


def version(database: sqlite3.Connection) -> int:
    """Return the number of the format that an image has."""
    return int(database.execute("PRAGMA user_version").fetchone()[0])


def check_digest(database: sqlite3.Connection) -> None:
    """Raise WrongDigest where the contents do not match the digest, by the rule of the image's own format."""
    found = version(database)
    rule = {1: _digest_of_format_1}.get(found, digest)
    stored = database.execute("SELECT value FROM about WHERE name = 'digest'").fetchone()
    if stored is None or stored[0] != rule(database):
        if version(database) != found:  # another process has upgraded the image meanwhile
            return check_digest(database)
        raise WrongDigest
    return None


def set_digest(database: sqlite3.Connection) -> None:
    """Store the digest of the contents as they are."""
    database.execute("INSERT OR REPLACE INTO about VALUES ('digest', ?)", (digest(database),))


def upgrade(database: sqlite3.Connection) -> None:
    """Bring an image of a former format up to this one, a transaction for each step; PINs stay as they are.

    An image that is at this format is left alone. Raises WrongDigest, and changes nothing, where the digest does not
    match by the former rule.
    """
    while version(database) < FORMAT:
        check_digest(database)  # before the first lock: a damaged image is not even opened for writing
        database.execute("PRAGMA synchronous = FULL")
        database.execute("BEGIN IMMEDIATE")
        try:
            found = version(database)
            if found < FORMAT:  # else another process was faster
                check_digest(database)
                _STEPS[found](database)
                database.execute(f"PRAGMA user_version = {found + 1}")
            database.execute("COMMIT")
        except BaseException:
            database.execute("ROLLBACK")
            raise


def _from_1_to_2(database: sqlite3.Connection) -> None:
    """Format 2 has the same tables, and a digest that other languages can compute."""
    set_digest(database)


_STEPS: dict[int, Callable[[sqlite3.Connection], None]] = {1: _from_1_to_2}


def _digest_of_format_1(database: sqlite3.Connection) -> str:
    """Return SHA-256 over Python's notation of each row."""
    found = hashlib.sha256()
    for statement in (
        "SELECT name, value FROM about WHERE name <> 'digest' ORDER BY name",
        "SELECT aid, kind, fid, position, content FROM item ORDER BY aid, kind, fid, position",
        "SELECT aid, fid, tries FROM pin ORDER BY aid, fid",
    ):
        for row in database.execute(statement):
            found.update(repr(row).encode())
    return found.hexdigest()
