"""Write a file so that it is there whole or not at all, whenever the program is killed."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

Piece = bytes | bytearray | memoryview


def write_whole(path: Path, content: str | Piece | Sequence[Piece], mode: int = 0o666) -> None:
    """Replace a file with new content, which is on disk before it takes the old one's place; text is encoded as UTF-8.
    `mode` are the new file's permissions, less the process's umask. Raises OSError; then the old file is unchanged."""
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
    """Replace a file the same way, by a function that writes the new content under the path that it is given. Raises
    what the function raises, and OSError; then the old file is unchanged."""
    unfinished = _unfinished(path)
    try:
        write(unfinished)
        _sync(unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def create_whole(path: Path, content: str) -> bool:
    """Create a file of UTF-8 text the same way. Returns False where there is one already, which stays as it is: of
    several programs that create one file, the first succeeds. Raises OSError."""
    unfinished = _unfinished(path)
    try:
        unfinished.write_text(content, encoding="utf-8")
        _sync(unfinished)
        os.link(unfinished, path)  # unlike a rename, it never replaces a file
    except FileExistsError:
        return False
    finally:
        unfinished.unlink(missing_ok=True)
    return True


def is_unfinished(path: Path, name: str) -> bool:
    """Whether a path is what a program has written of a file of that name, or was killed while it did."""
    return path.match(f".{name}.*.new")


def clear_unfinished(directory: Path, name: str = "*") -> None:
    """Remove what killed programs left of files, or of those of that name, in a directory in which no other program
    writes them."""
    for path in directory.glob(f".{name}.*.new"):
        path.unlink()


def _unfinished(path: Path) -> Path:
    """A path beside a file that no other writer uses, in this process or another."""
    return path.with_name(f".{path.name}.{os.urandom(8).hex()}.new")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
