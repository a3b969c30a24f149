"""Card images: a card is one SQLite file that holds what personalisation wrote and the current state of the PINs.

SQLite guarantees what a chip's memory manager guarantees: whenever the power fails, a write has happened completely or
not at all. Every write to a PIN is synced to disk before its method returns.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from kazashi.card.contents import ApplicationContents, CardContents
from kazashi.card.holder_lock import HolderLock
from kazashi.card.identifiers import Aid, FileId
from kazashi.card.image_format import (
    APPLICATION_ID,
    FORMAT,
    SCHEMA,
    StoredRows,
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


class ApplicationConflict(Exception):
    """The image has an application with that AID, or one of the two AIDs begins with the other. It was not changed."""


class ApplicationMissing(Exception):
    """The image has no application with that AID. It was not changed."""


class ImageUnreadable(Exception):
    """The image's file cannot be read: it is another user's, or the disk fails. Nothing says that it is damaged."""


class ImageStore:
    """The durable state of a card in an image file (a `kazashi.card.store.CardStore`).

    Nothing is cached, and a try is spent by one conditional update, so that two processes that use one image get no
    more tries than one, and neither opens a PIN that the other was told is blocked. The
    connection is opened on first use, because most hosted cards never verify a PIN. `digest` is that of the contents
    with which the card was loaded; it does not change.
    """

    def __init__(self, path: Path, digest: str = "") -> None:
        self.path = path
        self.digest = digest
        self._connection: sqlite3.Connection | None = None
        self._lock = threading.Lock()
        self._holders = HolderLock(path.with_name(f"{path.name}-lock"))

    def pin(self, reference: Reference) -> PinState:
        """Return the current state of a PIN."""
        row = self._row("SELECT value, tries, tries_left FROM pin WHERE aid = ?1 AND fid = ?2", reference)
        if row is None:
            raise KeyError(f"{self.path} has no PIN {reference.file} in {reference.application}")
        return PinState(*row)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Exclude the image's other holders, in this process and in others."""
        with ExitStack() as stack:
            try:
                stack.enter_context(self._holders.held())
            except OSError as error:
                raise StoreFailure(f"{self.path}: {error}") from error
            yield

    def spend_try(self, reference: Reference) -> PinState | None:
        """Decrement a PIN's retry counter and return the new state, or return None if there was no try left."""
        return self._update("tries_left = tries_left - 1", reference)

    def refill(self, reference: Reference) -> None:
        """Reset a PIN's retry counter to its maximum."""
        self._row("UPDATE pin SET tries_left = tries WHERE aid = ?1 AND fid = ?2 RETURNING *", reference)

    def change_pin(self, reference: Reference, value: bytes) -> bool:
        """Replace a PIN's value and reset its retry counter, unless the PIN is blocked. Returns whether it did."""
        return self._update("value = ?3, tries_left = tries", reference, value) is not None

    def close(self) -> None:
        """Close the connection. The next use opens it again."""
        self._holders.close()
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def __del__(self) -> None:
        """Close what a card that is no longer used has open: Python 3.13 reports a connection that was never closed."""
        self.close()

    def _update(self, change: str, reference: Reference, *more: bytes) -> PinState | None:
        """Change a PIN that is not blocked, and return its new state, or None if it is blocked."""
        row = self._row(
            f"UPDATE pin SET {change} WHERE aid = ?1 AND fid = ?2 AND tries_left > 0"
            " RETURNING value, tries, tries_left",
            reference,
            *more,
        )
        if row is None:
            self.pin(reference)  # raises KeyError if there is none
            return None
        return PinState(*row)

    def _row(self, statement: str, reference: Reference, *more: bytes) -> tuple[bytes, int, int] | None:
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = _open(self.path)
                cursor = self._connection.execute(statement, (bytes(reference.application), reference.file, *more))
                # Fetching all rows ends the statement and commits its transaction; only then is the write on disk.
                rows = cursor.fetchall()
            except sqlite3.Error as error:
                raise StoreFailure(f"{self.path}: {error}") from error
        return rows[0] if rows else None


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
        with _connected(unfinished, "rwc") as database:
            _for_writing(database)
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


