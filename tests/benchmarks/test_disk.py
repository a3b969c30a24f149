"""The model of a disk that loses power, judged by programs whose durability is known: small ones and SQLite's modes."""

from __future__ import annotations

import mmap
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random

import pytest

from benchmarks.reliability.disk import JournalIncomplete, Recording, record, recorder
from benchmarks.reliability.durable import in_memory
from benchmarks.reliability.fork import ForkFailed, in_new_process, run_forked
from kazashi.world.atomic_file import create_whole, make_directory, sync, write_whole
from kazashi.world.key_source import StockedKeySource

pytestmark = pytest.mark.crash

OLD, NEW = b"old" * 1000, b"new" * 2000
Note = Callable[[str], object]


def replaced(top: Path, note: Note, *, file: bool = True, directory: bool = True) -> None:
    """Replace a file as it should be done, or without one of the two syncs."""
    (top / "new").write_bytes(NEW)
    if file:
        sync(top / "new")
    (top / "new").rename(top / "f")
    if directory:
        sync(top)
    note("done")


def overwritten(top: Path, note: Note) -> None:
    with (top / "f").open("r+b") as file:
        file.write(NEW)
        os.fsync(file.fileno())
    note("done")


def created(top: Path, note: Note) -> None:
    (top / "a").mkdir()
    assert create_whole(top / "a" / "f", NEW.decode())
    note("done")


def created_durably(top: Path, note: Note, directory: str) -> None:
    make_directory(top / directory)
    assert create_whole(top / directory / "f2", NEW.decode())
    note("done")


def replaced_whole(top: Path, note: Note) -> None:
    write_whole(top / "f", NEW)
    note("done")


def database(top: Path, note: Note, synchronous: str) -> None:
    connection = sqlite3.connect(top / "db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA wal_autocheckpoint = 4")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, filled TEXT)")
    for number in range(1, 9):
        connection.execute("INSERT INTO t VALUES (?, ?)", (number, "x" * 3000))
        note(str(number))
    connection.close()


def key_taken(top: Path, note: Note) -> None:
    note(StockedKeySource(top / "keys").take().decode())


def mapped(top: Path, note: Note) -> None:
    with (top / "f").open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        memory[:3] = b"new"
    note("done")


