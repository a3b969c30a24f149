"""The authorities' HTTP server: published files, OCSP, and the services to verifiers.

    GET  /ca/{kind}/{generation}.cer                  an authority's own certificate
    GET  /crl/{kind}/{generation}/...                 revocation lists; see `kazashi.pki.publication`
    POST /ocsp/{kind}                                 OCSP (RFC 6960), GET /ocsp/{kind}/{base64} too (RFC 5019)
    GET  /services/...                                see docs/authorities.md

A caller sends its key as `Authorization: Bearer KEY`. A program that cannot send headers puts it into the path instead:
`/ocsp/{kind}/as/KEY`.
"""

from __future__ import annotations

import asyncio
import binascii
import hashlib
import json
from base64 import b64decode
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from kazashi.jpki.linkage import Follow
from kazashi.jpki.profile import CERTIFICATE_TYPES, CertificateType
from kazashi.jpki.serial_number import AmbiguousSerialNumber, serial_text
from kazashi.pki.authority import Authority
from kazashi.pki.callers import OCSP, REVOCATION_FILE, CallerNotRegistered, Callers, Query
from kazashi.pki.certificate_database import FULL_LIST, NoSuchCertificate
from kazashi.pki.ocsp import MAX_REQUEST, OcspErrorStatus
from kazashi.pki.publication import list_path
from kazashi.pki.responder import OcspResponse, Responder
from kazashi.pki.services import ConsentRejected, HolderUnsettled, NoConsent, SignedStatement, VerifierServices
from kazashi.resident_registry.juki_net import JLis
from kazashi.resident_registry.registry import NoSuchResident
from kazashi.web.conditional import dated, file_response, http_date, is_unchanged, machine_seconds
from kazashi.web.guard import BodyTooLarge, Guard, Problem, bounded
from kazashi.web.health import Health
from kazashi.world.clock import JST, epoch
from kazashi.world.group_commit import GroupCommit
from kazashi.world.home import World
from kazashi.world.storage import StoreFailed
from kazashi.world.token import TokenUnavailable

Endpoint = Callable[[Request], Awaitable[Response]]

_KNOWN_FOR = 5.0
"""Seconds for which a worker caches the name of a caller by its key."""

ANSWER_SECONDS = 5.0
"""The time for an OCSP response. After it the response is tryLater (RFC 6960, 2.3)."""

MAX_STATEMENT = 1 << 16
"""The maximum size in bytes of a request with a signed statement, its signature and its certificate."""

_CONTENT_TYPES = {".crl": "application/pkix-crl", ".cer": "application/pkix-cert"}


