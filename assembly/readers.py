"""Finding readers by name, including those of the running instance."""

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
    """The one reader whose name is or begins with `name`; without a name, the only reader.

    If an instance runs in the world with a private pcscd, its readers are preferred, and this process uses that pcscd
    from then on. Raises NoSuchReader, which lists the readers.
    """
    instance_readers = reach_instance(world, name) if world is not None else ""
    try:
        return pcsc.reader_named(name)
    except pcsc.NoSuchReader as error:
        raise pcsc.NoSuchReader(f"{error}{instance_readers}") from error


def reach_instance(world: World, name: str | None) -> str:
    """Make this process use the private pcscd of the running instance, if it has one and a reader with that name.

    Returns a clause on the instance's readers for an error message; it is empty without a private pcscd.
    """
    try:
        status = request(control_path(world), "status")
    except NotRunning:
        return ""
    own = [slot["reader"] for slot in status["slots"] if not slot["dialled"]]
    environment = status["pcscd"]["environment"]
    if name is None or any(reader.startswith(name) for reader in own):
        os.environ.update(environment)
    return f"; the running instance has: {'; '.join(own)}" if environment else ""


@contextmanager
def emulated_reader(*, contactless: bool = False) -> Iterator[str]:
    """Run a reader with an emulated card as long as the block lasts, and return the reader's name.

    It has a private pcscd, which this process uses from then on. Raises PcscdUnavailable.
    """
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
