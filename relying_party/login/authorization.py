"""The provider's authorization endpoint: clients' requests, and the addresses at which they get the responses.

The rules are those of OpenID Connect Core 1.0, section 3.1.2, and of RFC 6749, section 4.1, which it refers to.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from joserfc.errors import JoseError

from kazashi.relying_party.login.provider_store import SCOPES, Client
from kazashi.relying_party.login.token_keys import TokenKeys

_S256_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
_LONGEST = 4096
"""The maximum length of a request's values, in characters in total: a login keeps some of them until it ends."""

_NOT_SUPPORTED = {
    "request": "request_not_supported", "request_uri": "request_uri_not_supported",
    "registration": "registration_not_supported",
}  # fmt: skip
"""Parameters that must not be ignored, because they may change the meaning of the others, and their error codes."""

Parameters = Iterable[tuple[str, str]]


class UnknownClient(Exception):
    """The request has no registered client, or no registered redirect address. Nothing may be sent to its address."""


class AuthorizationRejected(Exception):
    """An error that the client must be told. `code` is one of RFC 6749 (4.1.2.1) or OpenID Connect Core (3.1.2.6)."""

    def __init__(self, code: str, description: str) -> None:
        super().__init__(description)
        self.code = code
        self.address = ""
        """The client's address with the error in it."""


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """A valid request. `scopes` are those that the provider knows, `hinted_subject` is the user that the client
    expects, and `code_challenge` is None only for clients that may leave PKCE out."""

    client: Client
    redirect_uri: str
    scopes: tuple[str, ...]
    state: str | None
    nonce: str | None
    code_challenge: str | None
    hinted_subject: str | None

    @property
    def scope(self) -> str:
        """The scopes, separated by spaces."""
        return " ".join(self.scopes)


class AuthorizationEndpoint:
    """Reads requests, and makes the addresses of responses, for the provider `issuer` whose ID tokens `keys` sign."""

    def __init__(self, issuer: str, keys: TokenKeys, client: Callable[[str], Client | None]) -> None:
        self._issuer = issuer
        self._keys = keys
        self._client = client

    def read(self, unverified: Parameters) -> AuthorizationRequest:
        """Check a request. Raises UnknownClient, and AuthorizationRejected with the address to redirect to.

        Unknown parameters and scopes are ignored, and so are parameters without a value (RFC 6749, 3.1).
        """
        pairs = [(name, value) for name, value in unverified if value]
        repeated = {name for name, times in Counter(name for name, _ in pairs).items() if times > 1}
        parameters = dict(pairs)
        client = self._client(parameters.get("client_id", ""))
        if client is None or "client_id" in repeated:
            raise UnknownClient("the request names no client that is registered here")
        if parameters.get("redirect_uri") not in client.redirects or "redirect_uri" in repeated:
            raise UnknownClient("the request's redirect_uri is not one that is registered for the client")
        state = None if "state" in repeated else parameters.get("state")
        try:
            if repeated:
                raise AuthorizationRejected("invalid_request", "a parameter is repeated")
            scopes, challenge = _checked(parameters, client)
            return AuthorizationRequest(
                client, parameters["redirect_uri"], scopes, state, parameters.get("nonce"), challenge,
                self._subject_of(parameters.get("id_token_hint"), client),
            )  # fmt: skip
        except AuthorizationRejected as error:
            fields = {"error": error.code, "error_description": str(error)}
            error.address = self._address(parameters["redirect_uri"], state, fields)
            raise

    def success(self, request: AuthorizationRequest, code: str) -> str:
        """Return the client's address with a code in it."""
        return self._address(request.redirect_uri, request.state, {"code": code})

    def failure(self, request: AuthorizationRequest, code: str, description: str) -> str:
        """Return the client's address with an error in it."""
        return self._address(request.redirect_uri, request.state, {"error": code, "error_description": description})

    def _address(self, redirect_uri: str, state: str | None, fields: Mapping[str, str]) -> str:
        """The address with the response's fields, the state if there is one, and the issuer (RFC 9207)."""
        returned = {} if state is None else {"state": state}
        separator = "&" if "?" in redirect_uri else "?"
        return f"{redirect_uri}{separator}{urlencode({**fields, **returned, 'iss': self._issuer})}"

    def _subject_of(self, hint: str | None, client: Client) -> str | None:
        """The subject of an ID token that this provider issued to the client at some time, even if it has expired."""
        if hint is None:
            return None
        try:
            claims = self._keys.claims(hint)
        except (JoseError, ValueError) as error:
            raise AuthorizationRejected(
                "invalid_request", "id_token_hint is not an ID token of this provider"
            ) from error
        if claims.get("aud") != [client.name]:
            raise AuthorizationRejected("invalid_request", "id_token_hint was issued to another client")
        return str(claims["sub"])


def _checked(parameters: Mapping[str, str], client: Client) -> tuple[tuple[str, ...], str | None]:
    """Check what does not depend on the provider's key. Returns the scopes and the code challenge."""
    for name, code in _NOT_SUPPORTED.items():
        if name in parameters:
            raise AuthorizationRejected(code, f"the parameter {name} is not supported")
    if sum(map(len, parameters.values())) > _LONGEST:
        raise AuthorizationRejected("invalid_request", f"the request has more than {_LONGEST} characters")
    if "response_type" not in parameters:
        raise AuthorizationRejected("invalid_request", "response_type is missing")
    if parameters["response_type"] != "code":
        raise AuthorizationRejected("unsupported_response_type", "the only response_type is code")
    if parameters.get("response_mode", "query") != "query":
        raise AuthorizationRejected("invalid_request", "the only response_mode is query")
    requested = parameters.get("scope", "").split()
    if "openid" not in requested:
        raise AuthorizationRejected("invalid_scope", "scope must contain openid")
    prompts = parameters.get("prompt", "").split()
    if "none" in prompts and len(prompts) > 1:
        raise AuthorizationRejected("invalid_request", "prompt has another value beside none")
    if "none" in prompts:
        raise AuthorizationRejected("login_required", "every login needs the card")
    if not re.fullmatch(r"[0-9]+", parameters.get("max_age", "0")):
        raise AuthorizationRejected("invalid_request", "max_age is not a number of seconds")
    return tuple(dict.fromkeys(scope for scope in requested if scope in SCOPES)), _challenge(parameters, client)


def _challenge(parameters: Mapping[str, str], client: Client) -> str | None:
    """Return the PKCE challenge (RFC 7636), or None if the request has no challenge and the client may leave it out."""
    challenge, method = parameters.get("code_challenge"), parameters.get("code_challenge_method")
    if challenge is None and method is None and not client.pkce:
        return None
    if challenge is None or method != "S256":
        raise AuthorizationRejected("invalid_request", "PKCE with S256 is required: code_challenge and its method")
    if not _S256_CHALLENGE.fullmatch(challenge):
        raise AuthorizationRejected("invalid_request", "code_challenge is not 43 characters of base64url")
    return challenge
