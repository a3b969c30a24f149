"""The site's side of a login through the local agent: it sends a challenge and gets a response and a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response as StarletteResponse

from kazashi.jpki.profile import CertificateType
from kazashi.relying_party.login.agent import ask_address
from kazashi.relying_party.verify.authentication import Authentication, Response
from kazashi.relying_party.verify.finding import VerificationFailed
from kazashi.relying_party.verify.verdict import Verdict
from kazashi.web.pages import onward, refusal
from kazashi.world.rng import new_token

_MOST_OPEN = 10_000


class AnswerRejected(Exception):
    """The agent's response does not belong to a login that this browser started."""


@dataclass(frozen=True, slots=True)
class StartedLogin:
    """A login that has not finished: the browser session that started it, when, and the purpose it was started for."""

    session: str
    at: datetime
    purpose: Any


@dataclass(frozen=True, slots=True)
class FinishedLogin:
    """A login that has finished. `verdict` is None if the user cancelled it."""

    verdict: Verdict | None
    purpose: Any


class AgentLogin:
    """Logins at one site.

    A form on the agent's page posts the response, and browsers send such a form without the site's cookies. The
    response is therefore stored under a handle until the browser that started the login requests it. Otherwise anybody
    could log somebody else in.
    """

    def __init__(self, authentication: Authentication, origin: str, agent: str, return_path: str) -> None:
        self._authentication = authentication
        self._origin = origin
        self._agent = agent
        self._return_to = f"{origin}{return_path}"
        self._started: dict[str, StartedLogin] = {}
        self._responses: dict[str, Mapping[str, str]] = {}

    def begin(
        self, session: str, purpose: Any = None, kind: CertificateType = CertificateType.AUTHENTICATION, text: str = ""
    ) -> str:  # fmt: skip
        """Start a login and return the agent's address, to which the browser must be redirected."""
        challenge = self._authentication.challenge(self._origin, kind, text)
        state = new_token(160)
        self._drop_old(challenge.issued_at)
        self._started[state] = StartedLogin(session, challenge.issued_at, purpose)
        return ask_address(self._agent, challenge, self._return_to, state)

    async def receive(self, request: Request) -> StarletteResponse:
        """Receive the response from the agent's page and forward the browser to `/end/`, where it sends its cookie."""
        fields = await request.form(max_files=0, max_fields=10, max_part_size=1 << 16)
        try:
            handle = self.answered({name: str(value) for name, value in fields.items()})
        except AnswerRejected as refused:
            return refusal(("受け付けられません。", str(refused)))
        return onward(f"/end/{handle}")

    def answered(self, unverified: Mapping[str, str]) -> str:
        """Store the response from the agent's page and return its handle. Raises AnswerRejected."""
        state = unverified.get("state", "")
        if state not in self._started or state in self._responses:
            raise AnswerRejected("this site has not started such a login, or it already has a response")
        self._responses[state] = unverified
        return state

    def end(self, session: str, handle: str) -> FinishedLogin:
        """Finish a login for the browser that started it. Raises AnswerRejected."""
        started, unverified = self._started.get(handle), self._responses.get(handle)
        if started is None or unverified is None or started.session != session:
            raise AnswerRejected("this login was started in another browser, or has already finished")
        del self._started[handle], self._responses[handle]
        if "error" in unverified:
            return FinishedLogin(None, started.purpose)
        try:
            response = Response.from_json(unverified)
        except VerificationFailed as failure:
            return FinishedLogin(Verdict.from_failure(failure, started.at), started.purpose)
        return FinishedLogin(self._authentication.verdict(self._origin, response), started.purpose)

    def _drop_old(self, now: datetime) -> None:
        for state, started in list(self._started.items()):
            if started.at >= now - self._authentication.lifetime and len(self._started) < _MOST_OPEN:
                break
            self._started.pop(state)
            self._responses.pop(state, None)
