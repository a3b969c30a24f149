"""Logins in a real browser: agent, sample site, provider, a third party's client, TLS; on a real reader."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from datetime import timedelta

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from playwright.sync_api import Page, Route

from kazashi.assembly.institutions import Institutions
from kazashi.assembly.opensc import pkcs11_module
from kazashi.assembly.served import free_port
from kazashi.jpki.profile import CertificateType
from kazashi.jpki.state import Reason
from kazashi.reader_bridge.pcscd import RunningPcscd
from kazashi.relying_party.login.agent import ask_address
from kazashi.relying_party.login.provider_store import ProviderStore
from kazashi.relying_party.verify.authentication import new_challenge
from kazashi.world.home import open_world
from kazashi.world.key_source import SharedKeySource
from tests.relying_party.stack import PASSWORD, PIN, Stack, apache, nginx, running_stack

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def everything(pcscd: RunningPcscd, keys: SharedKeySource, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    world = open_world(tmp_path_factory.mktemp("browser") / "w", seed="browser", keys=keys)
    with running_stack(Institutions(world), pcscd) as found:
        yield found
    world.close()


@pytest.fixture
def page(everything: Stack) -> Iterator[Page]:
    """A page of a browser without cookies."""
    context = everything.browser.new_context()
    yield context.new_page()
    context.close()


def answer(page: Page, secret: str) -> None:
    """Type the PIN on the agent's page, and go on."""
    page.fill("#pin", secret)
    page.click("button[name=ok]")


def register(page: Page, everything: Stack) -> str:
    """Register at the sample site; answers the user id."""
    page.goto(everything.site)
    page.click("#register")
    answer(page, PASSWORD)
    return page.inner_text("#user")


def test_a_user_registers_and_logs_in(everything: Stack, page: Page) -> None:
    user = register(page, everything)
    assert "番号　花子" in page.inner_text("main")
    assert "渋谷区" in page.inner_text("main")
    page.click("text=Log out")
    page.click("#login")
    assert everything.site in page.inner_text(".origin")
    assert "ログイン" in page.inner_text("main")
    assert page.get_attribute("#pin", "type") == "password"
    answer(page, PIN)
    assert page.inner_text("#user") == user
    assert page.url == f"{everything.site}/"


def test_the_site_never_sees_the_pin(everything: Stack, page: Page) -> None:
    sent: list[tuple[str, str]] = []
    page.on("request", lambda request: sent.append((request.url, request.post_data or "")))
    register(page, everything)
    to_site = [body for url, body in sent if url.startswith(everything.site)]
    assert any("signature=" in body for body in to_site)
    assert not any(PASSWORD in body or "pin=" in body for body in to_site)
    assert any(PASSWORD in body for url, body in sent if url.startswith(everything.agent))


def test_tries_are_shown_and_a_cancelled_login_is_none(everything: Stack, page: Page) -> None:
    page.goto(everything.site)
    page.click("#login")
    answer(page, "9999")
    assert "Retries left: 2" in page.inner_text("[role=alert]")
    answer(page, "12")
    assert "the card was not asked" in page.inner_text("[role=alert]")
    answer(page, PIN)
    page.wait_for_url(f"{everything.site}/**")
    page.goto(everything.site)
    if page.query_selector("#login") is None:
        page.click("text=Log out")
    page.click("#login")
    page.click("button[name=cancel]")
    page.wait_for_url(f"{everything.site}/**")
    assert "cancelled" in page.inner_text("[role=alert]")


def test_a_blocked_pin_is_said_to_be_blocked(everything: Stack, page: Page) -> None:
    everything.remove()
    everything.insert(everything.institutions.issue_card("taro", "taro"))
    page.goto(everything.site)
    page.click("#login")
    for left in ("Retries left: 2", "Retries left: 1", "blocked", "blocked"):
        answer(page, "9999")
        page.wait_for_selector(f"[role=alert]:has-text('{left}')")
    assert "窓口" in page.inner_text("[role=alert]")
    everything.remove()
    everything.insert()


