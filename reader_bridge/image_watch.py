"""Watching card images: a call for each image that a program writes to, without polling (inotify(7), Linux)."""

from __future__ import annotations

import ctypes
import os
import select
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

_MODIFY, _MOVED_TO = 0x02, 0x80
_EVENT = struct.Struct("iIII")  # struct inotify_event: watch, mask, cookie, length of the name that follows
_SETTLING_SECONDS = 0.05
"""How long to wait after a write: a program writes an image in several steps."""
_WAL = "-wal"
"""SQLite writes first to this file beside a database in WAL mode."""


class ImageWatch:
    """A thread that calls `written` with the path of every watched image that any process has written to.

    `written` is called in the thread, soon after a write and at most every 50 ms for an image. Where the kernel has no
    inotify, or on a network file system that another machine writes to, it is not called.
    """

    def __init__(self, written: Callable[[Path], None]) -> None:
        self._written = written
        self._library = ctypes.CDLL(None, use_errno=True)
        self._events = self._library.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        self._ended, self._end = os.pipe2(os.O_CLOEXEC)
        self._directories: dict[int, Path] = {}  # by inotify's number of the watch
        self._images: set[Path] = set()
        self._thread = threading.Thread(target=self._run, name="image watch", daemon=True)
        self._thread.start()

    def add(self, image: Path) -> None:
        """Watch an image from now on."""
        self._images.add(image)
        if self._events >= 0 and image.parent not in self._directories.values():
            # The directory, because a program may also replace the image by another file.
            number = self._library.inotify_add_watch(self._events, os.fsencode(image.parent), _MODIFY | _MOVED_TO)
            self._directories[number] = image.parent

    def discard(self, image: Path) -> None:
        """Watch an image no more."""
        self._images.discard(image)

    def close(self) -> None:
        """End the thread, unless it is the calling one. Do nothing the second time."""
        end, self._end = self._end, -1
        if end < 0:
            return
        os.close(end)
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._ended)
        if self._events >= 0:
            poll.register(self._events, select.POLLIN)
        waiting: dict[Path, float] = {}  # the written images, and when to report them
        while True:
            timeout = max(0.0, min(waiting.values()) - time.monotonic()) * 1000 if waiting else None
            ready = [descriptor for descriptor, _ in poll.poll(timeout)]
            if self._ended in ready:
                break
            if self._events in ready:
                for image in self._read():
                    waiting.setdefault(image, time.monotonic() + _SETTLING_SECONDS)
            for image in [image for image, due in waiting.items() if due <= time.monotonic()]:
                del waiting[image]
                self._written(image)
        os.close(self._ended)
        if self._events >= 0:
            os.close(self._events)

    def _read(self) -> Iterator[Path]:
        """Yield the watched images of the events that have arrived."""
        data = os.read(self._events, 1 << 16)
        while data:
            number, _, _, length = _EVENT.unpack_from(data)
            name = os.fsdecode(data[_EVENT.size : _EVENT.size + length].rstrip(b"\0"))
            data = data[_EVENT.size + length :]
            directory = self._directories.get(number)
            if directory is not None and (image := directory / name.removesuffix(_WAL)) in self._images:
                yield image
