"""The base class of sites with card login: to the agent, back with a verdict, and to a session of a known user.

Registration uses the signature certificate, which contains name and address; logins use the authentication
certificate. Both lead to the same user, because the platform operator links them.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import ClassVar, Protocol

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from kazashi.jpki.profile import CertificateType, Medium
from kazashi.relying_party.login.agent_login import AgentLogin, AnswerRejected, Start, looks_ahead, session_of
from kazashi.relying_party.login.plain_words import UNKNOWN, explained
from kazashi.relying_party.login.sessions import Sessions
from kazashi.relying_party.platform.platform import LinkageConflict, User
from kazashi.relying_party.verify.authentication import Authentication
from kazashi.relying_party.verify.certificate import HolderCertificate
from kazashi.relying_party.verify.finding import Outcome
from kazashi.relying_party.verify.linkage import LinkageUnavailable
from kazashi.relying_party.verify.verdict import Verdict
from kazashi.relying_party.verify.verification import Verifier
from kazashi.web.health import Health
from kazashi.web.pages import PAGES, Bilingual, Pages
from kazashi.web.sweeping import sweeping
from kazashi.world.home import World
from kazashi.world.rng import new_token
from kazashi.world.storage import Store

_PAGES = Pages("kazashi.relying_party.login")


NOT_THIS_MEDIUM = (
    "このカードではログインできません(住基カードなど)。",
    "This site does not take certificates on such a card [medium-not-accepted].",
)
"""What a site says to a card that it does not take, such as a Juki card."""


class Users(Protocol):
    """Identifies the user whom a certificate belongs to: a platform operator, or the site itself."""

    def identify(self, tenant: str, certificate: HolderCertificate) -> User:
        """Return the tenant's user. Raises LinkageConflict and LinkageUnavailable."""


@dataclass(frozen=True, slots=True)
class Entrance:
    """A way to log in or register, as the front page offers it.

    `signed` is the text to sign with the signature certificate. If it is empty, only the authentication certificate is
    needed.
    """

    purpose: str
    sentence: Bilingual
    button: str
    signed: str = ""


