"""A sample site: a small town's library, as an integrator would write one on top of this package.

Registration is signed with the signature certificate, which tells name and address; logins use the authentication
certificate. Users are known by the platform's user id, so that a renewed card is the same user.
"""

from __future__ import annotations

import asyncio
from hmac import compare_digest
from html import escape
from urllib.parse import unquote

import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from pki.profile import Kind
from relying_party.agent_login import AgentLogin, AnswerRefused
from relying_party.authentication import Authentication
from relying_party.finding import Outcome
from relying_party.linkage import LinkageUnavailable
from relying_party.pages import both, form, page
from relying_party.plain_words import explained, unknown
from relying_party.platform import Platform
from relying_party.store import event_table
from relying_party.verdict import Verdict
from relying_party.verification import Verifier
from world.chance import unforeseen
from world.home import World

TENANT = "sample-library"
_COOKIE = "library"
_REGISTER, _LOGIN = "register", "login"


class SampleSite:
    """The site's pages. `origin` is its own; `agent` where users' browsers find the local agent. A server in front that
    has seen a certificate in a TLS handshake passes it on, and shows that it is that server by `proxy_secret`."""

    def __init__(
        self, world: World, verifier: Verifier, platform: Platform, origin: str, agent: str, proxy_secret: str = ""
    ) -> None:
        self._world = world
        self._verifier = verifier
        self._proxy_secret = proxy_secret
        self._platform = platform
        self._login = AgentLogin(Authentication(verifier), origin, agent, "/answer")
        metadata = sa.MetaData()
        self._reader = sa.Table(
            "reader", metadata,
            sa.Column("user", sa.Text, primary_key=True),
            sa.Column("name", sa.Text, nullable=False),
            sa.Column("address", sa.Text, nullable=False),
        )  # fmt: skip
        self._session = sa.Table(
            "session", metadata,
            sa.Column("session", sa.Text, primary_key=True),
            sa.Column("user", sa.Text, nullable=False),
        )  # fmt: skip
        _, self._log = event_table(metadata)
        self.store = world.store("sample_site", metadata)

    def application(self) -> Starlette:
        """The site as an ASGI application."""
        return Starlette(
            routes=[
                Route("/", self.home),
                Route("/begin/{purpose}", self.begin, methods=["POST"]),
                Route("/answer", self._login.receive, methods=["POST"]),
                Route("/end/{handle}", self.end),
                Route("/logout", self.logout, methods=["POST"]),
                Route("/tls", self.tls),
            ]
        )

    async def home(self, request: Request) -> Response:
        """Who is logged in, or how to."""
        found = await asyncio.to_thread(self._reader_of, request.cookies.get(_COOKIE, ""))
        if found is not None:
            name, address, user = found
            body = (f'<h1>架空町図書館</h1><p>{both(f"こんにちは、{name}さん。", f"Welcome, {name}.")}</p>'
                    f'<dl><dt>住所 Address</dt><dd>{escape(address)}</dd>'
                    f'<dt>利用者ID User id</dt><dd id="user">{escape(user)}</dd></dl>'
                    + form("/logout", {}, "<button>ログアウト Log out</button>"))  # fmt: skip
            return page("架空町図書館", body)
        return _front("")

    async def begin(self, request: Request) -> Response:
        """Send the browser to the agent."""
        purpose = request.path_params["purpose"]
        if purpose not in (_REGISTER, _LOGIN):
            return _front("", 404)
        session = request.cookies.get(_COOKIE, "") or f"{unforeseen(192):048x}"
        if purpose == _REGISTER:
            text = "架空町図書館の利用者として登録します。\nI register as a reader of the library of Kakucho."
            address = await asyncio.to_thread(self._login.begin, session, purpose, Kind.SIGNATURE, text)
        else:
            address = await asyncio.to_thread(self._login.begin, session, purpose)
        response = RedirectResponse(address, 303)
        response.set_cookie(_COOKIE, session, httponly=True, samesite="lax")
        return response

    async def end(self, request: Request) -> Response:
        """Log in or register, or say in plain words why not."""
        session = request.cookies.get(_COOKIE, "")
        try:
            ended = await asyncio.to_thread(self._login.end, session, request.path_params["handle"])
            if ended.verdict is None:
                return _trouble(both("取りやめました。", "You have cancelled."), 200)
            verdict = ended.verdict
            if verdict.outcome is not Outcome.GOOD or verdict.certificate is None:
                return _trouble(explained(verdict), 403)
            user = await asyncio.to_thread(self._platform.identify, TENANT, verdict.certificate)
        except AnswerRefused as refused:
            return _trouble(both("受け付けられません。", str(refused)), 400)
        except LinkageUnavailable:
            return _trouble(unknown(), 503)
        fresh = f"{unforeseen(192):048x}"  # a session that was there before the login may be known to somebody
        if not await asyncio.to_thread(self._enter, fresh, session, user.identifier, verdict, ended.purpose):
            return _trouble(
                both("まだ登録がありません。", "You are not registered yet: register first."),
                404,
            )
        response = RedirectResponse("/", 303)
        response.set_cookie(_COOKIE, fresh, httponly=True, samesite="lax")
        return response

    async def tls(self, request: Request) -> Response:
        """Who has come through TLS with a card: the handshake has shown that the key is there, and the certificate's
        verdict is ours."""
        shown = request.headers.get("x-proxy-secret", "")
        if not self._proxy_secret or not compare_digest(shown.encode(), self._proxy_secret.encode()):
            return _trouble(both("受け付けられません。", "This page is behind a TLS server."), 403)
        try:
            pem = unquote(request.headers.get("x-client-certificate", "")).encode()
            certificate = x509.load_pem_x509_certificate(pem)
        except ValueError:
            return _trouble(both("証明書がありません。", "No certificate came with the connection."), 401)
        verdict = await asyncio.to_thread(
            self._verifier.certificate, certificate.public_bytes(Encoding.DER), Kind.AUTHENTICATION
        )
        if verdict.outcome is not Outcome.GOOD or verdict.certificate is None:
            return _trouble(explained(verdict), 403)
        try:
            user = await asyncio.to_thread(self._platform.identify, TENANT, verdict.certificate)
        except LinkageUnavailable:
            return _trouble(unknown(), 503)
        body = f'<h1>架空町図書館</h1><dl><dt>利用者ID User id</dt><dd id="user">{escape(user.identifier)}</dd></dl>'
        return page("架空町図書館", body)

    async def logout(self, request: Request) -> Response:
        """Forget the session."""
        await asyncio.to_thread(self._leave, request.cookies.get(_COOKIE, ""))
        response = RedirectResponse("/", 303)
        response.delete_cookie(_COOKIE)
        return response

    def _reader_of(self, session: str) -> tuple[str, str, str] | None:
        reader, held = self._reader.c, self._session.c
        query = sa.select(reader.name, reader.address, reader.user).join_from(
            self._session, self._reader, held.user == reader.user
        )
        with self.store.reading() as connection:
            row = connection.execute(query.where(held.session == session)).one_or_none()
        return (row.name, row.address, row.user) if row is not None else None

    def _enter(self, session: str, former: str, user: str, verdict: Verdict, purpose: str) -> bool:
        """Begin a session, of a user who is known or registers now; False where neither."""
        reader = self._reader
        attributes = verdict.certificate.attributes if verdict.certificate is not None else None
        with self.store.transaction() as connection:
            known = connection.scalar(sa.select(reader.c.user).where(reader.c.user == user)) is not None
            if purpose == _REGISTER and attributes is not None:
                values = {"name": attributes.name, "address": attributes.address}
                if known:
                    connection.execute(sa.update(reader).where(reader.c.user == user).values(values))
                else:
                    connection.execute(sa.insert(reader), {"user": user, **values})
                known = True
            if not known:
                return False
            connection.execute(sa.delete(self._session).where(self._session.c.session == former))
            connection.execute(sa.insert(self._session), {"session": session, "user": user})
            self._log(connection, self._world.clock.now(), purpose, {"user": user})
            return True

    def _leave(self, session: str) -> None:
        with self.store.transaction() as connection:
            connection.execute(sa.delete(self._session).where(self._session.c.session == session))


def _front(trouble: str, status: int = 200) -> Response:
    # The buttons post here, and are sent on to the agent: Chromium holds redirects against form-action too.
    body = (
        "<h1>架空町図書館 Library of Kakucho</h1>" + trouble
        + form("/begin/login", {}, f"<p>{both('カードでログインします。', 'Log in with your card.')}</p>"
                                   "<button id='login'>ログイン Log in</button>")
        + form("/begin/register", {}, f"<p>{both('はじめての方はこちら。', 'New here?')}</p>"
                                      "<button id='register'>登録 Register</button>")
    )  # fmt: skip
    return page("架空町図書館", body, status=status, form_action="'self' http://127.0.0.1:*")


def _trouble(words: str, status: int) -> Response:
    return _front(f'<p class="bad" role="alert">{words}</p>', status)
