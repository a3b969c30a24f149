"""The format of card images: schema, digest, and upgrades from older formats (docs/card-image.md)."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterator
from typing import NamedTuple

APPLICATION_ID = 0x4B415A53  # "KAZS"
FORMAT = 2

SCHEMA = """
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE item (aid BLOB, kind TEXT, fid INTEGER, position INTEGER, content BLOB NOT NULL,
                   PRIMARY KEY (aid, kind, fid, position)) WITHOUT ROWID;
CREATE TABLE pin (aid BLOB, fid INTEGER, value BLOB NOT NULL, tries INTEGER NOT NULL, tries_left INTEGER NOT NULL
                  CHECK (tries_left BETWEEN 0 AND tries), PRIMARY KEY (aid, fid)) WITHOUT ROWID;
"""


class StoredRows(NamedTuple):
    """All rows of an image's tables, in the order of their keys."""

    about: list[tuple[str, str]]
    item: list[tuple[bytes, str, int, int, bytes]]
    pin: list[tuple[bytes, int, bytes, int, int]]

    def digested(self) -> Iterator[tuple[str, tuple[bytes | str | int, ...]]]:
        """Yield what a digest covers, with the names of the tables: all that does not change when the card is used."""
        yield from (("about", row) for row in self.about if row[0] != "digest")
        yield from (("item", row) for row in self.item)
        yield from (("pin", (aid, fid, tries)) for aid, fid, _, tries, _ in self.pin)


def stored_rows(database: sqlite3.Connection) -> StoredRows:
    """Return all rows of an image."""
    return StoredRows(
        database.execute("SELECT name, value FROM about ORDER BY name").fetchall(),
        database.execute(
            "SELECT aid, kind, fid, position, content FROM item ORDER BY aid, kind, fid, position"
        ).fetchall(),
        database.execute("SELECT aid, fid, value, tries, tries_left FROM pin ORDER BY aid, fid").fetchall(),
    )


class WrongDigest(Exception):
    """The contents of an image do not match its digest."""


def digest(rows: StoredRows) -> str:
    """Return SHA-256 over the lines of rows (UTF-8, each followed by a newline), in hexadecimal.

    A line has the table's name and the values as SQLite's function quote() writes them, separated by commas.
    """
    sha256 = hashlib.sha256()
    for table, row in rows.digested():
        sha256.update(f"{table},{','.join(map(_quoted, row))}\n".encode())
    return sha256.hexdigest()


def _quoted(value: bytes | str | int) -> str:
    if isinstance(value, bytes):
        return f"X'{value.hex().upper()}'"
    return "'{}'".format(value.replace("'", "''")) if isinstance(value, str) else str(value)


def version(database: sqlite3.Connection) -> int:
    """Return the format number of an image."""
    return int(database.execute("PRAGMA user_version").fetchone()[0])


def check_digest(database: sqlite3.Connection) -> StoredRows:
    """Return an image's rows. Raises WrongDigest if they do not match the digest as the image's own format defines
    it."""
    image_format = version(database)
    rule = {1: _digest_of_format_1}.get(image_format, digest)
    rows = stored_rows(database)
    if dict(rows.about).get("digest") != rule(rows):
        if version(database) != image_format:  # another process has upgraded the image in the meantime
            return check_digest(database)
        raise WrongDigest
    return rows


def set_digest(database: sqlite3.Connection) -> None:
    """Store the digest of the current contents."""
    database.execute("INSERT OR REPLACE INTO about VALUES ('digest', ?)", (digest(stored_rows(database)),))


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


def _digest_of_format_1(rows: StoredRows) -> str:
    """Return SHA-256 over Python's `repr` of each row, in hexadecimal."""
    return hashlib.sha256("".join(repr(row) for _, row in rows.digested()).encode()).hexdigest()
