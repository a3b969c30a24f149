"""The OpenID Connect provider and the agent, also with hostile clients and strangers."""

from __future__ import annotations

import asyncio
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256, sha384
from html import unescape
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import httpx
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet

from kazashi.assembly.institutions import Institutions
from kazashi.card.certification_request import certification_request
from kazashi.jpki.profile import CertificateType, Medium
from kazashi.pki.certificate import CertificateRequest
from kazashi.relying_party.login.agent import Agent, read_ask
from kazashi.relying_party.login.provider import Provider
from kazashi.relying_party.login.provider_store import ProviderStore
from kazashi.relying_party.platform.platform import Platform
from kazashi.relying_party.verify.anchors import AnchorsInDirectory
from kazashi.relying_party.verify.linkage import NoLinkage
from kazashi.relying_party.verify.sources import lists_in
from kazashi.relying_party.verify.verification import Verifier
from kazashi.world.key_source import SharedKeySource, generate
from tests.town import new_institutions

pytestmark = pytest.mark.unit

ISSUER, AGENT = "http://localhost:18612", "http://127.0.0.1:18610"
HOME, OTHER = "https://app.example/callback", "https://other.example/callback"
VERIFIER = "v" * 43
CHALLENGE = urlsafe_b64encode(sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()


@dataclass
class CardHolder:
    """A person with one key and both certificates."""

    key: rsa.RSAPrivateKey
    certificates: dict[CertificateType, bytes]

    @classmethod
    def new(cls, town: Institutions, alias: str) -> CardHolder:
        pkcs8, now = generate(), town.world.clock.now()
        key = serialization.load_der_private_key(pkcs8, None)
        assert isinstance(key, rsa.RSAPrivateKey)
        request = CertificateRequest(
            town.resident(alias), certification_request(pkcs8), now, now + timedelta(days=400), Medium.PHONE, alias
        )
        return cls(key, {kind: town.authorities[kind].issue(request) for kind in CertificateType})


@dataclass
class ProviderSetup:
    """A provider with two clients, and two holders of both certificates, of whom the first logs in."""

    provider: httpx.ASGITransport
    agent: httpx.ASGITransport
    store: ProviderStore
    secrets: dict[str, str]
    holders: list[CardHolder]

    def browser(self) -> Browser:
        return Browser(self)

    @contextmanager
    def another_user(self) -> Iterator[None]:
        """Let another person's card answer."""
        self.holders.reverse()
        yield
        self.holders.reverse()


class Browser:
    """A browser with its own cookies, which follows redirects one step at a time."""

    def __init__(self, environment: ProviderSetup) -> None:
        self.environment = environment
        self._client = httpx.AsyncClient(transport=environment.provider, base_url=ISSUER, headers={"Origin": ISSUER})

    def get(self, path: str, **settings: Any) -> httpx.Response:
        return asyncio.run(self._client.get(path, **settings))

    def post(self, path: str, **settings: Any) -> httpx.Response:
        return asyncio.run(self._client.post(path, **settings))

    def begin(self, **parameters: str) -> dict[str, str]:
        """Start a login, and return the parameters of the agent's address."""
        return self.consent(self.get("/authorize", params=parameters))

    def consent(self, page: httpx.Response) -> dict[str, str]:
        """Submit the form of the page that names the client, and return the parameters of the agent's address."""
        query = re.search(r'name="query" value="([^"]*)"', page.text)
        assert query is not None, page.text
        response = self.post("/begin", data={"query": unescape(query[1])})
        assert response.status_code == 303
        assert response.headers["location"].startswith(f"{AGENT}/ask?")
        return dict(parse_qsl(urlsplit(response.headers["location"]).query, keep_blank_values=True))

    def answer(self, request: dict[str, str]) -> str:
        """Post what the agent's page sends after the card has signed; return the path to continue at."""
        challenge = read_ask(request).challenge
        holder = self.environment.holders[0]
        signature = holder.key.sign(challenge.message, padding.PKCS1v15(), hashes.SHA256())
        fields = {"nonce": request["nonce"], "state": request["state"], "signature": signature.hex(),
                  "certificate": holder.certificates[challenge.kind].hex()}  # fmt: skip
        response = self.post("/answer", data=fields)
        match = re.search(r"url=(/end/\w+)", response.text)
        assert match is not None, response.text
        return match.group(1)

    def code(self, **parameters: str) -> str:
        """Log in and return the authorization code."""
        back = self.get(self.answer(self.begin(**parameters)))
        assert back.status_code in (302, 303), back.text
        query = parse_qs(urlsplit(back.headers["location"]).query)
        assert query["state"] == ["s"]
        return query["code"][0]

    def token(self, code: str, client: str = "app", **changes: str) -> httpx.Response:
        fields = {"grant_type": "authorization_code", "code": code, "redirect_uri": HOME, "code_verifier": VERIFIER}
        return self.post("/token", data=fields | changes, auth=(client, self.environment.secrets[client]))


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProviderSetup]:
    keys = SharedKeySource([generate() for _ in range(3)])
    town = new_institutions(tmp_path_factory.mktemp("provider") / "w", keys)
    holders = [CardHolder.new(town, alias) for alias in ("hanako", "taro")]
    town.settle()
    tree = town.world.publication
    verifier = Verifier(AnchorsInDirectory(tree / "ca"), [lists_in(tree)], town.world.clock)
    store = ProviderStore(town.world)
    secrets = {"app": store.add_client("app", [HOME]), "other": store.add_client("other", [OTHER])}
    provider = Provider(town.world, verifier, Platform(town.world, NoLinkage()), ISSUER, AGENT)
    yield ProviderSetup(
        httpx.ASGITransport(provider.application()), httpx.ASGITransport(Agent(AGENT).application()), store, secrets,
        holders,
    )  # fmt: skip
    town.world.close()


