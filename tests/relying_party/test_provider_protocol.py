"""The provider's protocol by its standards: errors to clients, their authentication, codes, tokens and claims."""

from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64decode
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import httpx
import pytest
import sqlalchemy as sa

from kazashi.relying_party.login import provider_store
from kazashi.relying_party.login.provider_store import (
    CODE_SECONDS,
    TOKEN_SECONDS,
    Client,
    Grant,
    Login,
    ProviderStore,
)
from tests.relying_party import test_provider
from tests.relying_party.test_provider import CHALLENGE, HOME, ISSUER, OTHER, VERIFIER, ProviderSetup, authorization
from tests.town import new_world

pytestmark = pytest.mark.unit

environment = test_provider.environment
RESOURCE = "/userinfo"


class MovedClock:
    """The machine's clock, which a test moves."""

    def __init__(self) -> None:
        self.moved = timedelta()
        self._machine = provider_store.machine_clock

    def now(self) -> Any:
        return self._machine.now() + self.moved


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> MovedClock:
    clock = MovedClock()
    for module in ("provider_store", "provider", "token_endpoint"):
        monkeypatch.setattr(f"kazashi.relying_party.login.{module}.machine_clock", clock)
    return clock


def returned(response: httpx.Response, home: str = HOME) -> dict[str, str]:
    """The fields of a response that was sent to the client's address."""
    address = response.headers["location"]
    assert response.status_code == 303
    assert address.startswith(f"{home}{'&' if '?' in home else '?'}")
    pairs = parse_qsl(address[len(home) + 1 :], keep_blank_values=True)
    assert len(dict(pairs)) == len(pairs), "a parameter is repeated"
    return dict(pairs)


ERRORS = [
    ({"code_challenge": "", "code_challenge_method": ""}, "invalid_request"),
    ({"code_challenge_method": "plain"}, "invalid_request"),
    ({"code_challenge_method": ""}, "invalid_request"),
    ({"code_challenge": "v" * 42}, "invalid_request"),
    ({"code_challenge": "v" * 42 + "="}, "invalid_request"),
    ({"response_type": "token"}, "unsupported_response_type"),
    ({"response_type": "code id_token"}, "unsupported_response_type"),
    ({"response_type": ""}, "invalid_request"),
    ({"response_mode": "fragment"}, "invalid_request"),
    ({"response_mode": "form_post"}, "invalid_request"),
    ({"scope": ""}, "invalid_scope"),
    ({"scope": "name address"}, "invalid_scope"),
    ({"prompt": "none"}, "login_required"),
    ({"prompt": "none login"}, "invalid_request"),
    ({"max_age": "soon"}, "invalid_request"),
    ({"max_age": "-1"}, "invalid_request"),
    ({"id_token_hint": "e30.e30.e30"}, "invalid_request"),
    ({"nonce": "n" * 4096}, "invalid_request"),
    ({"request": "e30.e30."}, "request_not_supported"),
    ({"request_uri": "https://app.example/request"}, "request_uri_not_supported"),
    ({"registration": "{}"}, "registration_not_supported"),
]


@pytest.mark.parametrize(("changes", "error"), ERRORS, ids=lambda value: str(value)[:80])
@pytest.mark.parametrize("state", ["", "a state with 番号 & signs?"])
def test_an_error_is_sent_to_the_client(
    environment: ProviderSetup, changes: dict[str, str], error: str, state: str
) -> None:
    """Clients that got no state are confused by an empty one, and those that got another do not know the login."""
    response = environment.browser().get("/authorize", params=authorization(**changes, state=state))
    fields = returned(response)
    assert fields.pop("error") == error
    assert fields.pop("error_description").isascii()
    assert fields == {"iss": ISSUER, **({"state": state} if state else {})}


@pytest.mark.parametrize("name", ["scope", "state", "nonce", "code_challenge", "response_type", "unknown"])
def test_a_repeated_parameter_is_an_error(environment: ProviderSetup, name: str) -> None:
    pairs = [*authorization(unknown="x").items(), (name, "again")]
    fields = returned(environment.browser().get("/authorize", params=pairs))
    assert fields["error"] == "invalid_request"
    assert fields.get("state") == (None if name == "state" else "s")


