"""The virtual environments of a clone: built aside from a lock file, checked, then put into use by rename(2).

`.venv` is a link to `.venv.d/HASH`, where HASH identifies everything that the environment was built from. An
environment is built at its final path, because its programs contain that path. It is complete once it contains the file
`built-from`.
"""

from __future__ import annotations

import csv
import errno
import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from kazashi.assembly.errors import InstallationFailed
from kazashi.tools.installation.builder import DISK_FULL, Builder
from kazashi.tools.installation.lock import installer, megabytes, requirements
from kazashi.tools.installation.parts import PARTS
from kazashi.tools.installation.progress import Progress

STAMP = "built-from"
"""The file that a complete environment contains: the clone's folder, the parts, and the interpreter, a line each."""

MARK = "made-by-kazashi"
"""The file that the folder of the environments contains. Nothing is ever removed from a folder without it."""

_EARLIER = "earlier"
_ENVIRONMENT = re.compile(rf"[0-9a-f]{{16}}(-\d+)?|{_EARLIER}")
_ANOTHER_PATH = "set KAZASHI_VENV to a path where there is nothing yet"


@dataclass(frozen=True, slots=True)
class Built:
    """What an environment says about itself."""

    root: str
    parts: tuple[str, ...]
    python: str


@dataclass(frozen=True, slots=True)
class Environments:
    """All environments of a clone. `root` is the clone, `link` the path that leads to the one in use, without links
    before its last name: what is in use is found by comparing paths."""

    root: Path
    link: Path

    @property
    def folder(self) -> Path:
        """The folder of the environments, the lock, and the log of the last installation."""
        return self.link.with_name(f"{self.link.name}.d")

    @property
    def log(self) -> Path:
        """The output of the programs that the last installation ran."""
        return self.folder / "log"

    @property
    def current(self) -> Path | None:
        """The complete environment that the link leads to, or None."""
        return self.link.resolve() if _usable(self.link) else None

    def parts(self) -> tuple[str, ...]:
        """Return the parts in the environment in use; none if there is no environment, if it is not complete, or if it
        is the copy of another clone's."""
        built = read_stamp(self.link)
        if built is None or (built.root != str(self.root) and Path(built.root).exists()):
            return ()
        return tuple(part for part in built.parts if part in PARTS)

    def damaged(self) -> bool:
        """Whether files of the environment in use are missing, or have another size than they had."""
        return self.current is not None and not _whole(self.current)

    def check_space(self, megabytes: int) -> None:
        """Raise InstallationFailed if the disk of the environments has less free space than they need."""
        free = shutil.disk_usage(self.folder).free // 1_000_000
        if free < megabytes:
            raise InstallationFailed(
                f"{self.folder} has {free} MB of free space, and the Python packages need {megabytes} MB; free some "
                "space, or set KAZASHI_VENV to a path on another disk"
            )

    def directory(self, wanted: str, python: str) -> Path:
        """Return the path of the environment with the packages of a requirements file."""
        version = subprocess.run([python, "-I", "-VV"], capture_output=True, text=True, check=True).stdout
        sources = [wanted, str(self.root), python, version]
        sources += [(self.root / name).read_text(encoding="utf-8") for name in ("setup.cfg", "pyproject.toml")]
        return self.folder / sha256("\0".join(sources).encode()).hexdigest()[:16]

    def check(self) -> None:
        """Raise InstallationFailed if something is at the paths that this program did not build, or that it would have
        to take away from a process or from another clone."""
        if re.search(r"[\n$]", str(self.root)):
            raise InstallationFailed(
                f"setuptools cannot install from {str(self.root)!r}; rename the folder without the $"
            )
        if self.folder.exists() and not (self.folder / MARK).is_file() and any(self.folder.iterdir()):
            raise InstallationFailed(f"{self.folder} is not empty, and Kazashi did not make it; {_ANOTHER_PATH}")
        if self.link.is_symlink():
            if (self.link.parent / self.link.readlink()).parent != self.folder:
                raise InstallationFailed(f"{self.link} is a link that Kazashi did not make; {_ANOTHER_PATH}")
            built = read_stamp(self.link)
            if (
                built
                and built.root != str(self.root)
                and self.link != self.root / ".venv"
                and Path(built.root).exists()
            ):
                raise InstallationFailed(f"{self.link} belongs to the clone in {built.root}; {_ANOTHER_PATH}")
        elif self.link.exists():
            self._check_existing()

    def _check_existing(self) -> None:
        if not (self.link / "pyvenv.cfg").is_file():
            if self.link.is_dir() and not any(self.link.iterdir()):
                return
            raise InstallationFailed(f"{self.link} is not a virtual environment; {_ANOTHER_PATH}")
        if not (self.link / STAMP).is_file() and self.link != self.root / ".venv":
            raise InstallationFailed(
                f"{self.link} is a virtual environment that Kazashi did not build; {_ANOTHER_PATH}"
            )
        if in_use(self.link):
            raise InstallationFailed(
                f"a program runs from {self.link}, which an earlier version of Kazashi built; end it (kazashi down), "
                "and run this again"
            )

    @contextmanager
    def locked(self) -> Iterator[int]:
        """Hold the lock under which environments are built and removed. Waits for other processes. Yields the file
        descriptor of the lock, for children that must not outlive it. Raises InstallationFailed."""
        try:
            descriptor = self._lock()
        except OSError as error:
            raise self.cannot_write(error) from error
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _lock(self) -> int:
        while True:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / MARK).touch()
            descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o666)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print("kazashi: waiting for another process that is installing", file=sys.stderr, flush=True)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if self._is_lock(descriptor):
                self.log.write_text("", encoding="utf-8")
                return descriptor
            os.close(descriptor)  # whoever held it has removed the folder

    def _is_lock(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), (self.folder / "lock").stat())
        except FileNotFoundError:
            return False

    def cannot_write(self, error: OSError) -> InstallationFailed:
        """Return the error for a folder that cannot be written to, or a full disk."""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return InstallationFailed(f"{self.folder}: {DISK_FULL}")
        return InstallationFailed(
            f"{error.filename or self.folder} cannot be written to ({error.strerror}); change the permissions of its "
            "folder, or set KAZASHI_VENV to a path in a folder of yours"
        )

    def build(
        self, parts: Iterable[str], python: str, lock: int, progress: Progress, *,
        anew: bool = False, wanted: str | None = None,
    ) -> Path:  # fmt: skip
        """Build the environment with these parts unless there is a complete one. Returns its path.

        `wanted` is a requirements file to use instead of the lock file's part. With `anew` it is built even if there is
        one, and everything is downloaded again: a file in uv's cache and its copy in an environment can be one file, so
        that damage to one is damage to both. Call it under the lock. Raises InstallationFailed.
        """
        parts = tuple(parts)
        wanted = requirements(self.root, parts) if wanted is None else wanted
        target = self._place(self.directory(wanted, python), anew)
        if not _usable(target):
            self.check_space(megabytes(parts))
            try:
                builder = Builder(self.folder, python, lock, progress, cached=not anew)
                uv = self._uv(builder, python)
                builder.create(target, "--without-pip")
                builder.fill(uv, target, wanted, self.root)
                builder.check(target, wanted)
                _complete(target, Built(str(self.root), parts, python))
            except OSError as error:
                raise self.cannot_write(error) from error
        return target

    def _place(self, target: Path, anew: bool) -> Path:
        """Return the path of a complete environment called `target`, or else one at which it can be built: a process
        may still run from one that is damaged."""
        places = [target, *(target.with_name(f"{target.name}-{number}") for number in range(2, 100))]
        complete = [place for place in places if _usable(place)]
        if complete and not anew:
            return complete[0]
        return next(place for place in places if place not in complete and not in_use(place))

    def _uv(self, builder: Builder, python: str) -> Path:
        """Return the path of uv: the user's own (KAZASHI_UV), else the lock file's, which is installed once. Raises
        InstallationFailed."""
        if own := os.environ.get("KAZASHI_UV"):
            if not os.access(own, os.X_OK):
                raise InstallationFailed(f"KAZASHI_UV={own} is not a program")
            return Path(own).absolute()
        pin = installer(self.root)
        target = self.folder / f"uv-{sha256(f'{pin.text}{python}'.encode()).hexdigest()[:16]}"
        if read_stamp(target) is None or not os.access(target / "bin" / "uv", os.X_OK):
            builder.create(target)
            builder.install_uv(target, pin)
            _complete(target, Built(str(self.root), (), python))
        return target / "bin" / "uv"

    def use(self, target: Path) -> None:
        """Let the link lead to an environment, then remove the others that no process runs from. Call it under the
        lock. Raises InstallationFailed."""
        try:
            os.utime(target / STAMP)  # `./kazashi` compares its age with that of the files it was built from
            if not self.link.is_symlink() and self.link.is_dir():
                self._set_aside()
            new = self.folder / "link"
            new.unlink(missing_ok=True)
            new.symlink_to(os.path.relpath(target, self.link.parent))
            new.replace(self.link)
        except OSError as error:
            raise self.cannot_write(error) from error
        self.remove_unused(keep=target)

    def _set_aside(self) -> None:
        """Move an environment of an earlier version, or an empty folder, away from the link's path."""
        if any(self.link.iterdir()):
            shutil.rmtree(self.folder / _EARLIER, ignore_errors=True)
            self.link.rename(self.folder / _EARLIER)
        else:
            self.link.rmdir()

    def remove_unused(self, keep: Path) -> None:
        """Remove every environment but `keep` from which no process runs, complete or not."""
        if in_use(self.link):  # started as `.venv/bin/python`: it does not say in which environment it is
            return
        for path in sorted(self.folder.iterdir()):
            if _ENVIRONMENT.fullmatch(path.name) and path != keep and not in_use(path):
                (path / STAMP).unlink(missing_ok=True)  # an environment that is being removed is not complete
                shutil.rmtree(path, ignore_errors=True)

    def remove(self) -> None:
        """Remove all environments and the link. Raises InstallationFailed if another process runs from one."""
        self.check()
        with self.locked():
            busy = [
                path for path in (self.link, *self.folder.iterdir()) if path.is_dir() and in_use(path, but=os.getpid())
            ]
            if busy:
                raise InstallationFailed(f"a program runs from {busy[0]}; end it (kazashi down), and run this again")
            self.link.unlink(missing_ok=True)
            shutil.rmtree(self.folder)


