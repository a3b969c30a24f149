"""The provider against OpenID's certification plans "basic OP" and "config OP".

Each module of the plans (release 5.2 of OpenID's conformance suite) is a test named after it: it sends what the module
sends, as a registered client without PKCE, and holds what makes the module fail. Where the suite skips a module because
the metadata says that something is not supported, the test holds that the metadata says so and what comes instead.
`oidc_expected_failures.txt` lists the modules that the provider fails, each with a reason.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote_plus, urlsplit

import httpx
import pytest
from authlib.oauth2 import rfc9207
from authlib.oidc.core import CodeIDToken, UserInfo
from authlib.oidc.discovery import OpenIDProviderMetadata

from kazashi.assembly.served import ServedProcess, serve
from kazashi.world.key_source import SharedKeySource, generate
from kazashi.world.rng import new_token
from tests.relying_party import test_provider, test_provider_protocol
from tests.relying_party.openid_clients import decoded, verified
from tests.relying_party.test_provider import CHALLENGE, ISSUER, VERIFIER, ProviderSetup
from tests.relying_party.test_provider_protocol import MovedClock
from tests.town import new_institutions

environment = test_provider.environment
clock = test_provider_protocol.clock

BASIC = (
    "oidcc-server", "oidcc-response-type-missing", "oidcc-idtoken-signature", "oidcc-idtoken-unsigned",
    "oidcc-userinfo-get", "oidcc-userinfo-post-header", "oidcc-userinfo-post-body",
    "oidcc-ensure-request-without-nonce-succeeds-for-code-flow", "oidcc-scope-profile", "oidcc-scope-email",
    "oidcc-scope-address", "oidcc-scope-phone", "oidcc-scope-all", "oidcc-alternate-happy-flow", "oidcc-display-page",
    "oidcc-display-popup", "oidcc-prompt-login", "oidcc-prompt-none-not-logged-in", "oidcc-prompt-none-logged-in",
    "oidcc-max-age-1", "oidcc-max-age-10000", "oidcc-ensure-request-with-unknown-parameter-succeeds",
    "oidcc-id-token-hint", "oidcc-login-hint", "oidcc-ui-locales", "oidcc-claims-locales",
    "oidcc-ensure-request-with-acr-values-succeeds", "oidcc-codereuse", "oidcc-codereuse-30seconds",
    "oidcc-ensure-registered-redirect-uri", "oidcc-ensure-post-request-succeeds", "oidcc-server-client-secret-post",
    "oidcc-request-uri-unsigned-supported-correctly-or-rejected-as-unsupported",
    "oidcc-unsigned-request-object-supported-correctly-or-rejected-as-unsupported", "oidcc-claims-essential",
    "oidcc-ensure-request-object-with-redirect-uri", "oidcc-refresh-token",
    "oidcc-ensure-request-with-valid-pkce-succeeds",
)  # fmt: skip
CONFIG = ("oidcc-discovery-endpoint-verification",)
"""The modules of both plans, in the plans' order."""

LIST = Path(__file__).parent / "oidc_expected_failures.txt"
EXPECTED_FAILURES = dict(
    line.split(": ", 1) for line in LIST.read_text(encoding="ascii").splitlines() if not line.startswith("#")
)
HOME = "https://certification.example/test/a/provider/callback"


def function_of(module: str) -> str:
    return f"test_{module.replace('-', '_')}"


class NotProvided(AssertionError):
    """The provider does not have what a module wants."""


def provided(condition: bool) -> None:
    """The point at which the test of a listed module must fail. Anything else that fails there is an error."""
    if not condition:
        raise NotProvided


@pytest.fixture(autouse=True)
def expected_failure(request: pytest.FixtureRequest) -> None:
    """Mark the test of a listed module, so that it must fail."""
    reasons = {function_of(module): reason for module, reason in EXPECTED_FAILURES.items()}
    if reason := reasons.get(request.node.originalname):
        request.node.add_marker(pytest.mark.xfail(strict=True, raises=NotProvided, reason=reason))


