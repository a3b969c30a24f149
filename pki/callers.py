"""The registered callers of the authorities' services, the log of their queries, and the fees.

A caller is a verifier under article 17 of the Act on JPKI, or a platform that queries for others. It authenticates with
a key; the store holds only the key's digest. Every answered query is logged before its response is sent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import sqlalchemy as sa

from kazashi.jpki.profile import CertificateType
from kazashi.world.clock import JST, epoch, from_epoch
from kazashi.world.home import World
from kazashi.world.names import checked_name
from kazashi.world.rng import new_token
from kazashi.world.storage import Position, Unsigned64

ACTOR = "verifier_services"

OCSP, STATUS, REVOCATION_FILE, LINKAGE, ATTRIBUTES = (
    "ocsp", "status", "revocation-file", "linkage", "latest-attributes",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tariff:
    """The fees of queries in yen from the day `since`: a check of a signature certificate, a check of an authentication
    certificate, a revocation file, and the latest attributes. Linkage is included in the check."""

    since: date
    signature_check: int
    authentication_check: int
    revocation_file: int
    attributes: int


TARIFFS = (
    Tariff(date(2016, 1, 1), 20, 2, 20, 20),
    Tariff(date(2023, 1, 1), 0, 0, 0, 20),
    Tariff(date(2026, 1, 1), 20, 2, 0, 20),
)
"""Revocation files have been free since January 2023. OCSP was free for three years from then; the fees after that are
not known, and we assume the former ones."""


def fee(service: str, kind: CertificateType, day: date) -> int:
    """The fee of a query on a day, in yen."""
    tariff = next(item for item in reversed(TARIFFS) if item.since <= day) if day >= TARIFFS[0].since else None
    if tariff is None or service == LINKAGE:
        return 0
    if service == ATTRIBUTES:
        return tariff.attributes
    if service == REVOCATION_FILE:
        return tariff.revocation_file
    return tariff.signature_check if kind is CertificateType.SIGNATURE else tariff.authentication_check


class CallerNotRegistered(Exception):
    """The query is not from a registered caller; it was not answered."""


class CallerExists(Exception):
    """A caller with that name is already registered; it was not changed."""


@dataclass(frozen=True, slots=True)
class Query:
    """An entry of the query log: the caller, the service, the certificate (if any), and the result (`said`)."""

    at: datetime
    caller: str
    service: str
    kind: CertificateType
    serial: int | None
    said: str


class Callers:
    """The register of callers and the query log."""

    def __init__(self, world: World) -> None:
        self._world = world
        metadata = sa.MetaData()
        self._caller = sa.Table(
            "caller", metadata,
            sa.Column("name", sa.Text, primary_key=True),
            sa.Column("key_digest", sa.LargeBinary, unique=True, nullable=False),
            sa.Column("registered_at", sa.BigInteger, nullable=False),
        )  # fmt: skip
        self._query = sa.Table(
            "query", metadata,
            sa.Column("position", Position, primary_key=True),
            sa.Column("at", sa.BigInteger, nullable=False),
            sa.Column("caller", sa.Text, nullable=False, index=True),
            sa.Column("service", sa.Text, nullable=False),
            sa.Column("kind", sa.Text, nullable=False),
            sa.Column("serial", Unsigned64),
            sa.Column("said", sa.Text, nullable=False),
            sa.Column("fee", sa.Integer, nullable=False),
        )  # fmt: skip
        self.consent = sa.Table(
            "consent", metadata,
            sa.Column("consent", Position, primary_key=True),
            sa.Column("caller", sa.Text, nullable=False),
            sa.Column("service", sa.Text, nullable=False),
            sa.Column("serial", Unsigned64, nullable=False),
            sa.Column("statement", sa.LargeBinary, nullable=False),
            sa.Column("signature", sa.LargeBinary, nullable=False),
            sa.Column("given_at", sa.BigInteger, nullable=False),
            sa.Column("ends", sa.BigInteger, nullable=False),
            sa.Column("withdrawn_at", sa.BigInteger),
        )  # fmt: skip
        self._add_query = sa.insert(self._query)
        self._find = sa.select(self._caller.c.name).where(self._caller.c.key_digest == sa.bindparam("digest"))
        self.store = world.store(ACTOR, metadata)

    def register(self, name: str) -> str:
        """Register a caller and return its key, which cannot be read again later.

        Raises CallerExists, and ValueError for an invalid name.
        """
        checked_name(name, "caller")
        key = new_token()
        row = {"name": name, "key_digest": _digest(key), "registered_at": epoch(self._world.clock.now())}
        try:
            with self.store.transaction() as connection:
                connection.execute(sa.insert(self._caller), row)
        except sa.exc.IntegrityError as error:
            raise CallerExists(f"a caller {name!r} is already registered; choose another name") from error
        return key

    def strike_off(self, name: str) -> bool:
        """Remove a caller from the register. Returns False if no caller has that name."""
        with self.store.transaction() as connection:
            return connection.execute(sa.delete(self._caller).where(self._caller.c.name == name)).rowcount > 0

    def name_of(self, key: str) -> str:
        """Return the name of the caller with a key. Raises CallerNotRegistered."""
        with self.store.reading() as connection:
            name = connection.scalar(self._find, {"digest": _digest(key)})
        if name is None:
            raise CallerNotRegistered("the caller is not registered; register it with: kazashi ca caller add")
        return str(name)

    def names(self) -> list[str]:
        """Return the names of the registered callers in alphabetical order."""
        with self.store.reading() as connection:
            return list(connection.scalars(sa.select(self._caller.c.name).order_by(self._caller.c.name)))

    def log(self, queries: Sequence[Query]) -> None:
        """Write queries to the log. They are durable when this returns."""
        with self.store.transaction() as connection:
            self.log_in(connection, queries)

    def log_in(self, connection: sa.Connection, queries: Sequence[Query]) -> None:
        """Write queries to the log within a transaction of this store."""
        rows = [
            {
                "at": epoch(query.at), "caller": query.caller, "service": query.service, "kind": query.kind.code,
                "serial": query.serial, "said": query.said,
                "fee": fee(query.service, query.kind, query.at.astimezone(JST).date()),
            }
            for query in queries
        ]  # fmt: skip
        connection.execute(self._add_query, rows)

    def queries(self, caller: str | None = None) -> Iterator[tuple[Query, int]]:
        """Yield the queries of a caller, or all of them, in order, each with its fee in yen."""
        statement = sa.select(self._query).order_by(self._query.c.position)
        if caller is not None:
            statement = statement.where(self._query.c.caller == caller)
        kinds = {kind.code: kind for kind in CertificateType}
        with self.store.reading() as connection:
            for row in connection.execute(statement):
                query = Query(from_epoch(row.at), row.caller, row.service, kinds[row.kind], row.serial, row.said)
                yield query, row.fee

    def bill(self, caller: str) -> int:
        """Return the sum of a caller's fees in yen."""
        query = self._query
        with self.store.reading() as connection:
            return int(connection.scalar(sa.select(sa.func.sum(query.c.fee)).where(query.c.caller == caller)) or 0)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
