"""The local agent: a program on the user's own machine that stands between a site and the card.

A site sends the browser here with a challenge. The agent shows who asks and for what, takes the PIN on a page of its
own, has the card sign, and sends the browser back with the answer. The site never sees the PIN; what is signed names
the site's origin, and the answer goes there and nowhere else.

    GET  /ask?origin=&nonce=&issued_at=&kind=&text=&return_to=&state=     shows who asks
    POST /ask                                                            the PIN, from the agent's own page
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from kazashi.jpki.profile import CERTIFICATE_TYPES, CertificateType
from kazashi.relying_party.login.card_reader import CardMissing, MalformedPin, PinWrong, sign_with_card
from kazashi.relying_party.verify.authentication import Challenge
from kazashi.web.origin import MAX_TEXT, origin_of
from kazashi.web.pages import Bilingual, Pages, refusal, welcome
from kazashi.world.rng import new_token

_COOKIE = "kazashi-agent"
_MOST_WAITING = 100
_PAGES = Pages("kazashi.relying_party.login")


class SiteRequestRejected(Exception):
    """A site's request makes no sense, or is not one that a user should ever see."""


@dataclass(frozen=True, slots=True)
class SiteRequest:
    """What a site asks for, and where the answer goes."""

    challenge: Challenge
    return_to: str
    state: str


def ask_address(agent: str, challenge: Challenge, return_to: str, state: str) -> str:
    """Where a site sends the browser."""
    return f"{agent}/ask?" + urlencode(
        {"origin": challenge.origin, "nonce": challenge.nonce.hex(), "issued_at": challenge.issued_at.isoformat(),
         "kind": challenge.kind.code, "text": challenge.text, "return_to": return_to, "state": state}
    )  # fmt: skip


def read_ask(unverified: Mapping[str, str]) -> SiteRequest:
    """A site's request. Raises SiteRequestRejected."""
    try:
        origin, return_to = unverified["origin"], unverified["return_to"]
        nonce, state = unverified["nonce"], unverified.get("state", "")
        kind, text = CERTIFICATE_TYPES[unverified.get("kind", "authentication")], unverified.get("text", "")
        issued_at = datetime.fromisoformat(unverified["issued_at"])
        if origin_of(origin) != origin or origin_of(return_to) != origin:
            raise SiteRequestRejected("the answer would not go back to the site that asks")
    except (KeyError, ValueError) as error:
        raise SiteRequestRejected(f"the request is incomplete or malformed: {error}") from error
    if not re.fullmatch(r"[0-9a-f]{32,128}", nonce) or issued_at.tzinfo is None:
        raise SiteRequestRejected("the challenge is not one")
    if len(return_to) > 2000 or len(state) > 500 or len(text) > MAX_TEXT:
        raise SiteRequestRejected("the request is too long")
    if (kind is CertificateType.SIGNATURE) != bool(text.strip()):
        raise SiteRequestRejected("a signature is over a text that can be read, and a login is over none")
    return SiteRequest(Challenge(origin, bytes.fromhex(nonce), issued_at, kind, text), return_to, state)


@dataclass(frozen=True, slots=True)
class _Words:
    """What the page says, in Japanese and English, and the keys that a phone shows for the PIN."""

    asks: Bilingual
    tells: Bilingual
    pin: Bilingual
    keys: str


_WORDS = {
    CertificateType.AUTHENTICATION: _Words(
        ("このサイトが、カードでのログインを求めています。", "This site asks you to log in with your card."),
        ("氏名や住所は伝わりません。", "The site is not told your name or address."),
        ("利用者証明用暗証番号(数字4桁)", "PIN of the authentication certificate (4 digits)"),
        "numeric",
    ),
    CertificateType.SIGNATURE: _Words(
        ("このサイトが、次の文への電子署名を求めています。", "This site asks you to sign this text:"),
        ("氏名・住所・生年月日・性別が伝わります。", "The site is told your name, address, birth date and sex."),
        ("署名用パスワード(英数字6〜16文字)", "Signature password (6 to 16 letters and digits)"),
        "text",
    ),
}