@pytest.mark.parametrize("name", ["client_id", "redirect_uri"])
def test_nothing_is_sent_to_the_client_if_its_own_parameters_are_repeated(
    environment: ProviderSetup, name: str
) -> None:
    good = authorization()
    for pairs in ([*good.items(), (name, good[name])], [(name, "https://evil.example/"), *good.items()]):
        response = environment.browser().get("/authorize", params=pairs)
        assert response.status_code == 400
        assert "location" not in response.headers


def test_a_parameter_without_a_value_counts_as_left_out(environment: ProviderSetup) -> None:
    """By RFC 6749 (3.1), and also if it comes beside one that has a value."""
    empty = [(name, "") for name in ("request", "registration", "max_age", "prompt", "response_mode", "nonce", "scope")]
    browser = environment.browser()
    assert browser.get("/authorize", params=[*empty, *authorization().items()]).status_code == 200
    request = [*empty, ("state", ""), *authorization(state="", prompt="none").items()]
    assert "state" not in returned(browser.get("/authorize", params=request))


def test_a_redirect_address_keeps_its_own_query(environment: ProviderSetup) -> None:
    home = "https://app.example/callback?of=app"
    secret = environment.store.add_client("with a query", [home])
    browser = environment.browser()
    request = authorization(client_id="with a query", redirect_uri=home)
    assert returned(browser.get("/authorize", params=request | {"prompt": "none"}), home)["error"] == "login_required"
    fields = returned(browser.get(browser.answer(browser.begin(**request))), home)
    assert fields.keys() == {"code", "state", "iss"}
    response = browser.post(
        "/token",
        data={"grant_type": "authorization_code", "code": fields["code"], "redirect_uri": home,
              "code_verifier": VERIFIER},
        auth=("with+a+query", secret),
    )  # fmt: skip
    assert response.status_code == 200, "a + in the header of Basic authentication is a blank (RFC 6749, appendix B)"


def test_only_the_page_that_names_the_client_begins_a_login(environment: ProviderSetup) -> None:
    browser, fields = environment.browser(), {"query": urlencode(authorization())}
    for origin in ("https://app.example", "null", ""):
        response = browser.post("/begin", data=fields, headers={"Origin": origin})
        assert response.status_code == 403
        assert "location" not in response.headers
    assert browser.post("/begin", data=fields).status_code == 303


def test_a_cancelled_login_is_an_error_at_the_client(environment: ProviderSetup) -> None:
    browser = environment.browser()
    started = browser.begin(**authorization())
    page = browser.post("/answer", data={"nonce": started["nonce"], "state": started["state"], "error": "cancelled"})
    handle = page.text.partition("url=")[2].partition('"')[0]
    fields = returned(browser.get(handle))
    assert (fields["error"], fields["state"], fields["iss"]) == ("access_denied", "s", ISSUER)


def test_a_hint_lets_only_its_user_log_in(environment: ProviderSetup) -> None:
    """The provider must not return a token for another user than the hint's (OpenID Connect Core, 3.1.2.2)."""
    browser = environment.browser()
    hint = browser.token(browser.code(**authorization())).json()["id_token"]
    assert browser.code(**authorization(id_token_hint=hint))
    fields = returned(browser.get("/authorize", params=authorization(id_token_hint=hint[:-4] + "AAAA")))
    assert fields["error"] == "invalid_request", "the hint's signature is wrong"
    other = authorization(client_id="other", redirect_uri=OTHER, id_token_hint=hint)
    assert returned(browser.get("/authorize", params=other), OTHER)["error"] == "invalid_request"
    with environment.another_user():
        fields = returned(browser.get(browser.answer(browser.begin(**authorization(id_token_hint=hint)))))
        assert fields["error"] == "login_required"
        assert "code" not in fields
        assert browser.code(**authorization())


# The token endpoint


