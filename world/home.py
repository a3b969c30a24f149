"""The world directory: the complete state of one world on disk."""

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
from typing import TYPE_CHECKING

from kazashi.world.atomic_file import create_whole, is_unfinished, make_directory, write_whole
from kazashi.world.clock import Clock, WorldClock
from kazashi.world.key_source import KeySource, P384KeySource, StockedKeySource
from kazashi.world.rng import stream
from kazashi.world.settings import Settings

if TYPE_CHECKING:
    import sqlalchemy as sa

    from kazashi.world.storage import Migration, Store

FORMAT = 3
"""The format of the world's directory. In format 3 every store has a version, which programs for format 2 ignore."""
CONTROL_SOCKET = "control.sock"
"""The socket in `World.run` on which a running instance takes commands."""

_RUN = "run"
_SETTINGS_FILE = "world.json"


class WorldUnusable(Exception):
    """The directory cannot be used as a world. The message says why and what to do. Nothing in it was changed."""


class WorldMissing(Exception):
    """There is no world in the directory, and the command only reads. Nothing was created."""


@dataclass(frozen=True)
class World:
    """A world: its directory, the settings that it was created with, its clock and its sources of keys.

    `keys` are RSA-2048 keys, `p384_keys` those of the next card and its authorities.
    """

    directory: Path
    settings: Settings
    clock: Clock
    keys: KeySource
    p384_keys: KeySource = field(default_factory=P384KeySource, repr=False, compare=False)
    _stores: dict[str, Store] = field(default_factory=dict, repr=False, compare=False)

    @property
    def seed(self) -> str:
        """The seed from which the world's people, numbers and events are derived."""
        return self.settings.seed

    @property
    def cards(self) -> Path:
        """The directory of the card images."""
        return self.directory / "cards"

    @property
    def run(self) -> Path:
        """The directory of the running instance: sockets, logs, process IDs."""
        return self.directory / _RUN

    @property
    def publication(self) -> Path:
        """The directory in which the authorities publish their certificates and revocation lists."""
        return self.directory / "publication"

    def store(self, actor: str, metadata: sa.MetaData, migrations: Sequence[Migration] = ()) -> Store:
        """The actor's own store, with its tables prepared (see `Store.prepare`). Raises StoreTooNew and StoreFailed."""
        store = self.store_to_study(actor)
        store.prepare(metadata, migrations)
        return store

    def store_to_study(self, actor: str) -> Store:
        """The store of any actor, for a study that reads across stores. Its tables are neither made nor migrated."""
        # Imported here because it loads SQLAlchemy, and many commands open no store.
        from kazashi.world.storage import store_at

        if actor not in self._stores:
            self._stores[actor] = store_at(self.directory / "stores", self.settings.storage, actor)
        return self._stores[actor]

    def close(self) -> None:
        """Close every store. A store is opened again when it is next needed."""
        while self._stores:
            _, store = self._stores.popitem()
            store.close()

    def random_stream(self, *purpose: str) -> Random:
        """The world's random stream for that purpose, from its beginning."""
        return stream(self.seed, *purpose)


def default_directory() -> Path:
    """The directory in `KAZASHI_WORLD`, or else one in the user's data directory."""
    if value := os.environ.get("KAZASHI_WORLD"):
        return Path(value)
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "kazashi"


def open_world(
    directory: Path | None = None,
    *,
    seed: str | None = None,
    settings: Settings | None = None,
    clock: Clock | None = None,
    keys: KeySource | None = None,
) -> World:
    """Open the world in `directory`, or create one if there is none. Raises WorldUnusable.

    A new world is created with `settings`, or else with `seed`, or else with a random seed. `clock` and `keys` replace
    the world's own clock and key stock.
    """
    directory = (directory or default_directory()).absolute()
    file = directory / _SETTINGS_FILE
    try:
        if not file.exists():
            _create(directory, file, settings or Settings(seed or secrets.token_hex(8)))
        content = json.loads(file.read_text(encoding="utf-8"))
        if (version := content.pop("format")) not in (2, FORMAT):
            raise WorldUnusable(
                f"{directory} is a world of format {version}, and this program reads format {FORMAT};"
                f" {'update Kazashi, or ' if version > FORMAT else ''}name another directory with --world"
            )
        stored = Settings(**content)
        if version < FORMAT and _is_listened_on(directory / _RUN / CONTROL_SOCKET):
            raise WorldUnusable(
                f"an instance of an earlier version is running in {directory}; stop it with the program that started it"
                " (kazashi down), then try again"
            )
        if version < FORMAT:  # only the stores differ, and each of them is migrated when it is opened
            write_whole(file, _text(stored))
            print(
                f"kazashi: the world in {directory} was upgraded from format {version} to format {FORMAT};"
                " older programs can no longer open it",
                file=sys.stderr,
            )
    except OSError as error:
        raise WorldUnusable(
            f"{error.filename or directory} cannot be used: {error.strerror}; name another world with --world"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WorldUnusable(
            f"{file} is damaged; restore it, or name another directory with --world to create a new world"
        ) from error
    return World(
        directory,
        stored,
        clock or WorldClock(directory / "clock.json"),
        keys or StockedKeySource(directory / "keys"),
    )


def _is_listened_on(path: Path) -> bool:
    """Whether a program accepts connections on a Unix socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def existing_world(directory: Path | None = None) -> World:
    """Open the world in `directory`, and create nothing if there is none. Raises WorldMissing and WorldUnusable."""
    directory = (directory or default_directory()).absolute()
    if not directory.exists() or (directory.is_dir() and not any(directory.iterdir())):
        raise WorldMissing(
            f"there is no world in {directory}; create one with: kazashi world new, or name another with --world"
        )
    return open_world(directory)


def _create(directory: Path, file: Path, settings: Settings) -> None:
    if directory.exists() and any(not is_unfinished(entry, _SETTINGS_FILE) for entry in directory.iterdir()):
        if file.exists():  # another program has created the world since we looked
            return
        raise WorldUnusable(
            f"{directory} contains files that are not Kazashi's; name an empty or new directory with --world"
        )
    make_directory(directory, mode=0o700)
    directory.chmod(0o700)
    create_whole(file, _text(settings))  # if two programs create one world, the seed is that of the first


def _text(settings: Settings) -> str:
    return json.dumps({"format": FORMAT, **settings.as_dict()}) + "\n"
