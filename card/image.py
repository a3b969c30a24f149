"""Card images: a card is one SQLite file that holds what personalisation wrote and the current state of the PINs.

SQLite guarantees what a chip's memory manager guarantees: whenever the power fails, a write has happened completely or
not at all. Every write to a PIN is synced to disk before its method returns.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from kazashi.card.contents import ApplicationContents, CardContents
from kazashi.card.identifiers import Aid, FileId
from kazashi.card.image_format import (
    APPLICATION_ID,
    FORMAT,
    SCHEMA,
    WrongDigest,
    check_digest,
    set_digest,
    upgrade,
    version,
)
from kazashi.card.pin import PinState
from kazashi.card.store import Reference, StoreFailure


class ImageMissing(Exception):
    """The image file does not exist."""


class ImageExists(Exception):
    """An image of that name exists already. It was not changed."""


class DamagedImage(Exception):
    """The file is not a card image, or it is damaged. It was not changed."""


class NewerImage(DamagedImage):
    """The image was written by a later version of this program. It was not changed."""


class ImageStore:
    """The durable state of a card in an image file (a `kazashi.card.store.CardStore`).

    Nothing is cached, so that two processes that use one image cannot undo each other's writes to a retry counter. The
    connection is opened on first use, because most hosted cards never verify a PIN.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None
        self._lock = threading.Lock()

    def pin(self, reference: Reference) -> PinState:
        """Return the current state of a PIN."""
        return self._one("SELECT value, tries, tries_left FROM pin WHERE aid = ? AND fid = ?", reference)

    def spend_try(self, reference: Reference) -> PinState:
        """Decrement a PIN's retry counter unless it is 0, and return the new state."""
        return self._one(
            "UPDATE pin SET tries_left = max(0, tries_left - 1) WHERE aid = ? AND fid = ?"
            " RETURNING value, tries, tries_left",
            reference,
        )

    def refill(self, reference: Reference) -> None:
        """Reset a PIN's retry counter to its maximum."""
        self._one(
            "UPDATE pin SET tries_left = tries WHERE aid = ? AND fid = ? RETURNING value, tries, tries_left", reference
        )

    def change_pin(self, reference: Reference, value: bytes) -> None:
        """Replace a PIN's value and reset its retry counter to its maximum."""
        self._one(
            "UPDATE pin SET value = ?3, tries_left = tries WHERE aid = ?1 AND fid = ?2"
            " RETURNING value, tries, tries_left",
            reference,
            value,
        )

    def close(self) -> None:
        """Close the connection. The next use opens it again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def __del__(self) -> None:
        """Close the connection of a card that is no longer used: Python 3.13 reports one that was never closed."""
        if self._connection is not None:
            self._connection.close()

    def _one(self, statement: str, reference: Reference, *more: bytes) -> PinState:
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = _open(self.path)
                cursor = self._connection.execute(statement, (bytes(reference.application), reference.file, *more))
                # Fetching all rows ends the statement and commits its transaction; only then is the write on disk.
                rows = cursor.fetchall()
            except sqlite3.Error as error:
                raise StoreFailure(f"{self.path}: {error}") from error
        if not rows:
            raise KeyError(f"{self.path} has no PIN {reference.file} in {reference.application}")
        return PinState(*rows[0])


def write_image(path: Path, contents: CardContents, about: dict[str, str]) -> None:
    """Write a new image atomically. Raises ImageExists if there is one already; it is never overwritten.

    `about` is free text about the card that other programs may show; the digest covers it. Raises ValueError for text
    with control characters, which programs print differently.
    """
    _check_text(about)
    if path.exists():
        raise ImageExists(f"{path} exists already")
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.new")
    unfinished.unlink(missing_ok=True)
    try:
        with _connected(unfinished) as database:
            database.executescript(SCHEMA)
            database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            database.execute(f"PRAGMA user_version = {FORMAT}")
            database.execute("BEGIN")
            for position, (aid, application) in enumerate(contents.items()):
                _insert_application(database, position, aid, application)
            database.executemany("INSERT INTO about VALUES (?, ?)", sorted(about.items()))
            set_digest(database)
            database.execute("COMMIT")
        unfinished.chmod(0o600)
        _sync(unfinished)
        try:
            os.link(unfinished, path)  # unlike a rename, a link never replaces a card created in the meantime
        except FileExistsError:
            raise ImageExists(f"{path} exists already") from None
        _sync(path.parent)
    finally:
        unfinished.unlink(missing_ok=True)


def rewrite_application(path: Path, aid: Aid, contents: ApplicationContents, about: dict[str, str]) -> None:
    """Replace the contents of an application and some of the `about` texts in one transaction, as for a renewal.

    PINs and their retry counters are kept; a PIN that was never set is set now. A chip that is already loaded keeps the
    old contents.
    """
    _check_text(about)
    with _connected(path) as database:
        upgrade(database)
        key = bytes(aid)
        database.execute("BEGIN IMMEDIATE")
        (position,) = database.execute(
            "SELECT position FROM item WHERE aid = ? AND kind = 'application'", (key,)
        ).fetchone()
        database.execute("DELETE FROM item WHERE aid = ?", (key,))
        database.execute("DELETE FROM pin WHERE aid = ? AND value = x''", (key,))
        kept = {fid for (fid,) in database.execute("SELECT fid FROM pin WHERE aid = ?", (key,))}
        new_pins = {fid: pin for fid, pin in contents.pins.items() if fid not in kept}
        _insert_application(database, position, aid, replace(contents, pins=new_pins))
        database.executemany("UPDATE about SET value = ? WHERE name = ?", [(new, name) for name, new in about.items()])
        set_digest(database)
        database.execute("COMMIT")


def read_image(path: Path) -> tuple[CardContents, dict[str, str]]:
    """Return the contents of an image and its `about` texts. An image of an older format is upgraded first.

    Raises ImageMissing, DamagedImage, and NewerImage for an image of a later format.
    """
    if not path.is_file():
        raise ImageMissing(f"there is no card image {path}")
    try:
        with _connected(path, read_only=True) as database:
            if database.execute("PRAGMA application_id").fetchone() != (APPLICATION_ID,):
                raise DamagedImage(f"{path} is not a card image")
            image_format = version(database)
            if image_format > FORMAT:
                raise NewerImage(
                    f"{path} is a card image of format {image_format}, and this program reads formats up to {FORMAT};"
                    " use the version of Kazashi that wrote it, or a later one"
                )
            if image_format < 1:
                raise DamagedImage(f"{path} is a card image of format {image_format}, which does not exist")
            problems = [row[0] for row in database.execute("PRAGMA quick_check")]
            if problems != ["ok"]:
                raise DamagedImage(f"{path} is damaged: {problems[0]}")
            upgrade(database)
            check_digest(database)
            about = dict(database.execute("SELECT name, value FROM about WHERE name <> 'digest'"))
            _check_text(about)
            return _read_contents(database), about
    except WrongDigest as error:
        raise DamagedImage(f"{path} is damaged: its contents do not match their digest") from error
    except ValueError as error:
        raise DamagedImage(f"{path} is damaged: {error}") from error
    except sqlite3.Error as error:
        raise DamagedImage(f"{path} cannot be read as a card image: {error}") from error


def _check_text(about: dict[str, str]) -> None:
    """Raise ValueError for control characters. SQLite's quote(), which the digest uses, cuts a text off at a NUL."""
    if any(ord(character) < 0x20 for pair in about.items() for text in pair for character in text):
        raise ValueError("the texts about a card must not contain control characters")


