"""The store of the OpenID Connect provider: its clients, its key, and codes and tokens until they expire.

Codes and tokens expire by the machine's clock, whatever the world's clock says: the clients that use them are other
people's programs, which know no other clock.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from kazashi.web.origin import origin_of
from kazashi.world.clock import SystemClock, epoch
from kazashi.world.event_log import event_table
from kazashi.world.home import World
from kazashi.world.names import checked_name
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
    """A program that uses this provider for logins. Without `pkce`, it may leave PKCE out. `algorithm` signs its ID
    tokens."""

    name: str
    secret_digest: bytes
    redirects: Sequence[str]
    pkce: bool = True
    algorithm: str = "RS256"

    @property
    def sector(self) -> str:
        """The host that pairwise subjects are computed for (OpenID Connect Core, 8.1)."""
        return origin_of(self.redirects[0]).partition("://")[2].partition(":")[0]

    def has_secret(self, secret: str) -> bool:
        """Whether this is the client's secret."""
        return hmac.compare_digest(_digest(secret), self.secret_digest)


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
class Grant:
    """What an authorization code was issued for, and what the client's request for a token must agree with."""

    login: Login
    redirect_uri: str
    scope: str
    nonce: str | None
    code_challenge: str | None

    def allows(self, redirect_uri: str, verifier: str) -> bool:
        """Whether the address and the PKCE verifier are those of the authorization request (RFC 7636, 4.6).

        A verifier without a challenge is wrong too. Otherwise PKCE could be taken out of a request unnoticed (RFC 9700,
        2.1.1).
        """
        challenge = urlsafe_b64encode(_digest(verifier)).rstrip(b"=").decode() if verifier else ""
        return redirect_uri == self.redirect_uri and hmac.compare_digest(challenge, self.code_challenge or "")


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
            sa.Column("pkce", sa.Boolean, nullable=False),
            sa.Column("algorithm", sa.Text, nullable=False),
        )  # fmt: skip
        self._secrets = Secrets(metadata)
        self._code = sa.Table(
            "code", metadata,
            sa.Column("digest", sa.LargeBinary, primary_key=True),
            sa.Column("client", sa.Text, nullable=False),
            sa.Column("contents", sa.Text, nullable=False),
            sa.Column("ends", sa.BigInteger, nullable=False, index=True),
        )  # fmt: skip
        self._token = sa.Table(
            "token", metadata,
            sa.Column("digest", sa.LargeBinary, primary_key=True),
            sa.Column("code", sa.LargeBinary, nullable=False, index=True),
            sa.Column("contents", sa.Text, nullable=False),
            sa.Column("ends", sa.BigInteger, nullable=False, index=True),
        )  # fmt: skip
        _, self._log = event_table(metadata)
        self._world = world
        self.store = world.store(ACTOR, metadata, [_codes_apart_from_tokens, _algorithms_of_clients])

    def add_client(self, name: str, redirects: Sequence[str], *, pkce: bool = True, algorithm: str = "RS256") -> str:
        """Register a client and return its secret, which is shown only once. `algorithm` is one of ALGORITHMS.

        Raises ClientExists, and ValueError for a name that does not follow the pattern of names, and for an address
        that is neither https nor on this machine, or that has a fragment (RFC 6749, 3.1.2).
        """
        checked_name(name, "client")
        if not redirects:
            raise ValueError("a client needs at least one redirect address")
        for address in redirects:
            origin_of(address)
            if "#" in address:
                raise ValueError(f"{address!r} has a fragment; a redirect address must not have one")
        secret = new_token(256)
        row = {"name": name, "secret_digest": _digest(secret), "redirects": json.dumps(list(redirects)), "pkce": pkce,
               "algorithm": algorithm}  # fmt: skip
        try:
            with self.store.transaction() as connection:
                connection.execute(sa.insert(self._client), row)
                self._log(connection, self._world.clock.now(), "client added", {"client": name})
        except IntegrityError as error:
            raise ClientExists(f"the client {name!r} already exists; choose another name") from error
        return secret

    def client(self, name: str) -> Client | None:
        """Return the client with that name, or None."""
        if "\0" in name:
            return None  # PostgreSQL's text cannot contain it
        with self.store.reading() as connection:
            query = sa.select(self._client).where(self._client.c.name == name)
            row = connection.execute(query).one_or_none()
        if row is None:
            return None
        return Client(row.name, row.secret_digest, tuple(json.loads(row.redirects)), row.pkce, row.algorithm)

    def secret(self, name: str, make: Callable[[], bytes]) -> bytes:
        """Return a secret of the provider itself. It is generated with `make` when it is first needed."""
        with self.store.alone() as connection:
            return self._secrets.begin(connection, name, lambda: {name: make()})[name]

    def new_code(self, client: Client, grant: Grant) -> str:
        """Return a new code for a client."""
        code, now = new_token(256), epoch(machine_clock.now())
        contents = json.dumps({**vars(grant), "login": vars(grant.login)})
        row = {"digest": _digest(code), "client": client.name, "contents": contents, "ends": now + CODE_SECONDS}
        with self.store.transaction() as connection:
            connection.execute(sa.insert(self._code), row)
        return code

    def sweep(self) -> None:
        """Delete the codes and tokens that have expired."""
        now = epoch(machine_clock.now())
        with self.store.transaction() as connection:
            for table in (self._code, self._token):
                connection.execute(sa.delete(table).where(table.c.ends < now))

    def redeem(self, code: str, client: Client, redirect_uri: str, verifier: str) -> tuple[str, Grant] | None:
        """Return an access token for a code, or None if the code is not valid for this client and these values.

        A code can be used once, whatever comes of it. A token is stored with the digest of its code. A second use of
        the code revokes it: one of the two users stole the code (RFC 6749, 4.1.2). A code is taken, and its token
        stored, in one transaction, so a second use at the same time cannot miss the token.
        """
        digest, token, now = _digest(code), new_token(256), epoch(machine_clock.now())
        with self.store.transaction() as connection:
            taken = sa.delete(self._code).where(self._code.c.digest == digest).returning(*self._code.c)
            row = connection.execute(taken).one_or_none()
            if row is None:
                if connection.execute(sa.delete(self._token).where(self._token.c.code == digest)).rowcount:
                    self._log(connection, self._world.clock.now(), "token revoked", {"client": client.name})
                return None
            contents = json.loads(row.contents)
            grant = Grant(**{**contents, "login": Login(**contents["login"])})
            if row.client != client.name or row.ends < now or not grant.allows(redirect_uri, verifier):
                return None
            issued = json.dumps({"login": contents["login"], "scope": grant.scope})
            values = {"digest": _digest(token), "code": digest, "contents": issued, "ends": now + TOKEN_SECONDS}
            connection.execute(sa.insert(self._token), values)
        return token, grant

    def token(self, value: str) -> Token | None:
        """Return the access token, or None if it is unknown, expired or revoked."""
        with self.store.reading() as connection:
            query = sa.select(self._token).where(self._token.c.digest == _digest(value))
            row = connection.execute(query).one_or_none()
        if row is None or row.ends < epoch(machine_clock.now()):
            return None
        contents = json.loads(row.contents)
        return Token(Login(**contents["login"]), contents["scope"], row.ends)


def _codes_apart_from_tokens(connection: sa.Connection) -> None:
    """Drop the table that had both: the last of them expired ten minutes after it was written."""
    connection.execute(sa.text("ALTER TABLE client ADD COLUMN pkce BOOLEAN NOT NULL DEFAULT TRUE"))
    connection.execute(sa.text("DROP TABLE grant_"))


def _algorithms_of_clients(connection: sa.Connection) -> None:
    """Let the clients of before have ID tokens as before."""
    connection.execute(sa.text("ALTER TABLE client ADD COLUMN algorithm TEXT NOT NULL DEFAULT 'RS256'"))


def _digest(value: str) -> bytes:
    return hashlib.sha256(value.encode()).digest()
