"""An OpenID Connect provider for logins with the card, similar to Japan's Digital Authentication App.

Any web framework can be tested against it. It has the code flow with PKCE (S256), pairwise subjects, and four scopes
for the certified attributes. A plain login uses the authentication certificate. If a client requests attributes, the
holder signs a sentence that names the client and the attributes: consent and certified attributes in one step.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlencode

from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import AuthorizationServer, InvalidRequestError, OAuth2Payload, OAuth2Request
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant
from authlib.oauth2.rfc6750 import BearerTokenGenerator
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oidc.core.grants import OpenIDCode
from joserfc.jwk import RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from kazashi.jpki.profile import CertificateType
from kazashi.relying_party.login.agent_login import AgentLogin, AnswerRejected
from kazashi.relying_party.login.plain_words import UNKNOWN, explained
from kazashi.relying_party.login.provider_store import (
    CODE_SECONDS,
    SCOPES,
    TOKEN_SECONDS,
    Client,
    Code,
    Login,
    ProviderStore,
    machine_clock,
)
from kazashi.relying_party.platform.platform import Platform
from kazashi.relying_party.pseudonyms.pseudonyms import OidcPairwise, Subject
from kazashi.relying_party.verify.authentication import Authentication
from kazashi.relying_party.verify.finding import Outcome
from kazashi.relying_party.verify.linkage import LinkageUnavailable
from kazashi.relying_party.verify.verdict import Verdict
from kazashi.relying_party.verify.verification import Verifier
from kazashi.web.pages import Pages, refusal, welcome
from kazashi.world.clock import epoch
from kazashi.world.home import World
from kazashi.world.rng import new_token, secure_random

TENANT = "openid-provider"
_PAGES = Pages("kazashi.relying_party.login")
_COOKIE = "provider"
_CLAIM_NAMES = {"name": ("氏名", "name"), "address": ("住所", "address"), "birthdate": ("生年月日", "date of birth"),
                "gender": ("性別", "sex")}  # fmt: skip


class _Payload(OAuth2Payload):
    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._datalist: defaultdict[str, list[str]] = defaultdict(list)
        for name, value in pairs:
            self._datalist[name].append(value)

    @property
    def data(self) -> dict[str, str]:
        return {name: values[-1] for name, values in self._datalist.items()}

    @property
    def datalist(self) -> defaultdict[str, list[str]]:
        return self._datalist


class _Request(OAuth2Request):
    """A request in the form that Authlib expects, with the parameters already parsed."""

    def __init__(self, method: str, uri: str, headers: Any, query: list[Any], fields: list[Any]) -> None:
        super().__init__(method, uri, headers=headers)
        self.payload = _Payload([*query, *fields])
        self._args, self._fields = dict(query), dict(fields)

    @property
    def args(self) -> dict[str, str]:
        return self._args

    @property
    def form(self) -> dict[str, str]:
        return self._fields


class _Server(AuthorizationServer):
    """Authlib's authorization server, with `ProviderStore` as its storage."""

    def __init__(self, store: ProviderStore) -> None:
        super().__init__(scopes_supported=list(SCOPES))
        self.provider_store = store
        self.register_token_generator(
            "default",
            BearerTokenGenerator(lambda **_: new_token(256), expires_generator=lambda *_: TOKEN_SECONDS),
        )

    def query_client(self, client_id: str) -> Client | None:
        return self.provider_store.client(client_id)

    def save_token(self, token: dict[str, Any], request: Any) -> None:
        login: Login = request.user
        contents = {"login": vars(login), "scope": token["scope"]}
        self.provider_store.put(token["access_token"], request.client.name, contents, TOKEN_SECONDS)

    def create_oauth2_request(self, request: _Request) -> _Request:
        return request

    def handle_response(self, status: int, body: Any, headers: Any) -> Response:
        if isinstance(body, dict):
            return JSONResponse(body, status, dict(headers))
        return Response(body, status, dict(headers))

    def send_signal(self, name: str, *args: Any, **kwargs: Any) -> None:
        pass


class _CodeGrant(AuthorizationCodeGrant):
    TOKEN_ENDPOINT_AUTH_METHODS: ClassVar = ["client_secret_basic", "client_secret_post"]

    def generate_authorization_code(self) -> str:
        return new_token(256)

    def save_authorization_code(self, code: str, request: Any) -> None:
        parameters = request.payload.data
        contents = {
            "login": vars(request.user), "redirect_uri": parameters.get("redirect_uri"), "scope": request.scope,
            "nonce": parameters.get("nonce"), "code_challenge": parameters["code_challenge"],
            "code_challenge_method": "S256",
        }  # fmt: skip
        self.server.provider_store.put(code, request.client.name, contents, CODE_SECONDS)

    def query_authorization_code(self, code: str, client: Client) -> Code | None:
        stored: Code | None = self.server.provider_store.take_code(code, client.name)
        return stored

    def delete_authorization_code(self, authorization_code: Code) -> None:
        """Do nothing: `query_authorization_code` has deleted it."""

    def authenticate_user(self, authorization_code: Code) -> Login:
        return authorization_code.login


