"""A sample site: a small town's library, as an integrator would write one with this package.

Registration uses the signature certificate, which contains name and address; logins use the authentication
certificate. Users are identified by the platform's user ID, so that a renewed card belongs to the same user.
"""

from __future__ import annotations

import asyncio
from hmac import compare_digest
from urllib.parse import unquote

import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from kazashi.jpki.profile import CertificateType
from kazashi.relying_party.login.entrance import CardSite, Entrance
from kazashi.relying_party.login.sessions import Sessions
from kazashi.relying_party.platform.platform import Platform, User
from kazashi.relying_party.verify.verdict import Verdict
from kazashi.relying_party.verify.verification import Verifier
from kazashi.web.pages import Pages
from kazashi.world.event_log import event_table
from kazashi.world.home import World

ACTOR = "sample_site"
"""The name of this actor's store."""

_REGISTER, _LOGIN = "register", "login"
_TEXT = "架空町図書館の利用者として登録します。\nI register as a reader of the library of Kakucho."
_PAGES = Pages("kazashi.relying_party.login")


class SampleSite(CardSite):
    """The library's site.

    `origin` is its own; `agent` is the local agent's address in users' browsers. A TLS server in front of the site
    forwards the client certificate of the handshake, and authenticates itself with `proxy_secret`.
    """

    tenant = "sample-library"
    title = ("架空町図書館", "Library of Kakucho")
    entrances = (
        Entrance(_LOGIN, ("カードでログインします。", "Log in with your card."), "ログイン Log in"),
        Entrance(_REGISTER, ("はじめての方はこちら。", "New own_row?"), "登録 Register", _TEXT),
    )

    def __init__(
        self, world: World, verifier: Verifier, platform: Platform, origin: str, agent: str, proxy_secret: str = ""
    ) -> None:
        self._verifier = verifier
        self._proxy_secret = proxy_secret
        metadata = sa.MetaData()
        self._reader = sa.Table(
            "reader", metadata,
            sa.Column("user", sa.Text, primary_key=True),
            sa.Column("name", sa.Text, nullable=False),
            sa.Column("address", sa.Text, nullable=False),
        )  # fmt: skip
        sessions = Sessions(metadata)
        _, self._log = event_table(metadata)
        store = world.store(ACTOR, metadata, [sessions.migrate])
        super().__init__(world, store, sessions, platform, verifier, origin, agent)

    def routes(self) -> list[Route]:
        """Return the route of the page behind a TLS server."""
        return [Route("/tls", self.tls)]

    def home(self, person: str) -> Response:
        """Return the page with the data of the reader who is logged in."""
        with self.store.reading() as connection:
            reader = connection.execute(sa.select(self._reader).where(self._reader.c.user == person)).one_or_none()
        if reader is None:
            return self.front()
        return _PAGES.page("library.html", reader=reader)

    async def tls(self, request: Request) -> Response:
        """Log in a user who authenticated with a card in TLS: the handshake has proved possession of the key, and this
        site verifies the certificate."""
        secret = request.headers.get("x-proxy-secret", "")
        if not self._proxy_secret or not compare_digest(secret.encode(), self._proxy_secret.encode()):
            return self.front(("受け付けられません。", "This page is only for the TLS server."), status=403)
        try:
            pem = unquote(request.headers.get("x-client-certificate", "")).encode()
            certificate = x509.load_pem_x509_certificate(pem)
        except ValueError:
            return self.front(("証明書がありません。", "The connection has no client certificate."), status=401)
        return await asyncio.to_thread(self._through_tls, certificate.public_bytes(Encoding.DER))

    def _through_tls(self, certificate: bytes) -> Response:
        user = self.user_of(self._verifier.certificate(certificate, CertificateType.AUTHENTICATION))
        return user if isinstance(user, Response) else _PAGES.page("library_tls.html", user=user.identifier)

    def admit(self, user: User, verdict: Verdict, purpose: str) -> str | None:
        """Return the user if they are known or are registering now, otherwise None."""
        reader = self._reader
        attributes = verdict.certificate.attributes if verdict.certificate is not None else None
        with self.store.transaction() as connection:
            own_row = reader.c.user == user.identifier
            known = connection.scalar(sa.select(reader.c.user).where(own_row)) is not None
            if purpose == _REGISTER and attributes is not None:
                values = {"name": attributes.name, "address": attributes.address}
                if known:
                    connection.execute(sa.update(reader).where(own_row).values(values))
                else:
                    connection.execute(sa.insert(reader), {"user": user.identifier, **values})
                known = True
            if not known:
                return None
            self._log(connection, self._world.clock.now(), purpose, {"user": user.identifier})
        return user.identifier
