"""The portal's pages: login with the card, records, own information, the access log, and what is not shown."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from kazashi.jpki.profile import CertificateType, Medium
from kazashi.jpki.serial_number import serial_text
from kazashi.provision_network.asking import RequestStage
from kazashi.provision_network.law.tables import printed_table
from kazashi.provision_network.not_shown import not_shown
from kazashi.provision_network.portal import Look, OwnInformation, Portal
from kazashi.provision_network.portal_store import SESSIONS
from kazashi.provision_network.terms import NetworkRejected, ProvisionRecord, RequestOutcome
from kazashi.relying_party.login.entrance import NOT_THIS_MEDIUM, CardSite, Entrance
from kazashi.relying_party.platform.platform import User
from kazashi.relying_party.verify.certificate import HolderCertificate
from kazashi.relying_party.verify.linkage import LinkageUnavailable
from kazashi.relying_party.verify.verdict import Verdict
from kazashi.relying_party.verify.verification import Verifier
from kazashi.web.pages import Bilingual, Pages
from kazashi.world.clock import today
from kazashi.world.home import World
from kazashi.world.worker import Worker

_SET_UP, _LOGIN, _JUKI_CARD = "setup", "login", "juki-card"
_MOST_LOOKS = 10
_PAGES = Pages("kazashi.provision_network")

_OUTCOMES = {
    RequestOutcome.NOTIFIED: ("照会中", "requested"),
    RequestOutcome.PROVIDED: ("提供済み", "provided"),
    RequestOutcome.HELD: ("職員が確認中", "on hold: a person is checking it"),
    RequestOutcome.DENIED: ("提供せず", "denied"),
}
_STAGES = {
    RequestStage.SENT: ("照会中です。", "Requested. The answer appears here when it arrives."),
    RequestStage.ACCEPTED: ("照会中です。", "Requested. The answer appears here when it arrives."),
    RequestStage.HELD: ("職員が確認中です。", "On hold: a person is checking it."),
    RequestStage.REFUSED: ("照会できません。", "The request was refused."),
    RequestStage.DISPUTED: ("回答に誤りがありました。", "The answer did not match the request."),
}


class PortalPages(CardSite):
    """The portal for browsers. `origin` is the portal's own, and `agent` the local agent's, as seen by a user's
    browser."""

    tenant = "portal"
    title = ("マイナポータル", "My own page")
    entrances = (
        Entrance(
            _LOGIN, ("カードでログインします（数字4桁）。", "Log in with your card (4 digits)."), "ログイン Log in"
        ),
        Entrance(
            _SET_UP, ("はじめての方（数字4桁）。", "First visit? Set up your page (4 digits)."), "初期設定 Set up"
        ),
        Entrance(
            _JUKI_CARD,
            ("住基カードの方（署名用パスワード）。", "With a Juki card (the password of its signature certificate)."),
            "住基カード Juki card",
            "住民基本台帳カードの署名用電子証明書でマイナポータルにログインします。\n"
            "I log in to My own page with the signature certificate on my Juki card.",
        ),
    )

    media = frozenset(Medium)

    def __init__(
        self, world: World, portal: Portal, verifier: Verifier, runner: Worker, origin: str, agent: str
    ) -> None:
        self._portal = portal
        self._clock = world.clock
        self._runner = runner
        super().__init__(world, portal.store, SESSIONS, _BySerial(), verifier, origin, agent)

    def routes(self) -> list[Route]:
        """The portal's own route: the request for own information."""
        return [Route("/own", self.form(self._ask), methods=["POST"])]

    def home(self, person: str) -> Response:
        """Return the page of a folder."""
        return self._folder(person)

    def user_of(self, verdict: Verdict) -> User | Response:
        """Return the user for a good verdict, or the page that explains why nobody is logged in.

        A signature certificate logs in from a Juki card only.
        """
        certificate = verdict.certificate
        if certificate is not None and (certificate.kind is CertificateType.SIGNATURE) != (
            certificate.medium is Medium.JUKI
        ):
            return self.front(NOT_THIS_MEDIUM, status=403)
        return super().user_of(verdict)

    def admit(self, user: User, verdict: Verdict, purpose: str) -> str | None:
        """Return the folder of the card's holder, or set it up; None if they have no folder."""
        assert verdict.certificate is not None
        serial = verdict.certificate.serial
        try:
            if verdict.certificate.medium is Medium.JUKI:
                return self._portal.enter_with_juki_card(serial)
            return self._portal.set_up(serial) if purpose == _SET_UP else self._portal.folder_of(serial)
        except NetworkRejected as refused:
            raise LinkageUnavailable(str(refused)) from refused

    def _ask(self, folder: str, given: Mapping[str, str]) -> Response:
        try:
            self._portal.ask(folder, given.get("provider", ""), given.get("item", ""))
        except (NetworkRejected, ValueError) as refused:
            return self._folder(folder, ("照会できません。", str(refused)), status=400)
        self._runner.call()
        return RedirectResponse("/", 303)

    def _folder(self, folder: str, *trouble: Bilingual, status: int = 200) -> Response:
        own: list[OwnInformation] = []
        records: list[ProvisionRecord] = []
        looks: list[Look] = []
        unavailable: list[Bilingual] = []
        try:
            own = self._portal.own_information(folder, folder)
            looks = self._portal.looks_elsewhere(folder)
            records = self._portal.records(folder, folder)
        except NetworkRejected as refused:
            unavailable = [("表示できません。", str(refused))]
        except LinkageUnavailable as error:
            unavailable = [("いまは表示できません。", str(error))]
        looks = sorted([*looks, *self._portal.looks(folder)], key=lambda look: look.at)
        return _PAGES.page(
            "my_page.html", status=status, trouble=trouble, own=own, records=records, unavailable=unavailable,
            looks=looks[-_MOST_LOOKS:], providers=self._portal.providers(),
            items=sorted({row.purpose.item for row in printed_table()}), outcomes=_OUTCOMES, stages=_STAGES,
            not_shown=not_shown(today(self._clock)),
        )  # fmt: skip


class _BySerial:
    """Identifies users only by the serial numbers of their certificates."""

    def identify(self, tenant: str, certificate: HolderCertificate) -> User:
        """Return the holder as a user, named by the certificate's serial number."""
        return User(serial_text(certificate.serial), new=False)
