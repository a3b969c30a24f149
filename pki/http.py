"""Everything that the authorities offer, over HTTP: files, OCSP, and the services to verifiers.

    GET  /ca/{kind}/{generation}.cer                  an authority's own certificate
    GET  /crl/{kind}/{generation}/...                 revocation lists, as `kazashi.pki.publication` lays them out
    POST /ocsp/{kind}                                 OCSP (RFC 6960), GET /ocsp/{kind}/{base64} too (RFC 5019)
    GET  /services/...                                see docs/authorities.md

A caller shows its key as `Authorization: Bearer KEY`. A program that cannot send headers puts it into the address:
`/ocsp/{kind}/as/KEY`.
"""

from __future__ import annotations

import asyncio
import binascii
import json
from base64 import b64decode
from collections.abc import Awaitable, Callable
from email.utils import format_datetime
from pathlib import Path
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from kazashi.jpki.profile import CERTIFICATE_TYPES, CertificateType
from kazashi.pki.authority import Authority
from kazashi.pki.callers import OCSP, REVOCATION_FILE, CallerNotRegistered, Callers, Query
from kazashi.pki.certificate_database import FULL_LIST, NoSuchCertificate
from kazashi.pki.ocsp import MAX_REQUEST, OcspErrorStatus
from kazashi.pki.publication import list_path
from kazashi.pki.responder import OcspResponse, Responder
from kazashi.pki.services import ConsentRejected, NoConsent, SignedStatement, VerifierServices
from kazashi.resident_registry.juki_net import JLis
from kazashi.resident_registry.registry import NoSuchResident
from kazashi.web.guard import BodyTooLarge, Guard, Problem, bounded
from kazashi.world.clock import JST
from kazashi.world.group_commit import GroupCommit
from kazashi.world.home import World
from kazashi.world.storage import StoreFailed
from kazashi.world.token import TokenUnavailable

Endpoint = Callable[[Request], Awaitable[Response]]

_KNOWN_FOR = 5.0
"""Seconds for which a worker believes what it knows of a caller's key."""

MAX_STATEMENT = 1 << 16
"""Bytes of a request with a signed statement, its signature and its certificate."""

_CONTENT_TYPES = {".crl": "application/pkix-crl", ".cer": "application/pkix-cert"}


class OcspEndpoint:
    """OCSP by POST and GET, as an ASGI application of its own: it is asked thousands of times a second."""

    def __init__(self, world: World, authorities: dict[CertificateType, Authority], callers: Callers) -> None:
        self._clock = world.clock
        self._responders = {kind.code: (kind, Responder(authority)) for kind, authority in authorities.items()}
        self._callers = callers
        self._commits = GroupCommit(callers.store)
        self._known: dict[str, tuple[float, str]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        word, _, rest = scope["path"].removeprefix("/ocsp/").partition("/")
        if word not in self._responders:
            await _plain(send, 404, b"no such authority\n")
            return
        kind, responder = self._responders[word]
        key = _bearer(scope)
        if rest.startswith("as/"):
            key, _, rest = rest.removeprefix("as/").partition("/")
        if scope["method"] == "POST":
            data = await _body(scope, receive)
        elif scope["method"] == "GET":
            data = _decoded(rest)
        else:
            await _plain(send, 405, b"POST or GET\n", (b"allow", b"GET, POST"))
            return
        answer = await self._answer(kind, responder, key, data)
        await _respond(send, answer, cacheable=scope["method"] == "GET")

    async def _answer(self, kind: CertificateType, responder: Responder, key: str, data: bytes | None) -> OcspResponse:
        try:
            caller = self._caller(key)
            if data is None:
                return responder.refusal(OcspErrorStatus.MALFORMED_REQUEST)
            answer = responder.answer(data)
            if answer.asked:
                now = self._clock.now()
                queries = [Query(now, caller, OCSP, kind, _storable(asked.serial), asked.said)
                           for asked in answer.asked]  # fmt: skip
                await self._commits.run_async(lambda connection: self._callers.log_in(connection, queries))
            return answer
        except CallerNotRegistered:
            return responder.refusal(OcspErrorStatus.UNAUTHORIZED)
        except (StoreFailed, TokenUnavailable):
            return responder.refusal(OcspErrorStatus.TRY_LATER)

    def _caller(self, key: str) -> str:
        now = asyncio.get_running_loop().time()
        until, name = self._known.get(key, (0.0, ""))
        if until < now:
            if len(self._known) > 1000:
                self._known.clear()
            name = self._callers.name_of(key)
            self._known[key] = (now + _KNOWN_FOR, name)
        return name


def _storable(serial: int) -> int | None:
    """Serial numbers that no authority of ours gives out are not worth a column that could hold them."""
    return serial if 0 <= serial < 1 << 64 else None


def _bearer(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            return str(value[7:].decode("latin-1").strip())
    return ""


async def _body(scope: Scope, receive: Receive) -> bytes | None:
    """The OCSP request in a body; None where it is too large, which is a malformed request in OCSP (RFC 6960, 2.3)."""
    receive, body = bounded(scope, receive, MAX_REQUEST), bytearray()
    try:
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                return bytes(body)
    except BodyTooLarge:
        return None


def _decoded(path: str) -> bytes | None:
    """A request out of an address: base64, itself escaped once more by some clients."""
    if not path or len(path) > 2 * MAX_REQUEST:
        return None
    try:
        return b64decode(unquote(path), validate=True)
    except (binascii.Error, ValueError):
        return None


async def _respond(send: Send, answer: OcspResponse, *, cacheable: bool) -> None:
    headers = [(b"content-type", b"application/ocsp-response"), (b"content-length", b"%d" % len(answer.response))]
    if answer.this_update is not None and answer.next_update is not None and cacheable:
        headers += [
            (b"last-modified", format_datetime(answer.this_update, usegmt=True).encode("ascii")),
            (b"expires", format_datetime(answer.next_update, usegmt=True).encode("ascii")),
            (b"cache-control", b"private, no-transform, must-revalidate"),
        ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer.response})


async def _plain(send: Send, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    listed = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body)), *headers]
    await send({"type": "http.response.start", "status": status, "headers": listed})
    await send({"type": "http.response.body", "body": body})


