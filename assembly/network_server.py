"""The server processes of the network's core and interface systems:
`python -m kazashi.assembly.network_server WORLD core --port P`, or with `interface:NAME` in place of `core`.
"""

from __future__ import annotations

import argparse
from functools import lru_cache
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from kazashi.provision_network.core import Core
from kazashi.provision_network.core_http import core_application, core_runner
from kazashi.provision_network.interface_http import interface_application, interface_runner
from kazashi.provision_network.interface_system import InterfaceSystem
from kazashi.provision_network.law.rules import RuleBook
from kazashi.provision_network.law.tables import table_of_affairs
from kazashi.provision_network.terms import CORE
from kazashi.web import ports
from kazashi.web.mutual_tls import Credentials, serving
from kazashi.world.home import World, open_world
from kazashi.world.worker import Worker

HOST = ports.CORE.host


def core_of(world: World) -> Core:
    """A world's core, with the built-in rules."""
    return Core(world, _built_in_rules())


@lru_cache(maxsize=1)
def _built_in_rules() -> RuleBook:
    """The rules without ordinances, made once: all decisions of all versions of the law are computed then."""
    return RuleBook(table_of_affairs())


def application_of(world: World, what: str) -> tuple[Starlette, Worker, Credentials]:
    """The application of the core or of `interface:NAME`, its runner and its credentials.

    Raises NetworkRejected for an interface system that is not enrolled.
    """
    if what == CORE:
        core = core_of(world)
        runner = core_runner(core, world.clock)
        return core_application(core, runner), runner, core.credentials(CORE, CORE, HOST)
    interface = InterfaceSystem(world, what.partition(":")[2])
    runner = interface_runner(interface, world.clock)
    return interface_application(interface, runner), runner, interface.neighbours.credentials()[0]


def run(world: World, what: str, port: int) -> None:
    """Serve the core or `interface:NAME` until the process is stopped."""
    application, runner, credentials = application_of(world, what)
    directory = world.run / what.replace(":", "-")
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    runner.start()
    try:
        uvicorn.run(application, **serving(credentials, directory, HOST, port))
    finally:
        runner.stop()


def main() -> None:
    """Serve a part of the network, with arguments from the command line."""
    parser = argparse.ArgumentParser(description="Serve the core or an interface system of a provision network.")
    parser.add_argument("world", type=Path)
    parser.add_argument("what")
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    run(open_world(arguments.world), arguments.what, arguments.port)


if __name__ == "__main__":
    main()
