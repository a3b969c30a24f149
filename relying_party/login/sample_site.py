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
from starlette.responses import Response
from starlette.routing import Route

from kazashi.jpki.profile import Kind
from kazashi.relying_party.login.agent_login import AgentLogin
from kazashi.relying_party.login.entrance import CardEntrance, Sessions
from kazashi.relying_party.login.plain_words import explained, unknown
from kazashi.relying_party.platform.platform import LinkageConflict, Platform, User
from kazashi.relying_party.verify.authentication import Authentication
from kazashi.relying_party.verify.finding import Outcome
from kazashi.relying_party.verify.linkage import LinkageUnavailable
from kazashi.relying_party.verify.verdict import Verdict
from kazashi.relying_party.verify.verification import Verifier
from kazashi.web.pages import alert, both, form, page
from kazashi.world.event_log import event_table
from kazashi.world.home import World

ACTOR = "sample_site"
"""The name of this actor's store."""

TENANT = "sample-library"
_REGISTER, _LOGIN = "register", "login"
_TEXT = "架空町図書館の利用者として登録します。\nI register as a reader of the library of Kakucho."


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
        login = AgentLogin(Authentication(verifier), origin, agent, "/answer")
        self._entrance = CardEntrance(platform, TENANT, login, {_REGISTER: _TEXT, _LOGIN: ""}, self._enter, _front)
        metadata = sa.MetaData()
        self._reader = sa.Table(
            "reader", metadata,
            sa.Column("user", sa.Text, primary_key=True),
            sa.Column("name", sa.Text, nullable=False),
            sa.Column("address", sa.Text, nullable=False),
        )  # fmt: skip
        self._sessions = Sessions(metadata)
        _, self._log = event_table(metadata)
        self.store = world.store(ACTOR, metadata)

    def application(self) -> Starlette:
        """The site as an ASGI application."""
        return Starlette(
            routes=[
                Route("/", self.home),
                *self._entrance.routes(),
                Route("/logout", self.logout, methods=["POST"]),
                Route("/tls", self.tls),
            ]
        )

    async def home(self, request: Request) -> Response:
        """Who is logged in, or how to."""
        found = await asyncio.to_thread(self._reader_of, self._entrance.session(request))
        if found is not None:
            name, address, user = found
            body = (f'<h1>架空町図書館</h1><p>{both(f"こんにちは、{name}さん。", f"Welcome, {name}.")}</p>'
                    f'<dl><dt>住所 Address</dt><dd>{escape(address)}</dd>'
                    f'<dt>利用者ID User id</dt><dd id="user">{escape(user)}</dd></dl>'
                    + form("/logout", {}, "<button>ログアウト Log out</button>"))  # fmt: skip
            return page("架空町図書館", body)
        return _front("")

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
        except LinkageConflict as conflict:
            return _trouble(both("受け付けられません。", str(conflict)), 409)
        except LinkageUnavailable:
            return _trouble(unknown(), 503)
        body = f'<h1>架空町図書館</h1><dl><dt>利用者ID User id</dt><dd id="user">{escape(user.identifier)}</dd></dl>'
        return page("架空町図書館", body)

    async def logout(self, request: Request) -> Response:
        """Forget the session."""
        await asyncio.to_thread(self._leave, self._entrance.session(request))
        return self._entrance.leave()

    def _reader_of(self, session: str) -> tuple[str, str, str] | None:
        reader = self._reader.c
        with self.store.reading() as connection:
            user = self._sessions.user(connection, session, self._world.clock.now())
            query = sa.select(reader.name, reader.address, reader.user).where(reader.user == user)
            row = connection.execute(query).one_or_none()
        return (row.name, row.address, row.user) if row is not None else None

    def _enter(self, session: str, former: str, user: User, verdict: Verdict, purpose: str) -> bool:
        """Begin a session, of a user who is known or registers now; False where neither."""
        reader = self._reader
        attributes = verdict.certificate.attributes if verdict.certificate is not None else None
        with self.store.transaction() as connection:
            here = reader.c.user == user.identifier
            known = connection.scalar(sa.select(reader.c.user).where(here)) is not None
            if purpose == _REGISTER and attributes is not None:
                values = {"name": attributes.name, "address": attributes.address}
                if known:
                    connection.execute(sa.update(reader).where(here).values(values))
                else:
                    connection.execute(sa.insert(reader), {"user": user.identifier, **values})
                known = True
            if not known:
                return False
            now = self._world.clock.now()
            self._sessions.begin(connection, session, former, user.identifier, now)
            self._log(connection, now, purpose, {"user": user.identifier})
            return True

    def _leave(self, session: str) -> None:
        with self.store.transaction() as connection:
            self._sessions.end(connection, session)


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
    return _front(alert(words), status)
