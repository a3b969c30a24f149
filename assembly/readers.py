"""Readers as users name them, those of the running bench among them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from kazashi.assembly.control_path import control_path
from kazashi.assembly.institutions import Institutions
from kazashi.reader_bridge import pcsc
from kazashi.reader_bridge.control import NotRunning, request
from kazashi.reader_bridge.host import Presentation, ReaderHost
from kazashi.reader_bridge.pcscd import start_pcscd
from kazashi.world.home import World, open_world

_SEEN_SECONDS = 10.0


def reader_named(world: World | None, name: str | None) -> str:
    """The one reader whose name is or begins like `name`; without a name the only one there is.

    Where a bench runs in the world and has a pcscd that only it knows, its readers come first, and this process talks
    to that pcscd from here on. Raises NoSuchReader, which lists the readers.
    """
    beside = reach_bench(world, name) if world is not None else ""
    try:
        return pcsc.reader_named(name)
    except pcsc.NoSuchReader as error:
        raise pcsc.NoSuchReader(f"{error}{beside}") from error


def reach_bench(world: World, name: str | None) -> str:
    """Let this process talk to the running bench's own pcscd from here on, if it has one, and a reader of that name;
    answers words on what else the bench has, for an error."""
    try:
        status = request(control_path(world), "status")
    except NotRunning:
        return ""
    own = [slot["reader"] for slot in status["slots"] if not slot["dialled"]]
    hidden = status["pcscd"]["environment"]
    if name is None or any(reader.startswith(name) for reader in own):
        os.environ.update(hidden)
    return f"; the running bench has: {'; '.join(own)}" if hidden else ""


@contextmanager
def emulated_reader(*, contactless: bool = False) -> Iterator[str]:
    """A reader with an emulated card in it, for as long as the block lasts, on a pcscd of its own to which this process
    talks from here on. Raises PcscdUnavailable."""
    with TemporaryDirectory(prefix="kazashi-") as name:
        directory = Path(name)
        world = open_world(directory / "world", seed="reader")
        image = Institutions(world).issue_card("hanako", "hanako")
        pcscd = start_pcscd(directory, ["Kazashi"], private=True)
        host = ReaderHost(pcscd.endpoints)
        try:
            os.environ.update(pcscd.client_environment())
            host.insert(host.slots[0], "hanako", image, Presentation(contactless))
            host.slots[0].wait_until_powered(_SEEN_SECONDS)
            yield pcscd.endpoints[0].reader
        finally:
            host.close()
            pcscd.stop()
            world.close()
