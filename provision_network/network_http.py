"""The network over HTTPS: core and interface systems bring each other messages, and show certificates on both ends.

    POST /v1/messages       {"messages": [{"sender", "receiver", "sequence", "kind", "body"}, ...]}
    core only:
    POST /v1/portal-code    {"record_code"}     J-LIS's desk asks for a person's code at the portal
    POST /v1/records        {"code"}            the portal asks for a person's records
    interface systems only, for a body's own systems:
    POST /v1/ask            {"address_number", "purpose", "provider", "consent"}  ->  {"process"}
    POST /v1/ask            {"questions": [...]}  ->  {"processes": [...]}        many at once (一括照会)
    GET  /v1/processes/N    how far it has come; with ?wait=SECONDS, here and above, its end is waited for

A business system's certificate opens its own body's interface, and not the core.
"""

from __future__ import annotations

import asyncio
import http.client
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from time import monotonic
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from kazashi.provision_network.codes import ForeignCode, PortalCode
from kazashi.provision_network.core import Core
from kazashi.provision_network.interface import Interface, Stage
from kazashi.provision_network.rules import Purpose
from kazashi.provision_network.terms import CORE, PORTAL_KIND, NetworkRefused, ProvisionRecord, text_of
from kazashi.web.mutual_tls import Credentials, Line, Peer, peer_of
from kazashi.world.clock import Clock
from kazashi.world.group_commit import GroupCommit
from kazashi.world.post import Message, MessageGap, NodeDown, Outbox, Receive
from kazashi.world.storage import Store, StoreFailed
from kazashi.world.token import TokenUnavailable
from kazashi.world.worker import Worker

LARGEST = 16 << 20
"""Bytes of a request."""

INTERFACE, SYSTEM, JUKI_NET = "interface", "system", "juki-net"
"""The units of certificates: what somebody is on the network."""

_PAUSE_SECONDS = 1.0
_PATIENCE = 5.0
"""Seconds for which a receiver may take its time."""

_REST = 5.0
"""Seconds for which one that did not answer is left alone, so that it holds up nobody else's messages."""

_GATHER_SECONDS = 0.003
"""For how long messages are gathered before they leave together."""
_LONGEST_WAIT = 60.0
_LOOK_SECONDS = 0.5
_BATCH = 200

MOST_QUESTIONS = 1_000
"""In one list."""


@dataclass(frozen=True, slots=True)
class _Question:
    """What a body's system asks, as it has come."""

    address_number: str
    purpose: Purpose
    provider: str
    consent: bool

    @classmethod
    def of(cls, body: Any) -> _Question:
        """Raises KeyError, TypeError, ValueError and AttributeError."""
        purpose = Purpose(**{name: text_of(value) for name, value in body["purpose"].items()})
        return cls(text_of(body["address_number"]), purpose, text_of(body["provider"]), bool(body.get("consent")))


_Handler = Callable[[Request, Peer, Any], Awaitable[Response]]


def _carrier(
    outbox: Outbox, store: Store, clock: Clock, addresses: Callable[[], Mapping[str, str]], credentials: Credentials,
    work: Callable[[], int] = lambda: 0,
) -> Worker:  # fmt: skip
    """Brings what waits in an outbox to where it belongs. `work` is done before each round."""
    receivers = Receivers(addresses, credentials)

    def carry() -> int:
        return work() + outbox.deliver(store, clock.now(), receivers, _BATCH)

    def report(trouble: str) -> None:
        if trouble:
            print(f"kazashi: {trouble}", file=sys.stderr, flush=True)

    return Worker(
        "runner", carry, pause=_PAUSE_SECONDS, gather=_GATHER_SECONDS, after=report, close=receivers.close
    )  # fmt: skip


class Receivers(dict[str, Receive]):
    """How each interface system, and the core, is reached: found when it is first needed, over one connection that is
    kept. One that nobody knows is down."""

    def __init__(self, addresses: Callable[[], Mapping[str, str]], credentials: Credentials) -> None:
        super().__init__()
        self._addresses = addresses
        self._credentials = credentials
        self._lines: dict[str, Line] = {}
        self._resting: dict[str, float] = {}

    def __missing__(self, name: str) -> Receive:
        """A function that brings messages there."""

        def bring(messages: Sequence[Message]) -> None:
            if monotonic() < self._resting.get(name, 0.0):
                raise NodeDown(f"{name} did not answer a moment ago")
            body = {"messages": [
                {"sender": one.sender, "receiver": one.receiver, "sequence": one.sequence, "kind": one.kind,
                 "body": one.body} for one in messages
            ]}  # fmt: skip
            try:
                status, answer = self._line(name).post("/v1/messages", body)
            except (OSError, http.client.HTTPException) as error:
                if isinstance(error, TimeoutError):
                    self._resting[name] = monotonic() + _REST
                raise NodeDown(f"{name} does not answer: {error}") from error
            if status != 200:
                raise NodeDown(f"{name} does not take messages now: {status} {answer[:200]!r}")

        return bring

    def close(self) -> None:
        """End all connections."""
        for found in self._lines.values():
            found.close()

    def _line(self, name: str) -> Line:
        address = self._addresses().get(name, "")
        if address not in self._lines:
            try:
                self._lines[address] = Line(self._credentials, address, _PATIENCE)
            except (ValueError, OSError) as error:
                raise NodeDown(f"nobody knows where {name} answers: {error}") from error
        return self._lines[address]