def rewrite_applications(
    path: Path, rewritten: CardContents, about: Mapping[str, str], issuer_pins: Collection[Reference] = ()
) -> None:
    """Replace the contents of applications and some of the `about` texts in one transaction, as at a counter.

    PINs and their retry counters are kept; a PIN that was never set is set now, and of `issuer_pins` the value is
    replaced, but not the counter. A chip that is already loaded keeps the old contents, until the host of its slot
    notices. Raises ValueError for text with control characters.
    """
    _check_text(about)
    with _changing(path) as database:
        for aid, contents in rewritten.items():
            key = bytes(aid)
            (position,) = database.execute(
                "SELECT position FROM item WHERE aid = ? AND kind = 'application'", (key,)
            ).fetchone()
            database.execute("DELETE FROM item WHERE aid = ?", (key,))
            database.execute("DELETE FROM pin WHERE aid = ? AND value = x''", (key,))
            kept = {fid for (fid,) in database.execute("SELECT fid FROM pin WHERE aid = ?", (key,))}
            new_pins = {fid: pin for fid, pin in contents.pins.items() if fid not in kept}
            _insert_application(database, position, aid, replace(contents, pins=new_pins))
            database.executemany(
                "UPDATE pin SET value = ? WHERE aid = ? AND fid = ?",
                [(pin.value, key, fid) for fid, pin in contents.pins.items()
                 if fid in kept and Reference(aid, fid) in issuer_pins],
            )  # fmt: skip
        database.executemany("INSERT OR REPLACE INTO about VALUES (?, ?)", sorted(about.items()))


def add_application(path: Path, aid: Aid, contents: ApplicationContents, about: dict[str, str]) -> None:
    """Add an application behind the others, and texts about it, in one transaction. Nothing else changes.

    Raises ApplicationConflict, because a partial AID would select the wrong one of two.
    """
    _check_text(about)
    with _changing(path) as database:
        rows = database.execute("SELECT aid, position FROM item WHERE kind = 'application'").fetchall()
        for other, _ in rows:
            if other.startswith(aid) or aid.startswith(other):
                raise ApplicationConflict(
                    f"{path.stem} has an application {other.hex().upper()} already; remove it first"
                )
        _insert_application(database, 1 + max(position for _, position in rows), aid, contents)
        database.executemany("INSERT INTO about VALUES (?, ?)", list(about.items()))


def remove_application(path: Path, aid: Aid, about: Sequence[str]) -> None:
    """Remove an application with its PINs, and the texts with the names `about`, in one transaction.

    Raises ApplicationMissing.
    """
    key = bytes(aid)
    with _changing(path) as database:
        if not database.execute("DELETE FROM item WHERE aid = ?", (key,)).rowcount:
            raise ApplicationMissing(f"{path.stem} has no application {aid}")
        database.execute("DELETE FROM pin WHERE aid = ?", (key,))
        database.executemany("DELETE FROM about WHERE name = ?", [(name,) for name in about])


@contextmanager
def _changing(path: Path) -> Iterator[sqlite3.Connection]:
    """Change an image in one transaction, and store the new digest. Raises DamagedImage."""
    with _connected(path, "rw") as database:
        _for_writing(database)
        problems = [row[0] for row in database.execute("PRAGMA quick_check")]
        if problems != ["ok"]:  # damage in unused pages, which reading does not notice, would damage what is written
            raise DamagedImage(f"{path} is damaged: {problems[0]}")
        upgrade(database)
        database.execute("BEGIN IMMEDIATE")
        yield database
        set_digest(database)
        database.execute("COMMIT")


class StoredCard(NamedTuple):
    """What an image holds: the contents, the `about` texts, and the digest of both."""

    contents: CardContents
    about: dict[str, str]
    digest: str


def read_image(path: Path) -> tuple[CardContents, dict[str, str]]:
    """Return the contents of an image and its `about` texts; the rest is as in `stored_card`."""
    return stored_card(path)[:2]


