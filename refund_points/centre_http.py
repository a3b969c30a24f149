"""The centre over HTTPS: tills send their records in batches and authenticate with their certificate (mutual TLS).

    POST /v1/records    {"records": [{"body", "signature"}, ...]}  ->  {"results": [{"answer", "reason", "words"}, ...]}
    GET  /v1/status     the state of the requesting till, and the numbers of its missing records

The server requires a client certificate issued by the centre's own authority. A connection may only carry records of
the till that its certificate names.
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
from kazashi.web.health import Health
from kazashi.web.mutual_tls import Credentials, client, peer_of
from kazashi.world.storage import StoreFailed

LARGEST = 16 << 20
"""The maximum size of a batch, in bytes."""

_AT_WORK = 3
"""The number of batches that one process handles at the same time: while one waits for the disk, the signatures of the
others are checked. More would only wait for the interpreter and for each other."""


class MalformedBatch(Exception):
    """The body of a request is not a batch of records."""


GUARD = Guard(
    LARGEST,
    {MalformedBatch: Problem(400, message="this is not a batch: {}"), StoreFailed: Problem(503)},
    lambda error, code, message: {"error": message},
)


def application(centre: Centre) -> Starlette:
    """Return the centre as an ASGI application. Serve it with the settings from `serving`, so that it knows which till
    a connection belongs to."""
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

    health = Health.of_stores(centre.store).route()
    guarded = Starlette(routes=[Route("/v1/records", records, methods=["POST"]), Route("/v1/status", status), health])
    GUARD.protect(guarded)
    return guarded


def _batch(body: bytes) -> list[Any]:
    """Return the unverified records of a batch. Raises MalformedBatch."""
    try:
        batch = json.loads(body)["records"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise MalformedBatch(error) from error
    if not isinstance(batch, list) or len(batch) > MOST_RECORDS:
        raise MalformedBatch(f"a batch must be a list of at most {MOST_RECORDS} records")
    return batch


def serving(centre: Centre, directory: Path, host: str, port: int) -> dict[str, Any]:
    """Return uvicorn's settings for a centre's application: TLS that requires a till's certificate."""
    return mutual_tls.serving(centre.server_credentials(host), directory, host, port)


def server(centre: Centre, directory: Path, host: str, port: int) -> uvicorn.Server:
    """Return a server for the centre in this process."""
    return uvicorn.Server(uvicorn.Config(application(centre), **serving(centre, directory, host, port)))


class HttpsTransport:
    """A till's transport to the centre: one persistent connection, authenticated with the till's certificate."""

    def __init__(self, address: str, authority: bytes, certificate: bytes, key: bytes) -> None:
        """`address` is https://HOST:PORT; the other arguments are PEM. Raises CentreUnreachable if one is invalid."""
        try:
            self._client = client(Credentials(certificate, key, authority), address)
        except (OSError, ValueError, httpx.InvalidURL) as error:
            raise CentreUnreachable(
                f"the till's certificate or the centre's address {address} cannot be used: {error}"
            ) from error

    @classmethod
    def of(cls, till: Till, address: str) -> HttpsTransport:
        """The transport of an enrolled till. Raises SaleRejected and CentreUnreachable."""
        return cls(address, till.enrolment.authority, *till.credentials())

    def send(self, till: str, records: Sequence[Mapping[str, str]]) -> Any:
        """Send records to the centre and return its results. Raises CentreUnreachable."""
        try:
            response = self._client.post("/v1/records", json={"records": list(records)})
            response.raise_for_status()
            return response.json()["results"]
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as error:
            raise CentreUnreachable(f"the records could not be sent to the centre: {error}") from error

    def close(self) -> None:
        """Close the connection."""
        self._client.close()
