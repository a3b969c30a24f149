"""The network over HTTPS: the core and the interface systems exchange messages, with certificates on both ends.

    POST /v1/messages       {"messages": [{"sender", "receiver", "sequence", "kind", "body"}, ...]}
    core only:
    POST /v1/portal-code    {"record_code"}     the J-LIS office requests a person's code at the portal
    POST /v1/records        {"code"}            the portal requests a person's records
    interface systems only, for a body's own systems:
    POST /v1/ask            {"address_number", "purpose", "provider", "consent"}  ->  {"process"}
    POST /v1/ask            {"questions": [...]}  ->  {"processes": [...]}        many at once (一括照会)
    GET  /v1/processes/N    the state of a process; ?wait=SECONDS, here and for /v1/ask, waits until it has ended

A business system's certificate is valid for its own body's interface system, and not for the core.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import sys
from collections.abc import Callable, Mapping, Sequence, Set
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
from kazashi.provision_network.interface_system import InterfaceSystem, RequestStage
from kazashi.provision_network.rules import Purpose
from kazashi.provision_network.terms import CORE, PORTAL_KIND, NetworkRejected, ProvisionRecord, text_of
from kazashi.web.guard import Guard, Problem
from kazashi.web.health import Health
from kazashi.web.mutual_tls import Credentials, JsonConnection, Peer, peer_of
from kazashi.world.clock import Clock
from kazashi.world.group_commit import GroupCommit
from kazashi.world.outbox import Message, MessageGap, NodeDown, Outbox, Receive
from kazashi.world.storage import Store, StoreFailed
from kazashi.world.token import TokenUnavailable
from kazashi.world.worker import Worker

LARGEST = 16 << 20
"""The maximum size of a request, in bytes."""

INTERFACE, SYSTEM, JUKI_NET = "interface", "system", "juki-net"
"""The units in certificates: an interface system, a body's business system, or the J-LIS office."""

_PAUSE_SECONDS = 1.0
_PATIENCE = 5.0
"""The timeout of a request to a receiver, in seconds."""

_REST = 5.0
"""The time in seconds for which no messages are sent to a receiver after a timeout, so that it does not delay the
messages to others."""

_GATHER_SECONDS = 0.003
"""The time for which messages are gathered before they are sent together."""
_LONGEST_WAIT = 60.0
_LOOK_SECONDS = 0.5
_BATCH = 200

MOST_QUESTIONS = 1_000
"""The maximum number of requests in one list."""


@dataclass(frozen=True, slots=True)
class _Question:
    """A request of a body's business system."""

    address_number: str
    purpose: Purpose
    provider: str
    consent: bool

    @classmethod
    def of(cls, body: Any) -> _Question:
        """Parse a JSON object. Raises KeyError, TypeError, ValueError and AttributeError."""
        purpose = Purpose(**{name: text_of(value) for name, value in body["purpose"].items()})
        return cls(text_of(body["address_number"]), purpose, text_of(body["provider"]), bool(body.get("consent")))


