"""The page at a clinic's desk: one address, for the browser beside the reader.

GET  /         the ways to verify the holder
POST /check    how=pin, pin; or how=face, compared; and register=yes to register the card    ->  the result
"""

from __future__ import annotations

import asyncio
from datetime import date

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from kazashi.medical_insurance.desk_words import FACE_NOT_COMPARED, LABELS, STATES, TROUBLES
from kazashi.medical_insurance.eligibility import EligibilityResult, EligibilityState, HolderCheck
from kazashi.medical_insurance.entitlement import Entitlement
from kazashi.medical_insurance.terminal import ClinicTerminal, Troubled
from kazashi.web.language import LANGUAGES, PARAMETER, language_of
from kazashi.web.pages import PAGES, Pages, refusal

_PAGES = Pages("kazashi.medical_insurance")


class DeskPages:
    """The pages of a clinic's terminal. `origin` is the page's own, such as http://localhost:PORT."""

    def __init__(self, terminal: ClinicTerminal, clinic: str, origin: str) -> None:
        self._terminal = terminal
        self._clinic = clinic
        self._origin = origin

    def application(self) -> Starlette:
        """Return the pages as an ASGI application."""
        desk = Starlette(routes=[Route("/", self.front), Route("/check", self.check, methods=["POST"])])
        PAGES.protect(desk)
        return desk

    async def front(self, request: Request) -> Response:
        """Show the ways to verify the holder."""
        return self._refused(request) or self._page(request)

    async def check(self, request: Request) -> Response:
        """Check the card on the reader, or the next one that is put there, and show the result."""
        refused = self._refused(request, posted=True)
        if refused is not None:
            return refused
        fields = await request.form(max_files=0, max_fields=4, max_part_size=1024)
        how = HolderCheck.FACE if fields.get("how") == "face" else HolderCheck.PIN
        if how is HolderCheck.FACE and fields.get("compared") != "yes":
            return self._page(request, sentence=FACE_NOT_COMPARED, good=False)
        pin, register = str(fields.get("pin", "")), fields.get("register") == "yes"
        outcome = await asyncio.to_thread(self._terminal.check, how, pin, register=register)
        if isinstance(outcome, Troubled):
            japanese, english = (text.format(left=outcome.left) for text in TROUBLES[outcome.trouble])
            return self._page(request, outcome.trouble.value, (japanese, english), good=False, details=outcome.words)
        return self._result(request, outcome)

    def _result(self, request: Request, result: EligibilityResult) -> Response:
        return self._page(
            request, result.state.value, STATES[result.state], good=result.state is EligibilityState.VALID,
            entitlement=result.entitlement, details=result.words,
            offers_registration=result.state is EligibilityState.NOT_REGISTERED,
        )  # fmt: skip

    def _page(
        self, request: Request, state: str = "", sentence: tuple[str, str] | None = None, *, good: bool = True,
        entitlement: Entitlement | None = None, details: str = "", offers_registration: bool = False,
    ) -> Response:  # fmt: skip
        language = language_of(request)
        place = LANGUAGES.index(language)
        labels = {name: texts[place] for name, texts in LABELS.items()}
        page = _PAGES.page(
            "desk.html", lang=language, other=LANGUAGES[1 - place], labels=labels, clinic=self._clinic, state=state,
            sentence=sentence[place] if sentence else "", good=good, entitlement=entitlement, details=details,
            validity=_validity(entitlement, labels) if entitlement else "", offers_registration=offers_registration,
        )  # fmt: skip
        if request.query_params.get(PARAMETER) == language:
            page.set_cookie(PARAMETER, language, samesite="strict")
        return page

    def _refused(self, request: Request, *, posted: bool = False) -> Response | None:
        """Return a refusal of a request under another host name (DNS rebinding), in a frame, or of another page's
        form; None if the request is the page's own."""
        own = f"http://{request.headers.get('host', '')}" == self._origin
        framed = request.headers.get("sec-fetch-dest", "document") != "document"
        if own and not framed and (not posted or request.headers.get("origin") == self._origin):
            return None
        return refusal(("このお願いは受けられません。", "The request does not come from the desk's own page."))


def _validity(entitlement: Entitlement, labels: dict[str, str]) -> str:
    begins, ends = entitlement.begins, entitlement.ends
    return labels["from"].format(_day(begins)) if ends is None else labels["until"].format(_day(begins), _day(ends))


def _day(day: date) -> str:
    return day.isoformat()
