"""The OpenID Connect provider and the agent, tried by clients and strangers that mean no good."""

from __future__ import annotations

import asyncio
import re
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import httpx
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import KeySet

from kazashi.card.certification_request import certification_request
from kazashi.jpki.profile import CERTIFICATE_TYPES, CertificateType, Medium
from kazashi.pki.certificate import CertificateRequest
from kazashi.relying_party.login.agent import Agent
from kazashi.relying_party.login.provider import Provider
from kazashi.relying_party.login.provider_store import ProviderStore
from kazashi.relying_party.platform.platform import Platform
from kazashi.relying_party.verify.anchors import AnchorsInDirectory
from kazashi.relying_party.verify.authentication import Challenge
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
class Scene:
    """A provider with two clients, and a holder of both certificates."""

    provider: httpx.ASGITransport
    agent: httpx.ASGITransport
    secrets: dict[str, str]
    key: rsa.RSAPrivateKey
    certificates: dict[CertificateType, bytes]

    def browser(self) -> Browser:
        return Browser(self)


class Browser:
    """Somebody with cookies of their own, who goes where told, one step at a time."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self._client = httpx.AsyncClient(transport=scene.provider, base_url=ISSUER)

    def get(self, path: str, **settings: Any) -> httpx.Response:
        return asyncio.run(self._client.get(path, **settings))

    def post(self, path: str, **settings: Any) -> httpx.Response:
        return asyncio.run(self._client.post(path, **settings))

    def begin(self, **asked: str) -> dict[str, str]:
        """Consent, and what the agent is then asked."""
        assert self.get("/authorize", params=asked).status_code == 200
        begun = self.post("/begin", data={"query": urlencode(asked)})
        assert begun.status_code == 303
        assert begun.headers["location"].startswith(f"{AGENT}/ask?")
        return dict(parse_qsl(urlsplit(begun.headers["location"]).query, keep_blank_values=True))

    def answer(self, asked: dict[str, str]) -> str:
        """What the agent's page sends after the card has signed; answers where the browser goes on."""
        kind = CERTIFICATE_TYPES[asked["kind"]]
        challenge = Challenge(
            asked["origin"], bytes.fromhex(asked["nonce"]), datetime.fromisoformat(asked["issued_at"]), kind,
            asked["text"],
        )  # fmt: skip
        signature = self.scene.key.sign(challenge.message, padding.PKCS1v15(), hashes.SHA256())
        fields = {"nonce": asked["nonce"], "state": asked["state"], "signature": signature.hex(),
                  "certificate": self.scene.certificates[kind].hex()}  # fmt: skip
        sent = self.post("/answer", data=fields)
        found = re.search(r"url=(/end/\w+)", sent.text)
        assert found is not None, sent.text
        return found.group(1)

    def code(self, **asked: str) -> str:
        """An authorization code, all the way."""
        back = self.get(self.answer(self.begin(**asked)))
        assert back.status_code in (302, 303), back.text
        query = parse_qs(urlsplit(back.headers["location"]).query)
        assert query["state"] == ["s"]
        return query["code"][0]

    def token(self, code: str, client: str = "app", **changes: str) -> httpx.Response:
        fields = {"grant_type": "authorization_code", "code": code, "redirect_uri": HOME, "code_verifier": VERIFIER}
        return self.post("/token", data=fields | changes, auth=(client, self.scene.secrets[client]))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    keys = SharedKeySource([generate() for _ in range(3)])
    town = new_institutions(tmp_path_factory.mktemp("provider") / "w", keys)
    pkcs8, now = generate(), town.world.clock.now()
    resident = town.resident("hanako")
    certificates = {
        kind: town.authorities[kind].issue(
            CertificateRequest(
                resident, certification_request(pkcs8), now, now + timedelta(days=400), Medium.PHONE, "phone"
            )
        )
        for kind in CertificateType
    }
    town.settle()
    tree = town.world.publication
    verifier = Verifier(AnchorsInDirectory(tree / "ca"), [lists_in(tree)], town.world.clock)
    store = ProviderStore(town.world)
    secrets = {"app": store.add_client("app", [HOME]), "other": store.add_client("other", [OTHER])}
    provider = Provider(town.world, verifier, Platform(town.world, NoLinkage()), ISSUER, AGENT)
    key = serialization.load_der_private_key(pkcs8, None)
    assert isinstance(key, rsa.RSAPrivateKey)
    yield Scene(
        httpx.ASGITransport(provider.application()), httpx.ASGITransport(Agent(AGENT).application()), secrets, key,
        certificates,
    )  # fmt: skip
    town.world.close()