def test_every_module_of_both_plans_is_a_test() -> None:
    assert (len(set(BASIC)), len(CONFIG)) == (38, 1)
    assert [module for module in (*BASIC, *CONFIG) if function_of(module) not in globals()] == []
    tests = {name for name in globals() if name.startswith("test_oidcc_")}
    assert tests == {function_of(module) for module in (*BASIC, *CONFIG)}


def test_every_expected_failure_is_a_module_and_has_a_reason() -> None:
    assert EXPECTED_FAILURES.keys() <= {*BASIC, *CONFIG}
    assert list(EXPECTED_FAILURES) == sorted(EXPECTED_FAILURES)
    assert all(len(reason) > 40 for reason in EXPECTED_FAILURES.values())


@dataclass
class Result:
    """What a client has after a login: its code and tokens, the ID token's header and claims, and the UserInfo."""

    code: str
    tokens: dict[str, Any]
    header: dict[str, Any]
    claims: dict[str, Any]
    userinfo: dict[str, Any]


class CertificationClient:
    """The client of the plans. Its requests have a state and a nonce, and no PKCE."""

    def __init__(self, environment: ProviderSetup, secret: str) -> None:
        self.environment = environment
        self.browser = environment.browser()
        self.secret = secret

    def request(self, **changes: str) -> dict[str, str]:
        """The parameters of an authorization request. One that is changed to an empty string is left out."""
        parameters = {"client_id": "certification", "redirect_uri": HOME, "scope": "openid", "state": new_token(),
                      "nonce": new_token(), "response_type": "code"}  # fmt: skip
        return {name: value for name, value in (parameters | changes).items() if value}

    def authorize(self, request: dict[str, str]) -> httpx.Response:
        return self.browser.get("/authorize", params=request)

    def returned(self, response: httpx.Response) -> dict[str, str]:
        """The fields that the provider sent to the client's address."""
        address = response.headers["location"]
        assert response.status_code in (302, 303)
        assert address.startswith(f"{HOME}?")
        pairs = parse_qsl(urlsplit(address).query, keep_blank_values=True, strict_parsing=True)
        assert len(dict(pairs)) == len(pairs)
        return dict(pairs)

    def error(self, request: dict[str, str], response: httpx.Response) -> str:
        """The code of a well-formed error response to the request."""
        fields = self.returned(response)
        assert fields.keys() <= {"error", "error_description", "error_uri", "state", "iss"}
        assert re.fullmatch(r"[\x20-\x21\x23-\x5b\x5d-\x7e]*", fields.get("error_description", ""))
        assert fields.get("state") == request.get("state")
        assert fields["iss"] == ISSUER
        return fields["error"]

    def card(self, page: httpx.Response, request: dict[str, str]) -> str:
        """Answer the provider's page with the card, and return the code."""
        assert page.status_code == 200, "the user must be asked"
        fields = self.returned(self.browser.get(self.browser.answer(self.browser.consent(page))))
        assert fields.keys() == {"code", "state", "iss"}
        assert (fields["state"], fields["iss"]) == (request["state"], ISSUER)
        return fields["code"]

    def redeem(self, code: str, *, post: bool = False, **more: str) -> httpx.Response:
        fields = {"grant_type": "authorization_code", "code": code, "redirect_uri": HOME, **more}
        if post:
            return self.browser.post(
                "/token", data={**fields, "client_id": "certification", "client_secret": self.secret}
            )
        value = b64encode(f"{quote_plus('certification')}:{quote_plus(self.secret)}".encode()).decode()
        return self.browser.post("/token", data=fields, headers={"Authorization": f"Basic {value}"})

    def resource(self, tokens: dict[str, Any]) -> httpx.Response:
        return self.browser.get("/userinfo", headers={"Authorization": f"Bearer {tokens['access_token']}"})

    def result(self, code: str, request: dict[str, str], response: httpx.Response) -> Result:
        """Check the token response, the ID token and UserInfo as every module does."""
        assert response.status_code == 200, response.text
        assert response.headers["content-type"] == "application/json"
        tokens = response.json()
        assert tokens["token_type"].lower() == "bearer"
        assert tokens["expires_in"] > 0
        header, claims = verified(tokens["id_token"], self.browser.get("/jwks").json())
        options = {"iss": {"essential": True, "value": ISSUER}, "sub": {"essential": True}}
        params = {"client_id": "certification", "nonce": request.get("nonce"), "access_token": tokens["access_token"]}
        CodeIDToken(claims, header, options, params).validate(leeway=120)
        assert claims["aud"] in ("certification", ["certification"])
        assert claims.get("nonce") == request.get("nonce")
        assert re.fullmatch(r"[\x21-\x7e]{1,255}", claims["sub"])
        userinfo = self.resource(tokens)
        assert userinfo.status_code == 200
        assert userinfo.json()["sub"] == claims["sub"]
        return Result(code, tokens, header, claims, userinfo.json())

    def log_in(self, **changes: str) -> Result:
        request = self.request(**changes)
        code = self.card(self.authorize(request), request)
        return self.result(code, request, self.redeem(code))