class Agent:
    """The agent's pages. `own` is the agent's own origin."""

    def __init__(self, own: str) -> None:
        self.own = own
        self._waiting: dict[str, tuple[str, SiteRequest]] = {}

    def application(self) -> Starlette:
        """The agent as an ASGI application."""
        return Starlette(
            routes=[
                Route("/", self.welcome),
                Route("/ask", self.ask, methods=["GET"]),
                Route("/ask", self.answer, methods=["POST"]),
            ]
        )

    async def welcome(self, request: Request) -> Response:
        """Says that it runs."""
        self._check_host(request)
        return welcome(("カードの準備ができています。サイトからログインしてください。",
                        "The agent runs. Log in from a site that asks for your card."))  # fmt: skip

    async def ask(self, request: Request) -> Response:
        """Show who asks, and ask for the PIN."""
        try:
            self._check_host(request)
            if request.headers.get("sec-fetch-dest", "document") != "document":
                raise SiteRequestRejected("a page in a frame may not ask for a PIN")
            asked = read_ask(request.query_params)
        except SiteRequestRejected as refused:
            return _refused(refused)
        session = request.cookies.get(_COOKIE, "") or new_token()
        return self._form(asked, session)

    async def answer(self, request: Request) -> Response:
        """Take the PIN, sign, and send the browser back."""
        try:
            self._check_host(request)
            if request.headers.get("origin") != self.own:
                raise SiteRequestRejected("the PIN was not sent from the agent's own page")
            fields = await request.form(max_files=0, max_fields=10, max_part_size=1024)
            session = request.cookies.get(_COOKIE, "")
            bound, asked = self._waiting.pop(str(fields.get("ticket", "")), ("", None))
            if asked is None or not session or bound != session:
                raise SiteRequestRejected(
                    "this page was sent already, or is from another session; begin again at the site"
                )
        except SiteRequestRejected as refused:
            return _refused(refused)
        if "cancel" in fields:
            return _back(asked, {"error": "cancelled"})
        try:
            pin = str(fields.get("pin", ""))
            signed = await asyncio.to_thread(sign_with_card, asked.challenge.kind, pin, asked.challenge.message)
        except MalformedPin as error:
            words = ("暗証番号の形が違います。", f"This cannot be the PIN ({error}); the card was not asked.")
            return self._form(asked, session, words)
        except PinWrong as error:
            return self._form(asked, session, _wrong(error.left), status=403)
        except CardMissing as error:
            words = ("カードをリーダーに置いてください。", f"Put the card on the reader: {error}")
            return self._form(asked, session, words)
        return _back(asked, {"signature": signed.signature.hex(), "certificate": signed.certificate.hex()})

    def _form(self, asked: SiteRequest, session: str, *trouble: Bilingual, status: int = 200) -> Response:
        ticket = new_token()
        while len(self._waiting) >= _MOST_WAITING:
            self._waiting.pop(next(iter(self._waiting)))
        self._waiting[ticket] = (session, asked)
        challenge = asked.challenge
        # Chromium holds the answer's redirects against form-action too, so the site's origin is in it.
        found = _PAGES.page(
            "ask.html", status=status, form_action=f"'self' {challenge.origin}", challenge=challenge,
            words=_WORDS[challenge.kind], ticket=ticket, trouble=trouble,
        )  # fmt: skip
        found.set_cookie(_COOKIE, session, httponly=True, samesite="strict", path="/ask")
        return found

    def _check_host(self, request: Request) -> None:
        """A name that somebody else's server made point here is not the agent's."""
        if f"http://{request.headers.get('host', '')}" != self.own:
            raise SiteRequestRejected("the agent is asked under another name than its own")


def _wrong(left: int) -> Bilingual:
    if not left:
        return ("暗証番号がロックされています。市区町村の窓口で再設定してください。",
                "The PIN is blocked. The municipal office can set a new one.")  # fmt: skip
    return f"暗証番号が違います。あと{left}回でロックされます。", f"The PIN is wrong. Tries left: {left}."


def _back(asked: SiteRequest, answer: dict[str, Any]) -> Response:
    """Send the browser back to the site, by a form that sends itself: an answer in an address would be in logs."""
    fields = {"nonce": asked.challenge.nonce.hex(), "state": asked.state, **answer}
    return _PAGES.page("back.html", form_action=asked.challenge.origin, return_to=asked.return_to, fields=fields)


def _refused(refused: SiteRequestRejected) -> Response:
    return refusal(("このお願いは受けられません。", f"Refused: {refused}"))