def asking(**changes: str) -> dict[str, str]:
    asked = {"response_type": "code", "client_id": "app", "redirect_uri": HOME, "scope": "openid", "state": "s",
             "nonce": "n", "code_challenge": CHALLENGE, "code_challenge_method": "S256"}  # fmt: skip
    return {name: value for name, value in (asked | changes).items() if value}


def test_an_id_token_is_signed_with_the_published_key(scene: Scene) -> None:
    browser = scene.browser()
    told = browser.token(browser.code(**asking())).json()
    keys = KeySet.import_key_set(browser.get("/jwks").json())
    claims = jwt.decode(told["id_token"], keys, algorithms=["RS256"]).claims
    assert (claims["iss"], claims["aud"], claims["nonce"]) == (ISSUER, ["app"], "n")
    assert "name" not in claims
    found = browser.get("/userinfo", headers={"Authorization": f"Bearer {told['access_token']}"}).json()
    assert found == {"sub": claims["sub"]}
    listed = browser.get("/.well-known/openid-configuration").json()
    assert listed["issuer"] == ISSUER
    assert listed["subject_types_supported"] == ["pairwise"]


def test_attributes_come_with_a_signed_consent_alone(scene: Scene) -> None:
    browser = scene.browser()
    asked = browser.begin(**asking(scope="openid name birthdate gender address"))
    assert asked["kind"] == "signature"
    assert "I consent to app receiving my name, date of birth, sex, address." in asked["text"]
    back = browser.get(browser.answer(asked))
    code = parse_qs(urlsplit(back.headers["location"]).query)["code"][0]
    told = browser.token(code).json()
    found = browser.get("/userinfo", headers={"Authorization": f"Bearer {told['access_token']}"}).json()
    assert found["name"] == "番号\u3000花子"
    assert found["birthdate"] == "1988-04-17"
    assert found["gender"] == "female"
    assert found["address"]["formatted"].startswith("東京都渋谷区")


def test_two_clients_know_one_person_by_two_names_and_one_client_by_one(scene: Scene) -> None:
    def subject(client: str, home: str) -> str:
        browser = scene.browser()
        code = browser.code(**asking(client_id=client, redirect_uri=home))
        told = browser.token(code, client, redirect_uri=home).json()
        found = browser.get("/userinfo", headers={"Authorization": f"Bearer {told['access_token']}"})
        return str(found.json()["sub"])

    assert subject("app", HOME) == subject("app", HOME)
    assert subject("app", HOME) != subject("other", OTHER)


def test_a_code_is_good_once_for_its_client_and_verifier(scene: Scene) -> None:
    browser = scene.browser()
    code = browser.code(**asking())
    assert browser.token(code).status_code == 200
    assert browser.token(code).json()["error"] == "invalid_grant"
    for changes in ({"code_verifier": "w" * 43}, {"redirect_uri": OTHER}, {"code_verifier": ""}):
        assert browser.token(browser.code(**asking()), **changes).status_code == 400
    stolen = browser.code(**asking())
    assert browser.token(stolen, "other").status_code == 400
    assert browser.token(stolen).status_code == 400, "a code that somebody else has shown is worth nothing any more"
    wrong = browser.post("/token", data={"grant_type": "authorization_code", "code": "x"}, auth=("app", "guess"))
    assert wrong.status_code == 401


