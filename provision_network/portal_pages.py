"""The portal's pages: in with the card, one's records, one's own information, who looked, and what is not shown."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from html import escape

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from kazashi.provision_network.interface import Stage
from kazashi.provision_network.portal import Look, OwnInformation, Portal
from kazashi.provision_network.rules import table_of_affairs
from kazashi.provision_network.terms import NetworkRefused, Outcome, ProvisionRecord
from kazashi.relying_party.login.agent_login import AgentLogin
from kazashi.relying_party.login.entrance import CardEntrance, Sessions
from kazashi.relying_party.platform.platform import User
from kazashi.relying_party.verify.authentication import Authentication
from kazashi.relying_party.verify.certificate import HolderCertificate
from kazashi.relying_party.verify.linkage import LinkageUnavailable
from kazashi.relying_party.verify.verdict import Verdict
from kazashi.relying_party.verify.verification import Verifier
from kazashi.web.pages import alert, both, form, page
from kazashi.world.clock import JST
from kazashi.world.home import World
from kazashi.world.worker import Worker

_TITLE = "マイナポータル"
_COOKIE = "portal"
_SET_UP, _LOGIN = "setup", "login"

_OUTCOMES = {
    Outcome.NOTIFIED: ("照会中", "asked"),
    Outcome.PROVIDED: ("提供済み", "provided"),
    Outcome.HELD: ("職員が確認中", "held: a person looks at it"),
    Outcome.DENIED: ("提供せず", "denied"),
}
_STAGES = {
    Stage.SENT: ("照会中です。", "Asked; the page shows it once it has come."),
    Stage.ACCEPTED: ("照会中です。", "Asked; the page shows it once it has come."),
    Stage.REFUSED: ("照会できません。", "It was refused."),
    Stage.DISPUTED: ("回答に誤りがありました。", "The answer was to something else."),
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


class PortalPages:
    """The portal for browsers. `origin` is its own; `agent` where users' browsers find the local agent."""

    def __init__(
        self, world: World, portal: Portal, verifier: Verifier, runner: Worker, origin: str, agent: str
    ) -> None:
        self._world = world
        self._portal = portal
        self._runner = runner
        self._origin = origin
        self._sessions = Sessions(portal.metadata)
        portal.open()
        login = AgentLogin(Authentication(verifier), origin, agent, "/answer")
        self._entrance = CardEntrance(_BySerial(), _COOKIE, login, {_SET_UP: "", _LOGIN: ""}, self._enter, _front)

    def application(self) -> Starlette:
        """The pages as an ASGI application."""
        return Starlette(
            routes=[
                Route("/", self.home),
                *self._entrance.routes(),
                Route("/own", self.own, methods=["POST"]),
                Route("/logout", self.logout, methods=["POST"]),
            ]
        )

    async def home(self, request: Request) -> Response:
        """Everything of whoever is logged in, or how to log in."""
        folder = await asyncio.to_thread(self._folder, self._entrance.session(request))
        return _front("") if folder is None else await asyncio.to_thread(self._shown, folder)

    async def own(self, request: Request) -> Response:
        """Ask for one's own information."""
        if request.headers.get("origin") != self._origin:
            # Other sites on this machine are the same site to a browser, which sends the session's cookie along.
            return _front(alert(both("受け付けられません。", "That form is not this portal's.")), 403)
        folder = await asyncio.to_thread(self._folder, self._entrance.session(request))
        if folder is None:
            return _front(alert(both("ログインしてください。", "Log in first.")), 403)
        fields = await request.form(max_files=0, max_fields=10, max_part_size=1 << 12)
        provider, item = str(fields.get("provider", "")), str(fields.get("item", ""))
        try:
            await asyncio.to_thread(self._portal.ask, folder, provider, item)
        except (NetworkRefused, ValueError) as refused:
            return await asyncio.to_thread(self._shown, folder, alert(both("照会できません。", str(refused))), 400)
        self._runner.call()
        return RedirectResponse("/", 303)

    async def logout(self, request: Request) -> Response:
        """Forget the session."""
        await asyncio.to_thread(self._leave, self._entrance.session(request))
        return self._entrance.leave()

    def _folder(self, session: str) -> str | None:
        with self._portal.store.reading() as connection:
            return self._sessions.user(connection, session, self._world.clock.now())

    def _enter(self, session: str, former: str, _: User, verdict: Verdict, purpose: str) -> bool:
        """Begin a session of somebody who has a folder, or gets one now. Raises LinkageUnavailable."""
        assert verdict.certificate is not None
        serial = verdict.certificate.serial
        try:
            folder = self._portal.set_up(serial) if purpose == _SET_UP else self._portal.folder_of(serial)
        except NetworkRefused as refused:
            raise LinkageUnavailable(str(refused)) from refused
        if folder is None:
            return False
        with self._portal.store.transaction() as connection:
            self._sessions.begin(connection, session, former, folder, self._world.clock.now())
        return True

    def _leave(self, session: str) -> None:
        with self._portal.store.transaction() as connection:
            self._sessions.end(connection, session)

    def _shown(self, folder: str, trouble: str = "", status: int = 200) -> Response:
        own = self._portal.own_information(folder, folder)
        try:
            records = _record_table(self._portal.records(folder, folder))
        except NetworkRefused as refused:
            records = alert(both("表示できません。", str(refused)))
        except LinkageUnavailable as error:
            records = alert(both("いまは表示できません。", str(error)))
        body = (
            f"<h1>{_TITLE} My own page</h1>{trouble}"
            f"<h1>情報提供等記録 Who asked whom about me</h1>{records}"
            f"<h1>自己情報 My own information</h1>{_own_table(own)}{self._own_form()}"
            f"<h1>閲覧の記録 Who looked at this page</h1>{_looks(self._portal.looks(folder), folder)}"
            f"<h1>ここに表示されないもの What is not shown here</h1>{_not_shown()}"
            + form("/logout", {}, '<button id="logout">ログアウト Log out</button>')
        )
        return page(_TITLE, body, status=status)

    def _own_form(self) -> str:
        items = sorted({row.purpose.item for row in table_of_affairs()})
        return form(
            "/own", {},
            f"<label>機関 Body{_select('provider', self._portal.providers())}</label>"
            f"<label>項目 Item{_select('item', items)}</label><button id=\"ask\">照会する Ask</button>",
        )  # fmt: skip


