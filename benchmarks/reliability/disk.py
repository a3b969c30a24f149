"""A model of a disk that loses power: from a journal of a process's writes, the directory as a disk could have it.

The model assumes what POSIX promises and no more. A write, a new size, and a new or removed name are kept for certain
only if fsync was called afterwards: for a file's contents on the file, for a name on its directory. Whatever was not
synced is kept or lost each by itself, in any combination: contents by sector, names by operation. A rename is kept or
lost as a whole. Real file systems keep more: ext4, for example, syncs a new file's name with its contents.

The process is recorded by disk.c, which must be loaded before it starts (`LD_PRELOAD`).
"""

from __future__ import annotations

import ctypes
import os
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.reliability.fork import run_forked

SECTORS = (512, 4096)
"""The sizes in bytes in which disks write: what they keep or lose as a whole."""

_HEAD = struct.Struct("<QQIIB7x")
_SHARED_MEMORY = "-shm"
"""The ending of SQLite's shared memory: the first process that opens the database makes it anew."""

Keeps = Callable[[], bool]
"""Decides whether the disk keeps something that was not synced."""


class JournalIncomplete(Exception):
    """The journal does not lead to the directory that the process left: it wrote in a way that is not recorded."""


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation of a recorded process; disk.c describes the fields."""

    what: str
    file: int
    place: int
    path: str
    data: bytes


@contextmanager
def recorder() -> Iterator[Path]:
    """The path of the recorder, compiled for the time being. Raises CalledProcessError, and FileNotFoundError without
    a C compiler."""
    source = Path(__file__).with_name("disk.c")
    with TemporaryDirectory(prefix="kazashi-recorder-") as directory:
        library = Path(directory) / "disk.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-pthread", "-o", library, source, "-ldl"], check=True)
        yield library


@dataclass(frozen=True, slots=True)
class Recording:
    """What a process wrote below the directory `top`, which had the contents of `start` before.

    `inodes` are those of the directory, its files and directories before, by path relative to it.
    """

    start: Path
    top: Path
    inodes: Mapping[str, int]
    operations: Sequence[Operation]

    def disk(self, until: int | None = None, *, syncs: bool = True) -> Disk:
        """Return the disk after the first `until` operations (default: all). Without `syncs`, fsync does nothing."""
        disk = Disk(self, syncs=syncs)
        for operation in self.operations[:until]:
            disk.apply(operation)
        return disk


def record(start: Path, top: Path, action: Callable[[Callable[[str], object]], object]) -> Recording:
    """Copy the directory `start` to `top`, run an action in a forked process, and record what it writes there.

    The action gets a function that writes a note into the journal. The process that calls this must have been started
    with the recorder. Raises ForkFailed if the action fails.
    """
    loaded, journal = ctypes.CDLL(None), top.with_name(f"{top.name}.journal")
    shutil.copytree(start, top)
    inodes = {str(path.relative_to(top)): path.stat().st_ino for path in (top, *top.rglob("*"))}

    def recorded() -> None:
        descriptor = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        loaded.kazashi_record(os.fsencode(top), descriptor)
        action(lambda note: loaded.kazashi_note(note.encode()))

    run_forked(recorded)
    operations = list(_operations(journal.read_bytes()))
    journal.unlink()
    return Recording(start, top, inodes, operations)


def _operations(journal: bytes) -> Iterator[Operation]:
    place = 0
    while place < len(journal):
        file, at, named, length, what = _HEAD.unpack_from(journal, place)
        path, data = place + _HEAD.size, place + _HEAD.size + named
        yield Operation(chr(what), file, at, os.fsdecode(journal[path:data]), journal[data : data + length])
        place = data + length


@dataclass(eq=False, slots=True)
class _File:
    """A file's synced contents (None: those of `origin`), and the writes since then: bytes and where, or a new size."""

    origin: Path | None = None
    synced: bytearray | None = None
    unsynced: list[tuple[int, bytes | None]] = field(default_factory=list)

    def content(self) -> bytearray:
        """A copy of the synced contents."""
        if self.synced is not None:
            return bytearray(self.synced)
        return bytearray(self.origin.read_bytes() if self.origin is not None else b"")

    def sync(self) -> None:
        """Make every write durable."""
        content = self.content()
        for place, data in self.unsynced:
            _write(content, place, data)
        self.synced, self.unsynced = content, []

    def after_power_loss(self, keeps: Keeps, sector: int) -> bytearray:
        """Return contents that a disk could have."""
        content = self.content()
        for place, data in self.unsynced:
            if data is None:
                if keeps():
                    _write(content, place, None)
                continue
            begin = 0
            while begin < len(data):
                end = min(len(data), begin + sector - (place + begin) % sector)
                if keeps():
                    _write(content, place + begin, data[begin:end])
                begin = end
        return content


