"""The local agent: a program on the user's own machine, between a site and the card.

A site redirects the browser to the agent with a challenge. The agent shows which site asks for what, takes the PIN on
its own page, lets the card sign, and sends the browser back with the response. The site never sees the PIN. The signed
bytes contain the site's origin, and the response is sent only to that origin.

Whoever starts a login can send its link to somebody else. The page therefore shows when and in which browser the login
was started. A link that says something else leads to a signature over something else, which the site does not accept.

    GET  /ask?origin=&nonce=&issued_at=&kind=&text=&purpose=&browser=&return_to=&state=     shows the site's request
    POST /ask                                                           sends the PIN, from the agent's own page
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hmac import compare_digest
from typing import Any
from urllib.parse import urlencode

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from kazashi.jpki.profile import CERTIFICATE_TYPES, CertificateType
from kazashi.relying_party.login.card_reader import (
    CardMissing,
    CertificateAbsent,
    MalformedPin,
    PinWrong,
    sign_with_card,
)
from kazashi.relying_party.verify.authentication import Challenge
from kazashi.web.browser import browser_name
from kazashi.web.origin import origin_of
from kazashi.web.pages import PAGES, Bilingual, Pages, refusal, welcome
from kazashi.web.signed_text import check_line, check_text
from kazashi.world.clock import JST
from kazashi.world.rng import new_token

_COOKIE = "kazashi-agent"
_MOST_WAITING = 100
_PAGES = Pages("kazashi.relying_party.login")


class SiteRequestRejected(Exception):
    """A site's request is invalid, or must not be shown to the user."""


@dataclass(frozen=True, slots=True)
class SiteRequest:
    """A site's request: the challenge, the address that the response is sent to, and the site's state."""

    challenge: Challenge
    return_to: str
    state: str


def ask_address(agent: str, challenge: Challenge, return_to: str, state: str) -> str:
    """Return the agent's address to which a site must redirect the browser."""
    return f"{agent}/ask?" + urlencode(
        {"origin": challenge.origin, "nonce": challenge.nonce.hex(), "issued_at": challenge.issued_at.isoformat(),
         "kind": challenge.kind.code, "text": challenge.text, "purpose": challenge.purpose,
         "browser": challenge.browser, "return_to": return_to, "state": state}
    )  # fmt: skip


def read_ask(unverified: Mapping[str, str]) -> SiteRequest:
    """Read a site's request from the parameters. Raises SiteRequestRejected."""
    try:
        origin, return_to = unverified["origin"], unverified["return_to"]
        nonce, state = unverified["nonce"], unverified.get("state", "")
        kind, text = CERTIFICATE_TYPES[unverified.get("kind", "authentication")], unverified.get("text", "")
        purpose, browser = unverified.get("purpose", ""), unverified.get("browser", "")
        issued_at = datetime.fromisoformat(unverified["issued_at"])
        issued_at.astimezone(JST)  # fails for a time that no calendar has in Japan
        check_text(text)
        check_line(purpose)
        check_line(browser)
        if origin_of(origin) != origin or origin_of(return_to) != origin:
            raise SiteRequestRejected("origin and return_to must have the same origin")
    except (KeyError, ValueError, OverflowError) as error:
        raise SiteRequestRejected(f"the request is incomplete or malformed: {error}") from error
    if not re.fullmatch(r"[0-9a-f]{32,128}", nonce) or issued_at.tzinfo is None:
        raise SiteRequestRejected("the challenge's nonce or time is malformed")
    if len(return_to) > 2000 or len(state) > 500:
        raise SiteRequestRejected("the request is too long")
    if (kind is CertificateType.SIGNATURE) != bool(text.strip()):
        raise SiteRequestRejected("a signature needs a text, and a login must not have one")
    challenge = Challenge(origin, bytes.fromhex(nonce), issued_at, kind, text, purpose, browser)
    return SiteRequest(challenge, return_to, state)


@dataclass(frozen=True, slots=True)
class _Texts:
    """The texts of the page in Japanese and English, and the keyboard that a phone shows for the PIN."""

    asks: Bilingual
    tells: Bilingual
    pin: Bilingual
    keys: str


_TEXTS = {
    CertificateType.AUTHENTICATION: _Texts(
        ("このサイトが、カードでのログインを求めています。", "This site asks you to log in with your card."),
        ("氏名や住所は伝わりません。", "The site does not receive your name or address."),
        ("利用者証明用暗証番号(数字4桁)", "PIN of the authentication certificate (4 digits)"),
        "numeric",
    ),
    CertificateType.SIGNATURE: _Texts(
        ("このサイトが、次の文への電子署名を求めています。", "This site asks you to sign this text:"),
        ("氏名・住所・生年月日・性別が伝わります。", "The site receives your name, address, date of birth and sex."),
        ("署名用パスワード(英数字6〜16文字)", "Signature password (6 to 16 letters and digits)"),
        "text",
    ),
}