def core_application(core: Core, runner: Worker) -> Starlette:
    """The core as an ASGI application; served as `kazashi.web.mutual_tls.serving` says."""

    commits = GroupCommit(core.store)

    async def messages(_: Request, peer: Peer, body: Any) -> Response:
        if peer.unit != INTERFACE:
            return _refusal(NetworkRefused("not-entitled", "the core hears interface systems alone"), 403)
        taken = _messages(body, {peer.name}, CORE)
        await run_in_threadpool(commits.run, lambda connection: core.receive_in(connection, taken))
        runner.call()
        return JSONResponse({})

    async def portal_code(_: Request, peer: Peer, body: Any) -> Response:
        if peer.unit != JUKI_NET:
            return _refusal(NetworkRefused("not-entitled", "resident record codes come from Juki-Net alone"), 403)
        found = await run_in_threadpool(core.portal_code, str(body["record_code"]))
        return JSONResponse({"code": str(found)})

    async def records(_: Request, peer: Peer, body: Any) -> Response:
        portals = [one.interface for one in await run_in_threadpool(core.institutions) if one.kind == PORTAL_KIND]
        if peer.unit != INTERFACE or peer.name not in portals:
            return _refusal(NetworkRefused("not-entitled", "records are for the portal alone"), 403)
        found = await run_in_threadpool(core.records, PortalCode.parse(body["code"]))
        return JSONResponse({"records": [_told(record) for record in found]})

    handlers = {"/v1/messages": messages, "/v1/portal-code": portal_code, "/v1/records": records}
    return Starlette(routes=[Route(path, _guarded(handler), methods=["POST"]) for path, handler in handlers.items()])


def interface_application(interface: Interface, runner: Worker) -> Starlette:
    """An interface system as an ASGI application, served the same way."""
    ends: dict[int, asyncio.Event] = {}
    commits = GroupCommit(interface.store)

    async def messages(_: Request, peer: Peer, body: Any) -> Response:
        if peer.unit not in (INTERFACE, CORE):
            return _refusal(NetworkRefused("not-entitled", "messages come from the core and its interfaces"), 403)
        taken = _messages(body, {CORE} if peer.unit == CORE else {peer.name} - {CORE}, interface.name)
        over = await run_in_threadpool(commits.run, lambda connection: interface.receive_in(connection, taken))
        runner.call()
        for number in over & ends.keys():
            ends[number].set()
        return JSONResponse({})

    async def ask(request: Request, peer: Peer, body: Any) -> Response:
        if peer.unit != SYSTEM:
            return _refusal(NetworkRefused("not-entitled", "a body's own systems ask here"), 403)
        several = "questions" in body
        seconds_asked(request)
        questions = [_Question.of(found) for found in (body["questions"] if several else [body])]
        if not 1 <= len(questions) <= MOST_QUESTIONS:
            raise ValueError(f"a list has 1 to {MOST_QUESTIONS} questions")

        def begin() -> list[int]:
            server = interface.server(peer.name)
            codes = [server.code_of(question.address_number) for question in questions]
            return commits.run(lambda connection: [
                interface.ask_in(connection, peer.name, code, one.purpose, [one.provider], consent=one.consent)
                for code, one in zip(codes, questions, strict=True)
            ])  # fmt: skip

        numbers = await run_in_threadpool(begin)
        runner.call()
        if "wait" not in request.query_params:
            return JSONResponse({"processes": numbers} if several else {"process": numbers[0]}, 202)
        await ended(request, numbers)
        found = await run_in_threadpool(lambda: [state(number, peer.name) for number in numbers])
        return JSONResponse({"answers": found} if several else found[0])

    async def process(request: Request, peer: Peer, _: Any) -> Response:
        if peer.unit != SYSTEM:
            return _refusal(NetworkRefused("not-entitled", "a body's own systems ask here"), 403)
        number = int(request.path_params["number"])
        found = await run_in_threadpool(state, number, peer.name)
        if found["stage"] in (Stage.SENT.value, Stage.ACCEPTED.value) and "wait" in request.query_params:
            await ended(request, [number])
            found = await run_in_threadpool(state, number, peer.name)
        return JSONResponse(found)

    async def ended(request: Request, numbers: Sequence[int]) -> None:
        """Wait for processes' ends, as long as was asked for. One may have come before this: it is looked for now and
        then."""
        left = seconds_asked(request)
        waiting = {number: ends.setdefault(number, asyncio.Event()) for number in numbers}
        try:
            while waiting and left > 0:
                left -= _LOOK_SECONDS
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_SECONDS):
                        for end in waiting.values():
                            await end.wait()
                still = [number for number, end in waiting.items() if not end.is_set()]
                over = await run_in_threadpool(over_of, still) if still else set()
                waiting = {number: waiting[number] for number in still if number not in over}
        finally:
            for number in numbers:
                ends.pop(number, None)

    def seconds_asked(request: Request) -> float:
        """How long is waited at most. Raises ValueError."""
        return min(float(request.query_params.get("wait", "0")), _LONGEST_WAIT)

    def over_of(numbers: Sequence[int]) -> set[int]:
        return {number for number in numbers if interface.asked(number).ended}

    def state(number: int, body: str) -> dict[str, Any]:
        asked = interface.asked(number)
        if asked.body != body:
            raise NetworkRefused("unknown-process", f"{body} has no process {number}")
        received = interface.server(body).received(number) if asked.stage is Stage.ANSWERED else None
        return {
            "process": number, "stage": asked.stage.value, "number": asked.number, "rule": asked.rule,
            "denial": asked.denial, "words": asked.words, "item": asked.item, "provider": asked.provider,
            "content": None if received is None else received.content,
            "registered_at": None if received is None or received.registered_at is None
            else received.registered_at.isoformat(),
        }  # fmt: skip

    return Starlette(routes=[
        Route("/v1/messages", _guarded(messages), methods=["POST"]),
        Route("/v1/ask", _guarded(ask), methods=["POST"]),
        Route("/v1/processes/{number:int}", _guarded(process)),
    ])  # fmt: skip