def token_request(environment: ProviderSetup, **changes: Any) -> httpx.Response:
    """Send a request to the token endpoint with a new code, and without the default credentials."""
    browser = environment.browser()
    code = browser.code(**authorization())
    fields = {"grant_type": "authorization_code", "code": code, "redirect_uri": HOME, "code_verifier": VERIFIER}
    data = {name: value for name, value in (fields | changes.pop("data", {})).items() if value}
    return browser.post("/token", data=data, **changes)


def basic(name: str, secret: str) -> dict[str, str]:
    return {"Authorization": f"Basic {b64encode(f'{name}:{secret}'.encode()).decode()}"}


def test_clients_authenticate_in_the_header_or_in_the_form(environment: ProviderSetup) -> None:
    secret = environment.secrets["app"]
    assert token_request(environment, headers=basic("app", secret)).status_code == 200
    assert token_request(environment, headers=basic("%61pp", secret)).status_code == 200
    assert token_request(environment, data={"client_id": "app", "client_secret": secret}).status_code == 200
    assert token_request(environment, headers=basic("app", secret), data={"client_id": "app"}).status_code == 200
    both = token_request(environment, headers=basic("app", secret), data={"client_secret": secret})
    assert (both.status_code, both.json()["error"]) == (400, "invalid_request")
    two = token_request(environment, headers=basic("app", secret), data={"client_id": "other"})
    assert (two.status_code, two.json()["error"]) == (400, "invalid_request")


def test_names_of_older_stores_are_decoded_from_the_header(environment: ProviderSetup) -> None:
    with environment.store.store.transaction() as connection:
        values = {"name": "c:d +e", "digest": sha256(b"secret").digest(), "redirects": f'["{HOME}"]'}
        connection.execute(sa.text("INSERT INTO client VALUES (:name, :digest, :redirects, TRUE, 'RS256')"), values)
    browser = environment.browser()
    request = authorization(client_id="c:d +e")
    for name in ("c%3Ad+%2Be", "c%3Ad%20%2Be"):
        code = browser.code(**request)
        fields = {"grant_type": "authorization_code", "code": code, "redirect_uri": HOME, "code_verifier": VERIFIER}
        assert browser.post("/token", data=fields, headers=basic(name, "secret")).status_code == 200


@pytest.mark.parametrize(
    "header",
    ["Basic", "Basic !", "Basic YXBw", "Basic /////w==", "Bearer x", "", "Basic " + b64encode(b"app:guess").decode(),
     "Basic " + b64encode(b"app:").decode(), "Basic " + b64encode("nobody:番号".encode()).decode()],
)  # fmt: skip
def test_a_client_that_does_not_authenticate_gets_401(environment: ProviderSetup, header: str) -> None:
    response = token_request(environment, headers={"Authorization": header})
    assert (response.status_code, response.json()["error"]) == (401, "invalid_client")
    assert response.headers["www-authenticate"].startswith("Basic ")
    assert response.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"grant_type": ""}, "invalid_request"), ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": "refresh_token"}, "unsupported_grant_type"), ({"code": ""}, "invalid_request"),
        ({"code": "x"}, "invalid_grant"), ({"redirect_uri": ""}, "invalid_grant"),
        ({"code_verifier": ""}, "invalid_grant"), ({"code_verifier": CHALLENGE}, "invalid_grant"),
    ],
    ids=str,
)  # fmt: skip
def test_a_wrong_token_request_is_an_error_of_the_standard(
    environment: ProviderSetup, changes: dict[str, str], error: str
) -> None:
    response = token_request(environment, data=changes, headers=basic("app", environment.secrets["app"]))
    assert (response.status_code, response.json()["error"]) == (400, error)
    assert response.headers["content-type"] == "application/json"


