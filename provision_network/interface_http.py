"""An interface system over HTTPS.

    POST /v1/messages       messages from the core and other interface systems

For a body's own systems:

    POST /v1/ask            {"address_number", "purpose", "provider", "consent"}  ->  {"process"}
    POST /v1/ask            {"questions": [...]}  ->  {"processes": [...]}        many at once (一括照会)
    GET  /v1/processes/N    the state of a process; ?wait=SECONDS waits until it has ended, and for /v1/ask until it has
                            ended or is on hold

and those of `body_http.py`, which are about what the body provides.

A business system's certificate is valid for its own body's interface system, and not for the core.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from kazashi.provision_network.asking import ItemRequest, OutgoingRequest, RequestStage
from kazashi.provision_network.body_http import BodyRoutes, check_admitted, system_of
from kazashi.provision_network.interface_openapi import MOST_QUESTIONS
from kazashi.provision_network.interface_system import InterfaceSystem
from kazashi.provision_network.law.tables import Purpose
from kazashi.provision_network.message_http import (
    INTERFACE,
    carrier,
    client,
    guarded,
    json_of,
    messages_of,
)
from kazashi.provision_network.terms import CORE, NetworkRejected, text_of
from kazashi.web.health import Health
from kazashi.web.mutual_tls import Peer
from kazashi.world.clock import Clock
from kazashi.world.group_commit import GroupCommit
from kazashi.world.worker import Worker

_LONGEST_WAIT = 60.0
_LOOK_SECONDS = 0.5


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


class _ProcessEnds:
    """The HTTP requests that wait until processes have ended."""

    def __init__(self, interface: InterfaceSystem) -> None:
        self._interface = interface
        self._ends: dict[int, asyncio.Event] = {}

    def announce(self, numbers: Set[int]) -> None:
        """Wake the requests that wait for these processes."""
        for number in numbers & self._ends.keys():
            self._ends[number].set()

    async def wait(self, numbers: Sequence[int], seconds: float, done: Callable[[OutgoingRequest], bool]) -> None:
        """Wait until all of these processes are done, for at most `seconds`."""
        waiting = {number: self._ends.setdefault(number, asyncio.Event()) for number in numbers}
        try:
            while waiting and seconds > 0:
                seconds -= _LOOK_SECONDS
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_SECONDS):
                        for end in waiting.values():
                            await end.wait()
                waiting = {number: end for number, end in waiting.items() if not end.is_set()}
                if waiting:  # a process may have been done before this request began to wait for it
                    for number in await run_in_threadpool(self._done, list(waiting), done):
                        del waiting[number]
        finally:
            for number in numbers:
                self._ends.pop(number, None)

    def _done(self, numbers: Sequence[int], done: Callable[[OutgoingRequest], bool]) -> list[int]:
        return [request.process for request in self._interface.asking.requests(numbers) if done(request)]


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
        return guarded(
            Route("/v1/messages", self.messages, methods=["POST"]),
            Route("/v1/ask", self.ask, methods=["POST"]),
            Route("/v1/processes/{number:int}", self.process),
            *BodyRoutes(self._interface, self._runner).routes(),
            Health.of_stores(self._interface.store).route(),
        )

    async def messages(self, request: Request) -> Response:
        """Accept messages from the core or another interface system."""
        peer = client(request, {INTERFACE, CORE}, "only the core and interface systems may send messages")
        senders = {CORE} if peer.unit == CORE else {peer.name} - {CORE}
        messages = messages_of(await json_of(request), senders, self._interface.name)
        result = await self._commits.run_async(lambda connection: self._interface.receive_in(connection, messages))
        if result.sent:
            self._runner.call()
        self._ends.announce(result.ended)
        return JSONResponse({})

    async def ask(self, request: Request) -> Response:
        """Start a process for each question, and wait until they have ended if the request says so."""
        system, seconds = system_of(request), _seconds(request)
        content = await json_of(request)
        several = "questions" in content
        questions = [_Question.of(question) for question in (content["questions"] if several else [content])]
        if not 1 <= len(questions) <= MOST_QUESTIONS:
            raise ValueError(f"a list must have 1 to {MOST_QUESTIONS} questions, not {len(questions)}")
        numbers = await self._commits.run_async(lambda connection: self._begin(connection, system, questions))
        self._runner.call()
        if seconds is None:
            return JSONResponse({"processes": numbers} if several else {"process": numbers[0]}, 202)
        await self._ends.wait(numbers, seconds, lambda one: not one.under_way)
        states = await run_in_threadpool(self._states, numbers, system)
        return JSONResponse({"answers": states} if several else states[0])

    async def process(self, request: Request) -> Response:
        """Return the state of a process; if the request says so, wait until it has ended."""
        system, seconds = system_of(request), _seconds(request)
        number = int(request.path_params["number"])
        (state,) = await run_in_threadpool(self._states, [number], system)
        if seconds is not None:
            await self._ends.wait([number], seconds, lambda one: one.ended)
            (state,) = await run_in_threadpool(self._states, [number], system)
        return JSONResponse(state)

    def _begin(self, connection: sa.Connection, system: Peer, questions: Sequence[_Question]) -> list[int]:
        """Start a process for each question and return their numbers."""
        check_admitted(self._interface, connection, system)
        codes = self._interface.server(system.name).codes_of([one.address_number for one in questions])
        return self._interface.asking.ask_all(connection, system.name, [
            ItemRequest(code, one.purpose, [one.provider], one.consent)
            for code, one in zip(codes, questions, strict=True)
        ])  # fmt: skip

    def _states(self, numbers: Sequence[int], system: Peer) -> list[dict[str, Any]]:
        """Return the states of a body's processes. Raises NetworkRejected if one is another body's."""
        with self._interface.store.reading() as connection:
            check_admitted(self._interface, connection, system)
            requests = self._interface.asking.requests_in(connection, numbers)
        for one in requests:
            if one.body != system.name:
                raise NetworkRejected("unknown-process", f"{system.name} has no process {one.process}")
        answered = [one.process for one in requests if one.stage is RequestStage.ANSWERED]
        received = self._interface.server(system.name).received_all(answered) if answered else {}
        return [one.as_dict(received.get(one.process)) for one in requests]


def interface_application(interface: InterfaceSystem, runner: Worker) -> Starlette:
    """Return an interface system as an ASGI application."""
    return InterfaceService(interface, runner).application()


def interface_runner(interface: InterfaceSystem, clock: Clock) -> Worker:
    """Return the worker that answers notifications and delivers an interface system's messages to the core and to
    others."""
    credentials, _ = interface.neighbours.credentials()
    return carrier(
        interface.outbox, interface.store, clock, interface.neighbours.addresses, credentials, interface.answering.work
    )


def _seconds(request: Request) -> float | None:
    """Return how many seconds the request waits for its processes to end, or None if it does not wait. Raises
    ValueError."""
    wait = request.query_params.get("wait")
    try:
        return None if wait is None else min(float(wait), _LONGEST_WAIT)
    except ValueError:
        raise ValueError(f"wait must be a number of seconds, not {wait!r}") from None
