"""Atomic and durable file writes: a file is complete or absent, no matter when the program is killed or the power
fails, and it is on disk when the function returns.

A file's name is on disk only once its directory was synced (POSIX, fsync).
"""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

Piece = bytes | bytearray | memoryview

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
"""Constants of renameat2 (Linux, renameat2(2))."""


def write_whole(path: Path, content: str | Piece | Sequence[Piece], mode: int = 0o666) -> None:
    """Replace a file with new content atomically. Text is encoded as UTF-8.

    The new file is on disk when this returns. `mode` is the new file's permissions, reduced by the
    process's umask. Raises OSError; the old file is then unchanged, unless only its directory cannot be synced.
    """
    pieces = [content.encode()] if isinstance(content, str) else content
    if isinstance(pieces, bytes | bytearray | memoryview):
        pieces = [pieces]

    def write(unfinished: Path) -> None:
        unfinished.touch(mode)
        with unfinished.open("wb") as file:
            for piece in pieces:
                file.write(piece)

    replace_whole(path, write)


def replace_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Replace a file atomically. `write` gets a path and writes the new content there.

    Raises what `write` raises, and OSError; the old file is then unchanged, unless only its directory cannot be synced.
    """
    unfinished = _unfinished(path)
    try:
        write(unfinished)
        sync(unfinished)
        unfinished.replace(path)
        sync(path.parent)  # until now the disk may still have the old file
    finally:
        unfinished.unlink(missing_ok=True)


def create_whole(path: Path, content: str) -> bool:
    """Create a file of UTF-8 text atomically. Returns False, and changes nothing, if the file already exists.

    If several programs create the same file, the first one succeeds. Raises OSError.
    """
    unfinished = _unfinished(path)
    try:
        unfinished.write_text(content, encoding="utf-8")
        sync(unfinished)
        os.link(unfinished, path)  # unlike a rename, it never replaces a file
        sync(path.parent)
    except FileExistsError:
        return False
    finally:
        unfinished.unlink(missing_ok=True)
    return True


def is_unfinished(path: Path, name: str) -> bool:
    """Whether a path is the unfinished copy of a file called `name`, of a program that is writing or was killed."""
    return path.match(f".{name}.*.new")


def clear_unfinished(directory: Path, name: str = "*") -> None:
    """Remove the unfinished copies that killed programs left in a directory, of all files or of those called `name`.

    No other program may be writing these files in the directory.
    """
    for path in directory.glob(f".{name}.*.new"):
        path.unlink()


def _unfinished(path: Path) -> Path:
    """A path in the same directory that no other writer uses, in this process or another."""
    return path.with_name(f".{path.name}.{os.urandom(8).hex()}.new")


def make_directory(path: Path, mode: int = 0o777) -> None:
    """Create a directory with the missing ones above it, durably, if it does not exist.

    `mode` is its permissions, reduced by the process's umask. Raises OSError.
    """
    if not path.is_dir():
        make_directory(path.parent)
        path.mkdir(mode, exist_ok=True)
        sync(path.parent)


def sync(path: Path) -> None:
    """Write a file's contents, or a directory's names, to disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_directory(new: Path, old: Path) -> None:
    """Put the directory `new` in the place of `old`, which may not exist, and remove what was there.

    Where the file system can exchange two names (Linux, renameat2), one of the two is there at every moment; elsewhere
    there is a moment without either. Raises OSError.
    """
    for path in sorted(new.rglob("*")):
        sync(path)
    sync(new)
    if not old.exists():
        new.rename(old)
    elif not _exchanged(new, old):
        former = new.with_name(f"{new.name}.former")
        shutil.rmtree(former, ignore_errors=True)
        old.rename(former)
        new.rename(old)
        shutil.rmtree(former, ignore_errors=True)
    sync(old.parent)
    shutil.rmtree(new, ignore_errors=True)


def _exchanged(one: Path, other: Path) -> bool:
    """Exchange two names atomically. Returns False if the system cannot."""
    try:
        exchange = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return False
    done = exchange(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    return int(done) == 0