def core_runner(core: Core, clock: Clock) -> Worker:
    """What brings the core's messages to interface systems."""

    def addresses() -> dict[str, str]:
        return {entry.name: entry.address for entry in core.interfaces()}

    return _carrier(core.outbox, core.store, clock, addresses, core.credentials(CORE, CORE))


def interface_runner(interface: Interface, clock: Clock) -> Worker:
    """What brings an interface system's messages to the core and to others, and answers notifications."""
    credentials, _ = interface.credentials()
    return _carrier(interface.outbox, interface.store, clock, interface.addresses, credentials, interface.work)


def _guarded(handler: _Handler) -> Callable[[Request], Awaitable[Response]]:
    """A handler that is told who asks and what the body says; what goes wrong gets its status in one place."""

    async def guarded(request: Request) -> Response:
        try:
            content = await request.body()
            if len(content) > LARGEST:
                raise ValueError(f"a request has at most {LARGEST} bytes")
            body = await request.json() if content else {}
            return await handler(request, peer_of(request.scope), body)
        except (NetworkRefused, ForeignCode) as refused:
            return _refusal(refused, 422)
        except MessageGap as gap:
            return JSONResponse({"error": str(gap), "denial": "message-gap"}, 409)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            return JSONResponse({"error": f"that makes no sense: {error}", "denial": "bad-message"}, 400)
        except (StoreFailed, TokenUnavailable) as error:
            return JSONResponse({"error": str(error), "denial": "unavailable"}, 503)

    return guarded


def _messages(body: Any, senders: set[str], receiver: str) -> list[Message]:
    """Messages as they travel, once they make sense and are from whom they say. Raises ValueError and KeyError."""
    taken = [Message(**found) for found in body["messages"]]
    for message in taken:
        if message.sender not in senders or message.receiver != receiver or not isinstance(message.body, dict):
            raise ValueError(f"{message.sender} has no message for {message.receiver} here")
        if not isinstance(message.sequence, int):
            raise ValueError("a message's number is a number")
    return taken


def _refusal(error: Exception, status: int) -> JSONResponse:
    denial = error.denial if isinstance(error, NetworkRefused) else "foreign-code"
    return JSONResponse({"error": str(error), "denial": denial}, status)


def _told(record: ProvisionRecord) -> dict[str, Any]:
    return {
        **asdict(record), "outcome": record.outcome.value, "requested_at": record.requested_at.isoformat(),
        "provided_at": record.provided_at.isoformat() if record.provided_at else None,
    }  # fmt: skip
