"""The directory in which an import is built, beside the laboratory that it replaces when it is complete; and the
deletion of a laboratory."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import TracebackType

from kazashi.tracking_lab.laboratory import Laboratory, PopulationUnusable, PopulationUnusableReason
from kazashi.tracking_lab.logs.unusable import LogsUnusable, LogsUnusableReason
from kazashi.world.atomic_file import replace_directory
from kazashi.world.process_lock import ProcessLock


class Building:
    """The directory of an import. From its beginning, it and the files that this process creates in it are readable by
    their owner only. What killed imports left there and beside it is removed. Raises LogsUnusable if another import
    into the same laboratory is running."""

    def __init__(self, laboratory: Path) -> None:
        self._laboratory = laboratory
        self.directory = _new(laboratory)
        self.scratch = self.directory / "scratch"
        """A directory for files that are not part of the result."""
        self._lock = ProcessLock(laboratory.with_name(f".{laboratory.name}.lock"))
        self._umask = 0

    def __enter__(self) -> Building:
        self._laboratory.parent.mkdir(parents=True, exist_ok=True)
        _acquire(self._lock, self._laboratory)
        _remove_leftovers(self._laboratory)
        for path in self._laboratory.parent.glob(".*.new*"):
            other = path.with_name(path.name.removeprefix(".").removesuffix(".former").removesuffix(".new"))
            lock = ProcessLock(other.with_name(f".{other.name}.lock"))
            if other != self._laboratory and path.is_dir() and lock.acquire():
                _remove_leftovers(other)
                lock.release()
        self._umask = os.umask(0o077)
        self.directory.mkdir()
        self.scratch.mkdir()
        return self

    def finish(self) -> None:
        """Put the directory in the laboratory's place."""
        shutil.rmtree(self.scratch)
        replace_directory(self.directory, self._laboratory)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.umask(self._umask)
        shutil.rmtree(self.directory, ignore_errors=True)
        self._lock.release()


def delete(laboratory: Laboratory) -> None:
    """Delete a population or imported logs, with what killed imports of that name left. Raises PopulationUnusable if
    there is nothing, LogsUnusable if an import into it is running, and OSError."""
    directory = laboratory.directory
    if not (laboratory.begun or laboratory.imported or _new(directory).is_dir()):
        raise PopulationUnusable(
            PopulationUnusableReason.NO_POPULATION, f"there is no population and there are no logs in {directory}"
        )
    lock = ProcessLock(directory.with_name(f".{directory.name}.lock"))
    _acquire(lock, directory)
    try:
        _remove_leftovers(directory)
        # If this is killed after the rename, nothing that looks complete is left, and the next import removes the rest.
        if directory.exists():
            directory.rename(_new(directory))
            shutil.rmtree(_new(directory))
    finally:
        lock.release()


def _new(laboratory: Path) -> Path:
    return laboratory.with_name(f".{laboratory.name}.new")


def _acquire(lock: ProcessLock, laboratory: Path) -> None:
    if not lock.acquire():
        raise LogsUnusable(
            LogsUnusableReason.RUNNING, f"another import into {laboratory} is running; wait until it ends"
        )


def _remove_leftovers(laboratory: Path) -> None:
    """Remove what a killed import left. The caller has the laboratory's lock."""
    new = _new(laboratory)
    for path in (new, new.with_name(f"{new.name}.former")):
        shutil.rmtree(path, ignore_errors=True)
