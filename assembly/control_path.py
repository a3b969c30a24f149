"""Where a world's running instance listens for commands."""

from __future__ import annotations

from pathlib import Path

from kazashi.world.home import CONTROL_SOCKET, World


def control_path(world: World) -> Path:
    """The unix socket that the running instance of a world listens on."""
    return world.run / CONTROL_SOCKET
