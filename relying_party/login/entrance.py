"""The way into a site with a card: out to the agent, back with a verdict, and in as a user whom the site knows.

Registration is signed with the signature certificate, which tells name and address; logins use the authentication
certificate. Both are the same user, because the platform operator says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Protocol

import sqlalchemy as sa
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from kazashi.jpki.profile import Kind
from kazashi.relying_party.login.agent_login import AgentLogin, AnswerRefused
from kazashi.relying_party.login.plain_words import explained, unknown
from kazashi.relying_party.platform.platform import LinkageConflict, User
from kazashi.relying_party.verify.certificate import HolderCertificate
from kazashi.relying_party.verify.finding import Outcome
from kazashi.relying_party.verify.linkage import LinkageUnavailable
from kazashi.relying_party.verify.verdict import Verdict
from kazashi.web.pages import alert, both
from kazashi.world.chance import unforeseen
from kazashi.world.clock import epoch

_SESSION = timedelta(minutes=30)

Front = Callable[[str, int], Response]
"""The page of somebody who is not in: with what went wrong (HTML), and its status."""

Enter = Callable[[str, str, User, Verdict, str], bool]
"""Begin a session (new name, former name, user, verdict, purpose); False for a user whom the site does not know."""


class Users(Protocol):
    """Who says which user a certificate's holder is: a platform operator, or the site itself."""

    def identify(self, tenant: str, certificate: HolderCertificate) -> User:
        """The tenant's user. Raises LinkageConflict and LinkageUnavailable."""


class CardEntrance:
    """The entrance of one site, which is a tenant of the platform operator."""

    def __init__(
        self, users: Users, tenant: str, login: AgentLogin, purposes: Mapping[str, str], enter: Enter,
        front: Front,
    ) -> None:  # fmt: skip
        """`purposes` by name: the text that is signed for one with the signature certificate, or nothing for one
        that needs the authentication certificate alone."""
        self._users = users
        self._tenant = tenant
        self._login = login
        self._purposes = purposes
        self._enter = enter
        self._front = front

    def routes(self) -> list[Route]:
        """What the site adds to its own."""
        return [
            Route("/begin/{purpose}", self.begin, methods=["POST"]),
            Route("/answer", self._login.receive, methods=["POST"]),
            Route("/end/{handle}", self.end),
        ]

    def session(self, request: Request) -> str:
        """The name of the browser's session, or nothing."""
        return request.cookies.get(self._tenant, "")

    def leave(self) -> Response:
        """Back to the front page, without a session."""
        response = RedirectResponse("/", 303)
        response.delete_cookie(self._tenant)
        return response

    async def begin(self, request: Request) -> Response:
        """Send the browser to the agent."""
        purpose = request.path_params["purpose"]
        text = self._purposes.get(purpose)
        if text is None:
            return self._front("", 404)
        session = self.session(request) or _new_session()
        kind = Kind.SIGNATURE if text else Kind.AUTHENTICATION
        address = await asyncio.to_thread(self._login.begin, session, purpose, kind, text)
        return self._with_session(RedirectResponse(address, 303), session)

    async def end(self, request: Request) -> Response:
        """Let the user in, or say in plain words why not."""
        session = self.session(request)
        try:
            ended = await asyncio.to_thread(self._login.end, session, request.path_params["handle"])
            if ended.verdict is None:
                return self._trouble(both("取りやめました。", "You have cancelled."), 200)
            verdict = ended.verdict
            if verdict.outcome is not Outcome.GOOD or verdict.certificate is None:
                return self._trouble(explained(verdict), 403)
            user = await asyncio.to_thread(self._users.identify, self._tenant, verdict.certificate)
            # A session that was there before the login may be known to somebody.
            fresh = _new_session()
            if not await asyncio.to_thread(self._enter, fresh, session, user, verdict, ended.purpose):
                words = both("まだ登録がありません。", "You are not registered yet: register first.")
                return self._trouble(words, 404)
        except AnswerRefused as refused:
            return self._trouble(both("受け付けられません。", str(refused)), 400)
        except LinkageConflict as conflict:
            return self._trouble(both("受け付けられません。", str(conflict)), 409)
        except LinkageUnavailable:
            return self._trouble(unknown(), 503)
        return self._with_session(RedirectResponse("/", 303), fresh)

    def _with_session(self, response: Response, session: str) -> Response:
        response.set_cookie(self._tenant, session, httponly=True, samesite="lax")
        return response

    def _trouble(self, words: str, status: int) -> Response:
        return self._front(alert(words), status)


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

    def begin(self, connection: sa.Connection, session: str, former: str, user: str, now: datetime) -> None:
        """Begin one, and end the one that was there before."""
        self.end(connection, former)
        connection.execute(sa.insert(self._table), {"session": session, "user": user, "begun": epoch(now)})

    def end(self, connection: sa.Connection, session: str) -> None:
        """End one."""
        connection.execute(sa.delete(self._table).where(self._table.c.session == session))


def _new_session() -> str:
    return f"{unforeseen(192):048x}"
