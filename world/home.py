"""The world directory: one bench's whole state on disk."""

from __future__ import annotations

import json
import os
import secrets
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import sqlalchemy as sa

from kazashi.world.atomic_file import create_whole, is_unfinished, write_whole
from kazashi.world.clock import Clock, WorldClock
from kazashi.world.key_source import KeySource, StockedKeySource
from kazashi.world.rng import stream
from kazashi.world.settings import Settings
from kazashi.world.storage import Migration, Store, store_at

FORMAT = 3
"""Of the world's directory. 3: every store carries a version, which programs for format 2 would not look at."""
CONTROL_SOCKET = "control.sock"
"""Where a running instance takes commands, in `World.run`."""

_RUN = "run"
_MARK = "world.json"


class WorldUnusable(Exception):
    """The directory cannot serve as a world; the message says why and what to do. Nothing in it was changed."""


class WorldMissing(Exception):
    """No world has begun in the directory, and what was asked for only reads. Nothing was made there."""


@dataclass(frozen=True)
class World:
    """A bench: where it lives, what was settled at its beginning, its clock and its source of keys."""

    directory: Path
    settings: Settings
    clock: Clock
    keys: KeySource
    _stores: dict[str, Store] = field(default_factory=dict, repr=False, compare=False)

    @property
    def seed(self) -> str:
        """What the world's people, numbers and events are a function of."""
        return self.settings.seed

    @property
    def cards(self) -> Path:
        """Where the card images are."""
        return self.directory / "cards"

    @property
    def run(self) -> Path:
        """What belongs to the running bench: sockets, logs, process numbers."""
        return self.directory / _RUN

    @property
    def publication(self) -> Path:
        """Where the authorities publish their certificates and revocation lists."""
        return self.directory / "publication"

    def store(self, actor: str, metadata: sa.MetaData, migrations: Sequence[Migration] = ()) -> Store:
        """The actor's own store, with its tables as `Store.prepare` says. Raises StoreTooNew and StoreFailed."""
        store = self.store_to_study(actor)
        store.prepare(metadata, migrations)
        return store

    def store_to_study(self, actor: str) -> Store:
        """The store of any actor as it is, for a study that reads across stores."""
        if actor not in self._stores:
            self._stores[actor] = store_at(self.directory / "stores", self.settings.storage, actor)
        return self._stores[actor]

    def close(self) -> None:
        """Let go of every store; each is opened again when it is next needed."""
        while self._stores:
            _, store = self._stores.popitem()
            store.engine.dispose()

    def random_stream(self, *purpose: str) -> Random:
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
    settings: Settings | None = None,
    clock: Clock | None = None,
    keys: KeySource | None = None,
) -> World:
    """Open the world in `directory`, or begin one where there is nothing yet. Raises WorldUnusable.

    `settings`, or else `seed`, are used where a world begins, and a new seed is drawn where there is neither; `clock`
    and `keys` replace the world's own clock and key stock.
    """
    directory = (directory or default_directory()).absolute()
    mark = directory / _MARK
    try:
        if not mark.exists():
            _begin(directory, mark, settings or Settings(seed or secrets.token_hex(8)))
        written = json.loads(mark.read_text(encoding="utf-8"))
        if (found := written.pop("format")) not in (2, FORMAT):
            raise WorldUnusable(
                f"{directory} is a world of format {found}, and this program reads format {FORMAT};"
                f" {'update Kazashi, or ' if found > FORMAT else ''}name another directory with --world"
            )
        settled = Settings(**written)
        if found < FORMAT and _is_listened_on(directory / _RUN / CONTROL_SOCKET):
            raise WorldUnusable(
                f"an instance of an earlier version runs in {directory}; end it with the program that started it"
                " (kazashi down), then try again"
            )
        if found < FORMAT:  # all that differs is in the stores, and each of them is migrated when it is opened
            write_whole(mark, _text(settled))
            print(
                f"kazashi: {directory} was a world of format {found} and is one of format {FORMAT} now;"
                " older programs do not open it any more",
                file=sys.stderr,
            )
    except OSError as error:
        raise WorldUnusable(
            f"{directory} cannot be used as a world: {error.strerror}; name another directory with --world"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WorldUnusable(
            f"{mark} is damaged; restore it, or name another directory with --world to begin a new world"
        ) from error
    return World(
        directory,
        settled,
        clock or WorldClock(directory / "clock.json"),
        keys or StockedKeySource(directory / "keys"),
    )


def _is_listened_on(path: Path) -> bool:
    """Whether a program takes connections at a unix socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def existing_world(directory: Path | None = None) -> World:
    """Open the world in `directory`, and leave nothing behind where there is none. Raises WorldMissing and
    WorldUnusable."""
    directory = (directory or default_directory()).absolute()
    if not directory.exists() or (directory.is_dir() and not any(directory.iterdir())):
        raise WorldMissing(
            f"there is no world in {directory}; begin one with: kazashi world new, or name another with --world"
        )
    return open_world(directory)


def _begin(directory: Path, mark: Path, settings: Settings) -> None:
    if directory.exists() and any(not is_unfinished(entry, _MARK) for entry in directory.iterdir()):
        if mark.exists():  # another program has begun it since we looked
            return
        raise WorldUnusable(
            f"{directory} holds files that are not Kazashi's; name an empty or new directory with --world"
        )
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o700)
    create_whole(mark, _text(settings))  # of two programs that begin one world, the first has named the seed


def _text(settings: Settings) -> str:
    return json.dumps({"format": FORMAT, **settings.as_dict()}) + "\n"
