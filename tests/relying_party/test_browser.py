"""Logins in a real browser with a real reader: agent, sample site, provider, a third-party client, and TLS."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from playwright.sync_api import Page, Route

from kazashi.assembly.cards import make_card
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
from tests.relying_party.openid_clients import PythonClient, node_client, page_at
from tests.relying_party.stack import PASSWORD, PIN, Stack, apache, nginx, running_stack

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def stack(pcscd: RunningPcscd, keys: SharedKeySource, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    world = open_world(tmp_path_factory.mktemp("browser") / "w", seed="browser", keys=keys)
    with running_stack(Institutions(world), pcscd) as running:
        yield running
    world.close()


@pytest.fixture
def page(stack: Stack) -> Iterator[Page]:
    """A page in a browser context without cookies."""
    context = stack.browser.new_context()
    yield context.new_page()
    context.close()


def answer(page: Page, secret: str) -> None:
    """Type the PIN on the agent's page and continue."""
    page.fill("#pin", secret)
    page.click("button[name=ok]")


def register(page: Page, stack: Stack) -> str:
    """Register at the sample site and return the user ID."""
    page.goto(stack.site)
    page.click("#register")
    answer(page, PASSWORD)
    return page.inner_text("#user")


def test_a_user_registers_and_logs_in(stack: Stack, page: Page) -> None:
    user = register(page, stack)
    assert "番号　花子" in page.inner_text("main")
    assert "渋谷区" in page.inner_text("main")
    page.click("text=Log out")
    page.click("#login")
    assert stack.site in page.inner_text(".origin")
    assert "ログイン" in page.inner_text("main")
    assert page.get_attribute("#pin", "type") == "password"
    answer(page, PIN)
    assert page.inner_text("#user") == user
    assert page.url == f"{stack.site}/"


def test_the_site_never_sees_the_pin(stack: Stack, page: Page) -> None:
    requests: list[tuple[str, str]] = []
    page.on("request", lambda request: requests.append((request.url, request.post_data or "")))
    register(page, stack)
    to_site = [body for url, body in requests if url.startswith(stack.site)]
    assert any("signature=" in body for body in to_site)
    assert not any(PASSWORD in body or "pin=" in body for body in to_site)
    assert any(PASSWORD in body for url, body in requests if url.startswith(stack.agent))


def test_retries_are_shown_and_a_login_can_be_cancelled(stack: Stack, page: Page) -> None:
    page.goto(stack.site)
    page.click("#login")
    answer(page, "9999")
    assert "Retries left: 2" in page.inner_text("[role=alert]")
    answer(page, "12")
    assert "not sent to the card" in page.inner_text("[role=alert]")
    answer(page, PIN)
    page.wait_for_url(f"{stack.site}/**")
    page.wait_for_load_state("networkidle")  # the site sends the browser on once more
    page.goto(stack.site)
    if page.query_selector("#login") is None:
        page.click("text=Log out")
    page.click("#login")
    page.click("button[name=cancel]")
    page.wait_for_url(f"{stack.site}/**")
    assert "cancelled" in page.inner_text("[role=alert]")


def test_a_blocked_pin_is_reported(stack: Stack, page: Page) -> None:
    stack.remove()
    stack.insert(stack.institutions.issue_card("taro", "taro"))
    page.goto(stack.site)
    page.click("#login")
    for message in ("Retries left: 2", "Retries left: 1", "blocked", "blocked"):
        answer(page, "9999")
        page.wait_for_selector(f"[role=alert]:has-text('{message}')")
    assert "窓口" in page.inner_text("[role=alert]")
    stack.remove()
    stack.insert()


def test_the_agent_asks_for_a_removed_card(stack: Stack, page: Page) -> None:
    register(page, stack)
    page.click("text=Log out")
    page.click("#login")
    stack.remove()
    answer(page, PIN)
    assert "Put the card on the reader" in page.inner_text("[role=alert]")
    stack.insert()
    answer(page, PIN)
    assert page.inner_text("#user")


def stopped_before_the_end(page: Page, stack: Stack) -> str:
    """Log in at the sample site up to the last step, and return its address, at which the browser has not been."""
    handles: list[str] = []

    def intercept(route: Route) -> None:
        handles.append(route.request.url)
        route.abort("aborted")  # after another error, Chromium loads the page again and would end the login itself

    page.route(re.compile(r".*/end/.*"), intercept)
    page.goto(stack.site)
    page.click("#login")
    answer(page, PIN)
    while not handles:
        page.wait_for_event("requestfailed")
    page.unroute(re.compile(r".*/end/.*"))
    return handles[0]


