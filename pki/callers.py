"""Who may ask the authority's services, what each has asked, and what it costs.

A caller is a verifier under article 17 of the Act on JPKI, or a platform that asks for others. It shows a key; the
store holds the key's digest only. Every answered query is in the log before its answer leaves.
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
from kazashi.world.rng import new_token
from kazashi.world.storage import Position, Unsigned64

ACTOR = "verifier_services"

OCSP, STATUS, REVOCATION_FILE, COUNTERPART, RENEWAL, ATTRIBUTES = (
    "ocsp", "status", "revocation-file", "counterpart", "renewal", "latest-attributes",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tariff:
    """What a query costs from a day on, in yen: a check of a signature certificate, of an authentication certificate,
    a revocation file, and the latest attributes. Linkage comes with the check."""

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
"""Revocation files have been free since January 2023, and OCSP for three years; what was to follow is not known, and we
let the former price come back."""


def fee(service: str, kind: CertificateType, day: date) -> int:
    """What a query costs on a day, in yen."""
    tariff = next(found for found in reversed(TARIFFS) if found.since <= day) if day >= TARIFFS[0].since else None
    if tariff is None or service in (COUNTERPART, RENEWAL):
        return 0
    if service == ATTRIBUTES:
        return tariff.attributes
    if service == REVOCATION_FILE:
        return tariff.revocation_file
    return tariff.signature_check if kind is CertificateType.SIGNATURE else tariff.authentication_check


class CallerNotRegistered(Exception):
    """Somebody asked who is not a registered caller; nothing was answered."""


class CallerExists(Exception):
    """There is a caller of that name already; it was left as it is."""


@dataclass(frozen=True, slots=True)
class Query:
    """One line of the query log: who asked which service about which certificate, and what was said."""

    at: datetime
    caller: str
    service: str
    kind: CertificateType
    serial: int | None
    said: str


class Callers:
    """The registered callers, and the query log."""

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
        """Register a caller; answers its key, which is shown this once. Raises CallerExists."""
        key = new_token()
        row = {"name": name, "key_digest": _digest(key), "registered_at": epoch(self._world.clock.now())}
        try:
            with self.store.transaction() as connection:
                connection.execute(sa.insert(self._caller), row)
        except sa.exc.IntegrityError as error:
            raise CallerExists(f"there is a caller {name!r} already; choose another name") from error
        return key

    def strike_off(self, name: str) -> bool:
        """Take a caller off the register; False where there was none of that name."""
        with self.store.transaction() as connection:
            return connection.execute(sa.delete(self._caller).where(self._caller.c.name == name)).rowcount > 0

    def name_of(self, key: str) -> str:
        """The caller who has that key. Raises CallerNotRegistered."""
        with self.store.reading() as connection:
            name = connection.scalar(self._find, {"digest": _digest(key)})
        if name is None:
            raise CallerNotRegistered("the caller is not registered; see: kazashi ca caller add")
        return str(name)

    def names(self) -> list[str]:
        """The registered callers."""
        with self.store.reading() as connection:
            return list(connection.scalars(sa.select(self._caller.c.name).order_by(self._caller.c.name)))

    def log(self, queries: Sequence[Query]) -> None:
        """Write queries to the log, on disk when it returns."""
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
        """The query log in order, with the fee of each."""
        statement = sa.select(self._query).order_by(self._query.c.position)
        if caller is not None:
            statement = statement.where(self._query.c.caller == caller)
        kinds = {kind.code: kind for kind in CertificateType}
        with self.store.reading() as connection:
            for row in connection.execute(statement):
                query = Query(from_epoch(row.at), row.caller, row.service, kinds[row.kind], row.serial, row.said)
                yield query, row.fee

    def bill(self, caller: str) -> int:
        """What a caller owes for all it has asked, in yen."""
        query = self._query
        with self.store.reading() as connection:
            return int(connection.scalar(sa.select(sa.func.sum(query.c.fee)).where(query.c.caller == caller)) or 0)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
