"""An OpenID Connect provider over the card, close to Japan's Digital Authentication App.

Any web framework can be tried against it: code flow with PKCE (S256), pairwise subjects, and four scopes for the
certified attributes. A plain login uses the authentication certificate. Where attributes are asked for, the holder
signs a sentence that names the client and what it is told: consent and certified attributes in one.
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
_CLAIM_WORDS = {"name": ("氏名", "name"), "address": ("住所", "address"), "birthdate": ("生年月日", "date of birth"),
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


class _Asked(OAuth2Request):
    """A request as the library sees it, whose pairs have been read already."""

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
    """The library's server on our store."""

    def __init__(self, store: ProviderStore) -> None:
        super().__init__(scopes_supported=list(SCOPES))
        self.kept = store
        self.register_token_generator(
            "default",
            BearerTokenGenerator(lambda **_: new_token(256), expires_generator=lambda *_: TOKEN_SECONDS),
        )

    def query_client(self, client_id: str) -> Client | None:
        return self.kept.client(client_id)

    def save_token(self, token: dict[str, Any], request: Any) -> None:
        login: Login = request.user
        contents = {"login": vars(login), "scope": token["scope"]}
        self.kept.put(token["access_token"], request.client.name, contents, TOKEN_SECONDS)

    def create_oauth2_request(self, request: _Asked) -> _Asked:
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
        asked = request.payload.data
        contents = {
            "login": vars(request.user), "redirect_uri": asked.get("redirect_uri"), "scope": request.scope,
            "nonce": asked.get("nonce"), "code_challenge": asked["code_challenge"], "code_challenge_method": "S256",
        }  # fmt: skip
        self.server.kept.put(code, request.client.name, contents, CODE_SECONDS)

    def query_authorization_code(self, code: str, client: Client) -> Code | None:
        found: Code | None = self.server.kept.take_code(code, client.name)
        return found

    def delete_authorization_code(self, authorization_code: Code) -> None:
        """It went when it was taken."""

    def authenticate_user(self, authorization_code: Code) -> Login:
        return authorization_code.login


class _OpenId(OpenIDCode):
    def __init__(self, issuer: str, key: RSAKey) -> None:
        super().__init__(require_nonce=False)
        self._issuer, self._key = issuer, key

    def exists_nonce(self, nonce: str, request: Any) -> bool:
        return False  # a code is good once, and its nonce with it

    def resolve_client_private_key(self, client: Client) -> RSAKey:
        return self._key

    def get_client_claims(self, client: Client) -> dict[str, Any]:
        return {"iss": self._issuer, "aud": [client.name]}

    def get_encode_header(self, client: Client) -> dict[str, str]:
        return {"alg": "RS256", "kid": str(self._key.kid)}

    def generate_user_info(self, user: Login, scope: str) -> dict[str, Any]:
        return {"sub": user.subject}


