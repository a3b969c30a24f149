"""Atomic and durable file writes: a file is complete or absent, no matter when the program is killed or the power
fails, and it is on disk when the function returns.

A file's name is on disk only once its directory was synced (POSIX, fsync).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

Piece = bytes | bytearray | memoryview


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