def stored_card(path: Path) -> StoredCard:
    """Return what an image holds. An image of an older format is upgraded first.

    Raises ImageMissing, DamagedImage, NewerImage for an image of a later format, and ImageUnreadable.
    """
    try:
        if not path.is_file():
            raise ImageMissing(f"there is no card image {path}")
        if not _has_journal(path):
            # Reading then needs none of SQLite's files beside the image: it is faster, and a full or read-only disk has
            # no room for them. It fails for an image that is written at this moment, or of an older format.
            with suppress(DamagedImage, WrongDigest, ValueError, KeyError, TypeError, OverflowError, sqlite3.Error):
                return _read(path, "ro&immutable=1")
        with path.open("rb") as file:  # SQLite does not say why it cannot open a file
            file.read(1)
    except OSError as error:
        raise ImageUnreadable(f"the card image {path} cannot be read: {error.strerror}") from error
    try:
        return _read(path, "rw")
    except WrongDigest as error:
        raise DamagedImage(f"{path} is damaged: its contents do not match their digest") from error
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise DamagedImage(f"{path} is damaged: {error}") from error
    except sqlite3.Error as error:
        if _primary(error) in _DISK:
            raise ImageUnreadable(f"the card image {path} cannot be read: {error}") from error
        raise DamagedImage(f"{path} cannot be read as a card image: {error}") from error


def _has_journal(path: Path) -> bool:
    """Whether changes of an image are in SQLite's file beside it. Raises OSError."""
    try:
        return path.with_name(f"{path.name}-wal").stat().st_size > 0
    except FileNotFoundError:
        return False


def image_digest(path: Path) -> str | None:
    """Return the digest that is stored in an image, or None if it cannot be read now.

    It changes with everything that does not change when the card is used (docs/card-image.md). The image is not
    written to, and not checked.
    """
    try:
        with _connected(path, "ro") as database:
            row = database.execute("SELECT value FROM about WHERE name = 'digest'").fetchone()
    except sqlite3.Error:
        return None
    return str(row[0]) if row is not None else None


_DISK = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR,
         sqlite3.SQLITE_PERM, sqlite3.SQLITE_BUSY)  # fmt: skip
"""SQLite's result codes for trouble with the disk or with access, rather than with the content of a file."""


def _primary(error: sqlite3.Error) -> int:
    """Return the primary result code of an error (https://www.sqlite.org/rescode.html)."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF


def _read(path: Path, mode: str) -> StoredCard:
    with _connected(path, mode) as database:
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
        upgrade(database)
        rows = check_digest(database)
    about = dict(rows.about)
    digest = about.pop("digest")
    _check_text(about)
    return StoredCard(_contents(rows), about, digest)


def _check_text(about: Mapping[str, str]) -> None:
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


def _contents(rows: StoredRows) -> CardContents:
    order = sorted((position, aid) for aid, kind, _, position, _ in rows.item if kind == "application")
    contents: CardContents = {Aid(aid): ApplicationContents() for _, aid in order}
    for aid, kind, fid, _, content in rows.item:
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
    for aid, fid, value, tries, tries_left in rows.pin:
        if not (isinstance(value, bytes) and isinstance(tries, int) and isinstance(tries_left, int)):
            raise ValueError(f"the PIN {fid} of {aid.hex()} is not a value with two numbers")
        if not 0 <= tries_left <= tries:
            raise ValueError(f"the PIN {fid} of {aid.hex()} has {tries_left} of {tries} tries left")
        contents[Aid(aid)].pins[FileId(fid)] = PinState(value, tries, tries_left)
    return contents


def _open(path: Path) -> sqlite3.Connection:
    """Open an image for writing. If it is gone, no empty card is created."""
    return _for_writing(_connect(path, "rw"))


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None, check_same_thread=False, timeout=10
    )


def _for_writing(database: sqlite3.Connection) -> sqlite3.Connection:
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("PRAGMA cache_size = -64")
    return database


@contextmanager
def _connected(path: Path, mode: str) -> Iterator[sqlite3.Connection]:
    database = _connect(path, mode)
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
