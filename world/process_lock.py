"""Locks on files, which the kernel releases when a process ends: for a block of code, or for the life of a process, so
that there is at most one of something, however the last one ended."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kazashi.world.atomic_file import make_directory

_POLL_SECONDS = 0.02
_TRIES = 3


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold a lock on a file, after waiting until no other process or thread holds it. Raises OSError."""
    make_directory(path.parent, mode=0o700)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class ProcessLock:
    """A lock on a file. The kernel releases it when the last process that has its descriptor ends.

    The file stays: removing it would let two processes lock two files of one name.
    """

    def __init__(self, path: Path, descriptor: int = -1) -> None:
        """Prepare a lock. `descriptor` is that of a lock which another process has acquired and passed on."""
        self._path = path
        self._descriptor = descriptor
        if descriptor >= 0:
            os.set_inheritable(descriptor, False)

    @property
    def descriptor(self) -> int:
        """The descriptor to pass on to a child process, which then has the lock too."""
        return self._descriptor

    def acquire(self) -> bool:
        """Take the lock. Returns False if another process has it. Raises OSError."""
        if self._descriptor >= 0:
            return True
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        for _ in range(_TRIES):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(_POLL_SECONDS)  # `is_free` of another process has it for a moment
                continue
            self._descriptor = descriptor
            return True
        os.close(descriptor)
        return False

    def release(self) -> None:
        """Close this process's descriptor."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def is_free(self) -> bool:
        """Whether no process has the lock. Raises OSError."""
        if not self._path.exists():
            return True
        probe = ProcessLock(self._path)
        free = probe.acquire()
        probe.release()
        return free

    def wait_until_free(self, seconds: float) -> bool:
        """Wait until no process has the lock. Returns False if one still has it after `seconds`."""
        deadline = time.monotonic() + seconds
        while not self.is_free():
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_SECONDS)
        return True