class ServicesClosed(Exception):
    """The services to verifiers are closed at this hour."""


class NotPublished(Exception):
    """No published file is at that place."""


GUARD = Guard(
    MAX_STATEMENT,
    {
        ServicesClosed: Problem(503, "closed"),
        CallerNotRegistered: Problem(401, "not-registered"),
        NoSuchCertificate: Problem(404, "no-such-certificate"),
        NoSuchResident: Problem(404, "no-such-certificate"),
        NotPublished: Problem(404, "no-such-list"),
        ConsentRejected: Problem(403, "consent-refused"),
        StoreFailed: Problem(503, "store-failed"),
        ValueError: Problem(400, "usage"),
        RecursionError: Problem(400, "usage"),
    },
    lambda error, code, message: {"error": code, "message": message},
)


class ServicesEndpoint:
    """The services to verifiers as JSON."""

    def __init__(self, world: World, services: VerifierServices) -> None:
        self._world = world
        self._services = services

    def routes(self) -> list[Route]:
        """The addresses, under /services."""
        one = "/{kind:str}/{serial:str}"
        return [
            Route(f"/status{one}", self._for_callers(self.status)),
            Route(f"/counterpart{one}", self._for_callers(self.counterpart)),
            Route(f"/renewal{one}", self._for_callers(self.renewal)),
            Route("/revocation-file/{kind:str}/{generation:str}", self._for_callers(self.revocation_file)),
            Route("/consents", self._for_callers(self.consent), methods=["POST"]),
            Route("/consents/{number:int}/withdrawal", self._for_callers(self.withdraw), methods=["POST"]),
            Route("/consents/{number:int}/latest-attributes", self._for_callers(self.attributes)),
        ]

    def _for_callers(self, action: Callable[[str, Request], Awaitable[Response]]) -> Endpoint:
        """An action for registered callers, in opening hours. The caller is known before the body is read."""

        async def called(request: Request) -> Response:
            opens, closes = self._world.settings.opens, self._world.settings.closes
            if not opens <= self._world.clock.now().astimezone(JST).hour < closes:
                raise ServicesClosed(f"the services answer from {opens} to {closes} o'clock")
            caller = await asyncio.to_thread(self._services.callers.name_of, _bearer(request.scope))
            return await action(caller, request)

        return called

    async def status(self, caller: str, request: Request) -> Response:
        """How a certificate stands now."""
        kind, serial = _certificate(request)
        found = await asyncio.to_thread(self._services.status, caller, kind, serial)
        return JSONResponse(
            {
                "serial": f"{serial:X}",
                "state": found.state.value,
                "reason": found.reason.asn1_name if found.reason is not None else None,
                "since": found.since.isoformat() if found.since else None,
                "not_after": found.not_after.isoformat(),
                "at": self._world.clock.now().isoformat(),
            }
        )

    async def counterpart(self, caller: str, request: Request) -> Response:
        """The other certificate of the same card."""
        kind, serial = _certificate(request)
        found = await asyncio.to_thread(self._services.counterpart, caller, kind, serial)
        return JSONResponse({"kind": kind.other.code, "serial": None if found is None else f"{found:X}"})

    async def renewal(self, caller: str, request: Request) -> Response:
        """The chain of certificates that took each other's place."""
        kind, serial = _certificate(request)
        chain = await asyncio.to_thread(self._services.renewal, caller, kind, serial)
        return JSONResponse({"kind": kind.code, "serials": [f"{found:X}" for found in chain]})

    async def revocation_file(self, caller: str, request: Request) -> Response:
        """The list of everybody."""
        kind = _kind(request)
        path = self._world.publication / list_path(kind, request.path_params["generation"], FULL_LIST)
        if not path.is_file():
            raise NotPublished("there is no such generation, or its list was not made yet")
        query = Query(self._world.clock.now(), caller, REVOCATION_FILE, kind, None, "")
        await asyncio.to_thread(self._services.callers.log, [query])
        return FileResponse(path, media_type=_CONTENT_TYPES[".crl"])

    async def consent(self, caller: str, request: Request) -> Response:
        """A holder's consent."""
        number = await asyncio.to_thread(self._services.consent, caller, await _signed(request))
        return JSONResponse({"consent": number}, 201)

    async def withdraw(self, caller: str, request: Request) -> Response:
        """A holder's withdrawal."""
        number = _consent(request)
        await asyncio.to_thread(self._services.withdraw, caller, number, await _signed(request))
        return Response(status_code=204)

    async def attributes(self, caller: str, request: Request) -> Response:
        """A holder's latest attributes."""
        number = _consent(request)
        return JSONResponse(await asyncio.to_thread(self._services.latest_attributes, caller, number))