class Agent:
    """The agent's pages. `own` is the origin of the agent itself."""

    def __init__(self, own: str) -> None:
        self.own = own
        self._waiting: dict[str, tuple[str, SiteRequest]] = {}

    def application(self) -> Starlette:
        """Return the agent as an ASGI application."""
        agent = Starlette(
            routes=[
                Route("/", self.welcome),
                Route("/ask", self.ask, methods=["GET"]),
                Route("/ask", self.answer, methods=["POST"]),
            ]
        )
        PAGES.protect(agent)
        return agent

    async def welcome(self, request: Request) -> Response:
        """Respond with a page that says that the agent is running."""
        try:
            self._check_host(request)
        except SiteRequestRejected as refused:
            return _refused(refused)
        return welcome(("カードの準備ができています。サイトからログインしてください。",
                        "The agent is running. Log in from a site that asks for your card."))  # fmt: skip

    async def ask(self, request: Request) -> Response:
        """Show the site's request and ask for the PIN."""
        try:
            self._check_host(request)
            if request.headers.get("sec-fetch-dest", "document") != "document":
                raise SiteRequestRejected("the page must not be shown in a frame")
            site_request = read_ask(request.query_params)
        except SiteRequestRejected as refused:
            return _refused(refused)
        session = request.cookies.get(_COOKIE, "") or new_token()
        return self._form(site_request, session, *_other_browser(site_request, request))

    async def answer(self, request: Request) -> Response:
        """Receive the PIN, let the card sign, and send the browser back to the site."""
        try:
            self._check_host(request)
            if request.headers.get("origin") != self.own:
                raise SiteRequestRejected("the PIN was not sent from the agent's own page")
            fields = await request.form(max_files=0, max_fields=4, max_part_size=1024)
            session = request.cookies.get(_COOKIE, "")
            bound, site_request = self._waiting.pop(str(fields.get("ticket", "")), ("", None))
            if site_request is None or not session or not compare_digest(bound.encode(), session.encode()):
                raise SiteRequestRejected(
                    "this page was already sent, or is from another session; start again at the site"
                )
        except SiteRequestRejected as refused:
            return _refused(refused)
        if "cancel" in fields:
            return _back(site_request, {"error": "cancelled"})
        try:
            pin = str(fields.get("pin", ""))
            signed = await asyncio.to_thread(
                sign_with_card, site_request.challenge.kind, pin, site_request.challenge.message
            )
        except MalformedPin as error:
            trouble = ("暗証番号の形が違います。", f"This cannot be right: {error}. It was not sent to the card.")
            return self._form(site_request, session, trouble)
        except PinWrong as error:
            return self._form(site_request, session, _wrong(error.left), status=403)
        except CertificateAbsent as error:
            trouble = (
                "このカードには、その電子証明書がありません。",
                f"This cannot be done: {error} [certificate-not-on-card].",
            )
            return self._form(site_request, session, trouble, status=403)
        except CardMissing as error:
            trouble = ("カードをリーダーに置いてください。", f"Put the card on the reader: {error}")
            return self._form(site_request, session, trouble)
        return _back(site_request, {"signature": signed.signature.hex(), "certificate": signed.certificate.hex()})

    def _form(self, site_request: SiteRequest, session: str, *trouble: Bilingual, status: int = 200) -> Response:
        ticket = new_token()
        while len(self._waiting) >= _MOST_WAITING:
            self._waiting.pop(next(iter(self._waiting)))
        self._waiting[ticket] = (session, site_request)
        challenge = site_request.challenge
        # Chromium applies form-action to redirects of the response too, so it includes the site's origin.
        page = _PAGES.page(
            "ask.html", status=status, form_action=f"'self' {challenge.origin}", challenge=challenge,
            begun=challenge.issued_at.astimezone(JST), texts=_TEXTS[challenge.kind], ticket=ticket, trouble=trouble,
        )  # fmt: skip
        page.set_cookie(_COOKIE, session, httponly=True, samesite="strict", path="/ask")
        return page

    def _check_host(self, request: Request) -> None:
        """Reject requests under any other host name, which somebody else's DNS may point here (DNS rebinding). Raises
        SiteRequestRejected."""
        if f"http://{request.headers.get('host', '')}" != self.own:
            raise SiteRequestRejected("the request has another host name than the agent's")


def _other_browser(site_request: SiteRequest, request: Request) -> tuple[Bilingual, ...]:
    """Return a warning if the login was started in another browser than the one that shows the page."""
    own, begun = browser_name(request.headers.get("user-agent", "")), site_request.challenge.browser
    if begun in ("", own):
        return ()
    return ((f"このログインは別のブラウザー（{begun}）で始められました。暗証番号を入力しないでください。",
             f"This login was started in another browser ({begun}). Do not enter your PIN: only the browser in which a"
             " login was started can finish it."),)  # fmt: skip


def _wrong(left: int) -> Bilingual:
    if not left:
        return ("暗証番号がロックされています。市区町村の窓口で再設定してください。",
                "The PIN is blocked. Reset it at the municipal office.")  # fmt: skip
    return f"暗証番号が違います。あと{left}回でロックされます。", f"The PIN is wrong. Retries left: {left}."


def _back(site_request: SiteRequest, answer: dict[str, Any]) -> Response:
    """Send the browser back to the site with a form that submits itself: a response in a URL would end up in logs."""
    fields = {"nonce": site_request.challenge.nonce.hex(), "state": site_request.state, **answer}
    return _PAGES.page(
        "back.html", form_action=site_request.challenge.origin, return_to=site_request.return_to, fields=fields
    )


def _refused(refused: SiteRequestRejected) -> Response:
    return refusal(("このお願いは受けられません。", f"The request was rejected: {refused}"))
