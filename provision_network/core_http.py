"""The core over HTTPS.

POST /v1/messages       messages from interface systems
POST /v1/portal-code    {"record_code"}     the J-LIS office requests a person's code at the portal
POST /v1/institution-code   {"record_code", "body"}     and at a body that identifies people by their cards
POST /v1/records        {"code"}            the portal requests a person's records
POST /v1/record-looks   {"code"}            the portal requests who has looked at them other than through the portal
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from kazashi.provision_network.codes import PortalCode
from kazashi.provision_network.core import Core
from kazashi.provision_network.message_http import (
    INTERFACE,
    JUKI_NET,
    ClientNotAllowed,
    carrier,
    client,
    guarded,
    json_of,
    messages_of,
)
from kazashi.provision_network.terms import CORE, PORTAL_KIND, ProvisionRecord, text_of
from kazashi.web.health import Health
from kazashi.world.clock import Clock
from kazashi.world.group_commit import GroupCommit
from kazashi.world.worker import Worker


class CoreService:
    """The core's routes."""

    def __init__(self, core: Core, runner: Worker) -> None:
        self._core = core
        self._runner = runner
        self._commits = GroupCommit(core.store)

    def application(self) -> Starlette:
        """Return the core as an ASGI application. Serve it with the settings of `kazashi.web.mutual_tls.serving`."""
        return guarded(
            Route("/v1/messages", self.messages, methods=["POST"]),
            Route("/v1/portal-code", self.portal_code, methods=["POST"]),
            Route("/v1/institution-code", self.institution_code, methods=["POST"]),
            Route("/v1/records", self.records, methods=["POST"]),
            Route("/v1/record-looks", self.record_looks, methods=["POST"]),
            Health.of_stores(self._core.store).route(),
        )

    async def messages(self, request: Request) -> Response:
        """Accept messages from an interface system."""
        sender = client(request, {INTERFACE}, "only an interface system may send messages to the core").name
        messages = messages_of(await json_of(request), {sender}, CORE)
        if await self._commits.run_async(lambda connection: self._core.receive_in(connection, messages)):
            self._runner.call()
        return JSONResponse({})

    async def portal_code(self, request: Request) -> Response:
        """Return a person's code at the portal."""
        client(request, {JUKI_NET}, "only Juki-Net may send resident record codes")
        record_code = str((await json_of(request))["record_code"])
        code = await run_in_threadpool(self._core.codes.portal_code, record_code)
        return JSONResponse({"code": str(code)})

    async def institution_code(self, request: Request) -> Response:
        """Return a person's code at a body."""
        client(request, {JUKI_NET}, "only Juki-Net may send resident record codes")
        asked = await json_of(request)
        code = await run_in_threadpool(self._core.codes.code_for, text_of(asked["body"]), text_of(asked["record_code"]))
        return JSONResponse({"code": str(code)})

    async def records(self, request: Request) -> Response:
        """Return a person's provision records."""
        records = await run_in_threadpool(self._core.records.of, await self._code(request))
        return JSONResponse({"records": [_record_as_json(record) for record in records]})

    async def record_looks(self, request: Request) -> Response:
        """Return who has looked at a person's records other than through the portal."""
        looks = await run_in_threadpool(self._core.records.looks, await self._code(request))
        return JSONResponse({"looks": [{"at": look.at.isoformat(), "actor": look.actor} for look in looks]})

    async def _code(self, request: Request) -> PortalCode:
        """Return the code of the person about whom the portal asks. Raises ClientNotAllowed and ForeignCode."""
        words = "only the portal may read records"
        peer = client(request, {INTERFACE}, words)
        institutions = await run_in_threadpool(self._core.members.institutions)
        if peer.name not in {one.interface for one in institutions if one.kind == PORTAL_KIND}:
            raise ClientNotAllowed(words)
        return PortalCode.parse((await json_of(request))["code"])


def core_application(core: Core, runner: Worker) -> Starlette:
    """Return the core as an ASGI application."""
    return CoreService(core, runner).application()


def core_runner(core: Core, clock: Clock) -> Worker:
    """Return the worker that delivers the core's messages to interface systems."""

    def addresses() -> dict[str, str]:
        return {entry.name: entry.address for entry in core.members.interfaces()}

    return carrier(core.outbox, core.store, clock, addresses, core.credentials(CORE, CORE))


def _record_as_json(record: ProvisionRecord) -> dict[str, Any]:
    return {
        **asdict(record), "outcome": record.outcome.value, "requested_at": record.requested_at.isoformat(),
        "provided_at": record.provided_at.isoformat() if record.provided_at else None,
    }  # fmt: skip