class OcspEndpoint:
    """OCSP by POST and GET, as a separate ASGI application because it serves thousands of requests per second."""

    def __init__(self, world: World, authorities: dict[CertificateType, Authority], callers: Callers) -> None:
        self._clock = world.clock
        self._responders = {kind.code: (kind, Responder(authority)) for kind, authority in authorities.items()}
        self._callers = callers
        self._commits = GroupCommit(callers.store)
        self._known: dict[str, tuple[float, str]] = {}
        # A database server may stand still, and the event loop must not wait for it: each responder has a thread then.
        # A file of SQLite is read at once, and handing each response to a thread costs a third of the rate.
        remote = bool(world.settings.storage)
        self._threads = {kind: ThreadPoolExecutor(1, f"ocsp-{kind.code}") for kind in authorities if remote}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond to one request."""
        code, _, rest = scope["path"].removeprefix("/ocsp/").partition("/")
        if code not in self._responders:
            await _plain(send, 404, b"no such authority\n")
            return
        kind, responder = self._responders[code]
        # Clients put a slash after a configured address that may end with one. No request's base64 begins with one.
        key, rest, caches = _bearer(scope), rest.lstrip("/"), "private"
        if rest.startswith("as/"):
            key, _, rest = rest.removeprefix("as/").partition("/")
            rest, caches = rest.lstrip("/"), "public"
        if scope["method"] == "POST":
            data = await _body(scope, receive)
        elif scope["method"] == "GET":
            data = _decoded(rest)
        else:
            await _plain(send, 405, b"use POST or GET\n", (b"allow", b"GET, POST"))
            return
        response = await self._reply(kind, responder, key, data)
        if scope["method"] == "GET":
            await self._respond_to_get(Headers(scope=scope), send, response, caches)
        else:
            await _respond(send, response)

    async def _reply(self, kind: CertificateType, responder: Responder, key: str, data: bytes | None) -> OcspResponse:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                caller = await self._caller(key)
                if data is None:
                    return responder.refusal(OcspErrorStatus.MALFORMED_REQUEST)
                response = responder.kept(data)
                if response is None and (thread := self._threads.get(kind)) is not None:
                    response = await asyncio.get_running_loop().run_in_executor(thread, responder.answer, data)
                elif response is None:
                    response = responder.answer(data)
                if response.asked:
                    now = self._clock.now()
                    queries = [Query(now, caller, OCSP, kind, _storable(entry.serial), entry.said)
                               for entry in response.asked]  # fmt: skip
                    await self._commits.run_async(lambda connection: self._callers.log_in(connection, queries))
                return response
        except CallerNotRegistered:
            return responder.refusal(OcspErrorStatus.UNAUTHORIZED)
        except (StoreFailed, TokenUnavailable, TimeoutError):
            return responder.refusal(OcspErrorStatus.TRY_LATER)

    async def _respond_to_get(self, request: Headers, send: Send, response: OcspResponse, caches: str) -> None:
        """Respond with the headers for caches (RFC 5019, 6.2), or with 304.

        HTTP's dates are the machine's and the world's clock may differ from it, so they say how long ago thisUpdate was
        and how far nextUpdate is. A stopped clock moves in steps that no cache can foresee. A response may be shared
        only if its address has the caller's key (`caches` is public).
        """
        # An unknown certificate may be issued at any moment, so that response is not kept, nor is an error.
        unknown = any(entry.said == "unknown" for entry in response.asked)
        if response.this_update is None or response.next_update is None or unknown:
            await _respond(send, response, (("cache-control", "no-store"),))
            return
        machine, now = machine_seconds(), self._clock.now()
        left = max(0, epoch(response.next_update) - epoch(now))
        modified = machine - (epoch(now) - epoch(response.this_update))
        etag = f'"{hashlib.sha256(response.response).hexdigest()}"'
        stopped = "no-cache, " if self._clock.stands else ""
        headers = (
            ("etag", etag), ("last-modified", http_date(modified)), ("expires", http_date(machine + left)),
            ("cache-control", f"{caches}, max-age={left}, {stopped}no-transform, must-revalidate"),
        )  # fmt: skip
        await _respond(send, response, headers, unchanged=is_unchanged(request, etag, modified))

    async def _caller(self, key: str) -> str:
        now = asyncio.get_running_loop().time()
        until, name = self._known.get(key, (0.0, ""))
        if until < now:
            if len(self._known) > 1000:
                self._known.clear()
            name = await asyncio.to_thread(self._callers.name_of, key)
            self._known[key] = (now + _KNOWN_FOR, name)
        return name


def _storable(serial: int) -> int | None:
    """Return the serial number, or None if it does not fit the column; our authorities never issue such a number."""
    return serial if 0 <= serial < 1 << 64 else None


def _bearer(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            return str(value[7:].decode("latin-1").strip())
    return ""


async def _body(scope: Scope, receive: Receive) -> bytes | None:
    """Read the OCSP request in the body. Returns None if it is too large; OCSP's response to that is malformedRequest
    (RFC 6960, 2.3)."""
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
    """Decode the request in a path: base64, which some clients percent-encode twice. Returns None if it is invalid."""
    if not path or len(path) > 2 * MAX_REQUEST:
        return None
    try:
        return b64decode(unquote(path), validate=True)
    except (binascii.Error, ValueError):
        return None


async def _respond(
    send: Send, response: OcspResponse, cache_headers: Sequence[tuple[str, str]] = (), *, unchanged: bool = False
) -> None:
    body = b"" if unchanged else response.response
    headers = [(name.encode("ascii"), value.encode("ascii")) for name, value in cache_headers]
    if not unchanged:
        headers += [(b"content-type", b"application/ocsp-response"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 304 if unchanged else 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _plain(send: Send, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    listed = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body)), *headers]
    await send({"type": "http.response.start", "status": status, "headers": listed})
    await send({"type": "http.response.body", "body": body})


class ServicesClosed(Exception):
    """The services to verifiers are closed at this hour."""


class NotPublished(Exception):
    """No file is published at that path."""


GUARD = Guard(
    MAX_STATEMENT,
    {
        ServicesClosed: Problem(503, "closed"),
        HolderUnsettled: Problem(503, "holder-unsettled"),
        CallerNotRegistered: Problem(401, "not-registered"),
        NoSuchCertificate: Problem(404, "no-such-certificate"),
        AmbiguousSerialNumber: Problem(400, "ambiguous-serial-number"),
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
        """The routes below /services."""
        one = "/{kind:str}/{serial:str}"
        return [
            Route(f"/status{one}", self._for_callers(self.status)),
            Route(f"/linkage{one}", self._for_callers(self.linkage)),
            Route("/revocation-file/{kind:str}/{generation:str}", self._for_callers(self.revocation_file)),
            Route("/consents", self._for_callers(self.consent), methods=["POST"]),
            Route("/consents/{number:int}/withdrawal", self._for_callers(self.withdraw), methods=["POST"]),
            Route("/consents/{number:int}/latest-attributes", self._for_callers(self.attributes)),
        ]

    def _for_callers(self, action: Callable[[str, Request], Awaitable[Response]]) -> Endpoint:
        """Restrict an action to registered callers and opening hours. The caller is checked before the body is read."""

        async def called(request: Request) -> Response:
            opens, closes = self._world.settings.opens, self._world.settings.closes
            if not opens <= self._world.clock.now().astimezone(JST).hour < closes:
                raise ServicesClosed(f"the services are closed; they are open from {opens}:00 to {closes}:00 in Japan")
            caller = await asyncio.to_thread(self._services.callers.name_of, _bearer(request.scope))
            return await action(caller, request)

        return called

    async def status(self, caller: str, request: Request) -> Response:
        """Respond with a certificate's current status."""
        kind, serial, note = await self._certificate(request)
        status = await asyncio.to_thread(self._services.status, caller, kind, serial)
        return JSONResponse(
            {
                "serial": serial_text(serial),
                "state": status.state.value,
                "reason": status.reason.asn1_name if status.reason is not None else None,
                "since": status.since.isoformat() if status.since else None,
                "not_after": status.not_after.isoformat(),
                "at": self._world.clock.now().isoformat(),
                **note,
            }
        )

    async def linkage(self, caller: str, request: Request) -> Response:
        """Respond with the certificates that belong together with one."""
        wanted = request.query_params
        follow, code = wanted.get("follow", Follow.PERSON.value), wanted.get("type")
        if follow not in [each.value for each in Follow]:
            raise ValueError(f"{follow!r} is not a policy; use {', '.join(each.value for each in Follow)}")
        types = tuple(CertificateType) if code is None else (_type(code),)
        kind, serial, note = await self._certificate(request)
        linked = await asyncio.to_thread(self._services.linkage, caller, kind, serial, Follow(follow), types)
        certificates = [
            {"kind": each.kind.code, "serial": serial_text(each.serial), "medium": each.medium.value} for each in linked
        ]
        return JSONResponse({"follow": follow, "certificates": certificates, **note})

    async def _certificate(self, request: Request) -> tuple[CertificateType, int, dict[str, str]]:
        """The type and serial number that a request's path gives. If the number was read as decimal, there is a `note`
        for the response that says so."""
        kind = _kind(request)
        serial, note = await asyncio.to_thread(self._services.serial, kind, request.path_params["serial"])
        return kind, serial, {"note": note} if note else {}

    async def revocation_file(self, caller: str, request: Request) -> Response:
        """Respond with a generation's full revocation list (DER)."""
        kind = _kind(request)
        path = self._world.publication / list_path(kind, request.path_params["generation"], FULL_LIST)
        if not path.is_file():
            raise NotPublished("there is no such generation, or its list has not been made yet")
        query = Query(self._world.clock.now(), caller, REVOCATION_FILE, kind, None, "")
        await asyncio.to_thread(self._services.callers.log, [query])
        return file_response(request, path, _CONTENT_TYPES[".crl"], {"cache-control": "private, no-cache"})

    async def consent(self, caller: str, request: Request) -> Response:
        """Record a holder's consent and respond with its number."""
        number = await asyncio.to_thread(self._services.consent, caller, await _signed(request))
        return JSONResponse({"consent": number}, 201)

    async def withdraw(self, caller: str, request: Request) -> Response:
        """Record a holder's withdrawal of a consent."""
        number = _consent(request)
        await asyncio.to_thread(self._services.withdraw, caller, number, await _signed(request))
        return Response(status_code=204)

    async def attributes(self, caller: str, request: Request) -> Response:
        """Respond with a holder's latest attributes."""
        number = _consent(request)
        return JSONResponse(await asyncio.to_thread(self._services.latest_attributes, caller, number))