def _complete(directory: Path, built: Built) -> None:
    """Mark an environment as complete."""
    aside = directory / f"{STAMP}.new"
    aside.write_text(f"{built.root}\n{' '.join(built.parts)}\n{built.python}\n", encoding="utf-8")
    aside.replace(directory / STAMP)


def read_stamp(directory: Path) -> Built | None:
    """Return the stamp of a complete environment, or None if there is no such environment at this path."""
    try:
        root, parts, python = (directory / STAMP).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return None
    return Built(root, tuple(parts.split()), python)


def _usable(directory: Path) -> bool:
    """Whether there is a complete environment at a path, and its interpreter: upgrades of the system remove those."""
    return read_stamp(directory) is not None and os.access(directory / "bin" / "python", os.X_OK)


def _whole(environment: Path) -> bool:
    """Whether all files that the packages of an environment list are there, in the size that they list."""
    try:
        for record in (environment / "lib").glob("python3*/site-packages/*.dist-info/RECORD"):
            with record.open(encoding="utf-8", newline="") as lines:
                for name, _, size in csv.reader(lines):
                    if size and (record.parents[1] / name).stat().st_size != int(size):
                        return False
    except (OSError, ValueError):
        return False
    return all(os.access(environment / "bin" / name, os.X_OK) for name in ("kazashi", "python"))


def in_use(directory: Path, but: int = 0) -> bool:
    """Whether a process (other than `but`) runs from an environment: its program or its loaded libraries are in there.
    Returns True for an existing one where the processes of this machine cannot be listed."""
    if not directory.exists():
        return False
    text = f"{directory}/".encode()
    processes = [path for path in Path("/proc").glob("[0-9]*") if path.name != str(but)]
    return not processes or any(_runs_from(process, text) for process in processes)


def _runs_from(process: Path, text: bytes) -> bool:
    try:
        command = (process / "cmdline").read_bytes()
        if text in command:
            return True
        program = (process / "cwd").readlink() / os.fsdecode(command.partition(b"\0")[0])  # as typed: .venv/bin/python
        return os.path.normpath(program).encode().startswith(text) or text in (process / "maps").read_bytes()
    except OSError:
        return False  # the process has ended, or belongs to another user
