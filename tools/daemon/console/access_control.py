"""Who may use the console: whoever has its key, from a page of its own, on this machine.

A browser visits the link that `kazashi up` prints once; the key in it is exchanged for a cookie. Every request after
that must carry the cookie, be addressed to this machine by one of its own names (another name would be DNS
rebinding), and, where it does something, come from a page of this origin.
"""

from __future__ import annotations

from hmac import compare_digest
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from kazashi.web.pages import Pages

_POLICY = "Content-Security-Policy"
HEADERS = {
    _POLICY: "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
}
KEY_VARIABLE = "KAZASHI_CONSOLE_KEY"
"""Where the console finds its key: in its environment, which only its owner can read, and not among its arguments."""
_READING = ("GET", "HEAD")
_PAGES = Pages("kazashi.tools.daemon.console")


class AccessControl:
    """An ASGI application in front of another one."""

    def __init__(self, inside: Any, key: str, session: str, port: int) -> None:
        """`key` opens the door once for each visit of the link, `session` is what the cookie then holds."""
        self._inside = inside
        self._key = key
        self._session = session
        self._hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost")}
        # Cookies do not know ports; another console on this machine must not take this one's place.
        self._cookie = f"kazashi-console-{port}"

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request, as ASGI has it."""
        if scope["type"] != "http":
            await self._inside(scope, receive, send)
            return
        request = Request(scope)
        answer = self._turned_away(request)
        if answer is None:
            await self._inside(scope, receive, _with_headers(send))
        else:
            await answer(scope, receive, send)

    def _turned_away(self, request: Request) -> Response | None:
        """The answer to a request that does not pass, None for one that does."""
        headers = Headers(scope=request.scope)
        if headers.get("host") not in self._hosts:
            return _refused(421, "host", f"{headers.get('host', 'no name')} is no name of this console")
        if request.url.path == "/" and "key" in request.query_params:
            if not compare_digest(request.query_params["key"].encode(), self._key.encode()):
                return _closed()
            entered = RedirectResponse("/", 303, headers=HEADERS)
            entered.set_cookie(self._cookie, self._session, httponly=True, samesite="strict", path="/")
            return entered
        if not compare_digest(request.cookies.get(self._cookie, "").encode(), self._session.encode()):
            return _closed()
        if request.method not in _READING:
            origin = headers.get("origin", "")
            if origin.removeprefix("http://") not in self._hosts or not origin.startswith("http://"):
                return _refused(403, "origin", f"a page of {origin or 'no origin'} may not act here")
        return None


def _refused(status: int, code: str, words: str) -> Response:
    return JSONResponse({"ok": False, "error": code, "message": words}, status, headers=HEADERS)


def _closed() -> Response:
    page = _PAGES.page("closed.html", status=401, form_action="'none'")
    page.headers.update({name: value for name, value in HEADERS.items() if name != _POLICY})
    return page


def _with_headers(send: Any) -> Any:
    async def sending(message: Any) -> None:
        if message["type"] == "http.response.start":
            raw = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
            message = {**message, "headers": [*message["headers"], *raw]}
        await send(message)

    return sending
