"""The refund portal: log in with the card, see the points of each year, and have them refunded to one's own account.

Who registers signs with the signature certificate, which says what he is called; from then on the authentication
certificate is enough. The person is whom the platform operator knows by all the certificates that follow each other,
so that a renewed card finds its points again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from html import escape

import sqlalchemy as sa
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from kazashi.jpki.profile import Kind
from kazashi.refund_points.refunds import CAP, Application, ApplicationState, RefundRefused, Refunds, Standing
from kazashi.refund_points.zengin import Account, PaymentRefused
from kazashi.relying_party.login.agent_login import AgentLogin
from kazashi.relying_party.login.entrance import CardEntrance, Sessions
from kazashi.relying_party.platform.platform import Platform, User
from kazashi.relying_party.verify.authentication import Authentication
from kazashi.relying_party.verify.linkage import Linkage
from kazashi.relying_party.verify.verdict import Verdict
from kazashi.relying_party.verify.verification import Verifier
from kazashi.web.pages import alert, both, form, page
from kazashi.world.event_log import event_table
from kazashi.world.home import World

ACTOR = "refund_portal"
"""The name of this actor's store."""

TENANT = "refund-portal"
_TITLE = "還付ポイント"
_REGISTER, _LOGIN = "register", "login"
_TEXT = "還付ポイントの還付を受けるため登録します。\nI register to have my refund points refunded."

_STATES = {
    ApplicationState.APPLIED: ("申請済み", "applied for"),
    ApplicationState.IN_FILE: ("銀行で手続中", "with the bank"),
    ApplicationState.PAID: ("還付済み", "paid"),
    ApplicationState.RETURNED: ("振込不能・ポイントに戻しました", "the bank could not pay; the points are back"),
}
_PARTS = (
    ("paid", "還付済み paid", "#1b5e8c"),
    ("applied", "申請済み applied for", "#5b9bc4"),
    ("refundable", "還付できる refundable", "#3a9d5d"),
    ("capped", "上限を超える beyond the limit", "#c9ced4"),
)


