"""The route /health of a server: which part of it does not respond in time.

A server whose database stands still goes on serving what does not need the database. This route tells an operator, or
the program that watches the server, which part is slow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from kazashi.world.storage import Store

SLOW_SECONDS = 1.0
"""A part that takes longer than this is slow."""

_Probe = tuple[float, "asyncio.Future[Any]"]
"""When a probe was started, by the event loop's time, and its result."""


class Health:
    """Probes of the parts of a server. Each runs in a thread of its own, and at most once at a time."""

    def __init__(self, parts: Mapping[str, Callable[[], object]]) -> None:
        """`parts` has a probe for each part, by the name that the response uses."""
        self._parts = parts
        # Threads of its own: those of the event loop may all be waiting for a part that is slow.
        self._threads = ThreadPoolExecutor(len(parts), "health")
        self._running: dict[str, _Probe] = {}

    @classmethod
    def of_stores(cls, *stores: Store) -> Health:
        """Return the probes of stores: whether each can be read."""
        return cls({f"store of {store.actor}": store.probe for store in stores})

    def route(self) -> Route:
        """Return the route /health."""
        return Route("/health", self._respond)

    async def _respond(self, _: Request) -> Response:
        """Respond with the state and the seconds of each part: status 200 if all are well, otherwise 503."""
        probes = {name: self._probe(name) for name in self._parts}
        await asyncio.wait([probe for _, probe in probes.values()], timeout=SLOW_SECONDS)
        parts = {name: _state(*probe) for name, probe in probes.items()}
        well = all(part["state"] == "ok" for part in parts.values())
        return JSONResponse({"state": "ok" if well else "degraded", "parts": parts}, 200 if well else 503)

    def _probe(self, name: str) -> _Probe:
        """Return the running probe of a part, or start one."""
        loop = asyncio.get_running_loop()
        if name not in self._running or self._running[name][1].done():
            self._running[name] = loop.time(), loop.run_in_executor(self._threads, self._parts[name])
        return self._running[name]


def _state(begun: float, probe: asyncio.Future[Any]) -> dict[str, Any]:
    seconds = round(asyncio.get_running_loop().time() - begun, 3)
    if not probe.done():
        return {"state": "slow", "seconds": seconds}
    if (error := probe.exception()) is not None:
        return {"state": "failed", "seconds": seconds, "message": str(error)}
    return {"state": "ok", "seconds": seconds}