def test_a_token_request_is_in_the_form_and_repeats_nothing(environment: ProviderSetup) -> None:
    browser, headers = environment.browser(), basic("app", environment.secrets["app"])
    code = browser.code(**authorization())
    fields = {"grant_type": "authorization_code", "code": code, "redirect_uri": HOME, "code_verifier": VERIFIER}
    form = {**headers, "Content-Type": "application/x-www-form-urlencoded"}
    twice = browser.post("/token", content=urlencode([*fields.items(), ("code", code)]), headers=form)
    assert (twice.status_code, twice.json()["error"]) == (400, "invalid_request")
    for request in ({"params": fields}, {"json": fields}):
        assert browser.post("/token", headers=headers, **request).json()["error"] == "invalid_request"
    assert browser.post("/token", data=fields, headers=headers).status_code == 200, "none of them used the code up"


def test_a_client_may_be_registered_without_pkce(environment: ProviderSetup) -> None:
    """It can still use PKCE, and PKCE cannot be taken out of its request unnoticed (RFC 9700, 4.8)."""
    secret = environment.store.add_client("old", [HOME], pkce=False)
    browser = environment.browser()
    with_pkce = authorization(client_id="old")
    without = authorization(client_id="old", code_challenge="", code_challenge_method="")
    for request, verifier, status in (
        (without, "", 200), (without, VERIFIER, 400), (with_pkce, VERIFIER, 200), (with_pkce, "", 400),
        (with_pkce, "w" * 43, 400),
    ):  # fmt: skip
        fields = {"grant_type": "authorization_code", "code": browser.code(**request), "redirect_uri": HOME}
        data = fields | ({"code_verifier": verifier} if verifier else {})
        assert browser.post("/token", data=data, headers=basic("old", secret)).status_code == status


# Codes and tokens


def opens(environment: ProviderSetup, token: str) -> int:
    return environment.browser().get(RESOURCE, headers={"Authorization": f"Bearer {token}"}).status_code


@pytest.mark.parametrize("by", ["app", "other"])
def test_the_token_of_a_replayed_code_is_revoked(environment: ProviderSetup, by: str) -> None:
    browser = environment.browser()
    code, another = browser.code(**authorization()), browser.code(**authorization())
    token, kept = (browser.token(one).json()["access_token"] for one in (code, another))
    assert opens(environment, token) == 200
    for _ in range(2):
        again = browser.token(code, by)
        assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
        assert opens(environment, token) == 401
    assert opens(environment, kept) == 200, "a code revokes only its own token"


def test_the_time_of_a_login_is_when_the_card_was_used(environment: ProviderSetup, clock: MovedClock) -> None:
    browser = environment.browser()
    code = browser.code(**authorization())
    clock.moved += timedelta(seconds=30)
    claims = json.loads(urlsafe_b64decode(browser.token(code).json()["id_token"].split(".")[1] + "=="))
    assert 30 <= claims["iat"] - claims["auth_time"] < 60
    assert claims["exp"] - claims["iat"] == TOKEN_SECONDS


def test_a_second_use_is_noticed_until_the_token_has_expired(environment: ProviderSetup, clock: MovedClock) -> None:
    browser = environment.browser()
    code = browser.code(**authorization())
    clock.moved += timedelta(seconds=CODE_SECONDS - 30)
    token = browser.token(code).json()["access_token"]
    clock.moved += timedelta(seconds=TOKEN_SECONDS - 30)
    browser.code(**authorization())  # a new code, with which expired ones are deleted
    assert opens(environment, token) == 200
    browser.token(code)
    assert opens(environment, token) == 401


def test_expired_codes_and_tokens_are_refused_and_then_deleted(environment: ProviderSetup, clock: MovedClock) -> None:
    browser = environment.browser()
    clock.moved += timedelta(days=1)  # what other tests left behind expires
    late, used = browser.code(**authorization()), browser.code(**authorization())
    token = browser.token(used).json()["access_token"]
    clock.moved += timedelta(seconds=CODE_SECONDS + 1)
    assert browser.token(late).json()["error"] == "invalid_grant"
    clock.moved += timedelta(seconds=TOKEN_SECONDS)
    assert opens(environment, token) == 401
    browser.code(**authorization())
    environment.store.sweep()
    with environment.store.store.reading() as connection:
        rows = [connection.scalar(sa.text(f"SELECT count(*) FROM {table}")) for table in ("code", "token")]
    assert rows == [1, 0], "the new code is the only one left"


