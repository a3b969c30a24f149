"""A site that is entered with a card: out to the agent, back with a verdict, and in as a user whom the site knows.

Registration is signed with the signature certificate, which tells name and address; logins use the authentication
certificate. Both are the same user, because the platform operator says so.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar, Protocol

import sqlalchemy as sa
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from kazashi.jpki.profile import CertificateType
from kazashi.relying_party.login.agent_login import AgentLogin, AnswerRejected
from kazashi.relying_party.login.plain_words import UNKNOWN, explained
from kazashi.relying_party.platform.platform import LinkageConflict, User
from kazashi.relying_party.verify.authentication import Authentication
from kazashi.relying_party.verify.certificate import HolderCertificate
from kazashi.relying_party.verify.finding import Outcome
from kazashi.relying_party.verify.linkage import LinkageUnavailable
from kazashi.relying_party.verify.verdict import Verdict
from kazashi.relying_party.verify.verification import Verifier
from kazashi.web.pages import Bilingual, Pages
from kazashi.world.clock import epoch
from kazashi.world.home import World
from kazashi.world.rng import new_token
from kazashi.world.storage import Store

_SESSION = timedelta(minutes=30)
_PAGES = Pages("kazashi.relying_party.login")


class Users(Protocol):
    """Who says which user a certificate's holder is: a platform operator, or the site itself."""

    def identify(self, tenant: str, certificate: HolderCertificate) -> User:
        """The tenant's user. Raises LinkageConflict and LinkageUnavailable."""


@dataclass(frozen=True, slots=True)
class Entrance:
    """A way into a site, as its front page offers it. `signed` is the text that is signed with the signature
    certificate; where it is empty, the authentication certificate alone is needed."""

    purpose: str
    sentence: Bilingual
    button: str
    signed: str = ""