class CardSite(ABC):
    """A site with a front page, sessions, its own forms, and a home page for users who are logged in with the card."""

    tenant: ClassVar[str]
    """The site's name at the platform operator, and the name of its cookie."""
    title: ClassVar[Bilingual]
    entrances: ClassVar[Sequence[Entrance]]
    media: ClassVar[Set[Medium]] = frozenset({Medium.CARD, Medium.PHONE})
    """The media whose certificates the site takes. Only the portal was to take Juki cards."""

    def __init__(
        self, world: World, store: Store, sessions: Sessions, users: Users, verifier: Verifier, origin: str, agent: str
    ) -> None:
        """Set the site up. `sessions` is a table of `store`, `origin` is the site's own, and `agent` is the local
        agent's address in users' browsers."""
        self._world = world
        self.store = store
        self._sessions = sessions
        self._users = users
        self._origin = origin
        self._login = AgentLogin(Authentication(verifier), origin, agent, "/answer")

    @abstractmethod
    def admit(self, user: User, verdict: Verdict, purpose: str) -> str | None:
        """Return the person to log in, or None if the site does not know the user. Raises LinkageUnavailable."""

    @abstractmethod
    def home(self, person: str) -> Response:
        """Return the home page of a person who is logged in."""

    def routes(self) -> Sequence[Route]:
        """Return the routes of this site in addition to those that every site has."""
        return ()

    def application(self) -> Starlette:
        """Return the site as an ASGI application."""
        site = Starlette(
            routes=[
                Route("/", self._home),
                Route("/begin/{purpose}", self._begin, methods=["POST"]),
                Route("/answer", self._login.receive, methods=["POST"]),
                Route("/end/{handle}", self._end),
                Route("/logout", self._logout, methods=["POST"]),
                Health.of_stores(self.store).route(),
                *self.routes(),
            ],
            lifespan=sweeping(self._login.sweep, self.sweep),
        )
        PAGES.protect(site)
        return site

    def front(self, *trouble: Bilingual, status: int = 200) -> Response:
        """Return the page for someone who is not logged in, with messages about what went wrong."""
        # The buttons post here and are redirected to the agent: Chromium applies form-action to redirects too.
        return _PAGES.page("front.html", status=status, form_action="'self' http://127.0.0.1:*", title=self.title,
                           entrances=self.entrances, trouble=trouble)  # fmt: skip

    def form(self, act: Callable[[str, Mapping[str, str]], Response]) -> Callable[[Request], Awaitable[Response]]:
        """Return an endpoint for one of the site's forms: `act` gets the person who is logged in and the form's
        fields."""

        async def posted(request: Request) -> Response:
            if (refusal := self._foreign(request)) is not None:
                return refusal
            person = await asyncio.to_thread(self._person, self._session(request))
            if person is None:
                return self.front(("ログインしてください。", "Log in first."), status=403)
            fields = await request.form(max_files=0, max_fields=10, max_part_size=1 << 12)
            values = {name: str(value).strip() for name, value in fields.items()}
            return await asyncio.to_thread(act, person, values)

        return posted

    def _foreign(self, request: Request) -> Response | None:
        """Return a refusal if a form is not from this site, or None. To a browser, other ports of this machine are the
        same site, so their requests have the cookie too."""
        if request.headers.get("origin") == self._origin:
            return None
        return self.front(("受け付けられません。", "That form is not from this site."), status=403)

    async def _home(self, request: Request) -> Response:
        person = await asyncio.to_thread(self._person, self._session(request))
        return self.front() if person is None else await asyncio.to_thread(self.home, person)

    async def _begin(self, request: Request) -> Response:
        """Redirect the browser to the agent."""
        if (refusal := self._foreign(request)) is not None:
            return refusal
        entrance = next((one for one in self.entrances if one.purpose == request.path_params["purpose"]), None)
        if entrance is None:
            return self.front(status=404)
        session = self._session(request) or _new_session()
        kind = CertificateType.SIGNATURE if entrance.signed else CertificateType.AUTHENTICATION
        start = Start.of(request, f"{self.title[0]} {self.title[1]}: {entrance.button}")
        address = await asyncio.to_thread(self._login.begin, session, entrance.purpose, kind, entrance.signed, start)
        return self._with_session(RedirectResponse(address, 303), session)

    async def _end(self, request: Request) -> Response:
        """Log the user in, or show a page that explains why not."""
        if looks_ahead(request):
            return self.front(status=503)  # a browser that looks ahead must not use the login up
        return await asyncio.to_thread(self._ended, self._session(request), request.path_params["handle"])

    def _ended(self, session: str, handle: str) -> Response:
        try:
            ended = self._login.end(session, handle)
        except AnswerRejected as refused:
            return self.front(("受け付けられません。", str(refused)), status=400)
        if ended.verdict is None:
            return self.front(("取りやめました。", "You cancelled."))
        user = self.user_of(ended.verdict)
        if isinstance(user, Response):
            return user
        try:
            person = self.admit(user, ended.verdict, ended.purpose)
        except LinkageUnavailable:
            return self.front(UNKNOWN, status=503)
        if person is None:
            return self.front(("まだ登録がありません。", "You are not registered yet. Register first."), status=404)
        # Somebody else may know a session that existed before the login (session fixation).
        new_session = _new_session()
        with self.store.transaction() as connection:
            self._sessions.end(connection, session)
            self._sessions.begin(connection, new_session, person, self._world.clock.now())
        return self._with_session(RedirectResponse("/", 303), new_session)

    def user_of(self, verdict: Verdict) -> User | Response:
        """Return the user for a good verdict, or the page that explains why nobody is logged in."""
        if verdict.outcome is not Outcome.GOOD or verdict.certificate is None:
            return self.front(*explained(verdict), status=403)
        if verdict.certificate.medium not in self.media:
            return self.front(NOT_THIS_MEDIUM, status=403)
        try:
            return self._users.identify(self.tenant, verdict.certificate)
        except LinkageConflict as conflict:
            return self.front(("受け付けられません。", str(conflict)), status=409)
        except LinkageUnavailable:
            return self.front(UNKNOWN, status=503)

    async def _logout(self, request: Request) -> Response:
        """End the session."""
        if (refusal := self._foreign(request)) is not None:
            return refusal
        await asyncio.to_thread(self._leave, self._session(request))
        response = RedirectResponse("/", 303)
        response.delete_cookie(self.tenant)
        return response

    def _leave(self, session: str) -> None:
        with self.store.transaction() as connection:
            self._sessions.end(connection, session)

    def sweep(self) -> None:
        """Delete the sessions that have expired."""
        with self.store.transaction() as connection:
            self._sessions.sweep(connection, self._world.clock.now())

    def _session(self, request: Request) -> str:
        """Return the browser's session, or an empty string."""
        return session_of(request, self.tenant)

    def _person(self, session: str) -> str | None:
        with self.store.reading() as connection:
            return self._sessions.user(connection, session, self._world.clock.now())

    def _with_session(self, response: Response, session: str) -> Response:
        response.set_cookie(self.tenant, session, httponly=True, samesite="lax")
        return response


def _new_session() -> str:
    return new_token()
