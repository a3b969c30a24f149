"""What the OpenID Connect provider keeps: clients, its key, codes and tokens for as long as they live.

Codes and tokens live by the machine's time, whatever the world's clock says: the clients that use them are programs of
others, who know no other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from authlib.oauth2.rfc6749 import ClientMixin, TokenMixin
from authlib.oidc.core import AuthorizationCodeMixin
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
    """There is a client of that name already; it was left as it is."""


@dataclass(frozen=True)
class Client(ClientMixin):
    """A program that has people log in here."""

    name: str
    secret_digest: bytes
    redirects: Sequence[str]

    @property
    def sector(self) -> str:
        """The host that pseudonyms are made for (OpenID Connect Core, 8.1)."""
        return origin_of(self.redirects[0]).partition("://")[2].partition(":")[0]

    def get_client_id(self) -> str:
        """The client's identifier is its name."""
        return self.name

    def get_default_redirect_uri(self) -> str:
        """Where users go back to unless the request says."""
        return self.redirects[0]

    def get_allowed_scope(self, scope: str) -> str:
        """All that we offer, of what is asked for."""
        return " ".join(word for word in (scope or "").split() if word in SCOPES)

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        """Addresses are compared as they are written."""
        return redirect_uri in self.redirects

    def check_client_secret(self, client_secret: str) -> bool:
        """Whether that is the client's secret."""
        return hashlib.sha256(client_secret.encode()).digest() == self.secret_digest

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        """Clients show their secret."""
        return method in ("client_secret_basic", "client_secret_post")

    def check_response_type(self, response_type: str) -> bool:
        """The code flow alone."""
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        """The code flow alone."""
        return grant_type == "authorization_code"


SCOPES: Mapping[str, tuple[str, ...]] = {
    "openid": ("sub",), "name": ("name",), "address": ("address",), "birthdate": ("birthdate",), "gender": ("gender",),
}  # fmt: skip
"""The scopes, and the claims that each opens. All but the first are certified attributes, and need a signature."""


@dataclass(frozen=True)
class Login:
    """Somebody who has logged in for a client: the pseudonym, the claims that the client may have, and when."""

    subject: str
    claims: Mapping[str, Any]
    at: int


@dataclass(frozen=True)
class Code(AuthorizationCodeMixin):
    """An authorization code."""

    digest: bytes
    login: Login
    redirect_uri: str
    scope: str
    nonce: str | None
    code_challenge: str
    code_challenge_method: str

    def get_redirect_uri(self) -> str:
        """Where it was sent to."""
        return self.redirect_uri

    def get_scope(self) -> str:
        """What it opens."""
        return self.scope

    def get_nonce(self) -> str | None:
        """The client's nonce."""
        return self.nonce

    def get_auth_time(self) -> int:
        """When the card was there."""
        return self.login.at

    def get_amr(self) -> list[str]:
        """A key in hardware, and a PIN (RFC 8176)."""
        return ["hwk", "pin"]


@dataclass(frozen=True)
class Token(TokenMixin):
    """An access token, good for the claims of one login."""

    login: Login
    scope: str
    ends: int


class ProviderStore:
    """The provider's tables. Codes and tokens are there as digests: who reads the store cannot use them."""

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
        """Register a client; answers its secret, which is shown this once. Raises ClientExists, and ValueError for an
        address that is neither https nor on this machine."""
        if not redirects or not name.strip():
            raise ValueError("a client has a name, and an address to send people back to")
        for address in redirects:
            origin_of(address)
        secret = new_token(256)
        row = {"name": name, "secret_digest": _digest(secret), "redirects": json.dumps(list(redirects))}
        try:
            with self.store.transaction() as connection:
                connection.execute(sa.insert(self._client), row)
                self._log(connection, self._world.clock.now(), "client added", {"client": name})
        except IntegrityError as error:
            raise ClientExists(f"there is a client {name!r} already; choose another name") from error
        return secret

    def client(self, name: str) -> Client | None:
        """The client of that name."""
        with self.store.reading() as connection:
            query = sa.select(self._client).where(self._client.c.name == name)
            row = connection.execute(query).one_or_none()
        return Client(row.name, row.secret_digest, tuple(json.loads(row.redirects))) if row is not None else None

    def secret(self, name: str, make: Callable[[], bytes]) -> bytes:
        """A secret of the provider's own, made when it is first needed."""
        with self.store.alone() as connection:
            return self._secrets.begin(connection, name, lambda: {name: make()})[name]

    def put(self, value: str, client: str, contents: Mapping[str, Any], seconds: int) -> None:
        """Keep a code or a token for some seconds; what has ended goes."""
        now = epoch(machine_clock.now())
        row = {"digest": _digest(value), "client": client, "contents": json.dumps(contents), "ends": now + seconds}
        with self.store.transaction() as connection:
            connection.execute(sa.delete(self._grant).where(self._grant.c.ends < now))
            connection.execute(sa.insert(self._grant), row)

    def take_code(self, value: str, client: str) -> Code | None:
        """The code, which is gone afterwards, whatever comes of it."""
        digest, table = _digest(value), self._grant
        with self.store.transaction() as connection:
            taken = sa.delete(table).where(table.c.digest == digest).returning(*table.c)
            row = connection.execute(taken).one_or_none()
        if row is None or row.client != client or row.ends < epoch(machine_clock.now()):
            return None
        contents = json.loads(row.contents)
        return Code(digest, Login(**contents.pop("login")), **contents) if "code_challenge" in contents else None

    def token(self, value: str) -> Token | None:
        """The access token, while it lives."""
        with self.store.reading() as connection:
            query = sa.select(self._grant).where(self._grant.c.digest == _digest(value))
            row = connection.execute(query).one_or_none()
        if row is None or row.ends < epoch(machine_clock.now()):
            return None
        contents = json.loads(row.contents)
        return None if "code_challenge" in contents else Token(Login(**contents["login"]), contents["scope"], row.ends)


def _digest(value: str) -> bytes:
    return hashlib.sha256(value.encode()).digest()