@pytest.mark.parametrize(
    "changes",
    [
        {"redirect_uri": OTHER}, {"redirect_uri": "javascript:alert(1)"}, {"redirect_uri": HOME + "/more"},
        {"redirect_uri": "番号"}, {"client_id": "nobody"}, {"client_id": ""}, {"client_id": "<script>"},
    ],
    ids=str,
)  # fmt: skip
def test_nobody_is_sent_to_an_address_that_is_not_the_clients(scene: Scene, changes: dict[str, str]) -> None:
    refused = scene.browser().get("/authorize", params=asking(**changes))
    assert refused.status_code == 400
    assert "location" not in refused.headers
    assert "<script>" not in refused.text.replace("<style", "")


@pytest.mark.parametrize(
    "changes",
    [
        {"code_challenge": "", "code_challenge_method": ""}, {"code_challenge_method": "plain"},
        {"response_type": "token"}, {"response_type": "code id_token"}, {"scope": "openid everything"},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_not_offered_is_refused(scene: Scene, changes: dict[str, str]) -> None:
    refused = scene.browser().get("/authorize", params=asking(**changes))
    assert refused.status_code in (302, 303, 400)
    if "location" in refused.headers:
        assert refused.headers["location"].startswith(f"{HOME}?error=")


def test_a_login_ends_in_the_browser_that_began_it(scene: Scene) -> None:
    victim, attacker = scene.browser(), scene.browser()
    handle = attacker.answer(attacker.begin(**asking()))
    assert victim.get(handle).status_code == 400
    assert attacker.get(handle).status_code in (302, 303)
    assert attacker.get(handle).status_code == 400, "and once"


def test_pages_are_not_framed_nor_kept(scene: Scene) -> None:
    shown = scene.browser().get("/authorize", params=asking())
    assert shown.headers["x-frame-options"] == "DENY"
    assert "frame-ancestors 'none'" in shown.headers["content-security-policy"]
    assert shown.headers["cache-control"] == "no-store"
    assert "script-src 'nonce-" in shown.headers["content-security-policy"]


def test_a_wrong_access_token_opens_nothing(scene: Scene) -> None:
    browser = scene.browser()
    code = browser.code(**asking())
    for shown in ({}, {"Authorization": "Bearer x"}, {"Authorization": f"Bearer {code}"}, {"Authorization": "Basic x"}):
        assert browser.get("/userinfo", headers=shown).status_code == 401


NAMES = ["response_type", "client_id", "redirect_uri", "scope", "state", "nonce", "code_challenge", "code", "origin",
         "code_challenge_method", "issued_at", "kind", "text", "return_to", "query", "ticket", "pin", "signature",
         "certificate", "grant_type", "code_verifier", "error"]  # fmt: skip
VALUES = ["code", "app", HOME, "openid", "S256", CHALLENGE, ISSUER, "signature", "authorization_code", "ab" * 32,
          "2026-11-24T10:00:00+09:00"]  # fmt: skip
FIELDS = st.dictionaries(
    st.sampled_from(NAMES) | st.text(max_size=8), st.text(max_size=40) | st.sampled_from(VALUES), max_size=10
)


@settings(max_examples=120, deadline=None)
@given(
    st.sampled_from(["provider", "agent"]), st.sampled_from(["GET", "POST", "PUT"]),
    st.sampled_from(["/authorize", "/begin", "/answer", "/end/x", "/token", "/userinfo", "/ask", "/", "/jwks", "/%00"]),
    FIELDS, FIELDS,
)  # fmt: skip
def test_nothing_that_is_sent_breaks_a_page(
    scene: Scene, which: str, method: str, path: str, query: dict[str, str], fields: dict[str, str]
) -> None:
    transport, base = (scene.provider, ISSUER) if which == "provider" else (scene.agent, AGENT)

    async def send() -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url=base) as client:
            return await client.request(method, path, params=query, data=fields, headers={"Origin": base})

    answered = asyncio.run(send())
    assert answered.status_code < 500
    for value in (*query.values(), *fields.values()):
        if "<" in value and len(value) > 3:
            assert value not in answered.text
