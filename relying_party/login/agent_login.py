"""A site's side of a login through the local agent: out with a challenge, back with an answer and a verdict."""

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
    """What came back from the agent does not belong to a login that this browser has begun."""


@dataclass(frozen=True, slots=True)
class StartedLogin:
    """A login on its way: in which browser it was begun, when, and what is to happen afterwards."""

    session: str
    at: datetime
    purpose: Any


@dataclass(frozen=True, slots=True)
class FinishedLogin:
    """A login that has come back. `verdict` is None where the user has cancelled."""

    verdict: Verdict | None
    purpose: Any


class AgentLogin:
    """Logins at one site. The answer comes in by a form from the agent's page, which browsers send without the site's
    cookies: it waits under a handle until the same browser comes for it, or anybody could log somebody else in."""

    def __init__(self, authentication: Authentication, origin: str, agent: str, return_path: str) -> None:
        self._authentication = authentication
        self._origin = origin
        self._agent = agent
        self._return_to = f"{origin}{return_path}"
        self._begun: dict[str, StartedLogin] = {}
        self._answered: dict[str, Mapping[str, str]] = {}

    def begin(
        self, session: str, purpose: Any = None, kind: CertificateType = CertificateType.AUTHENTICATION, text: str = ""
    ) -> str:  # fmt: skip
        """The address to send the browser to."""
        challenge = self._authentication.challenge(self._origin, kind, text)
        state = new_token(160)
        self._drop_old(challenge.issued_at)
        self._begun[state] = StartedLogin(session, challenge.issued_at, purpose)
        return ask_address(self._agent, challenge, self._return_to, state)

    async def receive(self, request: Request) -> StarletteResponse:
        """The endpoint to which the agent's page sends the answer: the browser is let come for it with its cookie."""
        fields = await request.form(max_files=0, max_fields=10, max_part_size=1 << 16)
        try:
            handle = self.answered({name: str(value) for name, value in fields.items()})
        except AnswerRejected as refused:
            return refusal(("受け付けられません。", str(refused)))
        return onward(f"/end/{handle}")

    def answered(self, unverified: Mapping[str, str]) -> str:
        """Keep what the agent's page has sent; answers the handle under which the browser finds it. Raises
        AnswerRejected."""
        state = unverified.get("state", "")
        if state not in self._begun or state in self._answered:
            raise AnswerRejected("no such login was begun here, or it was answered already")
        self._answered[state] = unverified
        return state

    def end(self, session: str, handle: str) -> FinishedLogin:
        """The verdict, for the browser that has begun the login. Raises AnswerRejected."""
        begun, unverified = self._begun.get(handle), self._answered.get(handle)
        if begun is None or unverified is None or begun.session != session:
            raise AnswerRejected("this login was begun in another browser, or has ended already")
        del self._begun[handle], self._answered[handle]
        if "error" in unverified:
            return FinishedLogin(None, begun.purpose)
        try:
            response = Response.from_json(unverified)
        except VerificationFailed as refuted:
            return FinishedLogin(Verdict.refuted(refuted, begun.at), begun.purpose)
        return FinishedLogin(self._authentication.verdict(self._origin, response), begun.purpose)

    def _drop_old(self, now: datetime) -> None:
        for state, begun in list(self._begun.items()):
            if begun.at >= now - self._authentication.lifetime and len(self._begun) < _MOST_OPEN:
                break
            self._begun.pop(state)
            self._answered.pop(state, None)