def test_a_card_that_is_taken_away_is_asked_for(everything: Stack, page: Page) -> None:
    register(page, everything)
    page.click("text=Log out")
    page.click("#login")
    everything.remove()
    answer(page, PIN)
    assert "Put the card on the reader" in page.inner_text("[role=alert]")
    everything.insert()
    answer(page, PIN)
    assert page.inner_text("#user")


def test_a_login_of_one_browser_cannot_be_ended_in_another(everything: Stack, page: Page) -> None:
    """Or an attacker could have the victim logged in as the attacker."""
    handles: list[str] = []

    def intercept(route: Route) -> None:
        handles.append(route.request.url)
        route.abort()

    page.route(re.compile(r".*/end/.*"), intercept)
    page.goto(everything.site)
    page.click("#login")
    answer(page, PIN)
    while not handles:
        page.wait_for_event("requestfailed")
    elsewhere = everything.browser.new_context()
    other = elsewhere.new_page()
    response = other.goto(handles[0])
    assert response is not None
    assert response.status == 400
    assert "another browser" in other.inner_text("[role=alert]")
    elsewhere.close()


def test_a_pin_page_is_good_once_and_only_from_the_agent(everything: Stack) -> None:
    now = everything.institutions.world.clock.now()
    asked = ask_address(everything.agent, new_challenge(everything.site, now), f"{everything.site}/answer", "state")
    with httpx.Client() as client:
        shown = client.get(asked)
        ticket = re.search(r'name="ticket" value="(\w+)"', shown.text)
        assert ticket is not None
        assert "frame-ancestors 'none'" in shown.headers["content-security-policy"]
        fields = {"ticket": ticket.group(1), "pin": "1"}
        own = {"Origin": everything.agent}
        for headers in ({}, {"Origin": everything.site}, {"Origin": "null"}):
            assert client.post(f"{everything.agent}/ask", data=fields, headers=headers).status_code == 400
        assert client.post(f"{everything.agent}/ask", data=fields, headers=own).status_code == 200
        assert "already sent" in client.post(f"{everything.agent}/ask", data=fields, headers=own).text
    with httpx.Client() as stranger:
        again = re.search(r'name="ticket" value="(\w+)"', stranger.get(asked).text)
        assert again is not None
        stranger.cookies.clear()
        refused = stranger.post(f"{everything.agent}/ask", data={"ticket": again.group(1), "pin": PIN}, headers=own)
        assert refused.status_code == 400
        assert "another session" in refused.text


@pytest.mark.parametrize(
    "change",
    [
        {"return_to": "https://evil.example/answer"}, {"origin": "https://library.example"}, {"origin": "http://a.example"},
        {"nonce": "00"}, {"nonce": "zz" * 32}, {"issued_at": "yesterday"}, {"issued_at": "2026-11-24T10:00:00"},
        {"kind": "signature", "text": ""}, {"kind": "other"}, {"text": "sign this"}, {"origin": "http://localhost@evil.example"},
        {"kind": "signature", "text": "x" * 5000}, {"state": "x" * 1000},
    ],
    ids=str,
)  # fmt: skip
def test_what_no_site_may_ask_is_not_shown(everything: Stack, change: dict[str, str]) -> None:
    good = {"origin": everything.site, "return_to": f"{everything.site}/answer", "nonce": "ab" * 32,
            "issued_at": "2026-11-24T10:00:00+00:00", "state": "s"}  # fmt: skip
    assert httpx.get(f"{everything.agent}/ask", params=good).status_code == 200
    refused = httpx.get(f"{everything.agent}/ask", params={**good, **change})
    assert refused.status_code == 400
    assert "pin" not in refused.text


def test_the_agent_answers_under_its_own_name_only_and_not_in_frames(everything: Stack) -> None:
    address = f"{everything.agent}/"
    assert httpx.get(address).status_code == 200
    good = {"origin": everything.site, "return_to": f"{everything.site}/answer", "nonce": "ab" * 32,
            "issued_at": "2026-11-24T10:00:00+00:00"}  # fmt: skip
    for headers in ({"Host": "evil.example"}, {"Sec-Fetch-Dest": "iframe"}):
        assert httpx.get(f"{everything.agent}/ask", params=good, headers=headers).status_code == 400


