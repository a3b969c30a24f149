"""Serve a world's authorities over HTTP: `python -m kazashi.pki.serve WORLD --port P --workers N`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import uvicorn

from kazashi.web.ports import AUTHORITIES
from kazashi.web.server import OPTIONS

_WORLD = "KAZASHI_SERVED_WORLD"


def application() -> Any:
    """Return the ASGI application for the world named in the environment. Every worker creates its own."""
    from kazashi.pki.http import application as of_world
    from kazashi.world.home import open_world

    return of_world(open_world(Path(os.environ[_WORLD])))


def main() -> None:
    """Parse the command line and serve until the process is terminated."""
    parser = argparse.ArgumentParser(description="Serve a world's authorities over HTTP.")
    parser.add_argument("world", type=Path)
    parser.add_argument("--port", type=int, default=AUTHORITIES.number)
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    os.environ[_WORLD] = str(arguments.world)
    uvicorn.run(
        "kazashi.pki.serve:application",
        factory=True,
        host=AUTHORITIES.host,
        port=arguments.port,
        workers=arguments.workers if arguments.workers > 1 else None,
        date_header=False,  # the application's responses have it
        **OPTIONS,
    )


if __name__ == "__main__":
    main()
