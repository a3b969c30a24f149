"""The site's side of a login through the local agent: it sends a challenge and gets a response and a verdict.

A form on the agent's page posts the response, and browsers send such a form without the site's cookies. The response is
therefore stored under a handle until the browser that started the login requests it. The handle is made only then, and
only the browser that has brought the response learns it: whoever started the login in another browser, and sent its
link to the person who typed the PIN, cannot guess it. Each step can be done once. If a step does not agree with the one
before, the login has ended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hmac import compare_digest
from threading import Lock
from typing import Any

from starlette.requests import Request
from starlette.responses import Response as StarletteResponse

from kazashi.jpki.profile import CertificateType
from kazashi.relying_party.login.agent import ask_address
from kazashi.relying_party.verify.authentication import Authentication, Response
from kazashi.relying_party.verify.finding import VerificationFailed
from kazashi.relying_party.verify.verdict import Verdict
from kazashi.web.browser import browser_name
from kazashi.web.guard import bounded
from kazashi.web.pages import onward, refusal
from kazashi.world.rng import new_token

MOST_OPEN = 400
"""The number of logins that one site has open at a time. One more, and the oldest has ended."""

MOST_FROM_ONE_ADDRESS = 100
"""The same for one network address, so that nobody ends the logins of others by starting many."""

MAX_ANSWER = 16 << 10
"""The maximum size of the agent's response, in bytes."""


class AnswerRejected(Exception):
    """The agent's response does not belong to a login that this browser started. The login has ended."""


@dataclass(frozen=True, slots=True)
class Start:
    """How a login was started: its purpose in the words of the site, the browser's name, and its network address."""

    purpose: str = ""
    browser: str = ""
    address: str = ""

    @classmethod
    def of(cls, request: Request, purpose: str = "") -> Start:
        """Return how the login was started that a request asks for."""
        address = request.client.host if request.client else ""
        return cls(purpose, browser_name(request.headers.get("user-agent", "")), address)


@dataclass(frozen=True, slots=True)
class StartedLogin:
    """A login that has not finished: the browser session that started it, when and from which address, its challenge's
    nonce, and the purpose it was started for."""

    session: str
    at: datetime
    address: str
    nonce: bytes
    purpose: Any


@dataclass(frozen=True, slots=True)
class AnsweredLogin:
    """A login whose response has arrived. `response` is None if the user cancelled it."""

    started: StartedLogin
    response: Response | VerificationFailed | None


@dataclass(frozen=True, slots=True)
class FinishedLogin:
    """A login that has finished. `verdict` is None if the user cancelled it."""

    verdict: Verdict | None
    purpose: Any


def session_of(request: Request, cookie: str) -> str:
    """Return the session in a cookie, or an empty string. Sites give out no session of more than 64 characters."""
    value = request.cookies.get(cookie, "")
    return value if len(value) <= 64 else ""


def looks_ahead(request: Request) -> bool:
    """Whether a browser requests a page that its user may never see. It must not use a login up."""
    return "prefetch" in request.headers.get("sec-purpose", "")


class AgentLogin:
    """Logins at one site."""

    def __init__(self, authentication: Authentication, origin: str, agent: str, return_path: str) -> None:
        self._authentication = authentication
        self._origin = origin
        self._agent = agent
        self._return_to = f"{origin}{return_path}"
        # The key of a login is its state until the response has arrived, and then its handle.
        self._open: dict[str, StartedLogin | AnsweredLogin] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        """Return the number of logins that have not finished."""
        return len(self._open)

    def begin(
        self, session: str, purpose: Any = None, kind: CertificateType = CertificateType.AUTHENTICATION, text: str = "",
        start: Start = Start(),
    ) -> str:  # fmt: skip
        """Start a login and return the agent's address, to which the browser must be redirected."""
        challenge = self._authentication.challenge(
            self._origin, kind, text, purpose=start.purpose, browser=start.browser
        )
        state = new_token(160)
        self.sweep()
        started = StartedLogin(session, challenge.issued_at, start.address, challenge.nonce, purpose)
        with self._lock:
            self._make_room(start.address)
            self._open[state] = started
        return ask_address(self._agent, challenge, self._return_to, state)

    async def receive(self, request: Request) -> StarletteResponse:
        """Receive the response from the agent's page and forward the browser to `/end/`, where it sends its cookie."""
        request = Request(request.scope, bounded(request.scope, request.receive, MAX_ANSWER))
        fields = await request.form(max_files=0, max_fields=5, max_part_size=MAX_ANSWER)
        try:
            handle = self.answered({name: str(value) for name, value in fields.items()})
        except AnswerRejected as refused:
            return refusal(("受け付けられません。", str(refused)))
        return onward(f"/end/{handle}")

    def answered(self, unverified: Mapping[str, str]) -> str:
        """Store the response from the agent's page and return its handle. Raises AnswerRejected."""
        response: Response | VerificationFailed | None = None
        if "error" not in unverified:
            try:
                response = Response.from_json(unverified)
            except VerificationFailed as failure:
                response = failure
        handle = new_token(160)
        with self._lock:
            started = self._open.pop(unverified.get("state", ""), None)
            if not isinstance(started, StartedLogin):
                raise AnswerRejected("this site has not started such a login, or it has ended; start again at the site")
            self._open[handle] = AnsweredLogin(started, response)
        return handle

    def end(self, session: str, handle: str) -> FinishedLogin:
        """Finish a login for the browser that started it. Raises AnswerRejected."""
        with self._lock:
            answered = self._open.pop(handle, None)
        if not isinstance(answered, AnsweredLogin):
            if answered is not None:
                self._drop(answered)
            raise AnswerRejected("this login has already ended; start again at the site")
        started, response = answered.started, answered.response
        if not session or not compare_digest(started.session.encode(), session.encode()):
            self._drop(answered)
            raise AnswerRejected(
                "this login was started in another browser, and has ended. If somebody has sent you its link, they"
                " tried to log in as you. Nobody was logged in."
            )
        if response is None:
            self._drop(answered)
            return FinishedLogin(None, started.purpose)
        if isinstance(response, VerificationFailed):
            return FinishedLogin(Verdict.from_failure(response, started.at), started.purpose)
        return FinishedLogin(self._authentication.verdict(self._origin, response), started.purpose)

    def sweep(self) -> None:
        """End the logins that are too old for a response."""
        self._authentication.sweep()
        oldest = self._authentication.oldest()
        with self._lock:
            self._end([key for key, login in self._open.items() if _start_of(login).at < oldest])

    def _make_room(self, address: str) -> None:
        """End the oldest logins if there are too many with a new one from an address."""
        same = [key for key, login in self._open.items() if _start_of(login).address == address]
        self._end(same[: max(0, len(same) - MOST_FROM_ONE_ADDRESS + 1)])
        if len(self._open) >= MOST_OPEN:
            self._end([next(iter(self._open))])

    def _end(self, keys: Sequence[str]) -> None:
        for key in keys:
            self._drop(self._open.pop(key))

    def _drop(self, login: StartedLogin | AnsweredLogin) -> None:
        """Use up the challenge of a login that has ended without a verdict."""
        self._authentication.challenges.take(_start_of(login).nonce)


def _start_of(login: StartedLogin | AnsweredLogin) -> StartedLogin:
    return login.started if isinstance(login, AnsweredLogin) else login