def _carrier(
    outbox: Outbox, store: Store, clock: Clock, addresses: Callable[[], Mapping[str, str]], credentials: Credentials,
    work: Callable[[], int] = lambda: 0,
) -> Worker:  # fmt: skip
    """Return a worker that delivers the messages in an outbox. It calls `work` before each round."""
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
    """Functions that deliver messages to an interface system or the core, by name.

    Each is created when it is first needed, and keeps its connection. A receiver without an address is down.
    """

    def __init__(self, addresses: Callable[[], Mapping[str, str]], credentials: Credentials) -> None:
        super().__init__()
        self._addresses = addresses
        self._credentials = credentials
        self._connections: dict[str, JsonConnection] = {}
        self._resting: dict[str, float] = {}

    def __missing__(self, name: str) -> Receive:
        """Return a function that delivers messages to `name`."""

        def deliver(messages: Sequence[Message]) -> None:
            if monotonic() < self._resting.get(name, 0.0):
                raise NodeDown(f"{name} did not respond within {_PATIENCE:g} seconds; it is tried again soon")
            body = {"messages": [
                {"sender": one.sender, "receiver": one.receiver, "sequence": one.sequence, "kind": one.kind,
                 "body": one.body} for one in messages
            ]}  # fmt: skip
            try:
                status, response = self._connection(name).post("/v1/messages", body)
            except (OSError, http.client.HTTPException) as error:
                if isinstance(error, TimeoutError):
                    self._resting[name] = monotonic() + _REST
                raise NodeDown(f"{name} does not respond: {error}") from error
            if status != 200:
                raise NodeDown(f"{name} did not accept the messages: {status} {response[:200]!r}")

        return deliver

    def close(self) -> None:
        """Close all connections."""
        for connection in self._connections.values():
            connection.close()

    def _connection(self, name: str) -> JsonConnection:
        address = self._addresses().get(name, "")
        if address not in self._connections:
            try:
                self._connections[address] = JsonConnection(self._credentials, address, _PATIENCE)
            except (ValueError, OSError) as error:
                raise NodeDown(f"{name} has no usable address ({address!r}): {error}") from error
        return self._connections[address]


class ClientNotAllowed(NetworkRejected):
    """The client's certificate does not allow this request."""

    def __init__(self, words: str) -> None:
        super().__init__("not-entitled", words)


def _shape(error: Exception, code: str, message: str) -> Any:
    return {"error": message, "denial": error.denial if isinstance(error, NetworkRejected) else code}


GUARD = Guard(
    LARGEST,
    {
        ClientNotAllowed: Problem(403),
        NetworkRejected: Problem(422),
        ForeignCode: Problem(422, "foreign-code"),
        MessageGap: Problem(409, "message-gap"),
        **dict.fromkeys(
            (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError),
            Problem(400, "bad-message", "the request is malformed: {}"),
        ),
        **dict.fromkeys((StoreFailed, TokenUnavailable), Problem(503, "unavailable")),
    },
    _shape,
)


class CoreService:
    """The core's routes."""

    def __init__(self, core: Core, runner: Worker) -> None:
        self._core = core
        self._runner = runner
        self._commits = GroupCommit(core.store)

    def application(self) -> Starlette:
        """Return the core as an ASGI application. Serve it with the settings of `kazashi.web.mutual_tls.serving`."""
        return _guarded(
            Route("/v1/messages", self.messages, methods=["POST"]),
            Route("/v1/portal-code", self.portal_code, methods=["POST"]),
            Route("/v1/records", self.records, methods=["POST"]),
            Health.of_stores(self._core.store).route(),
        )

    async def messages(self, request: Request) -> Response:
        """Accept messages from an interface system."""
        sender = _peer(request, {INTERFACE}, "only an interface system may send messages to the core").name
        messages = _messages(await _json(request), {sender}, CORE)
        await run_in_threadpool(self._commits.run, lambda connection: self._core.receive_in(connection, messages))
        self._runner.call()
        return JSONResponse({})

    async def portal_code(self, request: Request) -> Response:
        """Return a person's code at the portal."""
        _peer(request, {JUKI_NET}, "only Juki-Net may send resident record codes")
        record_code = str((await _json(request))["record_code"])
        code = await run_in_threadpool(self._core.portal_code, record_code)
        return JSONResponse({"code": str(code)})

    async def records(self, request: Request) -> Response:
        """Return a person's provision records."""
        words = "only the portal may read records"
        peer = _peer(request, {INTERFACE}, words)
        institutions = await run_in_threadpool(self._core.institutions)
        if peer.name not in {one.interface for one in institutions if one.kind == PORTAL_KIND}:
            raise ClientNotAllowed(words)
        code = PortalCode.parse((await _json(request))["code"])
        records = await run_in_threadpool(self._core.records, code)
        return JSONResponse({"records": [_record_as_json(record) for record in records]})