def content(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def old_or_new(path: Path, notes: list[str]) -> str:
    """The state of a file that is to be replaced at once."""
    found = content(path)
    return "new" if found == NEW else "torn" if found != OLD else "lost" if notes else "old"


def there(path: Path, notes: list[str]) -> str:
    """The state of a file that is created at once."""
    found = content(path)
    return "new" if found == NEW else "torn" if found is not None else "lost" if notes else "old"


def rows(path: Path, notes: list[str]) -> str:
    """The state of a database with a row for each note."""
    connection = sqlite3.connect(path)
    try:
        if connection.execute("PRAGMA integrity_check").fetchall() != [("ok",)]:
            return "torn"
        if not notes:
            return "old"
        return "new" if connection.execute("SELECT count(*) FROM t").fetchone()[0] >= len(notes) else "lost"
    except sqlite3.Error:
        return "lost" if notes else "torn"
    finally:
        connection.close()


def not_in_stock(path: Path, notes: list[str]) -> str:
    """The state of a stock of keys of which one may have been taken."""
    stock = [key.read_text() for key in path.glob("*.key")]
    return "lost" if set(stock) & set(notes) else "new"


PROGRAMS: dict[str, tuple[Callable[..., object], dict[str, object], str, Callable[[Path, list[str]], str]]] = {
    "replaced": (replaced, {}, "f", old_or_new),
    "file not synced": (replaced, {"file": False}, "f", old_or_new),
    "directory not synced": (replaced, {"directory": False}, "f", old_or_new),
    "overwritten": (overwritten, {}, "f", old_or_new),
    "write_whole": (replaced_whole, {}, "f", old_or_new),
    "create_whole": (created_durably, {"directory": "."}, "f2", there),
    "in a directory that is not synced": (created, {}, "a/f", there),
    "in a durable directory": (created_durably, {"directory": "a/b"}, "a/b/f2", there),
    "FULL": (database, {"synchronous": "FULL"}, "db", rows),
    "NORMAL": (database, {"synchronous": "NORMAL"}, "db", rows),
    "OFF": (database, {"synchronous": "OFF"}, "db", rows),
    "key taken": (key_taken, {}, "keys", not_in_stock),
}


def states(recording: Recording, name: str, *, syncs: bool = True) -> set[str]:
    """The states of a file after power losses at every operation, with nothing, everything and some things kept."""
    _, _, path, state = PROGRAMS[name]
    found = set()
    for after in range(len(recording.operations) + 1):
        for number, kept in enumerate((0.0, 1.0, 0.5, 0.2)):
            rng = Random(f"{after} {number}")
            disk, home = recording.disk(after, syncs=syncs), recording.top.with_name("home")
            disk.build(home, lambda rng=rng, kept=kept: rng.random() < kept)  # type: ignore[misc]
            found.add(state(home / path, disk.notes))
            shutil.rmtree(home)
    return found


def every_program(directory: Path) -> Iterator[tuple[str, set[str]]]:
    """Each program's name and the states that power losses leave, in a process with the recorder."""
    start = directory / "start"
    (start / "keys").mkdir(parents=True)
    (start / "f").write_bytes(OLD)
    for number in range(2):
        (start / "keys" / f"{number}.key").write_text(f"key {number}")
    top = directory / "top"
    for name, (action, options, _, _) in PROGRAMS.items():
        recording = record(start, top, partial(action, top, **options))
        recording.disk().check(directory / "whole")
        yield name, states(recording, name)
        if name == "replaced":
            yield "fsync does nothing", states(recording, name, syncs=False)
        shutil.rmtree(top)
        shutil.rmtree(directory / "whole")
    recording = record(start, top, partial(mapped, top))
    try:
        recording.disk().check(directory / "checked")
    except JournalIncomplete as error:
        yield "mapped", {str(error)}


@pytest.fixture(scope="module")
def found() -> dict[str, set[str]]:
    """The states that power losses leave, by program."""
    with recorder() as library, in_memory() as directory:
        return dict(in_new_process(every_program, directory, preload=library))


@pytest.mark.parametrize(
    ("program", "states"),
    [
        ("replaced", {"old", "new"}),
        ("file not synced", {"old", "new", "torn"}),
        ("directory not synced", {"old", "new", "lost"}),
        ("overwritten", {"old", "new", "torn"}),
        ("write_whole", {"old", "new"}),
        ("create_whole", {"old", "new"}),
        ("in a directory that is not synced", {"old", "new", "lost"}),
        ("in a durable directory", {"old", "new"}),
        ("key taken", {"new"}),
    ],
)
def test_power_losses_leave_what_posix_allows(found: dict[str, set[str]], program: str, states: set[str]) -> None:
    assert found[program] == states


def test_sqlite_loses_what_its_manual_says(found: dict[str, set[str]]) -> None:
    """https://www.sqlite.org/pragma.html#pragma_synchronous, for WAL: FULL is durable, NORMAL only consistent, and OFF
    promises neither."""
    assert found["FULL"] == {"old", "new"}
    assert found["NORMAL"] == {"old", "new", "lost"}
    assert "lost" in found["OFF"]


def test_an_fsync_that_does_nothing_is_noticed(found: dict[str, set[str]]) -> None:
    assert {"lost", "torn"} & found["fsync does nothing"]


def test_a_write_that_is_not_recorded_is_noticed(found: dict[str, set[str]]) -> None:
    (error,) = found["mapped"]
    assert error == "the journal does not lead to what the process left in f"


def raising() -> Iterator[int]:
    yield 1
    raise ValueError("broken")


def test_a_process_that_fails_is_no_result() -> None:
    with pytest.raises(ForkFailed, match="broken"):
        list(in_new_process(raising))
    with pytest.raises(ForkFailed, match="ZeroDivisionError"):
        run_forked(lambda: 1 // 0)