class _BySerial:
    """The portal knows its users by the serial numbers of their certificates alone."""

    def identify(self, tenant: str, certificate: HolderCertificate) -> User:
        """The holder, as the certificate names him to the portal."""
        return User(f"{certificate.serial:X}", new=False)


def _record_table(records: Sequence[ProvisionRecord]) -> str:
    if not records:
        return f'<p id="records">{both("記録はありません。", "No records yet.")}</p>'
    heads = ("照会日時 Asked", "照会した機関 By", "提供した機関 Of", "項目 Item", "状況 State", "根拠 By which rule")
    rows = "".join(
        f"<tr><td>{record.requested_at.astimezone(JST):%Y-%m-%d %H:%M}</td><td>{escape(record.requester)}</td>"
        f"<td>{escape(record.provider)}</td><td>{escape(record.item)}</td><td>{both(*_OUTCOMES[record.outcome])}</td>"
        f"<td>{escape(record.reason)}</td></tr>"
        for record in reversed(records)
    )
    return f'<table id="records"><tr>{"".join(f"<th>{head}</th>" for head in heads)}</tr>{rows}</table>'


def _own_table(own: Sequence[OwnInformation]) -> str:
    if not own:
        return ""
    rows = "".join(
        f"<tr><td>{escape(found.asked.provider)}</td><td>{escape(found.asked.item)}</td><td>{_content(found)}</td></tr>"
        for found in own
    )
    return f'<table id="own"><tr><th>機関 Body</th><th>項目 Item</th><th>内容 Content</th></tr>{rows}</table>'


def _content(found: OwnInformation) -> str:
    if found.received is None:
        return both(*_STAGES[found.asked.stage]) if found.asked.stage in _STAGES else ""
    if found.received.content is None or found.received.registered_at is None:
        return both("該当する情報はありません。", "That body has nothing of it to show.")
    day = found.received.registered_at.astimezone(JST)
    return f'{escape(found.received.content)}<br><span class="en">{day:%Y-%m-%d} 登録 registered</span>'


def _looks(looks: Sequence[Look], folder: str) -> str:
    if not looks:
        return f"<p>{both('まだ誰も見ていません。', 'Nobody has looked yet.')}</p>"
    rows = "".join(
        f"<tr><td>{look.at.astimezone(JST):%Y-%m-%d %H:%M}</td>"
        f"<td>{'本人 you' if look.actor == folder else escape(look.actor)}</td><td>{escape(look.what)}</td></tr>"
        for look in looks[-10:]
    )
    return f'<table id="looks"><tr><th>日時 When</th><th>誰が Who</th><th>何を What</th></tr>{rows}</table>'


def _not_shown() -> str:
    return '<ul id="not-shown">' + "".join(f"<li>{both(*words)}</li>" for words in NOT_SHOWN) + "</ul>"


def _select(name: str, options: Sequence[str]) -> str:
    inside = "".join(f'<option value="{escape(option)}">{escape(option)}</option>' for option in options)
    return f'<select name="{name}">{inside}</select>'


def _front(trouble: str, status: int = 200) -> Response:
    entrances = (
        (_LOGIN, both("カードでログインします（数字4桁）。", "Log in with your card (4 digits)."), "ログイン Log in"),
        (_SET_UP, both("はじめての方（数字4桁）。", "New here? Set up your page (4 digits)."), "初期設定 Set up"),
    )
    body = f"<h1>{_TITLE} My own page</h1>{trouble}" + "".join(
        form(f"/begin/{purpose}", {}, f'<p>{words}</p><button id="{purpose}">{button}</button>')
        for purpose, words, button in entrances
    )
    return page(_TITLE, body, status=status, form_action="'self' http://127.0.0.1:*")
