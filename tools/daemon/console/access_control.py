"""Access control of the console: it is for people on this machine who have its key.

A browser opens the link that `kazashi up` prints, and the key in the link is exchanged for a cookie. Every later
request must carry the cookie, must have one of the console's own names as its host (another name would be DNS
rebinding) and, if it changes anything, must come from a page of the console's origin.
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
"""The environment variable with the console's key. Only the process's owner can read its environment, while anyone can
read its arguments."""
_READING = ("GET", "HEAD")
_PAGES = Pages("kazashi.tools.daemon.console")


class AccessControl:
    """ASGI middleware that rejects requests without access."""

    def __init__(self, inside: Any, key: str, session: str, port: int) -> None:
        """`inside` is the protected application, `key` the key in the link, and `session` the value of the cookie that
        a visit with the key sets."""
        self._inside = inside
        self._key = key
        self._session = session
        self._hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost")}
        # Cookies are shared by all ports of a host; another console on this machine must not overwrite this cookie.
        self._cookie = f"kazashi-console-{port}"

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Handle one ASGI request."""
        if scope["type"] != "http":
            await self._inside(scope, receive, send)
            return
        request = Request(scope)
        response = self._checked(request)
        if response is None:
            await self._inside(scope, receive, _with_headers(send))
        else:
            await response(scope, receive, send)

    def _checked(self, request: Request) -> Response | None:
        """Return None if the request may pass, otherwise the response to send instead: an error, or the redirect that
        sets the cookie."""
        headers = Headers(scope=request.scope)
        if headers.get("host") not in self._hosts:
            return _refused(421, "host", f"{headers.get('host') or 'an empty host'} is not a name of this console")
        if request.scope["path"] == "/" and "key" in request.query_params:
            if not compare_digest(request.query_params["key"].encode(), self._key.encode()):
                return _closed()
            redirect = RedirectResponse("/", 303, headers=HEADERS)
            redirect.set_cookie(self._cookie, self._session, httponly=True, samesite="strict", path="/")
            return redirect
        if not compare_digest(request.cookies.get(self._cookie, "").encode(), self._session.encode()):
            return _closed()
        if request.method not in _READING:
            origin = headers.get("origin", "")
            if origin.removeprefix("http://") not in self._hosts or not origin.startswith("http://"):
                return _refused(403, "origin", f"a page of {origin or 'no origin'} may not use this console")
        return None


def _refused(status: int, code: str, message: str) -> Response:
    return JSONResponse({"ok": False, "error": code, "message": message}, status, headers=HEADERS)


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
