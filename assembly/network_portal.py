"""The portal's server process: pages for browsers, and the portal's interface system to the network."""

from __future__ import annotations

import threading
from functools import partial

import uvicorn

from kazashi.assembly.actors import PORTAL
from kazashi.assembly.j_lis_office import PortalLines
from kazashi.assembly.network_server import HOST
from kazashi.assembly.relying import over_http
from kazashi.assembly.served import serve_application
from kazashi.jpki.profile import CertificateType
from kazashi.provision_network.interface_http import interface_application, interface_runner
from kazashi.provision_network.interface_system import InterfaceSystem
from kazashi.provision_network.portal import INTERFACE_NAME, Generations, Portal
from kazashi.provision_network.portal_pages import PortalPages
from kazashi.web.mutual_tls import serving
from kazashi.world.home import World


def serve_portal(
    world: World, desk: str, messages_port: int, port: int, services: str, agent: str, generations: str
) -> None:  # fmt: skip
    """Serve the portal until the process is stopped. Raises NetworkRejected if the network is not set up yet."""
    interface = InterfaceSystem(world, INTERFACE_NAME)
    lines = PortalLines(interface, desk)
    verifier, linkage = over_http(world, services, PORTAL.caller)
    portal = Portal(world, interface, lines.code, lines.records, linkage, Generations(generations), lines.looks,
                    partial(lines.code, kind=CertificateType.SIGNATURE))  # fmt: skip
    runner = interface_runner(interface, world.clock)
    pages = PortalPages(world, portal, verifier, runner, f"http://localhost:{port}", agent).application()
    directory = world.run / "interface-portal"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    options = serving(interface.neighbours.credentials()[0], directory, HOST, messages_port)
    messages = uvicorn.Server(uvicorn.Config(interface_application(interface, runner), **options))
    thread = threading.Thread(target=messages.run, name="messages", daemon=True)
    thread.start()
    runner.start()
    try:
        serve_application(pages, port)
    finally:
        messages.should_exit = True
        thread.join(5)
        runner.stop()