def _kind(request: Request) -> CertificateType:
    word = request.path_params["kind"]
    if word not in CERTIFICATE_TYPES:
        raise ValueError(f"the kinds of certificate are {' and '.join(CERTIFICATE_TYPES)}, unlike {word!r}")
    return CERTIFICATE_TYPES[word]


def _certificate(request: Request) -> tuple[CertificateType, int]:
    digits = request.path_params["serial"]
    if len(digits) > 16 or not digits.isascii() or not digits.isalnum():
        raise ValueError("a serial number is written in up to 16 hexadecimal digits")
    return _kind(request), int(digits, 16)


def _consent(request: Request) -> int:
    number = int(request.path_params["number"])
    if number >= 1 << 63:
        raise NoConsent(f"there is no consent {number}")
    return number


async def _signed(request: Request) -> SignedStatement:
    """What came as JSON: `statement` as text, `signature` and `certificate` as base64."""
    body = json.loads(await request.body())
    if not isinstance(body, dict):
        raise ValueError("the request is a JSON object with statement, signature and certificate")
    try:
        return SignedStatement(
            str(body["statement"]).encode(),
            b64decode(body["signature"], validate=True),
            b64decode(body["certificate"], validate=True),
        )
    except (KeyError, TypeError) as error:
        raise ValueError("the request is a JSON object with statement, signature and certificate") from error


def published(tree: Path) -> Endpoint:
    """Serves the published files, and nothing beside them; raises NotPublished for anything else."""

    async def serve(request: Request) -> Response:
        try:
            path = (tree / request.url.path.lstrip("/")).resolve()
            there = path.suffix in _CONTENT_TYPES and path.is_relative_to(tree.resolve()) and path.is_file()
        except (OSError, ValueError):  # too long a name, or one with a NUL
            there = False
        if not there:
            raise NotPublished("nothing is published there (yet)")
        return FileResponse(path, media_type=_CONTENT_TYPES[path.suffix], headers={"cache-control": "no-cache"})

    return serve


def application(world: World) -> ASGIApp:
    """The whole as one ASGI application."""
    authorities = {kind: Authority(world, kind) for kind in CertificateType}
    services = VerifierServices(world, authorities, JLis(world).identity)
    ocsp = OcspEndpoint(world, authorities, services.callers)
    files = published(world.publication)
    others = Starlette(
        routes=[
            Mount("/services", routes=ServicesEndpoint(world, services).routes()),
            Route("/crl/{path:path}", files),
            Route("/ca/{path:path}", files),
        ]
    )
    GUARD.protect(others)

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith("/ocsp/"):
            await ocsp(scope, receive, send)
        else:
            await others(scope, receive, send)

    return serve