def authorization(**changes: str) -> dict[str, str]:
    parameters = {"response_type": "code", "client_id": "app", "redirect_uri": HOME, "scope": "openid", "state": "s",
                  "nonce": "n", "code_challenge": CHALLENGE, "code_challenge_method": "S256"}  # fmt: skip
    return {name: value for name, value in (parameters | changes).items() if value}


def test_an_id_token_is_signed_with_es384_for_a_client_that_asked_for_it(environment: ProviderSetup) -> None:
    browser = environment.browser()
    environment.secrets["curve"] = environment.store.add_client("curve", [HOME], algorithm="ES384")
    response = browser.token(browser.code(**authorization(client_id="curve")), "curve").json()
    token, keys = response["id_token"], KeySet.import_key_set(browser.get("/jwks").json())
    decoded = jwt.decode(token, keys, algorithms=["ES384"])
    assert (decoded.header["alg"], decoded.claims["aud"]) == ("ES384", ["curve"])
    half = sha384(response["access_token"].encode()).digest()[:24]
    assert decoded.claims["at_hash"] == urlsafe_b64encode(half).rstrip(b"=").decode()
    for algorithms in (["RS256"], ["ES256"]):
        with pytest.raises(JoseError):
            jwt.decode(token, keys, algorithms=algorithms)
    assert browser.begin(**authorization(client_id="curve", id_token_hint=token))
    for hint in (token[:-4] + "AAAA", jwt.encode({"alg": "ES384"}, decoded.claims, ECKey.generate_key("P-384"),
                                                 algorithms=["ES384"])):  # fmt: skip
        refused = browser.get("/authorize", params=authorization(client_id="curve", id_token_hint=hint))
        assert parse_qs(urlsplit(refused.headers["location"]).query)["error"] == ["invalid_request"]
    metadata = browser.get("/.well-known/openid-configuration").json()
    assert metadata["id_token_signing_alg_values_supported"] == ["RS256", "ES384"]