class _ProcessEnds:
    """The HTTP requests that wait until processes have ended."""

    def __init__(self, interface: InterfaceSystem) -> None:
        self._interface = interface
        self._ends: dict[int, asyncio.Event] = {}

    def announce(self, numbers: Set[int]) -> None:
        """Wake the requests that wait for these processes."""
        for number in numbers & self._ends.keys():
            self._ends[number].set()

    async def wait(self, numbers: Sequence[int], seconds: float) -> None:
        """Wait until all of these processes have ended, for at most `seconds`."""
        waiting = {number: self._ends.setdefault(number, asyncio.Event()) for number in numbers}
        try:
            while waiting and seconds > 0:
                seconds -= _LOOK_SECONDS
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_SECONDS):
                        for end in waiting.values():
                            await end.wait()
                waiting = {number: end for number, end in waiting.items() if not end.is_set()}
                # A process may have ended before this request began to wait for it.
                for number in await run_in_threadpool(self._ended, list(waiting)):
                    del waiting[number]
        finally:
            for number in numbers:
                self._ends.pop(number, None)

    def _ended(self, numbers: Sequence[int]) -> list[int]:
        return [number for number in numbers if self._interface.asked(number).ended]


class InterfaceService:
    """An interface system's routes."""

    def __init__(self, interface: InterfaceSystem, runner: Worker) -> None:
        self._interface = interface
        self._runner = runner
        self._commits = GroupCommit(interface.store)
        self._ends = _ProcessEnds(interface)

    def application(self) -> Starlette:
        """Return the interface system as an ASGI application. Serve it with the settings of
        `kazashi.web.mutual_tls.serving`."""
        return _guarded(
            Route("/v1/messages", self.messages, methods=["POST"]),
            Route("/v1/ask", self.ask, methods=["POST"]),
            Route("/v1/processes/{number:int}", self.process),
            Health.of_stores(self._interface.store).route(),
        )

    async def messages(self, request: Request) -> Response:
        """Accept messages from the core or another interface system."""
        peer = _peer(request, {INTERFACE, CORE}, "only the core and interface systems may send messages")
        senders = {CORE} if peer.unit == CORE else {peer.name} - {CORE}
        messages = _messages(await _json(request), senders, self._interface.name)
        ended = await run_in_threadpool(
            self._commits.run, lambda connection: self._interface.receive_in(connection, messages)
        )
        self._runner.call()
        self._ends.announce(ended)
        return JSONResponse({})

    async def ask(self, request: Request) -> Response:
        """Start a process for each question, and wait until they have ended if the request says so."""
        body_name, seconds = _system(request), _seconds(request)
        content = await _json(request)
        several = "questions" in content
        questions = [_Question.of(question) for question in (content["questions"] if several else [content])]
        if not 1 <= len(questions) <= MOST_QUESTIONS:
            raise ValueError(f"a list must have 1 to {MOST_QUESTIONS} questions, not {len(questions)}")
        numbers = await run_in_threadpool(self._begin, body_name, questions)
        self._runner.call()
        if seconds is None:
            return JSONResponse({"processes": numbers} if several else {"process": numbers[0]}, 202)
        await self._ends.wait(numbers, seconds)
        states = await run_in_threadpool(lambda: [self._state(number, body_name) for number in numbers])
        return JSONResponse({"answers": states} if several else states[0])

    async def process(self, request: Request) -> Response:
        """Return the state of a process; if the request says so, wait until it has ended."""
        body_name, seconds = _system(request), _seconds(request)
        number = int(request.path_params["number"])
        state = await run_in_threadpool(self._state, number, body_name)
        if state["stage"] in (RequestStage.SENT.value, RequestStage.ACCEPTED.value) and seconds is not None:
            await self._ends.wait([number], seconds)
            state = await run_in_threadpool(self._state, number, body_name)
        return JSONResponse(state)

    def _begin(self, body_name: str, questions: Sequence[_Question]) -> list[int]:
        """Start a process for each question and return their numbers."""
        server = self._interface.server(body_name)
        codes = [server.code_of(question.address_number) for question in questions]
        return self._commits.run(lambda connection: [
            self._interface.ask_in(connection, body_name, code, one.purpose, [one.provider], consent=one.consent)
            for code, one in zip(codes, questions, strict=True)
        ])  # fmt: skip

    def _state(self, number: int, body_name: str) -> dict[str, Any]:
        """Return the state of a body's process. Raises NetworkRejected if it is another body's."""
        outgoing = self._interface.asked(number)
        if outgoing.body != body_name:
            raise NetworkRejected("unknown-process", f"{body_name} has no process {number}")
        answered = outgoing.stage is RequestStage.ANSWERED
        received = self._interface.server(body_name).received(number) if answered else None
        return {
            "process": number, "stage": outgoing.stage.value, "number": outgoing.number, "rule": outgoing.rule,
            "denial": outgoing.denial, "words": outgoing.words, "item": outgoing.item, "provider": outgoing.provider,
            "content": None if received is None else received.content,
            "registered_at": None if received is None or received.registered_at is None
            else received.registered_at.isoformat(),
        }  # fmt: skip


