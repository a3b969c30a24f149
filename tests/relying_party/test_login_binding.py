"""A login belongs to the browser that started it, at every site that has logins with the card."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import pytest
import sqlalchemy as sa

from kazashi.assembly.institutions import Institutions
from kazashi.provision_network.portal_pages import PortalPages
from kazashi.refund_points.portal import RefundPortal
from kazashi.relying_party.login.agent import read_ask
from kazashi.relying_party.login.agent_login import MAX_ANSWER, MOST_FROM_ONE_ADDRESS, MOST_OPEN, AgentLogin, Start
from kazashi.relying_party.login.entrance import CardSite
from kazashi.relying_party.login.provider import Provider
from kazashi.relying_party.login.provider_store import ProviderStore
from kazashi.relying_party.login.sample_site import SampleSite
from kazashi.relying_party.platform.platform import Platform
from kazashi.relying_party.verify.anchors import AnchorsInDirectory
from kazashi.relying_party.verify.authentication import Authentication, ChallengesInMemory
from kazashi.relying_party.verify.linkage import NoLinkage
from kazashi.relying_party.verify.sources import lists_in
from kazashi.relying_party.verify.verification import Verifier
from kazashi.world.clock import WorldClock
from kazashi.world.key_source import SharedKeySource
from tests.town import new_institutions
from tests.web.gallery import AGENT, SITE, Browser, Holder, StubPortal, StubRefunds

pytestmark = pytest.mark.unit

CALLBACK = "https://app.example/callback"


@dataclass
class LoginSite:
    """A site, how a browser starts a login there, and how one sees that it is logged in."""

    application: Any
    start: Callable[[Browser], str]
    logged_in: Callable[[Browser, str], bool]

    def browser(self) -> Browser:
        return Browser(self.application, SITE)


def begins(purpose: str) -> Callable[[Browser], str]:
    return lambda browser: str(browser.post(f"/begin/{purpose}").headers["location"])


def has_a_home(browser: Browser, onward: str) -> bool:
    browser.get(onward)
    return 'action="/logout"' in browser.get("/").text


def gets_a_code(browser: Browser, onward: str) -> bool:
    return "code" in parse_qs(urlsplit(browser.get(onward).headers.get("location", "")).query)


def authorizes(browser: Browser) -> str:
    query = urlencode({"response_type": "code", "client_id": "app", "redirect_uri": CALLBACK, "scope": "openid",
                       "code_challenge": "v" * 43, "code_challenge_method": "S256"})  # fmt: skip
    return str(browser.post("/begin", data={"query": query}).headers["location"])


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory, keys: SharedKeySource) -> Iterator[Institutions]:
    town = new_institutions(tmp_path_factory.mktemp("binding") / "w", keys)
    yield town
    town.world.close()


@pytest.fixture(scope="module")
def holder(town: Institutions) -> Holder:
    return Holder(town, "番号花子")


@pytest.fixture(scope="module")
def verifier(town: Institutions, holder: Holder) -> Verifier:
    tree = town.world.publication
    return Verifier(AnchorsInDirectory(tree / "ca"), [lists_in(tree)], town.world.clock)


@pytest.fixture(scope="module")
def sites(town: Institutions, holder: Holder, verifier: Verifier) -> dict[str, LoginSite]:
    world, platform = town.world, Platform(town.world, NoLinkage())
    ProviderStore(world).add_client("app", [CALLBACK])
    refunds, portal = StubRefunds("番号花子"), StubPortal(world, "番号花子")
    applications: dict[str, CardSite] = {
        "sample site": SampleSite(world, verifier, platform, SITE, AGENT),
        "refund portal": RefundPortal(world, refunds, verifier, NoLinkage(), SITE, AGENT),  # type: ignore[arg-type]
        "network portal": PortalPages(world, portal, verifier, SimpleNamespace(call=None), SITE, AGENT),  # type: ignore[arg-type]
    }  # fmt: skip
    purposes = {"sample site": "register", "refund portal": "register", "network portal": "setup"}
    provider = Provider(world, verifier, platform, SITE, AGENT).application()
    return {
        name: LoginSite(site.application(), begins(purposes[name]), has_a_home) for name, site in applications.items()
    } | {"provider": LoginSite(provider, authorizes, gets_a_code)}


@pytest.fixture(params=["sample site", "refund portal", "network portal", "provider"])
def site(sites: dict[str, LoginSite], request: pytest.FixtureRequest) -> LoginSite:
    return sites[request.param]


def state_of(address: str) -> str:
    return dict(parse_qsl(urlsplit(address).query))["state"]


def test_the_browser_that_started_a_login_finishes_it(site: LoginSite, holder: Holder) -> None:
    own = site.browser()
    _, onward = holder.answer(own, site.start(own))
    assert site.logged_in(own, onward)


def test_a_link_that_was_passed_on_logs_nobody_in(site: LoginSite, holder: Holder) -> None:
    """The one who starts a login and passes its link on knows the state, but never the handle; and the browser of the
    person who typed the PIN has another session."""
    starter, person = site.browser(), site.browser()
    site.start(person)  # so that the person has a session of their own
    address = site.start(starter)
    _, onward = holder.answer(person, address)
    assert not site.logged_in(starter, f"/end/{state_of(address)}"), "the state is no handle"
    refusal = person.get(onward)
    assert refusal.status_code == 400
    assert "another browser" in refusal.text
    assert "tried to log in as you" in refusal.text
    assert not site.logged_in(starter, onward), "the mismatch has ended the login, even for one who knows the handle"
    assert not site.logged_in(person, onward)


def test_a_handle_is_not_the_state_and_is_new_each_time(site: LoginSite, holder: Holder) -> None:
    own = site.browser()
    first, second = site.start(own), site.start(own)
    handles = {holder.answer(own, address)[1].removeprefix("/end/") for address in (first, second)}
    assert len(handles) == 2
    assert not handles & {state_of(first), state_of(second)}


def test_a_login_gets_one_response(site: LoginSite, holder: Holder) -> None:
    own = site.browser()
    address = site.start(own)
    holder.answer(own, address)
    again = own.post("/answer", data={"state": state_of(address), "error": "cancelled"})
    assert again.status_code == 400
    assert not re.search(r"/end/\w+", again.text)


def test_a_finished_login_cannot_be_repeated(site: LoginSite, holder: Holder) -> None:
    own = site.browser()
    _, onward = holder.answer(own, site.start(own))
    assert site.logged_in(own, onward)
    assert own.get(onward).status_code == 400


@pytest.mark.parametrize("changed", ["purpose", "browser", "issued_at"])
def test_what_the_agent_shows_cannot_be_changed_in_the_link(site: LoginSite, holder: Holder, changed: str) -> None:
    own = site.browser()
    address = site.start(own)
    fields = dict(parse_qsl(urlsplit(address).query, keep_blank_values=True))
    value = read_ask(fields).challenge.issued_at + timedelta(minutes=1)
    fields[changed] = value.isoformat() if changed == "issued_at" else "something else"
    _, onward = holder.answer(own, f"{AGENT}/ask?{urlencode(fields)}")
    assert not site.logged_in(own, onward)


@pytest.mark.parametrize("origin", ["http://localhost:18699", "https://evil.example", "null", ""])
def test_forms_of_other_origins_are_refused(sites: dict[str, LoginSite], holder: Holder, origin: str) -> None:
    for name in ("sample site", "refund portal", "network portal"):
        site = sites[name]
        own = site.browser()
        foreign = {"Origin": origin}
        assert own.post("/begin/login", headers=foreign).status_code == 403
        _, onward = holder.answer(own, site.start(own))
        assert site.logged_in(own, onward)
        assert own.post("/logout", headers=foreign).status_code == 403
        assert 'action="/logout"' in own.get("/").text, "another site cannot log somebody out"
        assert own.post("/logout").status_code == 303
        assert 'action="/logout"' not in own.get("/").text


def test_a_session_is_another_one_after_the_login(sites: dict[str, LoginSite], holder: Holder) -> None:
    """Otherwise somebody who has planted a session in the browser has it logged in (session fixation)."""
    for name in ("sample site", "refund portal", "network portal"):
        own, planter = sites[name].browser(), sites[name].browser()
        sites[name].start(planter)
        own.cookies.update(planter.cookies)
        _, onward = holder.answer(own, sites[name].start(own))
        assert sites[name].logged_in(own, onward)
        assert 'action="/logout"' not in planter.get("/").text


def test_stores_contain_no_cookie(sites: dict[str, LoginSite], holder: Holder, town: Institutions) -> None:
    for name, actor in (
        ("sample site", "sample_site"),
        ("refund portal", "refund_portal"),
        ("network portal", "portal"),
    ):
        own = sites[name].browser()
        _, onward = holder.answer(own, sites[name].start(own))
        assert sites[name].logged_in(own, onward)
        with town.world.store_to_study(actor).reading() as connection:
            rows = connection.execute(sa.text("SELECT * FROM session")).all()
        assert rows
        assert not any(cookie in str(row) for cookie in own.cookies.values() for row in rows)


def test_a_look_ahead_does_not_use_a_login_up(site: LoginSite, holder: Holder) -> None:
    own = site.browser()
    _, onward = holder.answer(own, site.start(own))
    assert own.get(onward, headers={"Sec-Purpose": "prefetch;prerender"}).status_code == 503
    assert site.logged_in(own, onward)


def test_open_logins_are_bounded(verifier: Verifier) -> None:
    """One address cannot end the logins of others, and all together cost at most a fixed number of entries."""
    challenges = ChallengesInMemory()
    login = AgentLogin(Authentication(verifier, challenges), SITE, AGENT, "/answer")
    honest = [state_of(login.begin(f"s{number}", start=Start(address="192.0.2.1"))) for number in range(40)]
    for number in range(3 * MOST_FROM_ONE_ADDRESS):
        login.begin(f"x{number}", start=Start(address="198.51.100.7"))
    for number, state in enumerate(honest):  # a class of forty that logs in at once, from one address
        handle = login.answered({"state": state, "error": "cancelled"})
        assert login.end(f"s{number}", handle).verdict is None
    for number in range(2 * MOST_OPEN):
        login.begin(f"y{number}", start=Start(address=f"203.0.113.{number % 250}/{number}"))
    assert len(login) <= MOST_OPEN
    assert len(challenges) <= MOST_OPEN, "a login that has ended leaves no challenge"


def test_a_large_response_is_not_kept(sites: dict[str, LoginSite]) -> None:
    site = sites["sample site"]
    own = site.browser()
    fields = {"state": state_of(site.start(own)), "nonce": "00", "signature": "00", "certificate": "00" * MAX_ANSWER}
    assert own.post("/answer", data=fields).status_code in (400, 413)


def test_expired_logins_and_sessions_are_swept(
    sites: dict[str, LoginSite], holder: Holder, town: Institutions, verifier: Verifier
) -> None:
    challenges = ChallengesInMemory()
    login = AgentLogin(Authentication(verifier, challenges), SITE, AGENT, "/answer")
    login.begin("session")
    site = SampleSite(town.world, verifier, Platform(town.world, NoLinkage()), SITE, AGENT)
    own = Browser(site.application(), SITE)
    holder.log_in(own, "register")
    clock = town.world.clock
    assert isinstance(clock, WorldClock)
    clock.move(clock.now() + timedelta(hours=1))
    login.sweep()
    assert len(login) == len(challenges) == 0
    site.sweep()
    with site.store.reading() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM session")) == 0