def test_an_id_token_is_signed_with_the_published_key(environment: ProviderSetup) -> None:
    browser = environment.browser()
    tokens = browser.token(browser.code(**authorization())).json()
    keys = KeySet.import_key_set(browser.get("/jwks").json())
    claims = jwt.decode(tokens["id_token"], keys, algorithms=["RS256"]).claims
    assert (claims["iss"], claims["aud"], claims["nonce"]) == (ISSUER, ["app"], "n")
    assert "name" not in claims
    userinfo = browser.get("/userinfo", headers={"Authorization": f"Bearer {tokens['access_token']}"}).json()
    assert userinfo == {"sub": claims["sub"]}
    metadata = browser.get("/.well-known/openid-configuration").json()
    assert metadata["issuer"] == ISSUER
    assert metadata["subject_types_supported"] == ["pairwise"]


def test_attributes_require_a_signed_consent(environment: ProviderSetup) -> None:
    browser = environment.browser()
    request = browser.begin(**authorization(scope="openid name birthdate gender address"))
    assert request["kind"] == "signature"
    assert "I consent to app receiving my name, date of birth, sex, address." in request["text"]
    back = browser.get(browser.answer(request))
    code = parse_qs(urlsplit(back.headers["location"]).query)["code"][0]
    tokens = browser.token(code).json()
    userinfo = browser.get("/userinfo", headers={"Authorization": f"Bearer {tokens['access_token']}"}).json()
    assert userinfo["name"] == "番号\u3000花子"
    assert userinfo["birthdate"] == "1988-04-17"
    assert userinfo["gender"] == "female"
    assert userinfo["address"]["formatted"].startswith("東京都渋谷区")


def test_the_subject_is_stable_for_a_client_and_differs_between_clients(environment: ProviderSetup) -> None:
    def subject(client: str, home: str) -> str:
        browser = environment.browser()
        code = browser.code(**authorization(client_id=client, redirect_uri=home))
        tokens = browser.token(code, client, redirect_uri=home).json()
        userinfo = browser.get("/userinfo", headers={"Authorization": f"Bearer {tokens['access_token']}"})
        return str(userinfo.json()["sub"])

    assert subject("app", HOME) == subject("app", HOME)
    assert subject("app", HOME) != subject("other", OTHER)


def test_a_code_works_once_for_its_client_and_verifier(environment: ProviderSetup) -> None:
    browser = environment.browser()
    code = browser.code(**authorization())
    assert browser.token(code).status_code == 200
    assert browser.token(code).json()["error"] == "invalid_grant"
    for changes in ({"code_verifier": "w" * 43}, {"redirect_uri": OTHER}, {"code_verifier": ""}):
        assert browser.token(browser.code(**authorization()), **changes).status_code == 400
    stolen = browser.code(**authorization())
    assert browser.token(stolen, "other").status_code == 400
    assert browser.token(stolen).status_code == 400, "another client's use of a code invalidates it"
    wrong = browser.post("/token", data={"grant_type": "authorization_code", "code": "x"}, auth=("app", "guess"))
    assert wrong.status_code == 401


@pytest.mark.parametrize(
    "changes",
    [
        {"redirect_uri": OTHER}, {"redirect_uri": "javascript:alert(1)"}, {"redirect_uri": HOME + "/more"},
        {"redirect_uri": "番号"}, {"redirect_uri": ""}, {"client_id": "nobody"}, {"client_id": ""},
        {"client_id": "<script>"}, {"client_id": "app\0"}, {"client_id": "nobody", "request": "x"},
    ],
    ids=str,
)  # fmt: skip
def test_an_unregistered_redirect_address_is_never_used(environment: ProviderSetup, changes: dict[str, str]) -> None:
    response = environment.browser().get("/authorize", params=authorization(**changes))
    assert response.status_code == 400
    assert "location" not in response.headers
    assert "<script>" not in response.text.replace("<style", "")


