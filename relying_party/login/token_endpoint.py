"""The endpoints that the provider's clients call themselves: tokens for codes, and claims for tokens.

The rules are those of OpenID Connect Core 1.0 (3.1.3 and 5.3), RFC 6749 (2.3.1, 4.1.3, 5) and RFC 6750.
"""

from __future__ import annotations

import asyncio
import re
from base64 import b64decode
from collections import Counter
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_plus

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from kazashi.relying_party.login.provider_store import TOKEN_SECONDS, Client, Grant, ProviderStore, machine_clock
from kazashi.relying_party.login.token_keys import TokenKeys
from kazashi.world.clock import epoch

_BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*)", re.IGNORECASE)
_NOT_STORED = {"Cache-Control": "no-store", "Pragma": "no-cache"}


class ClientRejected(Exception):
    """A client's request to one of these endpoints is wrong: with the error code, the status, and the name of the
    authentication scheme if that is what failed."""

    def __init__(self, code: str, description: str, status: int = 400, scheme: str = "") -> None:
        super().__init__(description)
        self.code = code
        self.status = status
        self.scheme = scheme

    def response(self) -> Response:
        """Return the response (RFC 6749, 5.2, and RFC 6750, 3). Without a code it is a challenge only."""
        fields = {"error": self.code, "error_description": str(self)} if self.code else {}
        challenge = ", ".join(
            [f'{self.scheme} realm="provider"', *(f'{name}="{value}"' for name, value in fields.items())]
        )
        headers = {"WWW-Authenticate": challenge} if self.scheme else {}
        return JSONResponse(fields, self.status, {**_NOT_STORED, **headers})


class TokenEndpoint:
    """The two endpoints of the provider `issuer`, whose ID tokens `keys` sign."""

    def __init__(self, issuer: str, keys: TokenKeys, store: ProviderStore) -> None:
        self._issuer = issuer
        self._keys = keys
        self._store = store

    async def token(self, request: Request) -> Response:
        """Exchange an authorization code for an access token and an ID token."""
        try:
            fields = await _form(request)
            return await asyncio.to_thread(self._issue, request.headers.get("authorization"), fields)
        except ClientRejected as error:
            return error.response()

    async def userinfo(self, request: Request) -> Response:
        """Respond with the claims that an access token gives access to. The token is in the header or in the form."""
        try:
            value = _bearer(request.headers.get("authorization", ""), await _form(request))
        except ClientRejected as error:
            return error.response()
        token = await asyncio.to_thread(self._store.token, value)
        if token is None:
            return ClientRejected("invalid_token", "the token is unknown, expired or revoked", 401, "Bearer").response()
        return JSONResponse({"sub": token.login.subject, **token.login.claims}, headers=_NOT_STORED)

    def _issue(self, authorization: str | None, fields: Mapping[str, str]) -> Response:
        client = self._authenticated(authorization, fields)
        if "grant_type" not in fields:
            raise ClientRejected("invalid_request", "grant_type is missing")
        if fields["grant_type"] != "authorization_code":
            raise ClientRejected("unsupported_grant_type", "the only grant_type is authorization_code")
        if "code" not in fields:
            raise ClientRejected("invalid_request", "code is missing")
        redeemed = self._store.redeem(
            fields["code"], client, fields.get("redirect_uri", ""), fields.get("code_verifier", "")
        )
        if redeemed is None:
            raise ClientRejected(
                "invalid_grant", "the code is unknown, expired or used, or redirect_uri or code_verifier is another"
            )
        token, grant = redeemed
        return JSONResponse({
            "access_token": token, "token_type": "Bearer", "expires_in": TOKEN_SECONDS, "scope": grant.scope,
            "id_token": self._id_token(client, grant, token),
        }, headers=_NOT_STORED)  # fmt: skip

    def _authenticated(self, authorization: str | None, fields: Mapping[str, str]) -> Client:
        """Return the client that the secret proves, which is sent in one of two ways. Raises ClientRejected."""
        name, secret = fields.get("client_id", ""), fields.get("client_secret", "")
        if authorization is not None:
            if secret:
                raise ClientRejected("invalid_request", "the client's secret is both in the header and in the form")
            claimed = name
            name, secret = _basic(authorization)
            if claimed not in ("", name):
                raise ClientRejected("invalid_request", "client_id is not the client that the header names")
        client = self._store.client(name)
        if client is None or not client.has_secret(secret):
            raise ClientRejected("invalid_client", "no such client, or another secret", 401, "Basic")
        return client

    def _id_token(self, client: Client, grant: Grant, token: str) -> str:
        """Return a signed ID token."""
        now = epoch(machine_clock.now())
        claims: dict[str, Any] = {
            "iss": self._issuer, "sub": grant.login.subject, "aud": [client.name],
            "iat": now, "exp": now + TOKEN_SECONDS, "auth_time": grant.login.at,
            "amr": ["hwk", "pin"],  # a key in hardware, and a PIN (RFC 8176)
        }  # fmt: skip
        if grant.nonce is not None:
            claims["nonce"] = grant.nonce
        return self._keys.id_token(client.algorithm, claims, token)


def _basic(authorization: str) -> tuple[str, str]:
    """Return name and secret from a header of HTTP Basic authentication. Both are form-encoded (RFC 6749, 2.3.1)."""
    scheme, _, encoded = authorization.partition(" ")
    try:
        name, separator, secret = b64decode(encoded.strip(), validate=True).decode().partition(":")
    except ValueError:
        separator = ""
    if scheme.lower() != "basic" or not separator:
        raise ClientRejected("invalid_client", "the header is not one of Basic authentication", 401, "Basic")
    return unquote_plus(name), unquote_plus(secret)


def _bearer(authorization: str, fields: Mapping[str, str]) -> str:
    """Return the access token from the header or from the form (RFC 6750, 2). Raises ClientRejected."""
    if authorization.partition(" ")[0].lower() != "bearer":
        if "access_token" not in fields:
            raise ClientRejected("", "", 401, "Bearer")
        return fields["access_token"]
    token = _BEARER.fullmatch(authorization.strip())
    if token is None or "access_token" in fields:
        raise ClientRejected("invalid_request", "the request has no token or more than one", 400, "Bearer")
    return token.group(1)


async def form_pairs(request: Request) -> list[tuple[str, str]]:
    """Return the form fields of a POST request, without those that are empty (RFC 6749, 3.1)."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        return []
    form = await request.form(max_files=0, max_fields=30, max_part_size=1 << 14)
    return [(name, str(value)) for name, value in form.multi_items() if value]


async def _form(request: Request) -> dict[str, str]:
    pairs = await form_pairs(request)
    if any(times > 1 for times in Counter(name for name, _ in pairs).values()):
        raise ClientRejected("invalid_request", "a parameter is repeated")
    return dict(pairs)
