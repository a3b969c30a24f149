"""The store of the OpenID Connect provider: its clients, its key, and codes and tokens until they expire.

Codes and tokens expire by the machine's clock, whatever the world's clock says: the clients that use them are other
people's programs, which know no other clock.

The classes here do not derive from authlib's. It only calls their methods, and without it (it is a package of the extra
`web`) clients can still be registered.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from kazashi.web.origin import origin_of
from kazashi.world.clock import SystemClock, epoch
from kazashi.world.event_log import event_table
from kazashi.world.home import World
from kazashi.world.rng import new_token
from kazashi.world.secret import Secrets

ACTOR = "openid_provider"
"""The name of this actor's store."""

CODE_SECONDS, TOKEN_SECONDS = 60, 600
machine_clock = SystemClock()


class ClientExists(Exception):
    """A client with that name already exists; it was not changed."""


@dataclass(frozen=True)
class Client:
    """A program that uses this provider for logins. It has the methods of authlib's ClientMixin."""

    name: str
    secret_digest: bytes
    redirects: Sequence[str]

    @property
    def sector(self) -> str:
        """The host that pairwise subjects are computed for (OpenID Connect Core, 8.1)."""
        return origin_of(self.redirects[0]).partition("://")[2].partition(":")[0]

    def get_client_id(self) -> str:
        """Return the client's identifier, which is its name."""
        return self.name

    def get_default_redirect_uri(self) -> str:
        """Return the address that users are redirected to if the request has none."""
        return self.redirects[0]

    def get_allowed_scope(self, scope: str) -> str:
        """Return those of the requested scopes that the provider supports."""
        return " ".join(name for name in (scope or "").split() if name in SCOPES)

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        """Whether the address is registered. Addresses are compared as strings."""
        return redirect_uri in self.redirects

    def check_client_secret(self, client_secret: str) -> bool:
        """Whether this is the client's secret."""
        return hashlib.sha256(client_secret.encode()).digest() == self.secret_digest

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        """Whether the method is one that sends the client's secret."""
        return method in ("client_secret_basic", "client_secret_post")

    def check_response_type(self, response_type: str) -> bool:
        """Whether this is the code flow, the only one that is supported."""
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        """Whether this is the code flow, the only one that is supported."""
        return grant_type == "authorization_code"


SCOPES: Mapping[str, tuple[str, ...]] = {
    "openid": ("sub",), "name": ("name",), "address": ("address",), "birthdate": ("birthdate",), "gender": ("gender",),
}  # fmt: skip
"""The claims of each scope. All scopes but the first are for certified attributes, and need a signature."""


@dataclass(frozen=True)
class Login:
    """A user's login for a client: the pseudonym, the claims that the client may have, and the time (Unix seconds)."""

    subject: str
    claims: Mapping[str, Any]
    at: int


@dataclass(frozen=True)
class Code:
    """An authorization code; the store has only its digest. It has the methods of authlib's AuthorizationCodeMixin."""

    digest: bytes
    login: Login
    redirect_uri: str
    scope: str
    nonce: str | None
    code_challenge: str
    code_challenge_method: str

    def get_redirect_uri(self) -> str:
        """Return the address that the code was sent to."""
        return self.redirect_uri

    def get_scope(self) -> str:
        """Return the scope that was granted, separated by spaces."""
        return self.scope

    def get_nonce(self) -> str | None:
        """Return the client's nonce, or None."""
        return self.nonce

    def get_auth_time(self) -> int:
        """Return when the card was used, in Unix seconds."""
        return self.login.at

    def get_acr(self) -> str | None:
        """Return None: the provider promises no authentication context class."""
        return None

    def get_amr(self) -> list[str]:
        """Return the authentication methods: a key in hardware and a PIN (RFC 8176)."""
        return ["hwk", "pin"]


@dataclass(frozen=True)
class Token:
    """An access token, which gives access to the claims of one login."""

    login: Login
    scope: str
    ends: int


