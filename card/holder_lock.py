"""A lock between the processes that hold one card image."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SECONDS = 10.0
_PAUSE = 0.002
_PAUSES = threading.Event()
"""An event that never happens, to wait for: the chip knows no clock."""


class HolderLock:
    """A lock on a file of its own, which exists while the image is open.

    The image itself cannot be locked: when a process closes any descriptor of a file, the kernel drops all the locks
    that SQLite has on it for that process. A lock ends with its process, however that ends.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1
        self._turn = threading.Lock()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock. Raises OSError, and TimeoutError if another process has held it for 10 seconds."""
        with self._turn:
            self._acquire()
            try:
                yield
            finally:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Remove the file, unless another process holds the lock."""
        with self._turn:
            if self._descriptor < 0:
                return
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if self._is_current():
                    self._path.unlink()
            except OSError:
                pass  # another process uses it, and removes it in its turn
            self._drop()

    def _acquire(self) -> None:
        for _ in range(int(_SECONDS / _PAUSE)):
            if self._descriptor < 0:
                self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                _PAUSES.wait(_PAUSE)
                continue
            if self._is_current():
                return
            self._drop()  # its last holder has removed the file since we opened it
        raise TimeoutError(f"another process has held {self._path} for {_SECONDS:g} seconds")

    def _is_current(self) -> bool:
        try:
            return os.path.samestat(self._path.stat(), os.fstat(self._descriptor))
        except FileNotFoundError:
            return False

    def _drop(self) -> None:
        os.close(self._descriptor)
        self._descriptor = -1
