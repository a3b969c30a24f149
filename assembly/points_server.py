"""A world's accumulation centre, and its server process:
`python -m kazashi.assembly.points_server WORLD --port P --workers N`.

Several workers share one port and one database. What one has accepted the others know, because it is on disk.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import uvicorn

from kazashi.refund_points.centre import Centre
from kazashi.refund_points.centre_http import application, serving
from kazashi.relying_party.mykey.mykey import MyKeyPlatform
from kazashi.relying_party.verify.linkage import NoLinkage
from kazashi.web.ports import CENTRE
from kazashi.world.home import World, open_world

_WORLD = "KAZASHI_SERVED_WORLD"


def mykey_platform_of(world: World) -> MyKeyPlatform:
    """A world's MyKey platform, for tills and the centre to look up the holder of a card. That needs no linkage."""
    return MyKeyPlatform(world, NoLinkage())


def centre_of(world: World, **settled: Any) -> Centre:
    """A world's centre. `settled` are the settings that are used when it is created."""
    return Centre(world, mykey=mykey_platform_of(world), **settled)


def worker() -> Any:
    """The application for the world that the environment names. Every worker makes its own."""
    return application(centre_of(open_world(Path(os.environ[_WORLD]))))


def run(world: World, port: int, workers: int, factory: str = "kazashi.assembly.points_server:worker") -> None:
    """Serve the centre until the process is stopped. `factory` names the function that makes a worker's application."""
    os.environ[_WORLD] = str(world.directory)
    world.run.mkdir(mode=0o700, exist_ok=True)
    options = serving(centre_of(world), world.run, CENTRE.host, port)
    world.close()  # connections that are open now must not be shared with the workers
    uvicorn.run(factory, factory=True, workers=workers if workers > 1 else None, **options)


def main() -> None:
    """Serve the centre, with arguments from the command line."""
    parser = argparse.ArgumentParser(description="Serve a world's accumulation centre to tills.")
    parser.add_argument("world", type=Path)
    parser.add_argument("--port", type=int, default=CENTRE.number)
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    run(open_world(arguments.world), arguments.port, arguments.workers)


if __name__ == "__main__":
    main()
