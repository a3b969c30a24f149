"""An OpenID Connect provider for logins with the card, similar to Japan's Digital Authentication App.

Any web framework can be tested against it. It has the code flow with PKCE (S256), pairwise subjects, and four scopes
for the certified attributes. A plain login uses the authentication certificate. If a client requests attributes, the
holder signs a sentence that names the client and the attributes: consent and certified attributes in one step.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from kazashi.jpki.profile import CertificateType
from kazashi.relying_party.login.agent_login import AgentLogin, AnswerRejected, Start, looks_ahead, session_of
from kazashi.relying_party.login.authorization import (
    AuthorizationEndpoint,
    AuthorizationRejected,
    AuthorizationRequest,
    UnknownClient,
)
from kazashi.relying_party.login.plain_words import UNKNOWN, explained
from kazashi.relying_party.login.provider_store import SCOPES, Client, Grant, Login, ProviderStore, machine_clock
from kazashi.relying_party.login.token_endpoint import TokenEndpoint, form_pairs
from kazashi.relying_party.login.token_keys import ALGORITHMS, TokenKeys
from kazashi.relying_party.platform.platform import LinkageConflict, Platform
from kazashi.relying_party.pseudonyms.pseudonyms import OidcPairwise, Subject
from kazashi.relying_party.verify.authentication import Authentication
from kazashi.relying_party.verify.finding import Outcome
from kazashi.relying_party.verify.linkage import LinkageUnavailable
from kazashi.relying_party.verify.verdict import Verdict
from kazashi.relying_party.verify.verification import Verifier
from kazashi.web.health import Health
from kazashi.web.pages import PAGES, Pages, refusal, welcome
from kazashi.web.sweeping import sweeping
from kazashi.world.clock import epoch
from kazashi.world.home import World
from kazashi.world.rng import new_token, secure_random

TENANT = "openid-provider"
_PAGES = Pages("kazashi.relying_party.login")
_COOKIE = "provider"
_CLAIM_NAMES = {"name": ("氏名", "name"), "address": ("住所", "address"), "birthdate": ("生年月日", "date of birth"),
                "gender": ("性別", "sex")}  # fmt: skip


class Provider:
    """The provider's pages and endpoints. `issuer` is its own origin; `agent` is the local agent's address in users'
    browsers."""

    def __init__(self, world: World, verifier: Verifier, platform: Platform, issuer: str, agent: str) -> None:
        self._issuer = issuer
        self._platform = platform
        self._store = ProviderStore(world)
        self._keys = TokenKeys(world, self._store)
        self._pairwise = OidcPairwise(self._store.secret("salt", lambda: secure_random(256).to_bytes(32)))
        self._login = AgentLogin(Authentication(verifier), issuer, agent, "/answer")
        self._authorization = AuthorizationEndpoint(issuer, self._keys, self._store.client)
        self._tokens = TokenEndpoint(issuer, self._keys, self._store)

    def application(self) -> Starlette:
        """Return the provider as an ASGI application."""
        provider = Starlette(
            routes=[
                Route("/", self.welcome),
                Route("/.well-known/openid-configuration", self.discovery),
                Route("/.well-known/oauth-authorization-server", self.discovery),
                Route("/jwks", self.keys),
                Route("/authorize", self.authorize, methods=["GET", "POST"]),
                Route("/begin", self.begin, methods=["POST"]),
                Route("/answer", self._login.receive, methods=["POST"]),
                Route("/end/{handle}", self.end),
                Health.of_stores(self._store.store).route(),
                Route("/token", self._tokens.token, methods=["POST"]),
                Route("/userinfo", self._tokens.userinfo, methods=["GET", "POST"]),
            ],
            lifespan=sweeping(self._login.sweep, self._store.sweep),
        )
        PAGES.protect(provider)
        return provider

    async def welcome(self, request: Request) -> Response:
        """Respond with a page that says what this server is."""
        return welcome(("カードでログインする認証サービスです。", "An OpenID Connect provider."))

    async def discovery(self, request: Request) -> Response:
        """Respond with the provider's metadata (OpenID Connect Discovery 1.0, 3; RFC 8414, 2; RFC 9207, 3)."""
        return JSONResponse({
            "issuer": self._issuer, "authorization_endpoint": f"{self._issuer}/authorize",
            "token_endpoint": f"{self._issuer}/token", "userinfo_endpoint": f"{self._issuer}/userinfo",
            "jwks_uri": f"{self._issuer}/jwks", "scopes_supported": list(SCOPES), "response_types_supported": ["code"],
            "response_modes_supported": ["query"], "grant_types_supported": ["authorization_code"],
            "subject_types_supported": ["pairwise"], "id_token_signing_alg_values_supported": list(ALGORITHMS),
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "claim_types_supported": ["normal"],
            "claims_supported": [
                "iss", "aud", "iat", "exp", "auth_time", "nonce", "at_hash", "amr",
                *(claim for claims in SCOPES.values() for claim in claims),
            ],
            "display_values_supported": ["page"], "ui_locales_supported": ["ja", "en"],
            "code_challenge_methods_supported": ["S256"], "authorization_response_iss_parameter_supported": True,
            "claims_parameter_supported": False, "request_parameter_supported": False,
            "request_uri_parameter_supported": False, "require_request_uri_registration": False,
        })  # fmt: skip

    async def keys(self, request: Request) -> Response:
        """Respond with the public keys that verify ID tokens, as a JWK set."""
        return JSONResponse(self._keys.public())

    async def authorize(self, request: Request) -> Response:
        """Show the user which client asks for a login and which attributes it requests.

        The request is in the URL or in a form (OpenID Connect Core, 3.1.2.1).
        """
        pairs = await form_pairs(request) if request.method == "POST" else request.query_params.multi_items()
        try:
            asked = await asyncio.to_thread(self._authorization.read, pairs)
        except UnknownClient as error:
            return _refused(error)
        except AuthorizationRejected as error:
            return _back(error.address)
        claims = [_CLAIM_NAMES[scope] for scope in asked.scopes if scope in _CLAIM_NAMES]
        return _PAGES.page("consent.html", form_action="'self' http://127.0.0.1:*", client=asked.client.name,
                           claims=claims, query=urlencode(pairs))  # fmt: skip

    async def begin(self, request: Request) -> Response:
        """Redirect the browser to the agent. Only the page that names the client may post here."""
        if request.headers.get("origin") != self._issuer:
            return refusal(
                ("このお願いは受けられません。", "The request was rejected: it is not from the provider's page"),
                status=403,
            )
        fields = dict(await form_pairs(request))
        try:
            asked = await asyncio.to_thread(self._authorization.read, _pairs(fields.get("query", "")))
        except UnknownClient as error:
            return _refused(error)
        except AuthorizationRejected as error:
            return _back(error.address)
        session = session_of(request, _COOKIE) or new_token()
        claims = [scope for scope in asked.scopes if scope in _CLAIM_NAMES]
        kind, text = CertificateType.AUTHENTICATION, ""
        if claims:
            kind = CertificateType.SIGNATURE
            text = _consent(asked.client.name, claims)
        start = Start.of(request, f"ログイン Log in: {asked.client.name}")
        response = _back(await asyncio.to_thread(self._login.begin, session, asked, kind, text, start))
        response.set_cookie(_COOKIE, session, httponly=True, samesite="lax")
        return response

    async def end(self, request: Request) -> Response:
        """Redirect the browser to the client with a code, or show a page that explains why there is none."""
        if looks_ahead(request):
            return refusal(("先読みはできません。", "This page is not for looking ahead."), status=503)
        try:
            ended = await asyncio.to_thread(
                self._login.end, request.cookies.get(_COOKIE, ""), request.path_params["handle"]
            )
        except AnswerRejected as refused:
            return refusal(("受け付けられません。", str(refused)))
        asked: AuthorizationRequest = ended.purpose
        if ended.verdict is None:
            return _back(self._authorization.failure(asked, "access_denied", "the user cancelled the login"))
        if ended.verdict.outcome is not Outcome.GOOD:
            return refusal(*explained(ended.verdict), status=403)
        try:
            return _back(await asyncio.to_thread(self._answer, asked, ended.verdict))
        except LinkageConflict as conflict:
            return refusal(("受け付けられません。", str(conflict)), status=409)
        except LinkageUnavailable:
            return refusal(UNKNOWN, status=503)

    def _answer(self, asked: AuthorizationRequest, verdict: Verdict) -> str:
        """Return the client's address with a code for the user who has logged in. Raises LinkageUnavailable."""
        login = self._user(verdict, asked.client, asked.scopes)
        if asked.hinted_subject not in (None, login.subject):
            return self._authorization.failure(asked, "login_required", "another user has logged in")
        grant = Grant(login, asked.redirect_uri, asked.scope, asked.nonce, asked.code_challenge)
        return self._authorization.success(asked, self._store.new_code(asked.client, grant))

    def _user(self, verdict: Verdict, client: Client, scopes: Sequence[str]) -> Login:
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
            claims = {name: known[name] for name in scopes if known.get(name) is not None}
        return Login(subject, claims, epoch(machine_clock.now()))


def _consent(client: str, claims: Sequence[str]) -> str:
    """Return the text that the holder signs."""
    japanese = "、".join(_CLAIM_NAMES[claim][0] for claim in claims)
    english = ", ".join(_CLAIM_NAMES[claim][1] for claim in claims)
    return f"{client} に{japanese}を伝えることに同意します。\nI consent to {client} receiving my {english}."


def _pairs(query: str) -> list[tuple[str, str]]:
    return parse_qsl(query, keep_blank_values=True)


def _back(address: str) -> Response:
    """Redirect the browser with 303, so that it does not repeat a POST there (RFC 9700, 4.12)."""
    return RedirectResponse(address, 303)


def _refused(error: UnknownClient) -> Response:
    """Show an error that must be redirected nowhere (RFC 6749, 4.1.2.1)."""
    return refusal(("このお願いは受けられません。", f"The request was rejected: {error}"))