class _OpenId(OpenIDCode):
    def __init__(self, issuer: str, key: RSAKey) -> None:
        super().__init__(require_nonce=False)
        self._issuer, self._key = issuer, key

    def exists_nonce(self, nonce: str, request: Any) -> bool:
        return False  # a code can be used once, and so can its nonce

    def resolve_client_private_key(self, client: Client) -> RSAKey:
        return self._key

    def get_client_claims(self, client: Client) -> dict[str, Any]:
        return {"iss": self._issuer, "aud": [client.name]}

    def get_encode_header(self, client: Client) -> dict[str, str]:
        return {"alg": "RS256", "kid": str(self._key.kid)}

    def generate_user_info(self, user: Login, scope: str) -> dict[str, Any]:
        return {"sub": user.subject}


class Provider:
    """The provider's pages and endpoints. `issuer` is its own origin; `agent` is the local agent's address in users'
    browsers."""

    def __init__(self, world: World, verifier: Verifier, platform: Platform, issuer: str, agent: str) -> None:
        self._issuer = issuer
        self._platform = platform
        self._store = ProviderStore(world)
        self._key = RSAKey.import_key(self._store.secret("key", world.keys.take), {"use": "sig", "alg": "RS256"})
        self._key.ensure_kid()
        self._pairwise = OidcPairwise(self._store.secret("salt", lambda: secure_random(256).to_bytes(32)))
        self._login = AgentLogin(Authentication(verifier), issuer, agent, "/answer")
        self._server = _Server(self._store)
        self._server.register_grant(_CodeGrant, [CodeChallenge(required=True), _OpenId(issuer, self._key)])

    def application(self) -> Starlette:
        """Return the provider as an ASGI application."""
        return Starlette(
            routes=[
                Route("/", self.welcome),
                Route("/.well-known/openid-configuration", self.discovery),
                Route("/jwks", self.keys),
                Route("/authorize", self.authorize),
                Route("/begin", self.begin, methods=["POST"]),
                Route("/answer", self._login.receive, methods=["POST"]),
                Route("/end/{handle}", self.end),
                Route("/token", self.token, methods=["POST"]),
                Route("/userinfo", self.userinfo, methods=["GET", "POST"]),
            ]
        )

    async def welcome(self, request: Request) -> Response:
        """Respond with a page that says what this server is."""
        return welcome(("カードでログインする認証サービスです。", "An OpenID Connect provider."))

    async def discovery(self, request: Request) -> Response:
        """Respond with the provider's metadata (OpenID Connect Discovery 1.0)."""
        return JSONResponse({
            "issuer": self._issuer, "authorization_endpoint": f"{self._issuer}/authorize",
            "token_endpoint": f"{self._issuer}/token", "userinfo_endpoint": f"{self._issuer}/userinfo",
            "jwks_uri": f"{self._issuer}/jwks", "scopes_supported": list(SCOPES), "response_types_supported": ["code"],
            "response_modes_supported": ["query"], "grant_types_supported": ["authorization_code"],
            "subject_types_supported": ["pairwise"], "id_token_signing_alg_values_supported": ["RS256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "claims_supported": [claim for claims in SCOPES.values() for claim in claims],
            "code_challenge_methods_supported": ["S256"],
        })  # fmt: skip

    async def keys(self, request: Request) -> Response:
        """Respond with the public key that verifies ID tokens, as a JWK set."""
        return JSONResponse({"keys": [self._key.as_dict(private=False)]})

    async def authorize(self, request: Request) -> Response:
        """Show the user which client asks for a login and which attributes it requests."""
        authorization = await _read_request(request)
        try:
            grant = await asyncio.to_thread(self._grant, authorization)
        except OAuth2Error as error:
            return _refused(error)
        client: Client = grant.client
        scopes = client.get_allowed_scope(authorization.payload.scope).split()
        claims = [_CLAIM_NAMES[scope] for scope in scopes if scope in _CLAIM_NAMES]
        return _PAGES.page("consent.html", form_action="'self' http://127.0.0.1:*", client=client.name, claims=claims,
                           query=request.url.query)  # fmt: skip

    async def begin(self, request: Request) -> Response:
        """Redirect the browser to the agent."""
        fields = await request.form(max_files=0, max_fields=5, max_part_size=1 << 14)
        authorization = _Request("GET", f"{self._issuer}/authorize", {}, _pairs(str(fields.get("query", ""))), [])
        try:
            grant = await asyncio.to_thread(self._grant, authorization)
        except OAuth2Error as error:
            return _refused(error)
        session = request.cookies.get(_COOKIE, "") or new_token()
        scopes = grant.client.get_allowed_scope(authorization.payload.scope).split()
        claims = [scope for scope in scopes if scope in _CLAIM_NAMES]
        kind, text = CertificateType.AUTHENTICATION, ""
        if claims:
            kind = CertificateType.SIGNATURE
            text = _consent(grant.client.name, claims)
        address = await asyncio.to_thread(self._login.begin, session, str(fields["query"]), kind, text)
        response = RedirectResponse(address, 303)
        response.set_cookie(_COOKIE, session, httponly=True, samesite="lax")
        return response

    async def end(self, request: Request) -> Response:
        """Redirect the browser to the client with a code, or show a page that explains why there is none."""
        try:
            ended = await asyncio.to_thread(
                self._login.end, request.cookies.get(_COOKIE, ""), request.path_params["handle"]
            )
        except AnswerRejected as refused:
            return refusal(("受け付けられません。", str(refused)))
        authorization = _Request("GET", f"{self._issuer}/authorize", {}, _pairs(ended.purpose), [])
        try:
            grant = await asyncio.to_thread(self._grant, authorization)
        except OAuth2Error as error:
            return _refused(error)
        login = None
        if ended.verdict is not None:
            if ended.verdict.outcome is not Outcome.GOOD:
                return refusal(*explained(ended.verdict), status=403)
            try:
                login = await asyncio.to_thread(self._user, ended.verdict, grant.client, authorization.payload.scope)
            except LinkageUnavailable:
                return refusal(UNKNOWN, status=503)
        response: Response = await asyncio.to_thread(
            self._server.create_authorization_response, authorization, login, grant
        )
        return response

    def _grant(self, authorization: _Request) -> AuthorizationCodeGrant:
        """Validate a client's authorization request. Raises OAuth2Error."""
        try:
            grant = self._server.get_consent_grant(authorization)
        except ValueError as error:
            # Authlib quotes the parameters in its errors, but does not accept all characters there itself.
            raise InvalidRequestError("a parameter has characters that are not allowed") from error
        parameters = authorization.payload.data
        if parameters.get("code_challenge_method") != "S256" or not parameters.get("code_challenge"):
            raise InvalidRequestError("PKCE with S256 is required: send code_challenge and code_challenge_method")
        return grant

    def _user(self, verdict: Verdict, client: Client, scope: str) -> Login:
        certificate = verdict.certificate
        assert certificate is not None
        user = self._platform.identify(TENANT, certificate)
        subject = self._pairwise.pseudonym(Subject(0, user.identifier.encode()), client.sector)
        claims: dict[str, Any] = {}
        if certificate.attributes is not None:
            attributes = certificate.attributes
            known = {"name": attributes.name, "address": {"formatted": attributes.address, "country": "JP"},
                     "birthdate": attributes.birth.isoformat() if attributes.birth else None,
                     "gender": attributes.sex}  # fmt: skip
            claims = {name: known[name] for name in scope.split() if known.get(name) is not None}
        return Login(subject, claims, epoch(machine_clock.now()))

    async def token(self, request: Request) -> Response:
        """Exchange an authorization code for tokens."""
        token_request = await _read_request(request)
        response: Response = await asyncio.to_thread(self._server.create_token_response, token_request)
        response.headers["Cache-Control"] = "no-store"
        return response

    async def userinfo(self, request: Request) -> Response:
        """Respond with the claims that an access token gives access to."""
        kind, _, value = request.headers.get("authorization", "").partition(" ")
        token = await asyncio.to_thread(self._store.token, value.strip()) if kind.lower() == "bearer" else None
        if token is None:
            return JSONResponse({"error": "invalid_token"}, 401, {"WWW-Authenticate": 'Bearer error="invalid_token"'})
        return JSONResponse({"sub": token.login.subject, **token.login.claims}, headers={"Cache-Control": "no-store"})


def _consent(client: str, claims: Sequence[str]) -> str:
    """Return the text that the holder signs."""
    japanese = "、".join(_CLAIM_NAMES[claim][0] for claim in claims)
    english = ", ".join(_CLAIM_NAMES[claim][1] for claim in claims)
    return f"{client} に{japanese}を伝えることに同意します。\nI consent to {client} receiving my {english}."


async def _read_request(request: Request) -> _Request:
    fields = []
    if request.method == "POST":
        form = await request.form(max_files=0, max_fields=30, max_part_size=1 << 14)
        fields = [(name, str(value)) for name, value in form.multi_items()]
    return _Request(request.method, str(request.url), request.headers, list(request.query_params.multi_items()), fields)


def _pairs(query: str) -> list[tuple[str, str]]:
    return parse_qsl(query, keep_blank_values=True)


def _refused(error: OAuth2Error) -> Response:
    """Redirect an error to the client if its address is known; otherwise show it, and redirect nowhere."""
    if getattr(error, "redirect_uri", None):
        parameters = {"error": error.error, "error_description": error.description or "", "state": error.state or ""}
        separator = "&" if "?" in error.redirect_uri else "?"
        return RedirectResponse(f"{error.redirect_uri}{separator}{urlencode(parameters)}", 303)
    return refusal(("このお願いは受けられません。", f"The request was rejected: {error.description or error.error}"))
