"""Atomic file writes: a file is complete or absent, no matter when the writer is killed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import pytest

from kazashi.card_management.keys_in_progress import KeysInProgress
from kazashi.world.atomic_file import clear_unfinished, create_whole, is_unfinished, replace_whole, write_whole
from kazashi.world.clock import WorldClock
from kazashi.world.home import open_world
from kazashi.world.key_source import SharedKeySource
from tests.crash import killed_at
from tests.town import MORNING

pytestmark = pytest.mark.crash

OLD, NEW = b"old" * 10_000, b"new" * 20_000


def entries(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@pytest.mark.parametrize(
    "content", ["住民", "住民".encode(), bytearray("住民".encode()), ["住".encode(), "民".encode()]], ids=str
)
def test_text_bytes_and_pieces_are_written(tmp_path: Path, content: str | bytes | bytearray | list[bytes]) -> None:
    for _ in range(2):
        write_whole(tmp_path / "f", content)
        assert (tmp_path / "f").read_text(encoding="utf-8") == "住民"
    assert entries(tmp_path) == ["f"]


def test_a_secret_is_never_readable_by_others(tmp_path: Path) -> None:
    modes: list[int] = []

    class Watching(list[bytes]):
        """Pieces that record the permissions of the unfinished file while they are being written."""

        def __iter__(self) -> Iterator[bytes]:
            for piece in super().__iter__():
                modes.extend(path.stat().st_mode & 0o777 for path in tmp_path.glob(".f.*"))
                yield piece

    write_whole(tmp_path / "f", b"public", mode=0o644)
    write_whole(tmp_path / "f", Watching([b"a", b"b"]), mode=0o600)
    assert [*modes, (tmp_path / "f").stat().st_mode & 0o777] == [0o600] * 3


def test_a_writer_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    write_whole(tmp_path / "f", OLD)

    def fail(unfinished: Path) -> None:
        unfinished.write_bytes(NEW[:100])
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        replace_whole(tmp_path / "f", fail)
    assert (tmp_path / "f").read_bytes() == OLD
    assert entries(tmp_path) == ["f"]


def killed_everywhere(action: Callable[[], object], content: Callable[[], object], old: object, new: object) -> int:
    """Kill an action at each moment in turn, and return the number of moments.

    After each kill, `content` must be the old or the new one.
    """
    moment = 0
    while True:
        moment += 1
        killed = killed_at(moment, action)
        assert content() in ((old, new) if killed else (new,))
        if not killed:
            return moment - 1


def test_a_killed_writer_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "f"
    write_whole(path, OLD)
    assert killed_everywhere(lambda: write_whole(path, NEW), path.read_bytes, OLD, NEW) == 2
    unfinished = [name for name in entries(tmp_path) if name != "f"]
    assert unfinished
    assert all(is_unfinished(tmp_path / name, "f") for name in unfinished)
    clear_unfinished(tmp_path)
    assert entries(tmp_path) == ["f"]


def test_a_killed_creator_leaves_a_complete_file_or_none(tmp_path: Path) -> None:
    path = tmp_path / "f"
    content = lambda: path.read_text() if path.exists() else ""  # noqa: E731
    assert killed_everywhere(lambda: create_whole(path, "new"), content, "", "new") == 2
    assert create_whole(path, "another") is False
    assert path.read_text() == "new"


def test_the_files_of_a_world_survive_being_killed(tmp_path: Path) -> None:
    world = open_world(tmp_path / "w", seed="s")
    clock = WorldClock(world.directory / "clock.json")
    clock.stand(MORNING)
    later = MORNING.replace(hour=3)
    assert killed_everywhere(lambda: clock.stand(later), lambda: WorldClock(world.directory / "clock.json").now(),
                             MORNING, later) == 2  # fmt: skip
    keys = tmp_path / "k.keys"
    source = SharedKeySource([b"key"])
    assert killed_everywhere(
        lambda: KeysInProgress(keys).keys(["a"], source), lambda: keys.exists() and keys.read_text(), False,
        '{"a": "a2V5"}',
    ) == 2  # fmt: skip


def test_concurrent_writers_of_one_file_never_mix_contents(tmp_path: Path) -> None:
    contents = [bytes([65 + number]) * 100_000 for number in range(8)]
    read: list[bytes] = []

    def write(content: bytes) -> None:
        for _ in range(20):
            write_whole(tmp_path / "f", content)
            read.append((tmp_path / "f").read_bytes())

    threads = [Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read) == 8 * 20
    assert set(read) <= set(contents)
    assert entries(tmp_path) == ["f"]