def unsigned(claims: dict[str, str]) -> str:
    """An unsigned request object."""
    parts = (urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in ({"alg": "none"}, claims))
    return ".".join([*parts, ""])


@pytest.fixture(scope="module")
def secret(environment: ProviderSetup) -> str:
    return environment.store.add_client("certification", [HOME], pkce=False)


@pytest.fixture
def client(environment: ProviderSetup, secret: str) -> CertificationClient:
    """The client, in a browser without cookies."""
    return CertificationClient(environment, secret)


@pytest.fixture
def metadata(client: CertificationClient) -> dict[str, Any]:
    document: dict[str, Any] = client.browser.get("/.well-known/openid-configuration").json()
    return document


ALWAYS = {"iss", "sub", "aud", "iat", "exp", "auth_time", "nonce", "at_hash", "amr", "acr", "azp"}
"""The claims of an ID token that are about the login, and not about the user."""


def test_oidcc_server(client: CertificationClient) -> None:
    result = client.log_in()
    assert len(result.code) >= 32
    assert len(set(result.code)) > 10, "guessing a code must need 128 bits"
    assert result.claims.keys() <= ALWAYS
    assert result.claims["at_hash"]


def test_oidcc_response_type_missing(client: CertificationClient) -> None:
    request = client.request(response_type="")
    error = client.error(request, client.authorize(request))
    assert error in ("invalid_request", "unsupported_response_type")


def test_oidcc_idtoken_signature(client: CertificationClient) -> None:
    header = client.log_in().header
    assert header["alg"] == "RS256"
    assert header["kid"]


def test_oidcc_idtoken_unsigned(client: CertificationClient, metadata: dict[str, Any]) -> None:
    """Skipped by the suite: no client can have unsigned tokens."""
    assert metadata["id_token_signing_alg_values_supported"] == ["RS256", "ES384"]
    assert client.log_in(id_token_signed_response_alg="none").header["alg"] == "RS256"


def userinfo_of(client: CertificationClient, method: str, **sent: Any) -> None:
    result = client.log_in()
    response = getattr(client.browser, method)("/userinfo", **sent_with(sent, result.tokens["access_token"]))
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json() == result.userinfo


def sent_with(sent: dict[str, Any], token: str) -> dict[str, Any]:
    return {where: {name: form.format(token)} for where, (name, form) in sent.items()}


def test_oidcc_userinfo_get(client: CertificationClient) -> None:
    userinfo_of(client, "get", headers=("Authorization", "Bearer {}"))


def test_oidcc_userinfo_post_header(client: CertificationClient) -> None:
    userinfo_of(client, "post", headers=("Authorization", "Bearer {}"))


def test_oidcc_userinfo_post_body(client: CertificationClient) -> None:
    userinfo_of(client, "post", data=("access_token", "{}"))


def test_oidcc_ensure_request_without_nonce_succeeds_for_code_flow(client: CertificationClient) -> None:
    assert "nonce" not in client.log_in(nonce="").claims


def without_scopes(client: CertificationClient, metadata: dict[str, Any], *scopes: str) -> None:
    """What comes instead of a module that the suite skips: the scopes are ignored (OpenID Connect Core, 3.1.2.1)."""
    assert not set(scopes) & set(metadata["scopes_supported"])
    result = client.log_in(scope=" ".join(("openid", *scopes)))
    assert result.tokens["scope"] == "openid"
    assert result.userinfo.keys() == {"sub"}


