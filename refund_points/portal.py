"""The refund portal: people log in with the card, see their points of each year, and apply for a refund to their own
bank account.

Registration needs the signature certificate, which contains the person's name. After that, the authentication
certificate is enough. The platform operator identifies a person across successive certificates, so the points stay
with a renewed card.
"""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from kazashi.refund_points.refunds import CAP, ApplicationState, RefundReason, RefundRejected, Refunds
from kazashi.refund_points.zengin import Account, PaymentRejected
from kazashi.relying_party.login.entrance import CardSite, Entrance
from kazashi.relying_party.login.sessions import Sessions
from kazashi.relying_party.platform.platform import Platform, User
from kazashi.relying_party.verify.linkage import Linkage, authentication_serials
from kazashi.relying_party.verify.verdict import Verdict
from kazashi.relying_party.verify.verification import Verifier
from kazashi.web.pages import Bilingual, Pages
from kazashi.world.event_log import event_table
from kazashi.world.home import World

ACTOR = "refund_portal"
"""The name of the portal's store."""

TENANT = "refund-portal"
_REGISTER, _LOGIN = "register", "login"
_TEXT = "還付ポイントの還付を受けるため登録します。\nI register to have my refund points refunded."
_PAGES = Pages("kazashi.refund_points")

_STATES = {
    ApplicationState.APPLIED: ("申請済み", "applied for"),
    ApplicationState.IN_FILE: ("銀行で手続中", "with the bank"),
    ApplicationState.PAID: ("還付済み", "paid"),
    ApplicationState.RETURNED: ("振込不能・ポイントに戻しました", "the bank could not pay; the points are back"),
}


class RefundPortal(CardSite):
    """The portal's pages. `origin` is the portal's own, and `agent` the local agent's, as seen by a user's browser."""

    tenant = TENANT
    title = ("還付ポイント", "Refund points")
    entrances = (
        Entrance(_LOGIN, ("カードでログインします（数字4桁）。", "Log in with your card (4 digits)."),
                 "ログイン Log in"),
        Entrance(_REGISTER, ("はじめての方、氏名や住所が変わった方（パスワード）。",
                             "First visit, or another name or address? (password)"), "登録 Register", _TEXT),
    )  # fmt: skip

    def __init__(
        self, world: World, refunds: Refunds, verifier: Verifier, linkage: Linkage, origin: str, agent: str
    ) -> None:
        self._refunds = refunds
        self._linkage = linkage
        metadata = sa.MetaData()
        sessions = Sessions(metadata)
        _, self._log = event_table(metadata)
        store = world.store(ACTOR, metadata, [sessions.migrate])
        super().__init__(world, store, sessions, Platform(world, linkage), verifier, origin, agent)

    def routes(self) -> list[Route]:
        """The portal's own route: the application for a refund."""
        return [Route("/apply", self.form(self._apply), methods=["POST"])]

    def home(self, person: str) -> Response:
        """Return the page with the points of a person who is logged in."""
        return self._points(person, {})

    def admit(self, user: User, verdict: Verdict, purpose: str) -> str | None:
        """Register the user or log them in, and assign them the points accumulated under their codes. Returns their
        identifier, or None if they have not registered."""
        assert verdict.certificate is not None
        certificate = verdict.certificate
        serials = authentication_serials(self._linkage, certificate.kind, certificate.serial)
        if purpose == _REGISTER and verdict.certificate.attributes is not None:
            self._refunds.register(user.identifier, verdict.certificate.attributes)
        if not self._refunds.log_in(user.identifier, serials):
            return None
        with self.store.transaction() as connection:
            self._log(connection, self._world.clock.now(), purpose, {"user": user.identifier})
        return user.identifier

    def _apply(self, person: str, given: Mapping[str, str]) -> Response:
        try:
            account = Account(*(given.get(name, "") for name in ("bank", "branch", "kind", "number", "holder")))
            if not (year := given.get("year", "")).isdecimal() or len(year) > 4:
                raise RefundRejected(RefundReason.NO_YEAR, "choose the year of the refund")
            self._refunds.apply(person, int(year), account, given.get("name", ""))
        except (RefundRejected, PaymentRejected) as refused:
            return self._points(person, given, ("受け付けられません。", str(refused)), status=400)
        return RedirectResponse("/", 303)  # so that reloading the page does not apply again

    def _points(self, person: str, given: Mapping[str, str], *trouble: Bilingual, status: int = 200) -> Response:
        """Return the points page; `given` fills its form with the values of the last request."""
        return _PAGES.page(
            "points.html", status=status, trouble=trouble, given=given, name=self._refunds.name(person) or "",
            years=self._refunds.years(person), applications=self._refunds.applications(person), cap=CAP, states=_STATES,
        )  # fmt: skip