class RefundPortal:
    """The portal's pages. `origin` is its own; `agent` where users' browsers find the local agent."""

    def __init__(
        self, world: World, refunds: Refunds, verifier: Verifier, linkage: Linkage, origin: str, agent: str
    ) -> None:
        self._world = world
        self._origin = origin
        self._refunds = refunds
        self._linkage = linkage
        login = AgentLogin(Authentication(verifier), origin, agent, "/answer")
        purposes = {_REGISTER: _TEXT, _LOGIN: ""}
        self._entrance = CardEntrance(Platform(world, linkage), TENANT, login, purposes, self._enter, _front)
        metadata = sa.MetaData()
        self._sessions = Sessions(metadata)
        _, self._log = event_table(metadata)
        self.store = world.store(ACTOR, metadata)

    def application(self) -> Starlette:
        """The portal as an ASGI application."""
        return Starlette(
            routes=[
                Route("/", self.home),
                *self._entrance.routes(),
                Route("/apply", self.apply, methods=["POST"]),
                Route("/logout", self.logout, methods=["POST"]),
            ]
        )

    async def home(self, request: Request) -> Response:
        """The points of whoever is logged in, or how to log in."""
        person = await asyncio.to_thread(self._person, self._entrance.session(request))
        return _front("") if person is None else await asyncio.to_thread(self._points, person)

    async def apply(self, request: Request) -> Response:
        """Apply for a refund."""
        if request.headers.get("origin") != self._origin:
            # Other sites on this machine are the same site to a browser, which sends the session's cookie along.
            return _front(alert(both("受け付けられません。", "That form is not this portal's.")), 403)
        person = await asyncio.to_thread(self._person, self._entrance.session(request))
        if person is None:
            return _front(alert(both("ログインしてください。", "Log in first.")), 403)
        fields = await request.form(max_files=0, max_fields=10, max_part_size=1 << 12)
        given = {name: str(value).strip() for name, value in fields.items()}
        try:
            account = Account(*(given.get(name, "") for name in ("bank", "branch", "kind", "number", "holder")))
            if not (year := given.get("year", "")).isdecimal() or len(year) > 4:
                raise RefundRefused("say of which year")
            await asyncio.to_thread(self._refunds.apply, person, int(year), account, given.get("name", ""))
        except (RefundRefused, PaymentRefused) as refused:
            words = alert(both("受け付けられません。", str(refused)))
            return await asyncio.to_thread(self._points, person, words, 400, given)
        return RedirectResponse("/", 303)  # so that loading the page again does not apply again

    async def logout(self, request: Request) -> Response:
        """Forget the session."""
        await asyncio.to_thread(self._leave, self._entrance.session(request))
        return self._entrance.leave()

    def _person(self, session: str) -> str | None:
        with self.store.reading() as connection:
            return self._sessions.user(connection, session, self._world.clock.now())

    def _enter(self, session: str, former: str, user: User, verdict: Verdict, purpose: str) -> bool:
        """Begin a session of somebody who has registered, or does so now; what was accumulated under his codes is
        his. Raises LinkageUnavailable."""
        assert verdict.certificate is not None
        serials = self._serials(verdict.certificate.kind, verdict.certificate.serial)
        if purpose == _REGISTER and verdict.certificate.attributes is not None:
            self._refunds.register(user.identifier, verdict.certificate.attributes)
        if not self._refunds.come(user.identifier, serials):
            return False
        with self.store.transaction() as connection:
            now = self._world.clock.now()
            self._sessions.begin(connection, session, former, user.identifier, now)
            self._log(connection, now, purpose, {"user": user.identifier})
        return True

    def _serials(self, kind: Kind, serial: int) -> list[int]:
        """All authentication certificates that have followed each other up to the one on the card."""
        found: int | None = serial if kind is Kind.AUTHENTICATION else self._linkage.counterpart(kind, serial)
        return [] if found is None else self._linkage.renewal(Kind.AUTHENTICATION, found)

    def _leave(self, session: str) -> None:
        with self.store.transaction() as connection:
            self._sessions.end(connection, session)

    def _points(
        self, person: str, trouble: str = "", status: int = 200, given: dict[str, str] | None = None
    ) -> Response:
        years, applications = self._refunds.years(person), self._refunds.applications(person)
        name = self._refunds.name(person) or ""
        refundable = sum(standing.refundable for standing in years)
        body = (
            f"<h1>{_TITLE} Refund points</h1>{trouble}"
            f"<p>{both(f'{name}さんのポイント', f'Points of {name}')}</p>"
            f'<p class="origin" id="refundable">{refundable:,} 円</p><p class="en">還付できる額 can be refunded now</p>'
            + _chart(years) + _year_table(years) + _application_form(years, name, given or {})
            + _application_table(applications) + form("/logout", {}, "<button>ログアウト Log out</button>")
        )  # fmt: skip
        return page(_TITLE, body, status=status)


def _chart(years: Sequence[Standing]) -> str:
    """A bar to a year, oldest first, each in its parts."""
    if not years:
        words = both("まだポイントがありません。", "No points yet: hold your card over the register when you buy.")
        return f"<p>{words}</p>"
    longest = max(1, *(sum(getattr(standing, part) for part, _, _ in _PARTS) for standing in years))
    drawn, shown = [], sorted(years, key=lambda standing: standing.year)
    for row, standing in enumerate(shown):
        left, top = 60.0, 8 + row * 30
        drawn.append(f'<text x="0" y="{top + 15}" font-size="14" fill="#1c2733">{standing.year}</text>')
        for part, words, colour in _PARTS:
            width = 380 * getattr(standing, part) / longest
            if width:
                title = f"<title>{words}: {getattr(standing, part):,}</title>"
                drawn.append(
                    f'<rect x="{left:.1f}" y="{top}" width="{width:.1f}" height="20" fill="{colour}">{title}</rect>'
                )
                left += width
    legend = "".join(
        f'<rect x="{60 + 195 * (place % 2)}" y="{14 + 30 * len(shown) + 20 * (place // 2)}" width="12" height="12" '
        f'fill="{colour}"/><text x="{78 + 195 * (place % 2)}" y="{25 + 30 * len(shown) + 20 * (place // 2)}" '
        f'font-size="12" fill="#5b6b7b">{words}</text>'
        for place, (_, words, colour) in enumerate(_PARTS)
    )
    height = 60 + 30 * len(shown)
    return (
        f'<svg id="chart" viewBox="0 0 450 {height}" width="100%" role="img" aria-label="Points by year">'
        + "".join(drawn) + legend + "</svg>"
    )  # fmt: skip