def test_oidcc_scope_profile(client: CertificationClient, metadata: dict[str, Any]) -> None:
    """Skipped by the suite: the provider has a scope for each attribute, so that a client requests what it needs."""
    without_scopes(client, metadata, "profile")


def test_oidcc_scope_email(client: CertificationClient, metadata: dict[str, Any]) -> None:
    """Skipped by the suite: the card has no address of electronic mail."""
    without_scopes(client, metadata, "email")


def test_oidcc_scope_address(client: CertificationClient, metadata: dict[str, Any]) -> None:
    assert "address" in metadata["scopes_supported"]
    result = client.log_in(scope="openid address")
    assert result.userinfo.keys() == {"sub", "address"}
    UserInfo(result.userinfo).filter("openid address")
    assert result.userinfo["address"].keys() <= {
        "formatted", "street_address", "locality", "region", "postal_code", "country",
    }  # fmt: skip
    assert all(isinstance(value, str) and value for value in result.userinfo["address"].values())
    assert result.claims.keys() <= ALWAYS, "the claims are at UserInfo (OpenID Connect Core, 5.4)"


def test_oidcc_scope_phone(client: CertificationClient, metadata: dict[str, Any]) -> None:
    """Skipped by the suite: the card has no telephone number."""
    without_scopes(client, metadata, "phone")


def test_oidcc_scope_all(client: CertificationClient, metadata: dict[str, Any]) -> None:
    """Skipped by the suite, because of three of its scopes. The fourth is served beside them."""
    assert not {"email", "phone", "profile"} & set(metadata["scopes_supported"])
    result = client.log_in(scope="openid email phone address profile")
    assert sorted(result.tokens["scope"].split()) == ["address", "openid"]
    assert result.userinfo.keys() == {"sub", "address"}


def test_oidcc_alternate_happy_flow(client: CertificationClient) -> None:
    """The suite uses the scope `email` and skips this; the order of scopes and parameters is tested with `address`."""
    request = dict(reversed(client.request(scope="address openid").items()))
    assert list(request)[-1] == "client_id"
    code = client.card(client.authorize(request), request)
    assert client.result(code, request, client.redeem(code)).userinfo.keys() == {"sub", "address"}


def test_oidcc_display_page(client: CertificationClient) -> None:
    client.log_in(display="page")


def test_oidcc_display_popup(client: CertificationClient) -> None:
    client.log_in(display="popup")


def second_login(client: CertificationClient, clock: MovedClock, **changes: str) -> None:
    """Log in twice in one browser. The user must be asked both times (`card` checks that)."""
    first = client.log_in()
    clock.moved += timedelta(seconds=2)
    second = client.log_in(**changes)
    assert second.claims["auth_time"] > first.claims["auth_time"]
    assert second.claims["sub"] == first.claims["sub"]


def test_oidcc_prompt_login(client: CertificationClient, clock: MovedClock) -> None:
    second_login(client, clock, prompt="login")


def test_oidcc_prompt_none_not_logged_in(client: CertificationClient) -> None:
    request = client.request(prompt="none", state=new_token(512))
    error = client.error(request, client.authorize(request))
    assert len(request["state"]) == 128
    assert error in ("login_required", "interaction_required", "consent_required", "account_selection_required")


def same_login(client: CertificationClient, first: Result, request: dict[str, str], page: httpx.Response) -> None:
    """The second response comes at once, and is about the first login."""
    fields = client.returned(page)
    provided("code" in fields)
    second = client.result(fields["code"], request, client.redeem(fields["code"]))
    assert (second.claims["sub"], second.claims["auth_time"]) == (first.claims["sub"], first.claims["auth_time"])


def test_oidcc_prompt_none_logged_in(client: CertificationClient) -> None:
    first, request = client.log_in(), client.request(prompt="none")
    same_login(client, first, request, client.authorize(request))


def test_oidcc_max_age_1(client: CertificationClient, clock: MovedClock) -> None:
    second_login(client, clock, max_age="1")


