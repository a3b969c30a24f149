"""Reading files that users name, without waiting for a pipe and without filling the memory."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

SMALL = 1 << 20
"""A limit for certificates, definitions, scripts, requests and settings, in bytes."""
LARGE = 256 << 20
"""A limit for documents, traces and reports, in bytes. They are held in memory."""

STDIN = "-"


class FileUnusable(Exception):
    """A file that a user has named is not read: it is a device, a pipe or a directory, or too large. The message names
    it."""


def check_input(path: Path | str) -> None:
    """Raise FileUnusable for what is not an ordinary file, and OSError if there is none. Nothing is opened: to open a
    pipe waits for a writer. /dev/null is an empty file, as everywhere."""
    found = Path(path).stat()
    is_null = stat.S_ISCHR(found.st_mode) and found.st_rdev == Path(os.devnull).stat().st_rdev
    if not stat.S_ISREG(found.st_mode) and not is_null:
        what = "a directory" if stat.S_ISDIR(found.st_mode) else "a device, a pipe or a socket"
        raise FileUnusable(f"{path} is {what}; name an ordinary file, or - for stdin where the command takes it")


def read_input(path: Path | str, most: int = SMALL) -> bytes:
    """Return the content of an ordinary file. Raises FileUnusable, also for one with more than `most` bytes, and
    OSError."""
    check_input(path)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        return _limited(file.read(most + 1), most, str(path))


def read_text_input(path: Path | str, most: int = SMALL, errors: str = "strict") -> str:
    """Return the text (UTF-8) of an ordinary file. Raises UnicodeDecodeError, and the exceptions of `read_input`."""
    return read_input(path, most).decode("utf-8", errors).replace("\r\n", "\n").replace("\r", "\n")


def read_stdin(most: int = SMALL) -> bytes:
    """Return what is on stdin. Raises FileUnusable if it is more than `most` bytes."""
    return _limited(sys.stdin.buffer.read(most + 1), most, "stdin")


def _limited(content: bytes, most: int, name: str) -> bytes:
    if len(content) > most:
        size = f"{most >> 20} MB" if most >= 1 << 20 else f"{most >> 10} KB"
        raise FileUnusable(f"{name} has more than {size}, the most that is read of such a file")
    return content