def core_application(core: Core, runner: Worker) -> Starlette:
    """Return the core as an ASGI application."""
    return CoreService(core, runner).application()


def interface_application(interface: InterfaceSystem, runner: Worker) -> Starlette:
    """Return an interface system as an ASGI application."""
    return InterfaceService(interface, runner).application()


def core_runner(core: Core, clock: Clock) -> Worker:
    """Return the worker that delivers the core's messages to interface systems."""

    def addresses() -> dict[str, str]:
        return {entry.name: entry.address for entry in core.interfaces()}

    return _carrier(core.outbox, core.store, clock, addresses, core.credentials(CORE, CORE))


def interface_runner(interface: InterfaceSystem, clock: Clock) -> Worker:
    """Return the worker that answers notifications and delivers an interface system's messages to the core and to
    others."""
    credentials, _ = interface.credentials()
    return _carrier(interface.outbox, interface.store, clock, interface.addresses, credentials, interface.work)


def _guarded(*routes: Route) -> Starlette:
    application = Starlette(routes=routes)
    GUARD.protect(application)
    return application


def _peer(request: Request, units: Set[str], words: str) -> Peer:
    """Return the client. Raises ClientNotAllowed, with `words` as its message, unless the client's certificate has one
    of the units."""
    peer = peer_of(request.scope)
    if peer.unit not in units:
        raise ClientNotAllowed(words)
    return peer


def _system(request: Request) -> str:
    """Return the body whose business system sent the request. Raises ClientNotAllowed."""
    return _peer(request, {SYSTEM}, "only a body's own business system may send requests here").name


def _seconds(request: Request) -> float | None:
    """Return how many seconds the request waits for its processes to end, or None if it does not wait. Raises
    ValueError."""
    wait = request.query_params.get("wait")
    return None if wait is None else min(float(wait), _LONGEST_WAIT)


async def _json(request: Request) -> Any:
    """Parse a request's body as JSON; an empty body is an empty object. Raises ValueError and RecursionError."""
    return json.loads(await request.body() or "{}")


def _messages(body: Any, senders: set[str], receiver: str) -> list[Message]:
    """Parse messages, and check their senders and their receiver. Raises ValueError and KeyError."""
    messages = [Message(**fields) for fields in body["messages"]]
    for message in messages:
        if message.sender not in senders or message.receiver != receiver or not isinstance(message.body, dict):
            raise ValueError(f"a message from {message.sender} to {message.receiver} is not accepted here")
        if not isinstance(message.sequence, int):
            raise ValueError(f"the sequence of a message must be a whole number, not {message.sequence!r}")
    return messages


def _record_as_json(record: ProvisionRecord) -> dict[str, Any]:
    return {
        **asdict(record), "outcome": record.outcome.value, "requested_at": record.requested_at.isoformat(),
        "provided_at": record.provided_at.isoformat() if record.provided_at else None,
    }  # fmt: skip
