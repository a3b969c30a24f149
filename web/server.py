"""How every HTTP server here listens: with limits that apply before an application sees a request.

uvicorn bounds neither the size of a request's head nor the time that a client takes for a request. A client that sends
half a request, or reads no response, would keep its connection and its memory for ever.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD = 64 << 10
"""The maximum size of a request's URL and headers, in bytes."""

HEAD_SECONDS = 10.0
"""The time for a request's head: from the first byte of the connection, or of the next request on it."""

BODY_SECONDS = 60.0
"""The time for a request's body."""

STALLED_SECONDS = 60.0
"""The time for which a client may read nothing of a response that is waiting for it."""

MOST_CONNECTIONS = 600
"""The number of connections of one server process. Requests on further connections get status 503."""

_LOOK_SECONDS = 1.0


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol for one connection, with the limits above."""

    _deadline: float | None
    _stalled: float | None = None
    _overhead = _body = 0
    """The bytes of the present request that were its body, and those that were not: head, framing and trailers."""
    _in_head = True
    _refused = False
    _look: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Expect the first request."""
        super().connection_made(transport)
        self._deadline = self.loop.time() + HEAD_SECONDS
        self._look = self.loop.call_later(_LOOK_SECONDS, self._check_time)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop watching the time."""
        if self._look is not None:
            self._look.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what has arrived, unless it belongs to a head that is too large."""
        if self._refused:
            return
        if self._in_head and self._deadline is None:
            self._deadline = self.loop.time() + HEAD_SECONDS
        self._overhead += len(data)
        super().data_received(data)
        # What has arrived at once may be a head and the beginning of a body. Chunks of one byte need six.
        if self._overhead > 2 * MAX_HEAD + 8 * self._body:
            self._refuse()

    def on_message_begin(self) -> None:
        """Expect the rest of a request's head."""
        if self._deadline is None:
            self._deadline = self.loop.time() + HEAD_SECONDS
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Pass the request on, unless its head is too large."""
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > MAX_HEAD:
            self._refuse()
            return
        self._in_head = False
        self._deadline = self.loop.time() + BODY_SECONDS
        super().on_headers_complete()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note a header. Trailers (RFC 9110, 6.5) are dropped: they come after the checks of the headers."""
        if self._in_head:
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        """Pass a part of the body on."""
        self._body += len(body)
        self._overhead -= len(body)
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Expect the next request, for which uvicorn's own limit on idle connections applies until its first byte."""
        if not self._refused:
            self._in_head, self._deadline = True, None
            self._overhead = self._body = 0
            super().on_message_complete()

    def pause_writing(self) -> None:
        """Note since when the client has not read."""
        self._stalled = self.loop.time() + STALLED_SECONDS
        super().pause_writing()

    def resume_writing(self) -> None:
        """Note that the client reads."""
        self._stalled = None
        super().resume_writing()

    def _refuse(self) -> None:
        """Respond with 431 (RFC 6585, 5), unless the application may be responding, and close the connection."""
        self._refused = True
        if not self._in_head:
            self.transport.abort()
            return
        words = b"the head of a request is too large\n"
        self.transport.write(
            b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: text/plain\r\nconnection: close\r\n"
            b"content-length: %d\r\n\r\n%b" % (len(words), words)
        )
        self.transport.close()

    def _check_time(self) -> None:
        """Drop a client that is too slow."""
        now = self.loop.time()
        if any(limit is not None and limit < now for limit in (self._deadline, self._stalled)):
            self.transport.abort()
        else:
            self._look = self.loop.call_later(_LOOK_SECONDS, self._check_time)


OPTIONS: dict[str, Any] = {
    "http": BoundedProtocol, "ws": "none", "limit_concurrency": MOST_CONNECTIONS, "access_log": False,
    "proxy_headers": False,  # anybody can send X-Forwarded-For
    "server_header": False, "timeout_graceful_shutdown": 2,
    "log_level": "error",  # a warning for each malformed request would fill the disk
}  # fmt: skip
"""The options of uvicorn that all servers have."""