def test_a_login_whose_link_was_passed_on_logs_nobody_in(stack: Stack, page: Page) -> None:
    """The one who starts a login and sends its link to a person is not logged in when the person types the PIN."""
    register(page, stack)
    page.click("text=Log out")
    page.click("#login")
    page.wait_for_url(f"{stack.agent}/**")
    other_context = stack.browser.new_context(user_agent="Mozilla/5.0 (Windows NT 10.0; rv:140.0) Firefox/140.0")
    person = other_context.new_page()
    person.goto(page.url)
    shown = person.inner_text("main")
    assert stack.site in shown
    assert "Library of Kakucho: ログイン Log in" in shown
    assert re.search(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d JST, Chrome, Linux", shown)
    assert "was started in another browser (Chrome, Linux)" in person.inner_text("[role=alert]")
    assert page.query_selector("[role=alert]") is None
    answer(person, PIN)
    assert "has ended" in person.inner_text("[role=alert]")
    page.goto(stack.site)
    assert page.query_selector("#user") is None
    other_context.close()


def test_the_back_button_repeats_no_login_and_shows_nothing_after_logout(stack: Stack, page: Page) -> None:
    register(page, stack)
    page.click("text=Log out")
    page.click("#login")
    answer(page, PIN)
    user = page.inner_text("#user")
    page.go_back()
    assert page.query_selector("#user") is None
    page.goto(stack.site)
    assert page.inner_text("#user") == user, "the session goes on"
    page.click("text=Log out")
    page.wait_for_selector("#login")
    page.go_back()
    assert page.query_selector("#user") is None, "the page of the session is not kept"
    assert user not in page.content()


def test_a_browser_that_looks_ahead_does_not_use_a_login_up(stack: Stack, page: Page) -> None:
    register(page, stack)
    page.click("text=Log out")
    last = stopped_before_the_end(page, stack)
    page.route(
        f"{stack.site}/links", lambda route: route.fulfill(body="<title>links</title>", content_type="text/html")
    )
    page.goto(f"{stack.site}/links")
    with page.expect_response(last) as response:
        page.evaluate(
            "address => document.head.append(Object.assign(document.createElement('link'),"
            " {rel: 'prefetch', href: address}))",
            last,
        )
    assert response.value.status == 503
    page.goto(last)
    assert page.inner_text("#user")


def test_a_login_cannot_be_finished_in_another_browser(stack: Stack, page: Page) -> None:
    """Otherwise an attacker could log the victim in as the attacker."""
    last = stopped_before_the_end(page, stack)
    other_context = stack.browser.new_context()
    other = other_context.new_page()
    response = other.goto(last)
    assert response is not None
    assert response.status == 400
    assert "another browser" in other.inner_text("[role=alert]")
    other_context.close()


def test_a_pin_page_works_once_and_only_from_the_agent(stack: Stack) -> None:
    now = stack.institutions.world.clock.now()
    address = ask_address(stack.agent, new_challenge(stack.site, now), f"{stack.site}/answer", "state")
    with httpx.Client() as client:
        form = client.get(address)
        ticket = re.search(r'name="ticket" value="(\w+)"', form.text)
        assert ticket is not None
        assert "frame-ancestors 'none'" in form.headers["content-security-policy"]
        fields = {"ticket": ticket.group(1), "pin": "1"}
        own = {"Origin": stack.agent}
        for headers in ({}, {"Origin": stack.site}, {"Origin": "null"}):
            assert client.post(f"{stack.agent}/ask", data=fields, headers=headers).status_code == 400
        assert client.post(f"{stack.agent}/ask", data=fields, headers=own).status_code == 200
        assert "already sent" in client.post(f"{stack.agent}/ask", data=fields, headers=own).text
    with httpx.Client() as stranger:
        again = re.search(r'name="ticket" value="(\w+)"', stranger.get(address).text)
        assert again is not None
        stranger.cookies.clear()
        response = stranger.post(f"{stack.agent}/ask", data={"ticket": again.group(1), "pin": PIN}, headers=own)
        assert response.status_code == 400
        assert "another session" in response.text


@pytest.mark.parametrize(
    "change",
    [
        {"return_to": "https://evil.example/answer"}, {"origin": "https://library.example"}, {"origin": "http://a.example"},
        {"nonce": "00"}, {"nonce": "zz" * 32}, {"issued_at": "yesterday"}, {"issued_at": "2026-11-24T10:00:00"},
        {"kind": "signature", "text": ""}, {"kind": "other"}, {"text": "sign this"}, {"origin": "http://localhost@evil.example"},
        {"kind": "signature", "text": "x" * 5000}, {"state": "x" * 1000}, {"purpose": "x\ny"}, {"browser": "x" * 101},
        {"kind": "signature", "text": "x\u202ey"}, {"kind": "signature", "text": "\n".join("x" * 61)},
        {"issued_at": "0001-01-01T00:00:00+14:00"}, {"issued_at": "9999-12-31T23:59:00-14:00"},
        {"purpose": "x\u200by"}, {"origin": "https://日本.example", "return_to": "https://日本.example/answer"},
    ],
    ids=str,
)  # fmt: skip
def test_an_invalid_site_request_is_not_shown(stack: Stack, change: dict[str, str]) -> None:
    good = {"origin": stack.site, "return_to": f"{stack.site}/answer", "nonce": "ab" * 32,
            "issued_at": "2026-11-24T10:00:00+00:00", "state": "s"}  # fmt: skip
    assert httpx.get(f"{stack.agent}/ask", params=good).status_code == 200
    response = httpx.get(f"{stack.agent}/ask", params={**good, **change})
    assert response.status_code == 400
    assert "pin" not in response.text


def test_the_agent_rejects_other_host_names_and_frames(stack: Stack) -> None:
    address = f"{stack.agent}/"
    assert httpx.get(address).status_code == 200
    good = {"origin": stack.site, "return_to": f"{stack.site}/answer", "nonce": "ab" * 32,
            "issued_at": "2026-11-24T10:00:00+00:00"}  # fmt: skip
    for headers in ({"Host": "evil.example"}, {"Sec-Fetch-Dest": "iframe"}):
        assert httpx.get(f"{stack.agent}/ask", params=good, headers=headers).status_code == 400


def test_apache_logs_in_with_openid_connect(stack: Stack, page: Page) -> None:
    port = free_port()
    store = ProviderStore(stack.institutions.world)
    secret = store.add_client("apache", [f"http://localhost:{port}/private/callback"])
    with apache(stack, "apache", secret, "openid name", port) as address:
        page.goto(f"{address}/private/")
        assert "apache" in page.inner_text(".origin")
        assert "氏名" in page.inner_text("main")
        page.click("#go")
        assert "I consent to apache receiving my name." in page.inner_text("blockquote")
        answer(page, PASSWORD)
        page.wait_for_url(f"{address}/private/")
        assert page.inner_text("body") == "members only"
        response = page.request.get(f"{address}/private/")
        assert response.headers["x-user"]
        assert response.headers["x-name"].encode("latin-1").decode() == "番号　花子"


def test_a_plain_openid_connect_login_reveals_only_a_pseudonym(stack: Stack, page: Page) -> None:
    port = free_port()
    store = ProviderStore(stack.institutions.world)
    secret = store.add_client("plain", [f"http://localhost:{port}/private/callback"])
    with apache(stack, "plain", secret, "openid", port) as address:
        page.goto(f"{address}/private/")
        page.click("#go")
        answer(page, PIN)
        page.wait_for_url(f"{address}/private/")
        response = page.request.get(f"{address}/private/")
        assert re.fullmatch(r"[\w-]{43}", response.headers["x-user"])
        assert response.headers.get("x-name", "(null)") in ("(null)", "")


@pytest.fixture
def next_card(stack: Stack) -> Iterator[None]:
    """The next card of taro on the reader, in the place of hanako's."""
    image = stack.institutions.world.cards / "taro-next.card"
    if not image.exists():
        make_card(stack.institutions, "taro-next", "taro", model="next")
    stack.remove()
    stack.insert(image)
    yield
    stack.remove()
    stack.insert()


@pytest.mark.usefixtures("next_card")
def test_the_next_card_logs_in_to_a_python_client_that_asks_for_es384(stack: Stack, page: Page) -> None:
    port = free_port()
    home = f"http://localhost:{port}/callback"
    secret = ProviderStore(stack.institutions.world).add_client("es384", [home], algorithm="ES384")
    client = PythonClient(stack.provider, "es384", secret, home, "openid name")
    with page_at(port):
        page.goto(client.start)
        page.click("#go")
        answer(page, PASSWORD)
        page.wait_for_url(f"{home}?**")
        claims = client.finish(page.url)
    assert client.algorithm == "ES384"
    assert claims["name"] == "番号　太郎"


@pytest.mark.long
@pytest.mark.usefixtures("next_card")
def test_the_next_card_registers_and_logs_in_at_the_sample_site(stack: Stack, page: Page) -> None:
    user = register(page, stack)
    assert "番号　太郎" in page.inner_text("main")
    page.click("text=Log out")
    page.click("#login")
    answer(page, PIN)
    assert page.inner_text("#user") == user


@pytest.mark.long
@pytest.mark.usefixtures("next_card")
def test_the_next_card_logs_in_to_a_node_client_that_asks_for_es384(stack: Stack, page: Page, tmp_path: Path) -> None:
    home = f"http://localhost:{free_port()}/callback"
    secret = ProviderStore(stack.institutions.world).add_client("node-es384", [home], algorithm="ES384")
    with node_client(tmp_path, stack.provider, "node-es384", secret, home, "openid name", "ES384") as printed:
        page.goto(printed.readline().strip())
        page.click("#go")
        answer(page, PASSWORD)
        page.wait_for_url(f"{home}?**")
        claims = json.loads(printed.readline())
    assert claims["name"] == "番号　太郎"


def test_a_python_client_logs_in_with_openid_connect(stack: Stack, page: Page) -> None:
    port = free_port()
    home = f"http://localhost:{port}/callback"
    secret = ProviderStore(stack.institutions.world).add_client("Authlib 1", [home])
    client = PythonClient(stack.provider, "Authlib 1", secret, home, "openid birthdate")
    with page_at(port) as requested:
        page.goto(client.start)
        page.click("#go")
        answer(page, PASSWORD)
        page.wait_for_url(f"{home}?**")
        claims = client.finish(page.url)
    assert claims["birthdate"] == "1988-04-17"
    assert claims.keys() == {"sub", "birthdate"}
    assert urlsplit(requested[0]).path == "/callback"


@pytest.mark.long
def test_a_node_client_logs_in_with_openid_connect(stack: Stack, page: Page, tmp_path: Path) -> None:
    """It form-encodes its name and secret, and it checks the issuer of the response (RFC 9207)."""
    home = f"http://localhost:{free_port()}/callback"
    secret = ProviderStore(stack.institutions.world).add_client("a client.of-Node", [home])
    with node_client(tmp_path, stack.provider, "a client.of-Node", secret, home, "openid name") as printed:
        page.goto(printed.readline().strip())
        page.click("#go")
        answer(page, PASSWORD)
        page.wait_for_url(f"{home}?**")
        claims = json.loads(printed.readline())
    assert claims["name"] == "番号　花子"
    assert claims.keys() == {"sub", "name"}


def curl(stack: Stack, address: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run curl with the card as its client certificate, through OpenSC's PKCS#11 module."""
    token = "token=JPKI%20%28User%20Authentication%20PIN%29;id=%01"
    return subprocess.run(
        ("curl", "-sS", "--engine", "pkcs11", "--key-type", "ENG", "--cert-type", "ENG", "--cert",
         f"pkcs11:{token};type=cert", "--key", f"pkcs11:{token};type=private;pin-value={PIN}", "--cacert",
         str(stack.directory / "server.pem"), *options, address),
        capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, "PKCS11_MODULE_PATH": pkcs11_module()},
    )  # fmt: skip


def test_tls_with_the_card_works_with_1_2_but_not_1_3(stack: Stack) -> None:
    """OpenSC's JPKI driver signs only with PKCS #1 v1.5, and TLS 1.3 requires PSS."""
    root = x509.load_der_x509_certificate(stack.institutions.authorities[CertificateType.AUTHENTICATION].root())
    with nginx(stack, root.public_bytes(Encoding.PEM)) as address:
        result = curl(stack, f"{address}/tls", "--tls-max", "1.2")
        assert result.returncode == 0, result.stderr
        assert re.search(r'id="user">[0-9a-f]{40}<', result.stdout), result.stdout
        assert curl(stack, f"{address}/tls", "--tlsv1.3").returncode != 0
    pem = root.public_bytes(Encoding.PEM).decode().replace("\n", "%0A")
    forged = {"X-Proxy-Secret": "a guess", "X-Client-Certificate": pem}
    assert httpx.get(f"{stack.site}/tls", headers=forged).status_code == 403


def test_a_renewed_card_is_the_same_user_and_a_revoked_one_is_reported(stack: Stack, page: Page) -> None:
    institutions = stack.institutions
    user = register(page, stack)
    page.click("text=Log out")
    authority = institutions.authorities[CertificateType.AUTHENTICATION]
    old = authority.of_holder(institutions.registry.find("hanako").code)[-1]
    institutions.revocations[CertificateType.AUTHENTICATION].revoke(old.serial, Reason.KEY_COMPROMISE)
    institutions.advance(institutions.world.clock.now() + timedelta(minutes=15))
    page.click("#login")
    answer(page, PIN)
    page.wait_for_url(f"{stack.site}/**")
    assert "失効" in page.inner_text("[role=alert]")
    assert "reported stolen" in page.inner_text("[role=alert]")
    stack.remove()
    institutions.cards.renew("hanako")
    stack.insert()
    page.click("#login")
    answer(page, PIN)
    page.wait_for_url(f"{stack.site}/")
    assert page.inner_text("#user") == user
