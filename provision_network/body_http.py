"""What an interface system offers to a body's own system about the body's provision, over HTTPS.

POST /v1/copies         {"copies": [{"address_number", "item", "content", "hold"}, ...]}  ->  {"registered"}
GET  /v1/held           the requests on hold
POST /v1/release        {"number"}  ->  {"released"}
GET  /v1/openapi.json   the description of all of it
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from kazashi.provision_network.copy_lists import MOST_COPIES, ListedCopy, register_copies
from kazashi.provision_network.interface_openapi import document
from kazashi.provision_network.interface_system import InterfaceSystem
from kazashi.provision_network.intermediate import IntermediateServer
from kazashi.provision_network.message_http import SYSTEM, ClientNotAllowed, client, json_of
from kazashi.provision_network.terms import number_of
from kazashi.web.mutual_tls import Peer
from kazashi.world.worker import Worker


class BodyRoutes:
    """The routes for a body's provision."""

    def __init__(self, interface: InterfaceSystem, runner: Worker) -> None:
        self._interface = interface
        self._runner = runner

    def routes(self) -> list[Route]:
        """Return the routes, for the interface system's application."""
        return [
            Route("/v1/copies", self.copies, methods=["POST"]),
            Route("/v1/held", self.held),
            Route("/v1/release", self.release, methods=["POST"]),
            Route("/v1/openapi.json", self.openapi),
        ]

    async def copies(self, request: Request) -> Response:
        """Register copies, all or none."""
        system = system_of(request)
        entries = (await json_of(request))["copies"]
        if not isinstance(entries, list) or not 1 <= len(entries) <= MOST_COPIES:
            raise ValueError(f"copies must be a list of 1 to {MOST_COPIES}")
        copies = [ListedCopy.of(entry) for entry in entries]
        return JSONResponse({"registered": await run_in_threadpool(self._register, system, copies)})

    async def held(self, request: Request) -> Response:
        """Return the requests on hold."""
        return JSONResponse({"held": await run_in_threadpool(self._held, system_of(request))})

    async def release(self, request: Request) -> Response:
        """Release a request on hold, so that it is answered."""
        system = system_of(request)
        number = number_of((await json_of(request))["number"])
        await run_in_threadpool(self._release, system, number)
        self._runner.call()
        return JSONResponse({"released": number})

    async def openapi(self, request: Request) -> Response:
        """Return the OpenAPI description."""
        return JSONResponse(document())

    def _register(self, system: Peer, copies: list[ListedCopy]) -> int:
        admitted(self._interface, system)
        return register_copies(self._interface, system.name, copies, lambda place: f"copies[{place}]")

    def _held(self, system: Peer) -> list[dict[str, Any]]:
        admitted(self._interface, system)
        return [
            {"number": one.number, "requester": one.requester, "item": one.item, "rule": one.rule}
            for one in self._interface.answering.held(system.name)
        ]

    def _release(self, system: Peer, number: int) -> None:
        admitted(self._interface, system)
        self._interface.answering.release(system.name, number)


def system_of(request: Request) -> Peer:
    """Return the business system that sent the request. Raises ClientNotAllowed."""
    return client(request, {SYSTEM}, "only a body's own business system may send requests here")


def admitted(interface: InterfaceSystem, system: Peer) -> IntermediateServer:
    """Return the server of the body of a business system. Raises ClientNotAllowed like `check_admitted`."""
    with interface.store.reading() as connection:
        check_admitted(interface, connection, system)
    return interface.server(system.name)


def check_admitted(interface: InterfaceSystem, connection: sa.Connection, system: Peer) -> None:
    """Raise ClientNotAllowed if a business system's body is not behind the interface system, or if its certificate was
    removed."""
    if not interface.admits(connection, system.name, system.fingerprint):
        words = f"the body {system.name} is not behind {interface.name}, or its certificate was removed"
        raise ClientNotAllowed(words)
