"""The world directory: one bench's whole state on disk."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from random import Random

from world.chance import stream
from world.clock import Clock, SystemClock
from world.key_source import KeySource, StockedKeySource

FORMAT = 1
_MARK = "world.json"


class WorldUnusable(Exception):
    """The directory cannot serve as a world; the message says why and what to do. Nothing in it was changed."""


@dataclass(frozen=True)
class World:
    """A bench: where it lives, its seed, its clock and its source of keys."""

    directory: Path
    seed: str
    clock: Clock
    keys: KeySource

    @property
    def cards(self) -> Path:
        """Where the card images are."""
        return self.directory / "cards"

    @property
    def run(self) -> Path:
        """What belongs to the running bench: sockets, logs, process numbers."""
        return self.directory / "run"

    def store(self, actor: str) -> Path:
        """The directory of one actor's own store, made if need be."""
        path = self.directory / actor
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path

    def chance(self, *purpose: str) -> Random:
        """The world's stream of that purpose, from its beginning."""
        return stream(self.seed, *purpose)


def default_directory() -> Path:
    """`KAZASHI_WORLD`, else a directory among the user's data."""
    if named := os.environ.get("KAZASHI_WORLD"):
        return Path(named)
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "kazashi"


def open_world(
    directory: Path | None = None,
    *,
    seed: str | None = None,
    clock: Clock | None = None,
    keys: KeySource | None = None,
) -> World:
    """Open the world in `directory`, or begin one where there is nothing yet. Raises WorldUnusable.

    `seed` is used where a world begins, else a new one is drawn; `clock` and `keys` replace the machine's time and
    the world's own key stock.
    """
    directory = (directory or default_directory()).absolute()
    mark = directory / _MARK
    try:
        if not mark.exists():
            _begin(directory, mark, seed or secrets.token_hex(8))
        settings = json.loads(mark.read_text(encoding="utf-8"))
        if settings["format"] != FORMAT:
            raise WorldUnusable(
                f"{directory} is a world of format {settings['format']}, and this program reads format {FORMAT};"
                " name another directory with --world"
            )
        found = str(settings["seed"])
    except OSError as error:
        raise WorldUnusable(
            f"{directory} cannot be used as a world: {error.strerror}; name another directory with --world"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise WorldUnusable(
            f"{mark} is damaged; restore it, or name another directory with --world to begin a new world"
        ) from error
    return World(directory, found, clock or SystemClock(), keys or StockedKeySource(directory / "keys"))


def _begin(directory: Path, mark: Path, seed: str) -> None:
    unfinished = directory / f".{_MARK}.{os.getpid()}.new"
    if directory.exists() and any(not entry.match(f".{_MARK}.*.new") for entry in directory.iterdir()):
        if mark.exists():  # another program has begun it since we looked
            return
        raise WorldUnusable(
            f"{directory} holds files that are not Kazashi's; name an empty or new directory with --world"
        )
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o700)
    unfinished.write_text(json.dumps({"format": FORMAT, "seed": seed}) + "\n", encoding="utf-8")
    try:
        os.link(unfinished, mark)  # of two programs that begin one world, the first to get here has named the seed
    except FileExistsError:
        pass
    finally:
        unfinished.unlink(missing_ok=True)