def _write(content: bytearray, place: int, data: bytes | None) -> None:
    end = place + len(data or b"")
    content.extend(bytes(max(0, end - len(content))))
    if data is None:
        del content[place:]
    else:
        content[place:end] = data


@dataclass(eq=False, slots=True)
class _Folder:
    """A directory's synced names, and the changes since then. A change sets some names; None removes one."""

    synced: dict[str, _File | _Folder] = field(default_factory=dict)
    unsynced: list[dict[str, _File | _Folder | None]] = field(default_factory=list)

    def sync(self) -> None:
        """Make every name durable."""
        self.synced, self.unsynced = self.after_power_loss(lambda: True), []

    def after_power_loss(self, keeps: Keeps) -> dict[str, _File | _Folder]:
        """Return names that a disk could have."""
        names: dict[str, _File | _Folder | None] = dict(self.synced)
        for change in self.unsynced:
            if keeps():
                names |= change
        return {name: node for name, node in names.items() if node is not None}


class Disk:
    """A directory on a disk. Operations are applied one by one; `notes` are those of the process so far."""

    def __init__(self, recording: Recording, *, syncs: bool = True) -> None:
        """Begin with the directory as it was before the recording; that is durable."""
        self.notes: list[str] = []
        self._syncs = syncs
        self._top = str(recording.top)
        self._nodes: dict[int, _File | _Folder] = {}
        self._paths: dict[str, _File | _Folder] = {}
        for name, inode in sorted(recording.inodes.items()):
            path, origin = recording.top / name, recording.start / name
            node = _Folder() if origin.is_dir() else _File(origin)
            self._nodes[inode] = self._paths[str(path)] = node
            if name != ".":
                self._folder(str(path)).synced[path.name] = node

    def apply(self, operation: Operation) -> None:
        """Apply one operation. Raises JournalIncomplete if it does not fit."""
        path, other = operation.path, os.fsdecode(operation.data)
        try:
            match operation.what:
                case "n":
                    self.notes.append(operation.data.decode())
                case "c" | "d":
                    node = _File() if operation.what == "c" else _Folder()
                    self._nodes[operation.file] = node
                    self._name({path: node})
                case "w" | "t":
                    file = self._nodes[operation.file]
                    assert isinstance(file, _File)
                    file.unsynced.append((operation.place, operation.data if operation.what == "w" else None))
                case "s" if self._syncs:
                    self._nodes[operation.file].sync()
                case "l":
                    self._name({other: self._paths[path]})
                case "r":
                    if Path(path).parent != Path(other).parent or isinstance(self._paths[path], _Folder):
                        raise JournalIncomplete(f"{path} became {other}; only files within one directory are modelled")
                    self._name({path: None, other: self._paths[path]})
                case "u":
                    self._name({path: None})
        except KeyError as error:
            raise JournalIncomplete(f"operation {operation.what} on {path or operation.file} fits no file") from error

    def build(self, target: Path, keeps: Keeps, sector: int = SECTORS[0]) -> None:
        """Write the directory as a disk could have it after a power loss now."""
        self._build(self._paths[self._top], target, keeps, sector)

    def _build(self, node: _File | _Folder, target: Path, keeps: Keeps, sector: int) -> None:
        if isinstance(node, _File):
            target.write_bytes(node.after_power_loss(keeps, sector))
            target.chmod(0o600)
            return
        target.mkdir(mode=0o700)
        for name, inner in node.after_power_loss(keeps).items():
            self._build(inner, target / name, keeps, sector)

    def check(self, target: Path) -> None:
        """Build into `target` everything that was written, and compare it with the directory that the process left.

        Raises JournalIncomplete.
        """
        self.build(target, lambda: True)
        ours, left = (_contents(directory) for directory in (target, Path(self._top)))
        if wrong := sorted(name for name in ours.keys() | left.keys() if ours.get(name) != left.get(name)):
            raise JournalIncomplete(f"the journal does not lead to what the process left in {', '.join(wrong)}")

    def _folder(self, path: str) -> _Folder:
        folder = self._paths[str(Path(path).parent)]
        assert isinstance(folder, _Folder)
        return folder

    def _name(self, names: dict[str, _File | _Folder | None]) -> None:
        self._folder(next(iter(names))).unsynced.append({Path(path).name: node for path, node in names.items()})
        for path, node in names.items():
            if node is None:
                del self._paths[path]
            else:
                self._paths[path] = node


def _contents(directory: Path) -> dict[str, bytes | None]:
    """The contents of each file below a directory, and None for each directory, by path."""
    return {
        str(path.relative_to(directory)): path.read_bytes() if path.is_file() else None
        for path in directory.rglob("*")
        if not path.name.endswith(_SHARED_MEMORY) and not path.is_socket()
    }
