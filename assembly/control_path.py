"""The path of the socket on which a world's running instance takes commands."""

from __future__ import annotations

from pathlib import Path

from kazashi.world.home import CONTROL_SOCKET, World


def control_path(world: World) -> Path:
    """The Unix socket on which the running instance of a world listens."""
    return world.run / CONTROL_SOCKET