@pytest.mark.crash
def test_of_two_uses_at_the_same_time_none_keeps_a_token(tmp_path: Path, storage: str) -> None:
    """Otherwise a thief who is as fast as the client would get a token that nobody revokes."""
    with closing(new_world(tmp_path / "w", storage=storage)) as world:
        store = ProviderStore(world)
        store.add_client("app", [HOME])
        client = store.client("app")
        assert client is not None
        grant = Grant(Login("subject", {}, 0), HOME, "openid", None, None)
        with ThreadPoolExecutor(4) as threads:
            for _ in range(20):
                code = store.new_code(client, grant)
                uses = [threads.submit(store.redeem, code, client, HOME, "") for _ in range(4)]
                redeemed = [use.result() for use in uses]
                tokens = [one[0] for one in redeemed if one is not None]
                assert len(tokens) == 1
                assert store.token(tokens[0]) is None


# The UserInfo endpoint


def test_claims_are_returned_for_a_token_in_the_header_or_the_form(environment: ProviderSetup) -> None:
    browser = environment.browser()
    token = browser.token(browser.code(**authorization())).json()["access_token"]
    header = {"Authorization": f"bearer {token}"}
    answers = [browser.get(RESOURCE, headers=header), browser.post(RESOURCE, headers=header),
               browser.post(RESOURCE, data={"access_token": token})]  # fmt: skip
    assert {response.status_code for response in answers} == {200}
    assert len({response.text for response in answers}) == 1
    assert all(response.headers["cache-control"] == "no-store" for response in answers)


def test_a_token_is_taken_from_nowhere_else_and_only_once(environment: ProviderSetup) -> None:
    browser = environment.browser()
    token = browser.token(browser.code(**authorization())).json()["access_token"]
    header = {"Authorization": f"Bearer {token}"}
    for request in (browser.get(RESOURCE, params={"access_token": token}),
                    browser.post(RESOURCE, json={"access_token": token}), browser.get(RESOURCE)):  # fmt: skip
        assert request.status_code == 401
        assert request.headers["www-authenticate"].startswith("Bearer ")
        assert "error" not in request.headers["www-authenticate"], "no token came, so there is no error (RFC 6750, 3.1)"
    wrong = browser.get(RESOURCE, headers={"Authorization": "Bearer x"})
    assert wrong.status_code == 401
    assert 'error="invalid_token"' in wrong.headers["www-authenticate"]
    for request in (browser.post(RESOURCE, headers=header, data={"access_token": token}),
                    browser.get(RESOURCE, headers={"Authorization": "Bearer"}),
                    browser.get(RESOURCE, headers={"Authorization": f"Bearer {token} {token}"})):  # fmt: skip
        assert (request.status_code, request.json()["error"]) == (400, "invalid_request")


@pytest.mark.parametrize("name", ["", " app", "app ", ".app", "a\nb", "a\u202eb", "a<b", "x" * 65])
def test_a_client_has_a_plain_name(environment: ProviderSetup, name: str) -> None:
    with pytest.raises(ValueError, match="not a valid client name"):
        environment.store.add_client(name, [HOME])
    assert environment.store.client(name) is None


def test_a_redirect_address_has_no_fragment(environment: ProviderSetup) -> None:
    with pytest.raises(ValueError, match="fragment"):
        environment.store.add_client("fragment", [f"{HOME}#here"])


def test_a_client_knows_its_own_secret_only() -> None:
    client = Client("app", sha256(b"secret").digest(), [HOME])
    assert client.has_secret("secret")
    assert not any(client.has_secret(guess) for guess in ("", "secre", "secret ", "番号"))


def test_both_kinds_of_metadata_are_one_document(environment: ProviderSetup) -> None:
    browser = environment.browser()
    documents = [browser.get(f"/.well-known/{name}").json()
                 for name in ("openid-configuration", "oauth-authorization-server")]  # fmt: skip
    assert documents[0] == documents[1]
