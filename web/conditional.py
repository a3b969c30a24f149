"""Dates and conditional requests (RFC 9110, 8.8 and 13), so that clients and caches need not fetch what they have."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from email.utils import formatdate, parsedate_to_datetime
from functools import lru_cache
from pathlib import Path

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kazashi.world.clock import SystemClock, epoch

_machine_clock = SystemClock()


def machine_seconds() -> int:
    """The machine's time in seconds since 1970, which is HTTP's, whatever the world's clock says."""
    return epoch(_machine_clock.now())


@lru_cache(maxsize=1024)
def http_date(seconds: int) -> str:
    """An instant in seconds since 1970 as an HTTP date (RFC 9110, 5.6.7)."""
    return formatdate(seconds, usegmt=True)


def dated(application: ASGIApp) -> ASGIApp:
    """Add `Date` to the responses of an application, at the moment when they begin.

    uvicorn's own Date is up to a second old, and a Last-Modified must not be later than it (RFC 9110, 8.8.2.1). The
    server must be started with `date_header=False`.
    """

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [(b"date", http_date(machine_seconds()).encode("ascii")), *message["headers"]]
            await send(message)

        await application(scope, receive, send_dated)

    return serve


def is_unchanged(request: Headers, etag: str, modified: int) -> bool:
    """Whether the client has the current response to a GET, so that the response is 304 (RFC 9110, 13.2.2).

    `etag` is quoted, and `modified` is in seconds since 1970. An If-Modified-Since beside an If-None-Match is ignored,
    as is one that is not a date.
    """
    if tags := request.getlist("if-none-match"):
        given = [tag.strip().removeprefix("W/") for tag in ",".join(tags).split(",")]
        return "*" in given or etag in given
    try:
        since = parsedate_to_datetime(request.get("if-modified-since", ""))
    except (ValueError, TypeError, OverflowError):
        return False
    return modified <= since.replace(tzinfo=since.tzinfo or UTC).timestamp()  # the form of asctime() names no zone


def file_response(request: Request, path: Path, media_type: str, headers: Mapping[str, str]) -> Response:
    """Respond to GET or HEAD with a file, or with 304 if the client has it. `headers` are those of both responses.
    Raises OSError."""
    status = path.stat()
    response = FileResponse(path, media_type=media_type, stat_result=status, headers=headers)
    if int(status.st_mtime) > machine_seconds():
        del response.headers["last-modified"]  # it must not be later than Date (RFC 9110, 8.8.2.1)
    if not is_unchanged(request.headers, response.headers["etag"], int(status.st_mtime)):
        return response
    kept = {name: response.headers[name] for name in ("etag", "last-modified", *headers) if name in response.headers}
    return Response(status_code=304, headers=kept)
