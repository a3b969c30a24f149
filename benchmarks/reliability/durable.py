"""What a durable command promises: whatever it acknowledged is there after a kill or a power loss, and nothing is
half there."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from kazashi.world.clock import WorldClock
from kazashi.world.home import World

_MEMORY, _ROOM = Path("/dev/shm"), 1 << 30
"""A file system in memory, and the bytes that must be free on it."""

Acknowledge = Callable[[str], object]
"""Called with a line of text as soon as a command has returned, as a program would then print it."""


class PromiseBroken(Exception):
    """Something that was acknowledged is missing, or something is half there."""


@dataclass(frozen=True, slots=True)
class DurableCommand:
    """A command to interrupt, in a directory of its own.

    `prepare` makes the directory once, and `run` runs the command in a copy. `check` gets what was acknowledged. It
    opens the interrupted directory as a new process would, checks it, and lets the command go on. It raises
    PromiseBroken or, if the directory cannot be used, any other exception.
    """

    name: str
    prepare: Callable[[Path], object]
    run: Callable[[Path, Acknowledge], object]
    check: Callable[[Path, Sequence[str]], object]


def require(condition: bool, promise: str) -> None:
    """Raise PromiseBroken with the promise if it was not kept."""
    if not condition:
        raise PromiseBroken(f"not so: {promise}")


def clock_of(world: World) -> WorldClock:
    """A world's clock, which can be set."""
    clock = world.clock
    assert isinstance(clock, WorldClock)
    return clock


class Templates:
    """The directories that commands run in copies of, each prepared once; and a place for the copies."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._prepared: dict[Callable[[Path], object], Path] = {}

    def of(self, command: DurableCommand) -> Path:
        """Return the prepared directory of a command. It must not change."""
        if command.prepare not in self._prepared:
            path = self.directory / f"template-{len(self._prepared)}"
            command.prepare(path)
            self._prepared[command.prepare] = path
        return self._prepared[command.prepare]


@contextmanager
def in_memory() -> Iterator[Path]:
    """A directory for worlds, in memory if there is space.

    A kill does not touch what the kernel has, and the model of a disk records what it must know; neither needs a disk.
    """
    room = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ROOM
    with TemporaryDirectory(prefix="kazashi-reliability-", dir=_MEMORY if room else None) as name:
        yield Path(name)


def chosen(commands: Sequence[DurableCommand], names: Sequence[str]) -> list[DurableCommand]:
    """Return the commands with these names, or all if there are no names. Raises ValueError for an unknown name."""
    if unknown := set(names) - {command.name for command in commands}:
        raise ValueError(f"there is no command {', '.join(unknown)}; name {', '.join(one.name for one in commands)}")
    return [command for command in commands if not names or command.name in names]
