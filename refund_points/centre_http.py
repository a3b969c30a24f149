"""The centre over HTTPS: tills bring their records in batches, and show their certificate in the handshake.

    POST /v1/records    {"records": [{"body", "signature"}, ...]}  ->  {"results": [{"answer", "reason", "words"}, ...]}
    GET  /v1/status     what the centre has of the till that asks

Nothing is taken from a connection without a certificate of the centre's own authority; which till it is of decides
whose records may come over it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from kazashi.refund_points.centre import MOST_RECORDS, Centre
from kazashi.refund_points.sender import CentreUnreachable
from kazashi.refund_points.till import Till
from kazashi.web import mutual_tls
from kazashi.web.guard import Guard, Problem
from kazashi.web.mutual_tls import Credentials, client, peer_of
from kazashi.world.storage import StoreFailed

LARGEST = 16 << 20
"""Bytes of a batch."""

_AT_WORK = 3
"""Batches that one process takes in at once: while one waits for the disk, others have their signatures looked at. More
would only wait for the interpreter, and for each other."""


class MalformedBatch(Exception):
    """A request's body is not a batch of records."""


GUARD = Guard(
    LARGEST,
    {MalformedBatch: Problem(400, message="this is no batch: {}"), StoreFailed: Problem(503)},
    lambda error, code, message: {"error": message},
)


def application(centre: Centre) -> Starlette:
    """The centre as an ASGI application; it must be served as `serving` says, so that it knows what till a connection
    is of."""
    at_work = CapacityLimiter(_AT_WORK)

    async def records(request: Request) -> Response:
        batch = _batch(await request.body())
        results = await run_sync(centre.receive, peer_of(request.scope).name, batch, limiter=at_work)
        return JSONResponse({"results": [result.as_dict() for result in results]})

    async def status(request: Request) -> Response:
        till = peer_of(request.scope).name
        entry = await run_in_threadpool(centre.till, till)
        missing = await run_in_threadpool(centre.missing, till)
        return JSONResponse({"till": till, "state": entry.state if entry else "unknown", "missing": missing[:1000]})

    guarded = Starlette(routes=[Route("/v1/records", records, methods=["POST"]), Route("/v1/status", status)])
    GUARD.protect(guarded)
    return guarded


def _batch(body: bytes) -> list[Any]:
    """The records of a batch, unverified. Raises MalformedBatch."""
    try:
        batch = json.loads(body)["records"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise MalformedBatch(error) from error
    if not isinstance(batch, list) or len(batch) > MOST_RECORDS:
        raise MalformedBatch(f"a batch is a list of at most {MOST_RECORDS} records")
    return batch


def serving(centre: Centre, directory: Path, host: str, port: int) -> dict[str, Any]:
    """How uvicorn serves a centre's application: with TLS that asks for a till's certificate."""
    return mutual_tls.serving(centre.server_credentials(host), directory, host, port)


def server(centre: Centre, directory: Path, host: str, port: int) -> uvicorn.Server:
    """A server of the centre in this process."""
    return uvicorn.Server(uvicorn.Config(application(centre), **serving(centre, directory, host, port)))


class HttpsTransport:
    """A till's way to the centre: one connection, kept, on which it shows its certificate."""

    def __init__(self, address: str, authority: bytes, certificate: bytes, key: bytes) -> None:
        """`address` is https://HOST:PORT; the rest is PEM. Raises CentreUnreachable where that is none."""
        try:
            self._client = client(Credentials(certificate, key, authority), address)
        except (OSError, ValueError, httpx.InvalidURL) as error:
            raise CentreUnreachable(
                f"the till's certificate, or the centre's address, cannot be used: {error}"
            ) from error

    @classmethod
    def of(cls, till: Till, address: str) -> HttpsTransport:
        """The way of a till that is enrolled. Raises SaleRejected and CentreUnreachable."""
        return cls(address, till.enrolment.authority, *till.credentials())

    def send(self, till: str, records: Sequence[Mapping[str, str]]) -> Any:
        """Bring records to the centre. Raises CentreUnreachable."""
        try:
            answer = self._client.post("/v1/records", json={"records": list(records)})
            answer.raise_for_status()
            return answer.json()["results"]
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as error:
            raise CentreUnreachable(f"the centre does not take the records: {error}") from error

    def close(self) -> None:
        """End the connection."""
        self._client.close()