def test_a_login_finishes_only_in_the_browser_that_started_it(environment: ProviderSetup) -> None:
    victim, attacker = environment.browser(), environment.browser()
    handle = victim.answer(attacker.begin(**authorization()))
    assert "another browser" in victim.get(handle).text
    assert attacker.get(handle).status_code == 400, "the refusal has ended the login"
    handle = attacker.answer(attacker.begin(**authorization()))
    assert attacker.get(handle).status_code in (302, 303)
    assert attacker.get(handle).status_code == 400, "a login finishes only once"


def test_pages_are_not_framed_or_cached(environment: ProviderSetup) -> None:
    page = environment.browser().get("/authorize", params=authorization())
    assert page.headers["x-frame-options"] == "DENY"
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert page.headers["cache-control"] == "no-store"
    assert "script-src 'nonce-" in page.headers["content-security-policy"]


def test_a_wrong_access_token_is_rejected(environment: ProviderSetup) -> None:
    browser = environment.browser()
    code = browser.code(**authorization())
    for headers in (
        {},
        {"Authorization": "Bearer x"},
        {"Authorization": f"Bearer {code}"},
        {"Authorization": "Basic x"},
    ):
        assert browser.get("/userinfo", headers=headers).status_code == 401


NAMES = ["response_type", "client_id", "redirect_uri", "scope", "state", "nonce", "code_challenge", "code", "origin",
         "code_challenge_method", "issued_at", "kind", "text", "return_to", "query", "ticket", "pin", "signature",
         "certificate", "grant_type", "code_verifier", "error"]  # fmt: skip
VALUES = ["code", "app", HOME, "openid", "S256", CHALLENGE, ISSUER, "signature", "authorization_code", "ab" * 32,
          "2026-11-24T10:00:00+09:00"]  # fmt: skip
FIELDS = st.dictionaries(
    st.sampled_from(NAMES) | st.text(max_size=8), st.text(max_size=40) | st.sampled_from(VALUES), max_size=10
)
HEADERS = st.builds(
    lambda scheme, value: scheme + value, st.sampled_from([b"Basic ", b"Bearer ", b""]),
    st.binary(max_size=20).map(b64encode) | st.binary(max_size=20).map(lambda value: value.translate(None, b"\r\n\0")),
)  # fmt: skip


@settings(max_examples=120)
@given(
    st.sampled_from(["provider", "agent"]), st.sampled_from(["GET", "POST", "PUT"]),
    st.sampled_from(["/authorize", "/begin", "/answer", "/end/x", "/token", "/userinfo", "/ask", "/", "/jwks", "/%00"]),
    FIELDS, FIELDS, HEADERS,
)  # fmt: skip
def test_no_input_breaks_or_is_reflected_in_a_page(
    environment: ProviderSetup, which: str, method: str, path: str, query: dict[str, str], fields: dict[str, str],
    header: bytes,
) -> None:  # fmt: skip
    transport, base = (environment.provider, ISSUER) if which == "provider" else (environment.agent, AGENT)

    async def send() -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url=base) as client:
            headers = {b"Origin": base.encode(), b"Authorization": header}
            return await client.request(method, path, params=query, data=fields, headers=headers)

    response = asyncio.run(send())
    assert response.status_code < 500
    for value in (*query.values(), *fields.values()):
        if "<" in value and len(value) > 3:
            assert value not in response.text


@pytest.mark.parametrize("path", ["/", "/ask"])
def test_agent_rejects_another_host_name_on_every_page(path: str) -> None:
    """As after DNS rebinding, or for `localhost` in place of 127.0.0.1: a page that says so, and no server error."""

    async def get() -> httpx.Response:
        transport = httpx.ASGITransport(Agent(AGENT).application())
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost:18610") as client:
            return await client.get(path)

    response = asyncio.run(get())
    assert 400 <= response.status_code < 500
    assert "another host name" in response.text