def _insert_application(
    database: sqlite3.Connection, position: int, aid: Aid, application: ApplicationContents
) -> None:
    key = bytes(aid)
    items: list[tuple[bytes, str, int, int, bytes]] = [(key, "application", 0, position, b"")]
    items += [(key, "data", fid, 0, content) for fid, content in application.data.items()]
    items += [(key, "key", fid, 0, content) for fid, content in application.keys.items()]
    items += [(key, "object", tag, 0, content) for tag, content in application.objects.items()]
    for fid, records in application.records.items():
        items += [(key, "record", fid, number, content) for number, content in enumerate(records, start=1)]
    database.executemany("INSERT INTO item VALUES (?, ?, ?, ?, ?)", items)
    database.executemany(
        "INSERT INTO pin VALUES (?, ?, ?, ?, ?)",
        [(key, fid, pin.value, pin.tries, pin.tries_left) for fid, pin in application.pins.items()],
    )


def _read_contents(database: sqlite3.Connection) -> CardContents:
    order = database.execute("SELECT aid FROM item WHERE kind = 'application' ORDER BY position")
    contents: CardContents = {Aid(aid): ApplicationContents() for (aid,) in order}
    items = database.execute("SELECT aid, kind, fid, content FROM item ORDER BY aid, kind, fid, position")
    for aid, kind, fid, content in items:
        application = contents[Aid(aid)]
        match kind:
            case "data":
                application.data[FileId(fid)] = content
            case "key":
                application.keys[FileId(fid)] = content
            case "object":
                application.objects[fid] = content
            case "record":
                application.records[FileId(fid)] = (*application.records.get(FileId(fid), ()), content)
    for aid, fid, *state in database.execute("SELECT aid, fid, value, tries, tries_left FROM pin"):
        contents[Aid(aid)].pins[FileId(fid)] = PinState(*state)
    return contents


def _open(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    # "rw" rather than the default: if the image is gone, the store must not create an empty card.
    create = "rwc" if path.name.endswith(".new") else "rw"
    database = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={create}", uri=True, isolation_level=None, check_same_thread=False, timeout=10
    )
    if not read_only:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("PRAGMA cache_size = -64")
    return database


@contextmanager
def _connected(path: Path, *, read_only: bool = False) -> Iterator[sqlite3.Connection]:
    database = _open(path, read_only=read_only)
    try:
        yield database
    finally:
        database.close()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
