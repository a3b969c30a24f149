"""The portal's pages: in with the card, one's records, one's own information, who looked, and what is not shown."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from kazashi.provision_network.interface_system import RequestStage
from kazashi.provision_network.portal import Portal
from kazashi.provision_network.rules import table_of_affairs
from kazashi.provision_network.terms import NetworkRejected, ProvisionRecord, RequestOutcome
from kazashi.relying_party.login.entrance import CardSite, Entrance, Sessions
from kazashi.relying_party.platform.platform import User
from kazashi.relying_party.verify.certificate import HolderCertificate
from kazashi.relying_party.verify.linkage import LinkageUnavailable
from kazashi.relying_party.verify.verdict import Verdict
from kazashi.relying_party.verify.verification import Verifier
from kazashi.web.pages import Bilingual, Pages
from kazashi.world.home import World
from kazashi.world.worker import Worker

_SET_UP, _LOGIN = "setup", "login"
_MOST_LOOKS = 10
_PAGES = Pages("kazashi.provision_network")

_OUTCOMES = {
    RequestOutcome.NOTIFIED: ("照会中", "asked"),
    RequestOutcome.PROVIDED: ("提供済み", "provided"),
    RequestOutcome.HELD: ("職員が確認中", "held: a person looks at it"),
    RequestOutcome.DENIED: ("提供せず", "denied"),
}
_STAGES = {
    RequestStage.SENT: ("照会中です。", "Asked; the page shows it once it has come."),
    RequestStage.ACCEPTED: ("照会中です。", "Asked; the page shows it once it has come."),
    RequestStage.REFUSED: ("照会できません。", "It was refused."),
    RequestStage.DISPUTED: ("回答に誤りがありました。", "The answer was to something else."),
}
NOT_SHOWN = (
    ("提供された情報の内容", "what was said in an exchange: only that it was asked, by whom, when, and for which item"),
    ("どのように突合されたか", "how records were matched with each other inside a body"),
    ("情報提供ネットワークシステム以外の提供（番号法19条7号・8号以外）",
     "what was given past the network: between tax offices, insurers, or under a contract"),
    ("捜査機関等への提供（19条13号）", "what investigators, courts and the Diet were given"),
    ("同じ団体の中での利用", "what a body's own offices look up among themselves"),
)  # fmt: skip
"""What the law keeps out of the portal (F7), as the page says it."""


class PortalPages(CardSite):
    """The portal for browsers. `origin` is its own; `agent` where users' browsers find the local agent."""

    tenant = "portal"
    title = ("マイナポータル", "My own page")
    entrances = (
        Entrance(
            _LOGIN, ("カードでログインします（数字4桁）。", "Log in with your card (4 digits)."), "ログイン Log in"
        ),
        Entrance(_SET_UP, ("はじめての方（数字4桁）。", "New here? Set up your page (4 digits)."), "初期設定 Set up"),
    )

    def __init__(
        self, world: World, portal: Portal, verifier: Verifier, runner: Worker, origin: str, agent: str
    ) -> None:
        self._portal = portal
        self._runner = runner
        sessions = Sessions(portal.metadata)
        portal.open()
        super().__init__(world, portal.store, sessions, _BySerial(), verifier, origin, agent)

    def routes(self) -> list[Route]:
        """The request for one's own information."""
        return [Route("/own", self.form(self._ask), methods=["POST"])]

    def home(self, person: str) -> Response:
        """Everything of a folder."""
        return self._folder(person)

    def admit(self, user: User, verdict: Verdict, purpose: str) -> str | None:
        """The folder of somebody who has one, or gets one now."""
        assert verdict.certificate is not None
        serial = verdict.certificate.serial
        try:
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
        own = self._portal.own_information(folder, folder)
        records: list[ProvisionRecord] = []
        unavailable: list[Bilingual] = []
        try:
            records = self._portal.records(folder, folder)
        except NetworkRejected as refused:
            unavailable = [("表示できません。", str(refused))]
        except LinkageUnavailable as error:
            unavailable = [("いまは表示できません。", str(error))]
        return _PAGES.page(
            "my_page.html", status=status, trouble=trouble, own=own, records=records, unavailable=unavailable,
            looks=self._portal.looks(folder)[-_MOST_LOOKS:], providers=self._portal.providers(),
            items=sorted({row.purpose.item for row in table_of_affairs()}), outcomes=_OUTCOMES, stages=_STAGES,
            not_shown=NOT_SHOWN,
        )  # fmt: skip


class _BySerial:
    """The portal knows its users by the serial numbers of their certificates alone."""

    def identify(self, tenant: str, certificate: HolderCertificate) -> User:
        """The holder, as the certificate names him to the portal."""
        return User(f"{certificate.serial:X}", new=False)
