"""The process that `kazashi up --detach` starts: `python -m kazashi.tools.daemon WORLD`.

It reads the plan of the instance from its standard input, and imports no command, so that it starts quickly.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from kazashi.tools.daemon.plan import InstancePlan
from kazashi.tools.program import run as run_program


@click.command()
@click.argument("directory", metavar="WORLD", type=click.Path(path_type=Path))
def instance(directory: Path) -> None:
    """Run an instance until it is told to stop. Its lock is inherited, and its cards exist."""
    from kazashi.tools.daemon.background import locked
    from kazashi.tools.daemon.instance import run
    from kazashi.world.home import open_world

    world = open_world(directory)
    locked(world)  # until this process ends
    run(world, InstancePlan.from_json(sys.stdin.read()), lambda _: None)


if __name__ == "__main__":
    run_program(instance, "kazashi up")