def _kind(request: Request) -> CertificateType:
    return _type(request.path_params["kind"])


def _type(code: str) -> CertificateType:
    if code not in CERTIFICATE_TYPES:
        raise ValueError(f"{code!r} is not a certificate type; use {' or '.join(CERTIFICATE_TYPES)}")
    return CERTIFICATE_TYPES[code]


def _consent(request: Request) -> int:
    number = int(request.path_params["number"])
    if number >= 1 << 63:
        raise NoConsent(f"there is no consent {number}")
    return number


async def _signed(request: Request) -> SignedStatement:
    """Read a signed statement from JSON: `statement` is text, `signature` and `certificate` are base64."""
    body = json.loads(await request.body())
    if not isinstance(body, dict):
        raise ValueError("the request must be a JSON object with statement, signature and certificate")
    try:
        return SignedStatement(
            str(body["statement"]).encode(),
            b64decode(body["signature"], validate=True),
            b64decode(body["certificate"], validate=True),
        )
    except (KeyError, TypeError) as error:
        raise ValueError("the request must be a JSON object with statement, signature and certificate") from error


def published(tree: Path) -> Endpoint:
    """Return an endpoint that serves the published files only. It raises NotPublished for any other path."""

    async def serve(request: Request) -> Response:
        try:
            path = (tree / request.scope["path"].lstrip("/")).resolve()
            exists = path.suffix in _CONTENT_TYPES and path.is_relative_to(tree.resolve()) and path.is_file()
        except (OSError, ValueError):  # the name is too long or contains a NUL
            exists = False
        if not exists:
            raise NotPublished("nothing is published at this path, or not yet")
        return file_response(request, path, _CONTENT_TYPES[path.suffix], {"cache-control": "no-cache"})

    return serve


def application(world: World) -> ASGIApp:
    """Return the ASGI application that serves a world's authorities."""
    authorities = {kind: Authority(world, kind) for kind in CertificateType}
    services = VerifierServices(world, authorities, JLis(world))
    ocsp = OcspEndpoint(world, authorities, services.callers)
    files = published(world.publication)
    health = Health.of_stores(services.callers.store, *(authority.ledger.store for authority in authorities.values()))
    others = Starlette(
        routes=[
            Mount("/services", routes=ServicesEndpoint(world, services).routes()),
            health.route(),
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

    return dated(serve)