def test_oidcc_max_age_10000(client: CertificationClient) -> None:
    first, request = client.log_in(max_age="15000"), client.request(max_age="10000")
    page = client.authorize(request)
    provided(page.status_code in (302, 303))
    same_login(client, first, request, page)


def test_oidcc_ensure_request_with_unknown_parameter_succeeds(client: CertificationClient) -> None:
    client.log_in(extra="foobar")


def test_oidcc_id_token_hint(client: CertificationClient) -> None:
    first = client.log_in()
    request = client.request(prompt="none", id_token_hint=first.tokens["id_token"])
    same_login(client, first, request, client.authorize(request))


def test_oidcc_login_hint(client: CertificationClient) -> None:
    client.log_in(login_hint="buffy@localhost")


def test_oidcc_ui_locales(client: CertificationClient) -> None:
    client.log_in(ui_locales="se")


def test_oidcc_claims_locales(client: CertificationClient) -> None:
    client.log_in(claims_locales="se")


def test_oidcc_ensure_request_with_acr_values_succeeds(client: CertificationClient, metadata: dict[str, Any]) -> None:
    """The suite warns if the ID token has no `acr`. The provider has no classes of authentication, and says so."""
    assert "acr_values_supported" not in metadata
    assert "acr" not in client.log_in(acr_values="1 2").claims


def reused(client: CertificationClient, code: str) -> None:
    response = client.redeem(code)
    assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")
    assert response.headers["content-type"] == "application/json"


def test_oidcc_codereuse(client: CertificationClient) -> None:
    reused(client, client.log_in().code)


def test_oidcc_codereuse_30seconds(client: CertificationClient, clock: MovedClock) -> None:
    result = client.log_in()
    clock.moved += timedelta(seconds=30)
    assert client.resource(result.tokens).status_code == 200
    reused(client, result.code)
    assert client.resource(result.tokens).status_code == 401, "the token of a code that was used twice is revoked"


def shown(client: CertificationClient, request: dict[str, str]) -> None:
    """The error is on a page, and nothing goes to the address in the request."""
    response = client.authorize(request)
    assert response.status_code == 400
    assert "location" not in response.headers
    assert "redirect_uri" in response.text


def test_oidcc_ensure_registered_redirect_uri(client: CertificationClient) -> None:
    shown(client, client.request(redirect_uri=f"{HOME}/{new_token()}"))


def test_oidcc_ensure_post_request_succeeds(client: CertificationClient) -> None:
    request = client.request()
    code = client.card(client.browser.post("/authorize", data=request), request)
    client.result(code, request, client.redeem(code))


def test_oidcc_server_client_secret_post(client: CertificationClient, metadata: dict[str, Any]) -> None:
    assert {"client_secret_basic", "client_secret_post"} == {*metadata["token_endpoint_auth_methods_supported"]}
    request = client.request()
    code = client.card(client.authorize(request), request)
    client.result(code, request, client.redeem(code, post=True))


def test_oidcc_request_uri_unsigned_supported_correctly_or_rejected_as_unsupported(
    client: CertificationClient, metadata: dict[str, Any]
) -> None:
    request = client.request(state="", nonce="", request_uri="https://certification.example/request")
    assert client.error(request, client.authorize(request)) == "request_uri_not_supported"
    assert metadata["request_uri_parameter_supported"] is False


def test_oidcc_unsigned_request_object_supported_correctly_or_rejected_as_unsupported(
    client: CertificationClient, metadata: dict[str, Any]
) -> None:
    inside = client.request()
    request = client.request(state="", nonce="", request=unsigned(inside))
    assert client.error(request, client.authorize(request)) == "request_not_supported"
    assert metadata["request_parameter_supported"] is False


def test_oidcc_claims_essential(client: CertificationClient, metadata: dict[str, Any]) -> None:
    """The suite warns if `name` does not come. The user has not signed that it may, and the metadata says so."""
    assert metadata["claims_parameter_supported"] is False
    result = client.log_in(claims=json.dumps({"userinfo": {"name": {"essential": True}}}))
    assert result.claims.keys() <= ALWAYS
    assert result.userinfo.keys() == {"sub"}