def test_a_third_partys_client_logs_in_by_openid_connect(everything: Stack, page: Page) -> None:
    port = free_port()
    store = ProviderStore(everything.institutions.world)
    secret = store.add_client("apache", [f"http://localhost:{port}/private/callback"])
    with apache(everything, "apache", secret, "openid name", port) as address:
        page.goto(f"{address}/private/")
        assert "apache" in page.inner_text(".origin")
        assert "氏名" in page.inner_text("main")
        page.click("#go")
        assert "I consent to apache receiving my name." in page.inner_text("blockquote")
        answer(page, PASSWORD)
        page.wait_for_url(f"{address}/private/")
        assert page.inner_text("body") == "members only"
        told = page.request.get(f"{address}/private/")
        assert told.headers["x-user"]
        assert told.headers["x-name"].encode("latin-1").decode() == "番号　花子"


def test_a_plain_login_by_openid_connect_tells_a_pseudonym_only(everything: Stack, page: Page) -> None:
    port = free_port()
    store = ProviderStore(everything.institutions.world)
    secret = store.add_client("plain", [f"http://localhost:{port}/private/callback"])
    with apache(everything, "plain", secret, "openid", port) as address:
        page.goto(f"{address}/private/")
        page.click("#go")
        answer(page, PIN)
        page.wait_for_url(f"{address}/private/")
        told = page.request.get(f"{address}/private/")
        assert re.fullmatch(r"[\w-]{43}", told.headers["x-user"])
        assert told.headers.get("x-name", "(null)") in ("(null)", "")


def curl(everything: Stack, address: str, *options: str) -> subprocess.CompletedProcess[str]:
    """curl, with the card behind OpenSC's PKCS#11 module as its client certificate."""
    token = "token=JPKI%20%28User%20Authentication%20PIN%29;id=%01"
    return subprocess.run(
        ("curl", "-sS", "--engine", "pkcs11", "--key-type", "ENG", "--cert-type", "ENG", "--cert",
         f"pkcs11:{token};type=cert", "--key", f"pkcs11:{token};type=private;pin-value={PIN}", "--cacert",
         str(everything.directory / "server.pem"), *options, address),
        capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, "PKCS11_MODULE_PATH": pkcs11_module()},
    )  # fmt: skip


def test_tls_with_the_card_works_in_version_1_2_and_not_in_1_3(everything: Stack) -> None:
    """OpenSC's JPKI driver signs by PKCS #1 v1.5 alone, and TLS 1.3 wants PSS."""
    root = x509.load_der_x509_certificate(everything.institutions.authorities[CertificateType.AUTHENTICATION].root())
    with nginx(everything, root.public_bytes(Encoding.PEM)) as address:
        through = curl(everything, f"{address}/tls", "--tls-max", "1.2")
        assert through.returncode == 0, through.stderr
        assert re.search(r'id="user">[0-9a-f]{40}<', through.stdout), through.stdout
        assert curl(everything, f"{address}/tls", "--tlsv1.3").returncode != 0
    pem = root.public_bytes(Encoding.PEM).decode().replace("\n", "%0A")
    forged = {"X-Proxy-Secret": "a guess", "X-Client-Certificate": pem}
    assert httpx.get(f"{everything.site}/tls", headers=forged).status_code == 403


def test_a_renewed_card_is_the_same_user_and_a_revoked_one_is_told_so(everything: Stack, page: Page) -> None:
    institutions = everything.institutions
    user = register(page, everything)
    page.click("text=Log out")
    authority = institutions.authorities[CertificateType.AUTHENTICATION]
    old = authority.of_holder(institutions.registry.find("hanako").code)[-1]
    institutions.revocations[CertificateType.AUTHENTICATION].revoke(old.serial, Reason.KEY_COMPROMISE)
    institutions.advance(institutions.world.clock.now() + timedelta(minutes=15))
    page.click("#login")
    answer(page, PIN)
    page.wait_for_url(f"{everything.site}/**")
    assert "失効" in page.inner_text("[role=alert]")
    assert "reported stolen" in page.inner_text("[role=alert]")
    everything.remove()
    institutions.cards.renew("hanako")
    everything.insert()
    page.click("#login")
    answer(page, PIN)
    page.wait_for_url(f"{everything.site}/")
    assert page.inner_text("#user") == user
