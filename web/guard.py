"""One guard for every HTTP surface: how large a request's body may be, and which status and code an error gets."""

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
    """A request's body is larger than its surface allows (413 Content Too Large; RFC 9110, 15.5.14).

    Frameworks turn other exceptions that occur while they read a body into errors of their own. They let an
    HTTPException pass.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(413, f"a request has at most {limit} bytes")

    def __str__(self) -> str:
        return self.detail


def bounded(scope: Scope, receive: Receive, limit: int) -> Receive:
    """`receive` for a request whose body has at most `limit` bytes. It raises BodyTooLarge at the first call where the
    request declares a longer body, and otherwise as soon as more bytes have come."""
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
    """How a surface reports a type of error: the HTTP status, a stable code, the message (in which `{}` stands for the
    error's own), and headers."""

    status: int
    code: str = ""
    message: str = "{}"
    headers: Mapping[str, str] = field(default_factory=dict)


Shape = Callable[[Exception, str, str], Any]
"""The JSON content that reports an error on a surface, from the error, its code and its message."""

TOO_LARGE = Problem(413, "too-large")


class Guard:
    """A surface's bound on bodies (in bytes), its table of errors, and the one shape in which it reports them.

    An error is looked up by its class, then by its base classes. What is not in the table is a defect, and gets 500.
    """

    def __init__(self, limit: int, problems: Mapping[type[Exception], Problem], shape: Shape) -> None:
        self.limit = limit
        self._problems: dict[type[Exception], Problem] = {BodyTooLarge: TOO_LARGE, **problems}
        self._shape = shape

    def protect(self, application: Starlette) -> None:
        """Guard every route of an application."""
        application.add_middleware(_BodyLimit, limit=self.limit)
        for error in self._problems:
            application.add_exception_handler(error, self._report)

    def response(self, error: Exception) -> Response:
        """The response that reports an error of the table."""
        problem = next(self._problems[cls] for cls in type(error).__mro__ if cls in self._problems)
        content = self._shape(error, problem.code, printable(problem.message.format(error)))
        return JSONResponse(content, problem.status, dict(problem.headers))

    async def _report(self, _: Request, error: Exception) -> Response:
        return self.response(error)


def printable(value: object) -> str:
    """Text of which nothing is left that UTF-8 has no form for, such as half a surrogate pair out of a request."""
    return str(value).encode("utf-8", "replace").decode("utf-8")


class _BodyLimit:
    """Middleware that bounds each request's body."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            receive = bounded(scope, receive, self._limit)
        await self._app(scope, receive, send)