def test_oidcc_ensure_request_object_with_redirect_uri(client: CertificationClient) -> None:
    shown(client, client.request(redirect_uri=f"{HOME}_invalid", request=unsigned(client.request())))


def test_oidcc_refresh_token(client: CertificationClient, metadata: dict[str, Any]) -> None:
    """Skipped by the suite: the provider issues none, and its metadata must then not promise any."""
    assert "refresh_token" not in metadata["grant_types_supported"]
    assert "refresh_token" not in client.log_in(scope="openid offline_access", prompt="consent").tokens


def test_oidcc_ensure_request_with_valid_pkce_succeeds(client: CertificationClient, metadata: dict[str, Any]) -> None:
    assert "S256" in metadata["code_challenge_methods_supported"]
    request = client.request(code_challenge=CHALLENGE, code_challenge_method="S256")
    code = client.card(client.authorize(request), request)
    client.result(code, request, client.redeem(code, code_verifier=VERIFIER))


# The configuration plan, against the program as it is served


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedProcess]:
    directory = tmp_path_factory.mktemp("certification")
    town = new_institutions(directory / "w", SharedKeySource([generate()]))
    for kind, publication in town.publications.items():
        town.authorities[kind].root()  # an authority begins when it is first used
        publication.publish()
    town.world.close()
    process = serve(directory, "provider", world=directory / "w")
    yield process
    process.stop()


def checked_discovery(issuer: str) -> dict[str, Any]:
    """The metadata, with all checks of the module but that every endpoint is https."""
    response = httpx.get(f"{issuer}/.well-known/openid-configuration")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    document: dict[str, Any] = response.json()
    assert document["issuer"] == issuer
    assert document["response_types_supported"] == ["code"]
    assert set(document["subject_types_supported"]) <= {"public", "pairwise"}
    assert "RS256" in document["id_token_signing_alg_values_supported"]
    assert {"openid", "address"} <= set(document["scopes_supported"])
    assert {"sub", "iss", "auth_time"} < set(document["claims_supported"])
    assert document["grant_types_supported"] == ["authorization_code"]
    keys = httpx.get(document["jwks_uri"]).json()["keys"]
    assert len({key["kid"] for key in keys}) == len(keys) == 2
    assert [(key["alg"], key["kty"], key.get("crv")) for key in keys] == [
        ("RS256", "RSA", None),
        ("ES384", "EC", "P-384"),
    ]
    assert decoded(keys[0]["n"])[0] != 0, "RFC 7518, 6.3.1.1: no leading zero octets"
    assert [len(decoded(keys[1][name])) for name in "xy"] == [48, 48], (
        "RFC 7518, 6.2.1.2: all octets of the curve's size"
    )
    assert not keys[1].keys() & {"d"}
    for name in ("authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri"):
        assert urlsplit(document[name]).scheme in ("http", "https")
        assert httpx.options(document[name]).status_code in (200, 405), name
    secure = json.loads(json.dumps(document).replace("http://", "https://"))
    OpenIDProviderMetadata(secure).validate([rfc9207.AuthorizationServerMetadata])
    known = {*OpenIDProviderMetadata.REGISTRY_KEYS, *rfc9207.AuthorizationServerMetadata.REGISTRY_KEYS,
             "userinfo_endpoint", "code_challenge_methods_supported"}  # fmt: skip
    assert document.keys() <= known
    return document


def test_discovery_is_right_but_for_https(served: ServedProcess) -> None:
    """What the module checks beside the one point that it fails for."""
    document = checked_discovery(f"http://localhost:{served.port}")
    parameters = {name: value for name, value in document.items() if "parameter" in name}
    assert parameters == {
        "claims_parameter_supported": False, "request_parameter_supported": False,
        "request_uri_parameter_supported": False, "authorization_response_iss_parameter_supported": True,
    }  # fmt: skip


def test_oidcc_discovery_endpoint_verification(served: ServedProcess) -> None:
    document = checked_discovery(f"http://localhost:{served.port}")
    endpoints = [value for name, value in document.items() if name.endswith(("_endpoint", "_uri"))]
    provided(all(urlsplit(endpoint).scheme == "https" for endpoint in endpoints))