class ProviderStore:
    """The provider's tables. They contain only digests of codes and tokens: someone who reads the store cannot use
    them."""

    def __init__(self, world: World) -> None:
        metadata = sa.MetaData()
        self._client = sa.Table(
            "client", metadata,
            sa.Column("name", sa.Text, primary_key=True),
            sa.Column("secret_digest", sa.LargeBinary, nullable=False),
            sa.Column("redirects", sa.Text, nullable=False),
        )  # fmt: skip
        self._secrets = Secrets(metadata)
        self._grant = sa.Table(
            "grant_", metadata,
            sa.Column("digest", sa.LargeBinary, primary_key=True),
            sa.Column("client", sa.Text, nullable=False),
            sa.Column("contents", sa.Text, nullable=False),
            sa.Column("ends", sa.BigInteger, nullable=False, index=True),
        )  # fmt: skip
        _, self._log = event_table(metadata)
        self._world = world
        self.store = world.store(ACTOR, metadata)

    def add_client(self, name: str, redirects: Sequence[str]) -> str:
        """Register a client and return its secret, which is shown only once.

        Raises ClientExists, and ValueError for an address that is neither https nor on this machine.
        """
        if not redirects or not name.strip():
            raise ValueError("a client needs a name and at least one redirect address")
        for address in redirects:
            origin_of(address)
        secret = new_token(256)
        row = {"name": name, "secret_digest": _digest(secret), "redirects": json.dumps(list(redirects))}
        try:
            with self.store.transaction() as connection:
                connection.execute(sa.insert(self._client), row)
                self._log(connection, self._world.clock.now(), "client added", {"client": name})
        except IntegrityError as error:
            raise ClientExists(f"the client {name!r} already exists; choose another name") from error
        return secret

    def client(self, name: str) -> Client | None:
        """Return the client with that name, or None."""
        with self.store.reading() as connection:
            query = sa.select(self._client).where(self._client.c.name == name)
            row = connection.execute(query).one_or_none()
        return Client(row.name, row.secret_digest, tuple(json.loads(row.redirects))) if row is not None else None

    def secret(self, name: str, make: Callable[[], bytes]) -> bytes:
        """Return a secret of the provider itself. It is generated with `make` when it is first needed."""
        with self.store.alone() as connection:
            return self._secrets.begin(connection, name, lambda: {name: make()})[name]

    def put(self, value: str, client: str, contents: Mapping[str, Any], seconds: int) -> None:
        """Store a code or a token that expires after `seconds`, and delete those that have expired."""
        now = epoch(machine_clock.now())
        row = {"digest": _digest(value), "client": client, "contents": json.dumps(contents), "ends": now + seconds}
        with self.store.transaction() as connection:
            connection.execute(sa.delete(self._grant).where(self._grant.c.ends < now))
            connection.execute(sa.insert(self._grant), row)

    def take_code(self, value: str, client: str) -> Code | None:
        """Return the code, or None if it is unknown, expired or another client's. It is deleted in any case."""
        digest, table = _digest(value), self._grant
        with self.store.transaction() as connection:
            statement = sa.delete(table).where(table.c.digest == digest).returning(*table.c)
            row = connection.execute(statement).one_or_none()
        if row is None or row.client != client or row.ends < epoch(machine_clock.now()):
            return None
        contents = json.loads(row.contents)
        return Code(digest, Login(**contents.pop("login")), **contents) if "code_challenge" in contents else None

    def token(self, value: str) -> Token | None:
        """Return the access token, or None if it is unknown or expired."""
        with self.store.reading() as connection:
            query = sa.select(self._grant).where(self._grant.c.digest == _digest(value))
            row = connection.execute(query).one_or_none()
        if row is None or row.ends < epoch(machine_clock.now()):
            return None
        contents = json.loads(row.contents)
        return None if "code_challenge" in contents else Token(Login(**contents["login"]), contents["scope"], row.ends)


def _digest(value: str) -> bytes:
    return hashlib.sha256(value.encode()).digest()
