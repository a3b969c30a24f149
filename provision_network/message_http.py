"""The network's messages over HTTPS, with certificates on both ends: who may send, how messages are parsed, and how an
outbox is delivered.

    POST /v1/messages       {"messages": [{"sender", "receiver", "sequence", "kind", "body"}, ...]}
"""

from __future__ import annotations

import http.client
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from kazashi.provision_network.codes import ForeignCode
from kazashi.provision_network.terms import NetworkRejected
from kazashi.web.guard import Guard, Problem
from kazashi.web.mutual_tls import Credentials, JsonConnection, Peer, peer_of
from kazashi.world.clock import Clock
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

_BATCH = 200

_AT_ONCE = 8
"""The number of receivers to which messages are sent at the same time."""


def carrier(
    outbox: Outbox, store: Store, clock: Clock, addresses: Callable[[], Mapping[str, str]], credentials: Credentials,
    work: Callable[[], int] = lambda: 0,
) -> Worker:  # fmt: skip
    """Return a worker that delivers the messages in an outbox. It calls `work` before each round."""
    receivers = Receivers(addresses, credentials)
    pool = ThreadPoolExecutor(_AT_ONCE, "delivery")

    def each(deliver: Callable[[Any], bool], groups: Sequence[Any]) -> Iterable[bool]:
        return pool.map(deliver, groups) if len(groups) > 1 else map(deliver, groups)

    def carry() -> bool:
        worked = work()
        return max(worked, outbox.deliver(store, clock.now(), receivers, _BATCH, each)) >= _BATCH

    def close() -> None:
        pool.shutdown()
        receivers.close()

    def report(trouble: str) -> None:
        if trouble:
            print(f"kazashi: {trouble}", file=sys.stderr, flush=True)

    return Worker(
        "runner", carry, pause=_PAUSE_SECONDS, gather=_GATHER_SECONDS, after=report, close=close
    )  # fmt: skip


class Receivers(dict[str, Receive]):
    """Functions that deliver messages to an interface system or the core, by name.

    Each is created when it is first needed, and keeps its connection until that fails. A receiver without an address is
    down.
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
                self._connections.pop(name, None)  # it may have another address by now
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
        if name not in self._connections:
            address = self._addresses().get(name, "")
            try:
                self._connections[name] = JsonConnection(self._credentials, address, _PATIENCE)
            except (ValueError, OSError) as error:
                raise NodeDown(f"{name} has no usable address ({address!r}): {error}") from error
        return self._connections[name]


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
        ValueError: Problem(400, "bad-message", "the request is malformed: {}"),
        **dict.fromkeys(
            (KeyError, TypeError, AttributeError, OverflowError, RecursionError),
            Problem(400, "bad-message", "the request is malformed: a field is missing, or has a value of another type"),
        ),
        **dict.fromkeys((StoreFailed, TokenUnavailable), Problem(503, "unavailable")),
    },
    _shape,
)


def guarded(*routes: Route) -> Starlette:
    """Return an application with these routes, whose errors are responses as GUARD says."""
    application = Starlette(routes=routes)
    GUARD.protect(application)
    return application


def client(request: Request, units: Set[str], words: str) -> Peer:
    """Return the client. Raises ClientNotAllowed, with `words` as its message, unless the client's certificate has one
    of the units."""
    peer = peer_of(request.scope)
    if peer.unit not in units:
        raise ClientNotAllowed(words)
    return peer


async def json_of(request: Request) -> Any:
    """Parse a request's body as JSON; an empty body is an empty object. Raises ValueError and RecursionError."""
    return json.loads(await request.body() or "{}")


def messages_of(body: Any, senders: set[str], receiver: str) -> list[Message]:
    """Parse messages, and check their senders and their receiver. Raises ValueError and KeyError."""
    messages = [Message(**fields) for fields in body["messages"]]
    for message in messages:
        if message.sender not in senders or message.receiver != receiver or not isinstance(message.body, dict):
            raise ValueError(f"a message from {message.sender} to {message.receiver} is not accepted here")
        if not isinstance(message.sequence, int):
            raise ValueError(f"the sequence of a message must be a whole number, not {message.sequence!r}")
    return messages