class Provider:
    """The provider's pages and endpoints. `issuer` is its own origin; `agent` where users' browsers find the agent."""

    def __init__(self, world: World, verifier: Verifier, platform: Platform, issuer: str, agent: str) -> None:
        self._issuer = issuer
        self._platform = platform
        self._kept = ProviderStore(world)
        self._key = RSAKey.import_key(self._kept.secret("key", world.keys.take), {"use": "sig", "alg": "RS256"})
        self._key.ensure_kid()
        self._pairwise = OidcPairwise(self._kept.secret("salt", lambda: secure_random(256).to_bytes(32)))
        self._login = AgentLogin(Authentication(verifier), issuer, agent, "/answer")
        self._server = _Server(self._kept)
        self._server.register_grant(_CodeGrant, [CodeChallenge(required=True), _OpenId(issuer, self._key)])

    def application(self) -> Starlette:
        """The provider as an ASGI application."""
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
        """Says what this is."""
        return welcome(("カードでログインする認証サービスです。", "An OpenID Connect provider."))

    async def discovery(self, request: Request) -> Response:
        """OpenID Connect Discovery 1.0."""
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
        """The key that ID tokens are signed with."""
        return JSONResponse({"keys": [self._key.as_dict(private=False)]})

    async def authorize(self, request: Request) -> Response:
        """Show which program asks, and for what."""
        asked = await _asked(request)
        try:
            grant = await asyncio.to_thread(self._grant, asked)
        except OAuth2Error as error:
            return _refused(error)
        client: Client = grant.client
        scope = client.get_allowed_scope(asked.payload.scope)
        claims = [_CLAIM_WORDS[word] for word in scope.split() if word in _CLAIM_WORDS]
        return _PAGES.page("consent.html", form_action="'self' http://127.0.0.1:*", client=client.name, claims=claims,
                           query=request.url.query)  # fmt: skip

    async def begin(self, request: Request) -> Response:
        """Send the browser to the agent."""
        fields = await request.form(max_files=0, max_fields=5, max_part_size=1 << 14)
        asked = _Asked("GET", f"{self._issuer}/authorize", {}, _pairs(str(fields.get("query", ""))), [])
        try:
            grant = await asyncio.to_thread(self._grant, asked)
        except OAuth2Error as error:
            return _refused(error)
        session = request.cookies.get(_COOKIE, "") or new_token()
        scope = grant.client.get_allowed_scope(asked.payload.scope).split()
        told = [word for word in scope if word in _CLAIM_WORDS]
        kind, text = CertificateType.AUTHENTICATION, ""
        if told:
            kind = CertificateType.SIGNATURE
            text = _consent(grant.client.name, told)
        address = await asyncio.to_thread(self._login.begin, session, str(fields["query"]), kind, text)
        response = RedirectResponse(address, 303)
        response.set_cookie(_COOKIE, session, httponly=True, samesite="lax")
        return response

    async def end(self, request: Request) -> Response:
        """Send the browser back to the client with a code, or say in plain words why not."""
        try:
            ended = await asyncio.to_thread(
                self._login.end, request.cookies.get(_COOKIE, ""), request.path_params["handle"]
            )
        except AnswerRejected as refused:
            return refusal(("受け付けられません。", str(refused)))
        asked = _Asked("GET", f"{self._issuer}/authorize", {}, _pairs(ended.purpose), [])
        try:
            grant = await asyncio.to_thread(self._grant, asked)
        except OAuth2Error as error:
            return _refused(error)
        login = None
        if ended.verdict is not None:
            if ended.verdict.outcome is not Outcome.GOOD:
                return refusal(*explained(ended.verdict), status=403)
            try:
                login = await asyncio.to_thread(self._user, ended.verdict, grant.client, asked.payload.scope)
            except LinkageUnavailable:
                return refusal(UNKNOWN, status=503)
        response: Response = await asyncio.to_thread(self._server.create_authorization_response, asked, login, grant)
        return response

    def _grant(self, asked: _Asked) -> AuthorizationCodeGrant:
        """A client's request as the library has checked it. Raises OAuth2Error."""
        try:
            grant = self._server.get_consent_grant(asked)
        except ValueError as error:
            # The library quotes what was sent in its errors, and does not accept all characters there itself.
            raise InvalidRequestError("a parameter has characters that are not allowed") from error
        if asked.payload.data.get("code_challenge_method") != "S256" or not asked.payload.data.get("code_challenge"):
            raise InvalidRequestError("PKCE with S256 is wanted: code_challenge and code_challenge_method")
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
            claims = {word: known[word] for word in scope.split() if known.get(word) is not None}
        return Login(subject, claims, epoch(machine_clock.now()))

    async def token(self, request: Request) -> Response:
        """A code for tokens."""
        asked = await _asked(request)
        response: Response = await asyncio.to_thread(self._server.create_token_response, asked)
        response.headers["Cache-Control"] = "no-store"
        return response

    async def userinfo(self, request: Request) -> Response:
        """The claims that an access token opens."""
        kind, _, value = request.headers.get("authorization", "").partition(" ")
        found = await asyncio.to_thread(self._kept.token, value.strip()) if kind.lower() == "bearer" else None
        if found is None:
            return JSONResponse({"error": "invalid_token"}, 401, {"WWW-Authenticate": 'Bearer error="invalid_token"'})
        return JSONResponse({"sub": found.login.subject, **found.login.claims}, headers={"Cache-Control": "no-store"})


def _consent(client: str, told: Sequence[str]) -> str:
    """What the holder signs."""
    japanese = "、".join(_CLAIM_WORDS[word][0] for word in told)
    english = ", ".join(_CLAIM_WORDS[word][1] for word in told)
    return f"{client} に{japanese}を伝えることに同意します。\nI consent that {client} is told my {english}."


async def _asked(request: Request) -> _Asked:
    fields = []
    if request.method == "POST":
        read = await request.form(max_files=0, max_fields=30, max_part_size=1 << 14)
        fields = [(name, str(value)) for name, value in read.multi_items()]
    return _Asked(request.method, str(request.url), request.headers, list(request.query_params.multi_items()), fields)


def _pairs(query: str) -> list[tuple[str, str]]:
    return parse_qsl(query, keep_blank_values=True)


def _refused(error: OAuth2Error) -> Response:
    """An error goes back to a client that is known; to anybody else it is shown, and nobody is sent anywhere."""
    if getattr(error, "redirect_uri", None):
        parameters = {"error": error.error, "error_description": error.description or "", "state": error.state or ""}
        separator = "&" if "?" in error.redirect_uri else "?"
        return RedirectResponse(f"{error.redirect_uri}{separator}{urlencode(parameters)}", 303)
    return refusal(("このお願いは受けられません。", f"Refused: {error.description or error.error}"))
