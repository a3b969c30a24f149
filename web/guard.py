"""Limits on request bodies, and error responses, for every HTTP server."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class BodyTooLarge(HTTPException):
    """A request's body is larger than the server allows (413 Content Too Large; RFC 9110, 15.5.14).

    It is an HTTPException because frameworks pass those on. They turn any other exception that occurs while they read a
    body into an error of their own.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(413, f"the body of a request must not exceed {limit} bytes")

    def __str__(self) -> str:
        return self.detail


def bounded(scope: Scope, receive: Receive, limit: int) -> Receive:
    """A `receive` for a request whose body may have at most `limit` bytes.

    It raises BodyTooLarge at the first call if the request declares a longer body, and otherwise as soon as more bytes
    have arrived.
    """
    declared = next((int(value) for name, value in scope["headers"]
                     if name == b"content-length" and value.isdigit()), 0)  # fmt: skip
    received = 0

    async def receive_bounded() -> Message:
        nonlocal received
        if declared > limit:
            raise BodyTooLarge(limit)
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise BodyTooLarge(limit)
        return message

    return receive_bounded


@dataclass(frozen=True, slots=True)
class Problem:
    """How a server reports a type of error: HTTP status, stable code, message and headers.

    In `message`, `{}` is replaced by the error's own message.
    """

    status: int
    code: str = ""
    message: str = "{}"
    headers: Mapping[str, str] = field(default_factory=dict)


Shape = Callable[[Exception, str, str], Any]
"""Makes the content of a server's error response from the error, its code and its message."""

TOO_LARGE = Problem(413, "too-large")


class Guard:
    """A server's limit on request bodies (in bytes), its table of errors, and the shape of its error responses, which
    are JSON unless `respond` makes something else of the content, the status and the headers.

    An error is looked up by its class, then by its base classes. An error that is not in the table is a bug, and gets
    status 500.
    """

    def __init__(
        self, limit: int, problems: Mapping[type[Exception], Problem], shape: Shape,
        respond: Callable[[Any, int, Mapping[str, str]], Response] = JSONResponse,
    ) -> None:  # fmt: skip
        self.limit = limit
        self._respond = respond
        self._problems: dict[type[Exception], Problem] = {BodyTooLarge: TOO_LARGE, **problems}
        self._shape = shape

    def protect(self, application: Starlette) -> None:
        """Guard every route of an application."""
        application.add_middleware(_BodyLimit, limit=self.limit)
        for error in self._problems:
            application.add_exception_handler(error, self._report)

    def response(self, error: Exception) -> Response:
        """The response for an error that is in the table."""
        problem = next(self._problems[cls] for cls in type(error).__mro__ if cls in self._problems)
        content = self._shape(error, problem.code, printable(problem.message.format(error)))
        return self._respond(content, problem.status, dict(problem.headers))

    async def _report(self, _: Request, error: Exception) -> Response:
        return self.response(error)


def printable(value: object) -> str:
    """The value as text that UTF-8 can encode. Anything else, such as half a surrogate pair, is replaced by `?`."""
    return str(value).encode("utf-8", "replace").decode("utf-8")


class _BodyLimit:
    """Middleware that limits the size of each request's body."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            receive = bounded(scope, receive, self._limit)
        await self._app(scope, receive, send)