def _year_table(years: Sequence[Standing]) -> str:
    if not years:
        return ""
    heads = ("年 Year", "ポイント Points", "還付可 Refundable", "申請 Applied", "還付済 Paid", "返品 Owed")
    rows = "".join(
        "<tr>" + "".join(
            f"<td>{value if value == standing.year else f'{value:,}'}</td>"
            for value in (standing.year, standing.balance, standing.refundable, standing.applied, standing.paid,
                          standing.owed)
        ) + "</tr>"
        for standing in years
    )  # fmt: skip
    head = "".join(f"<th>{words}</th>" for words in heads)
    limit = both(
        f"還付は一人一年につき{CAP:,}円まで、世帯で合算できます。",
        f"Up to {CAP:,} yen to a person and year; households may pool.",
    )
    return f'<table id="years"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table><p>{limit}</p>'


def _application_form(years: Sequence[Standing], name: str, given: dict[str, str]) -> str:
    open_years = [standing for standing in years if standing.refundable]
    if not open_years:
        return ""
    options = "".join(
        f'<option value="{standing.year}">{standing.year}: {standing.refundable:,} 円</option>'
        for standing in open_years
    )

    def field(label: str, key: str, hint: str, default: str = "") -> str:
        value = escape(given.get(key, default))
        return f'<label>{label}<input name="{key}" value="{value}" placeholder="{escape(hint)}" required></label>'

    own = both("ご本人名義の口座に限ります。", "To an account in your own name only.")
    kinds = '<option value="1">普通 ordinary</option><option value="2">当座 current</option>'
    return form(
        "/apply", {},
        f"<h1>還付の申請 Apply for a refund</h1><p>{own}</p>"
        f'<label>年 Year<select name="year">{options}</select></label>'
        + field("銀行コード Bank code", "bank", "0005") + field("支店コード Branch code", "branch", "001")
        + f'<label>種別 Kind<select name="kind">{kinds}</select></label>'
        + field("口座番号 Account number", "number", "1234567")
        + field("口座名義 Account holder", "name", name, name)
        + field("口座名義（カナ）Holder in katakana", "holder", "バンゴウ ハナコ")
        + '<button id="apply">申請する Apply</button>',
    )  # fmt: skip


def _application_table(applications: Sequence[Application]) -> str:
    if not applications:
        return ""
    rows = "".join(
        f"<tr><td>{one.number}</td><td>{one.year}</td><td>{one.yen:,} 円</td>"
        f"<td>****{one.account.number[-3:]}</td><td>{both(*_STATES[one.state])}</td></tr>"
        for one in applications
    )
    head = "<th>番号 No.</th><th>年 Year</th><th>額 Sum</th><th>口座 Account</th><th>状況 Status</th>"
    return f'<h1>申請状況 Applications</h1><table id="applications"><tr>{head}</tr>{rows}</table>'


def _front(trouble: str, status: int = 200) -> Response:
    # The buttons post here, and are sent on to the agent: Chromium holds redirects against form-action too.
    entrances = (
        (_LOGIN, both("カードでログインします（数字4桁）。", "Log in with your card (4 digits)."), "ログイン Log in"),
        (_REGISTER, both("はじめての方、カードを作り直した方（パスワード）。",
                         "New here, or with a new card after a loss? (the password)"), "登録 Register"),
    )  # fmt: skip
    body = f"<h1>{_TITLE} Refund points</h1>{trouble}" + "".join(
        form(f"/begin/{purpose}", {}, f'<p>{words}</p><button id="{purpose}">{button}</button>')
        for purpose, words, button in entrances
    )
    return page(_TITLE, body, status=status, form_action="'self' http://127.0.0.1:*")