class CardSite(ABC):
    """A site with a front page, a home page behind a login with the card, sessions, and forms of its own."""

    tenant: ClassVar[str]
    """The site's name at the platform operator, and its cookie's name."""
    title: ClassVar[Bilingual]
    entrances: ClassVar[Sequence[Entrance]]

    def __init__(
        self, world: World, store: Store, sessions: Sessions, users: Users, verifier: Verifier, origin: str, agent: str
    ) -> None:
        """`sessions` are a table of `store`. `origin` is the site's own; `agent` where users' browsers find the local
        agent."""
        self._world = world
        self.store = store
        self._sessions = sessions
        self._users = users
        self._origin = origin
        self._login = AgentLogin(Authentication(verifier), origin, agent, "/answer")

    @abstractmethod
    def admit(self, user: User, verdict: Verdict, purpose: str) -> str | None:
        """The person whose session begins, None for a user whom the site does not know. Raises LinkageUnavailable."""

    @abstractmethod
    def home(self, person: str) -> Response:
        """The page of a person who is logged in."""

    def routes(self) -> Sequence[Route]:
        """The site's own routes, beside those that every site has."""
        return ()

    def application(self) -> Starlette:
        """The site as an ASGI application."""
        return Starlette(
            routes=[
                Route("/", self._home),
                Route("/begin/{purpose}", self._begin, methods=["POST"]),
                Route("/answer", self._login.receive, methods=["POST"]),
                Route("/end/{handle}", self._end),
                Route("/logout", self._logout, methods=["POST"]),
                *self.routes(),
            ]
        )

    def front(self, *trouble: Bilingual, status: int = 200) -> Response:
        """The page of somebody who is not logged in, with what went wrong."""
        # The buttons post here, and are sent on to the agent: Chromium holds redirects against form-action too.
        return _PAGES.page("front.html", status=status, form_action="'self' http://127.0.0.1:*", title=self.title,
                           entrances=self.entrances, trouble=trouble)  # fmt: skip

    def form(self, act: Callable[[str, Mapping[str, str]], Response]) -> Callable[[Request], Awaitable[Response]]:
        """The endpoint of a form of the site: `act` gets the person who is logged in, and what they have filled in."""

        async def posted(request: Request) -> Response:
            if request.headers.get("origin") != self._origin:
                # Other sites on this machine are the same site to a browser, which sends the session's cookie along.
                return self.front(("受け付けられません。", "That form is not this portal's."), status=403)
            person = await asyncio.to_thread(self._person, self._session(request))
            if person is None:
                return self.front(("ログインしてください。", "Log in first."), status=403)
            fields = await request.form(max_files=0, max_fields=10, max_part_size=1 << 12)
            given = {name: str(value).strip() for name, value in fields.items()}
            return await asyncio.to_thread(act, person, given)

        return posted

    async def _home(self, request: Request) -> Response:
        person = await asyncio.to_thread(self._person, self._session(request))
        return self.front() if person is None else await asyncio.to_thread(self.home, person)

    async def _begin(self, request: Request) -> Response:
        """Send the browser to the agent."""
        purpose = request.path_params["purpose"]
        signed = next((entrance.signed for entrance in self.entrances if entrance.purpose == purpose), None)
        if signed is None:
            return self.front(status=404)
        session = self._session(request) or _new_session()
        kind = CertificateType.SIGNATURE if signed else CertificateType.AUTHENTICATION
        address = await asyncio.to_thread(self._login.begin, session, purpose, kind, signed)
        return self._with_session(RedirectResponse(address, 303), session)

    async def _end(self, request: Request) -> Response:
        """Let the user in, or say in plain words why not."""
        return await asyncio.to_thread(self._ended, self._session(request), request.path_params["handle"])

    def _ended(self, session: str, handle: str) -> Response:
        try:
            ended = self._login.end(session, handle)
        except AnswerRejected as refused:
            return self.front(("受け付けられません。", str(refused)), status=400)
        if ended.verdict is None:
            return self.front(("取りやめました。", "You have cancelled."))
        user = self.user_of(ended.verdict)
        if isinstance(user, Response):
            return user
        try:
            person = self.admit(user, ended.verdict, ended.purpose)
        except LinkageUnavailable:
            return self.front(UNKNOWN, status=503)
        if person is None:
            return self.front(("まだ登録がありません。", "You are not registered yet: register first."), status=404)
        # A session that was there before the login may be known to somebody.
        fresh = _new_session()
        with self.store.transaction() as connection:
            self._sessions.end(connection, session)
            self._sessions.begin(connection, fresh, person, self._world.clock.now())
        return self._with_session(RedirectResponse("/", 303), fresh)

    def user_of(self, verdict: Verdict) -> User | Response:
        """The user of a certificate on which the verdict is good, or the page that says why there is none."""
        if verdict.outcome is not Outcome.GOOD or verdict.certificate is None:
            return self.front(*explained(verdict), status=403)
        try:
            return self._users.identify(self.tenant, verdict.certificate)
        except LinkageConflict as conflict:
            return self.front(("受け付けられません。", str(conflict)), status=409)
        except LinkageUnavailable:
            return self.front(UNKNOWN, status=503)

    async def _logout(self, request: Request) -> Response:
        """Forget the session."""
        await asyncio.to_thread(self._leave, self._session(request))
        response = RedirectResponse("/", 303)
        response.delete_cookie(self.tenant)
        return response

    def _leave(self, session: str) -> None:
        with self.store.transaction() as connection:
            self._sessions.end(connection, session)

    def _session(self, request: Request) -> str:
        """The name of the browser's session, or nothing."""
        return request.cookies.get(self.tenant, "")

    def _person(self, session: str) -> str | None:
        with self.store.reading() as connection:
            return self._sessions.user(connection, session, self._world.clock.now())

    def _with_session(self, response: Response, session: str) -> Response:
        response.set_cookie(self.tenant, session, httponly=True, samesite="lax")
        return response


class Sessions:
    """The table of a site's sessions: which belongs to which user. One ends by itself after half an hour."""

    def __init__(self, metadata: sa.MetaData) -> None:
        self._table = sa.Table(
            "sitting", metadata,
            sa.Column("session", sa.Text, primary_key=True),
            sa.Column("user", sa.Text, nullable=False),
            sa.Column("begun", sa.BigInteger, nullable=False),
        )  # fmt: skip

    def user(self, connection: sa.Connection, session: str, now: datetime) -> str | None:
        """Whose session it is, None where it is nobody's, or has ended."""
        table = self._table.c
        alive = (table.session == session) & (table.begun > epoch(now) - _SESSION.total_seconds())
        return connection.scalar(sa.select(table.user).where(alive))

    def begin(self, connection: sa.Connection, session: str, user: str, now: datetime) -> None:
        """Begin one."""
        connection.execute(sa.insert(self._table), {"session": session, "user": user, "begun": epoch(now)})

    def end(self, connection: sa.Connection, session: str) -> None:
        """End one."""
        connection.execute(sa.delete(self._table).where(self._table.c.session == session))


def _new_session() -> str:
    return new_token()
